"""What a run is, before and after: its plan, checked before any work, and its end, with what it wrote."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from trimkit.data import Dataset, few, in_memory
from trimkit.data.arrays import needs_double
from trimkit.errors import OptionError, TrimkitError
from trimkit.methods import Method, Weight, stored
from trimkit.methods.stored import plain
from trimkit.predictor.guards import refuse_wrappers
from trimkit.registry import create
from trimkit.training.engine import Engine
from trimkit.training.guidance import Guidance
from trimkit.training.outcome import Evaluation, write_outcome
from trimkit.training.run_folder import RunFolder
from trimkit.training.settings import Settings
from trimkit.training.validation import Callback

DECIDING = ("batch_size", "accumulate", "seed", "clip", "nonfinite", "ema", "precision", "fast")
"""Settings that a run cannot be gone on with otherwise."""


@dataclass
class Run:
    """A finished training run.

    Attributes:
        method: trained, the object that was given; with averaged weights where a phase averages them.
        steps: in total, over all resumed parts.
        results: what results.json holds: terms on training and test data, speed, predictor.
        history: the lines of metrics.jsonl, one a logged step and phase.
        folder: of its files, or None.
        rank: of this process among those that trained together; the one of rank 0 wrote the files.

    >>> import trimkit
    >>> from trimkit.data import load
    >>> method = trimkit.create("method", "beta-vae", shape=(1, 16, 16), latent_dim=2, network="mlp")
    >>> run = trimkit.train(method, load("digits").take(32), steps=2, batch_size=8, log_every=1)
    >>> run.steps, len(run.history), run.folder
    (2, 2, None)
    """

    method: Method
    steps: int
    results: dict[str, Any]
    history: list[dict[str, Any]] = field(default_factory=list)
    folder: Path | None = None
    rank: int = 0

    def _repr_html_(self) -> str:
        """Losses by step and the numbers on data, for notebooks."""
        from trimkit.training.shown import show_run

        return show_run(self).to_html()


@dataclass(frozen=True)
class Plan:
    """What is to be trained, on what, how long, and where its files go.

    Attributes:
        method: to train.
        data: to train on.
        test: held out, or None.
        settings: of the run.
        folder: of its files, or None.
        resume: go on from the folder's newest checkpoint.
        weights: that replace those of terms, by name.
        data_changed: the run may go on with other data than before.
        on_step: called after each step.
        on_evaluation: called after each evaluation on the test data.
        init_from: folder of the run whose weights this one begins with, or None.
    """

    method: Method
    data: Dataset
    test: Dataset | None
    settings: Settings
    folder: RunFolder | None
    resume: bool
    weights: Mapping[str, Weight]
    data_changed: bool = False
    on_step: Callback | None = None
    on_evaluation: Callback | None = None
    init_from: str | Path | None = None

    def check(self) -> None:
        """Refuse, before any work, data that do not fit, a folder that is taken, or a resumption of nothing."""
        refuse_wrappers(self.method)
        for data in (self.data, self.test):
            if data is not None:
                self.method.check(few(data.x))
                self.method.check_aux(data.aux)
        if self.test is None and (self.settings.evaluate_every or self.on_evaluation):
            raise OptionError("evaluate_every and on_evaluation need held-out data: give test")
        if self.data_changed and not self.resume:
            raise OptionError("data_changed is said of a run that is resumed: give resume too")
        if self.folder is not None:
            self.folder.check(resume=self.resume)
            _require_loadable(self.method)
        elif self.resume:
            raise OptionError("resume needs the folder of the run: folder='runs/NAME'")
        elif self.settings.tensorboard or self.settings.pictures_every:
            raise OptionError("tensorboard and pictures_every need a folder to write to: folder='runs/NAME'")

    def identity(self, guidance: Guidance | None = None, processes: int = 1) -> dict[str, Any]:
        """What a checkpoint must share with a run to be gone on from, as plain values."""
        kind = type(self.method)
        identity = {
            "method": f"{kind.__module__}:{kind.__qualname__}",
            "options": self.method.options,
            "data": self.data.sha256,
            **{name: getattr(self.settings, name) for name in DECIDING},
            "processes": processes,
            "weights": {name: _told_apart(weight) for name, weight in self.weights.items()},
            **(guidance.describe() if guidance else {}),
        }
        return plain(identity)

    def recorded(self, identity: Mapping[str, Any]) -> dict[str, Any]:
        """What config.yaml tells: the identity, with the data by their name and their hash, and all settings."""
        data = {"data": self.data.name, "data_sha256": identity["data"]}
        return {**identity, **data, **asdict(self.settings)}


def _told_apart(weight: Weight) -> Any:
    """A weight as it is recorded; a function by its name and a hash of its code, for another one may have its name.

    What a function was made with, as the end of a ramp, is of its hash too.
    """
    if isinstance(weight, partial):
        return [_told_apart(weight.func), *weight.args, weight.keywords]
    code = getattr(weight, "__code__", None)
    if code is None:
        return weight
    constants = [value for value in code.co_consts if not hasattr(value, "co_code")]
    cells = [cell.cell_contents for cell in getattr(weight, "__closure__", None) or ()]
    held = [value for value in (*cells, *(getattr(weight, "__defaults__", None) or ())) if _is_plain(value)]
    text = repr((constants, code.co_names, *filter(None, [held])))
    digest = hashlib.sha256(code.co_code + text.encode()).hexdigest()
    return f"{stored.plain(weight)} {digest[:8]}"


def _is_plain(value: Any) -> bool:
    """Whether a value is written alike in every process."""
    return isinstance(value, bool | int | float | str | None)


def _require_loadable(method: Method) -> None:
    """Refuse options that the run's record cannot hold, so that no method is trained that never comes back.

    Raises:
        OptionError: with the name of the option.
    """
    record = stored.record(method)
    unwritten = [name for name, value in method.options.items() if stored.plain(value) is not value and callable(value)]
    if record["method"] is None or not unwritten:
        return
    try:
        with torch.random.fork_rng(devices=[]):
            create("method", record["method"], **record["options"])
    except TrimkitError as error:
        raise OptionError(
            f"{type(method).__name__}: {unwritten[0]} is a function that a run's record cannot hold, so the run could "
            f"never be loaded ({error}); give text such as 'linear(0, 4, 5000)' or 'package.module:function', or train "
            "without a folder"
        ) from error


def fit(plan: Plan) -> Run:
    """Train a method in closed form, in float64 where float32 could not tell the data apart.

    Args:
        plan: checked.
    Raises:
        OptionError: asked to resume a run that was not stopped, or several processes.
    """
    nothing = OptionError(f"{type(plan.method).__name__} is fitted in closed form: there is nothing to resume")
    if plan.resume and plan.folder is None:
        raise nothing
    if needs_double(plan.data.x):
        plan = replace(plan, settings=replace(plan.settings, precision="64"))
    engine = Engine(plan.settings)
    if engine.processes > 1:
        raise OptionError(f"{type(plan.method).__name__} is fitted in closed form, by one process; start only one")
    with nullcontext() if plan.folder is None else plan.folder.held(resume=plan.resume):
        if plan.resume and plan.folder is not None and plan.folder.current == plan.folder.path:
            raise nothing
        return _fit(plan, engine)  # also where one was stopped: there is nothing of it to go on from


def _fit(plan: Plan, engine: Engine) -> Run:
    started = time.perf_counter()
    with engine.global_randomness("fit"):
        aux = None if plan.data.aux is None else engine.place(plan.data.aux)
        engine.place(plan.method).fit(engine.place(in_memory(plan.data.x)), aux)
    seconds = time.perf_counter() - started
    speed = {"seconds": seconds, "images_per_second": len(plan.data) / max(seconds, 1e-9)}
    if plan.folder is not None:
        plan.folder.begin(plan.recorded(plan.identity()))
    evaluation = Evaluation(plan.method, engine, plan.settings.batch_size, most=plan.settings.evaluated)
    return conclude(plan, evaluation, 0, speed, [])


def conclude(
    plan: Plan, evaluation: Evaluation, steps: int, numbers: Mapping[str, Any], history: list[dict[str, Any]]
) -> Run:
    """Evaluate a trained method and write what is left to write.

    Args:
        plan: of the run.
        evaluation: of the trained method.
        steps: that were taken.
        numbers: that results hold beside those on data.
        history: the lines of metrics.jsonl.
    """
    parts = {"train": plan.data} if plan.test is None else {"train": plan.data, "test": plan.test}
    numbers = {**numbers, "skipped": list(plan.data.skipped)} if plan.data.skipped else numbers
    results = {"steps": steps, **numbers, **{name: evaluation.numbers(part) for name, part in parts.items()}}
    if plan.folder is None:
        return Run(plan.method, steps, results, history)
    write_outcome(plan.folder, evaluation, results, list(parts.values())[-1])
    plan.folder.complete(steps)
    return Run(plan.method, steps, results, history, plan.folder.path)
