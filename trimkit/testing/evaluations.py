"""What checks, datasets and commands promise: verdicts by rule, splits that share nothing, help without torch."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shlex
import subprocess
import sys
from typing import Any

import torch

from trimkit.audit import Check, Report, Status, Verdict, audit
from trimkit.data import Dataset, Samples
from trimkit.errors import TrimkitError
from trimkit.report.verdicts import judge
from trimkit.testing.promises import BrokenPromise, Inapplicable, Trial, network, own_draws, promise, require

AUDITED = 40
MOST_COMPARED = 65_536
"""Samples of a split that are looked for in the other."""


def _audited(check: Check, batch_size: int = AUDITED) -> Report:
    x = torch.randn(AUDITED, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    y = torch.arange(AUDITED) % 3
    data = Dataset("conformance", x, y, "test", ("a", "b", "c"))
    return audit(network((1, 4, 4)), data, transform="dct", checks=[check], samples=AUDITED, batch_size=batch_size)


@promise("check", light=True)
def declares(trial: Trial) -> None:
    """It has a name, the one it is registered under, and a question; its options are plain JSON values."""
    check, spec = trial.make(), trial.part.spec
    name, question = getattr(check, "name", None), getattr(check, "question", None)
    require(
        name == spec.name, f"it is registered as {spec.name!r} and calls itself {name!r}; set the class attribute name"
    )
    require(
        isinstance(question, str) and question.endswith("?"), f"expected a question ending in '?', got {question!r}"
    )
    try:
        json.dumps(check.options)
    except TypeError as error:
        raise BrokenPromise(f"its options are no plain values ({error}); keep anything else under a _name") from error


@promise("check")
def verdict_rules(trial: Trial) -> None:
    """PASS and FAIL lie wholly on their side of the threshold; every verdict says why in a sentence."""
    for verdict in _audited(trial.make()).verdicts:
        require(isinstance(verdict.status, Status), f"the status is {verdict.status!r}; use trimkit.audit.Status")
        spoken = verdict.sentence.rstrip().endswith((".", "!", "?"))
        require(spoken, f"expected a sentence for {verdict.status}, got {verdict.sentence!r}; say what was measured")
        if verdict.status in (Status.PASS, Status.FAIL):
            _require_rule(verdict)


def _require_rule(verdict: Verdict) -> None:
    if verdict.estimate is None or verdict.threshold is None:
        raise BrokenPromise(f"{verdict.status} without an estimate and a threshold; give both to self.verdict")
    ruled = judge(verdict.estimate, verdict.threshold, verdict.direction)
    require(
        ruled is verdict.status,
        f"it says {verdict.status} where {verdict.figures} makes {ruled}; take the status from judge()",
    )


@promise("check")
def batches(trial: Trial) -> None:
    """The verdict is the same whatever the batches: state is kept a sample, and concluded from all of them."""
    whole, parts = (_audited(trial.make(), size).verdicts for size in (AUDITED, 7))
    require(len(whole) == len(parts), "other batches give other verdicts; conclude once, from findings.values")
    for one, other in zip(whole, parts, strict=True):
        require(
            _agree(one, other), f"in one batch: {one.figures}; in batches of 7: {other.figures}; measure rows alone"
        )


def _agree(one: Verdict, other: Verdict) -> bool:
    if one.status is not other.status or (one.estimate is None) != (other.estimate is None):
        return False
    if one.estimate is None or other.estimate is None:
        return True
    return abs(one.estimate.value - other.estimate.value) <= 1e-4 * max(1.0, abs(one.estimate.value))


@promise("check")
def repeats(trial: Trial) -> None:
    """The same seed gives the same verdict, and the caller's random state stays as it was."""
    with own_draws("it draws from torch's global random state; use findings.bootstrap or the seed"):
        one, other = (_audited(trial.make()) for _ in range(2))
    require(one.verdicts == other.verdicts, "twice the same audit gives two verdicts; draw from the subject's seed")


@promise("check")
def renders(trial: Trial) -> None:
    """The report with its pictures is drawn, and its evidence is plain JSON."""
    report = _audited(trial.make())
    page = report.to_html()
    require("<html" in page, "the page has no html; leave Report.to_html alone")
    verdicts = json.loads(report.to_json())["verdicts"]
    require(bool(verdicts), "results.json has no verdict of it; return one from conclude")


@promise("dataset")
def splits(trial: Trial) -> None:
    """The splits "train" and "test" share no sample; another split is refused."""
    train, test = (trial.make(split=split) for split in ("train", "test"))
    for split, data in (("train", train), ("test", test)):
        require(isinstance(data, Dataset), f"it returns {type(data).__name__}; return trimkit.data.Dataset")
        require(data.split == split, f"asked for {split!r} it says split={data.split!r}; hand the split on")
    shared = _rows(train) & _rows(test)
    require(not shared, f"{len(shared)} samples are in both splits; divide them once, by a fixed order")
    try:
        trial.make(split="no such split")
    except TrimkitError:
        return
    raise BrokenPromise("split='no such split' is taken; raise a DataError that names the splits")


@promise("dataset")
def keyed_draws(trial: Trial) -> None:
    """Two calls give the same bytes, and leave the global random state alone."""
    with own_draws("it draws from torch's global random state; use a generator with a seed of its own"):
        one, other = (trial.make(split="train") for _ in range(2))
    require(one.sha256 == other.sha256, "two calls give other samples; draw them from a generator with a fixed seed")


@promise("dataset", light=True)
def declared(trial: Trial) -> None:
    """Shape of a sample and number of classes are those of its record, where that names them."""
    data, spec = trial.make(split="train"), trial.part.spec
    shape, classes = getattr(spec, "shape", ()), getattr(spec, "classes", 0)
    require(shape in ((), data.shape), f"the record says shape={shape}, samples are {data.shape}; mend DatasetSpec")
    right = classes in (0, len(data.classes))
    require(right, f"the record says classes={classes}, the data have {len(data.classes)}; mend DatasetSpec")


_HELP = """
import sys
from trimkit.registry.lazy import import_target
try:
    code = import_target(sys.argv[1])(["--help"])
except SystemExit as leaving:
    code = leaving.code
if code:
    sys.exit(f"exit code {code!r}")
heavy = sorted({"torch", "numpy", "scipy", "captum", "matplotlib"} & set(sys.modules))
if heavy:
    sys.exit(f"imported {', '.join(heavy)}")
"""


@promise("command", light=True)
def help_without_torch(trial: Trial) -> None:
    """``--help`` says what it takes, without importing torch."""
    command = [sys.executable, "-c", _HELP, trial.part.spec.target]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    trouble = (done.stderr.strip().splitlines() or [""])[-1]
    require(done.returncode == 0, f"--help ends with: {trouble}; import heavy modules inside run, after parse_args")
    require("usage" in done.stdout, "--help prints no usage; use trimkit.cli.commands.plain_parser")


@promise("command", light=True)
def usage_errors(trial: Trial) -> None:
    """An unknown option is an error of trimkit's, never an exit of the interpreter."""
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            trial.part.load()(["--no-such-option-exists"])
    except TrimkitError:
        return
    except SystemExit as leaving:
        raise BrokenPromise(f"it calls sys.exit({leaving.code}); use plain_parser of trimkit.cli.commands") from leaving
    raise BrokenPromise("--no-such-option-exists is taken; let the parser refuse it")


@promise("command", light=True)
def example(trial: Trial) -> None:
    """The example of its record, where there is one, calls it, with options that `--help` has."""
    words = shlex.split(getattr(trial.part.spec, "example", ""))
    if not words:
        raise Inapplicable("its record has no example")
    name = trial.part.spec.name
    require(words[:2] == ["trimkit", name], f"expected an example that begins with 'trimkit {name}', got {words[:2]}")
    options = {word.partition("=")[0] for word in words if word.startswith("--")}
    first = [word for word in words[2:3] if not word.startswith("-")]
    unknown = sorted(options - set(re.findall(r"--[\w.-]+", _help(trial, first))))
    require(not unknown, f"the example has {', '.join(unknown)}, which --help does not name; mend the example")


def _help(trial: Trial, before: list[str]) -> str:
    """What the command prints for ``--help``, alone and after the first word of its example."""
    out = io.StringIO()
    for words in (["--help"], [*before, "--help"]):
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out), contextlib.suppress(SystemExit):
            trial.part.load()(words)
    return out.getvalue()


def _rows(data: Any) -> set[bytes]:
    """What tells samples apart: their factors where samples are made when asked for, else their bytes."""
    rows = data.factors if isinstance(data.x, Samples) and data.factors is not None else data.x
    return {row.tobytes() for row in rows[:MOST_COMPARED].numpy()}
