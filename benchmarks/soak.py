"""Runs that are killed, whose disk is full, whose files are damaged: is anything lost, or wrong without a word?

    python benchmarks/soak.py --log soak.jsonl --kills 300 --peers FOLDER
    python benchmarks/soak.py --log soak.jsonl --table

Each trial is a line of the log, so a soak that was stopped goes on where it was; ``--share 1/4`` does a quarter of the
trials. A trial of kills starts a small run, kills it with SIGKILL up to three times, each time going on as the user
would, lets it finish, and compares weights, results and log with those of a run that nobody killed, bit for bit. The
moment is random; the first and third kill then wait for the next file that is being written. Each trial ends as:

    same      the result is that of the undisturbed run
    said      it is not, and an error or warning named the cause
    lost      it could not be gone on with
    silent    another result, and not a word
    hung      a process that did not end

PyTorch Lightning and the Trainer of Hugging Face do the same where they are installed, in the folder ``--peers`` or
beside trimkit.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import resource
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from itertools import count, islice
from pathlib import Path
from typing import Any

import _soak_peers as peers
import _soak_trimkit as ours
from _soak_process import Ending, When, is_writing, kill_one_of, run_apart

KILLS_A_RUN = 3
FLIPPED = ("vae", "stylegan2", "ivae", "topk-sae", "picard")
NOBODY = 65534
WORDS = re.compile(r"damaged|error|warning|cannot|no space|too large", re.IGNORECASE)


@dataclass
class Soak:
    """Where trials work, and what undisturbed runs come to.

    Attributes:
        scratch: folder of all runs.
        whole: undisturbed runs by name: seconds of the processor and of the clock, and result.
        kills: how often runs of trimkit in one process were killed so far.
    """

    scratch: Path
    whole: dict[str, tuple[float, str]] = field(default_factory=dict)
    kills: int = 0

    def undisturbed(self, name: str, work: Callable[[Path], int], result: Callable[[Path], str]) -> tuple[float, str]:
        """The run that nobody disturbs, made once: seconds and result."""
        if name not in self.whole:
            folder = self.scratch / f"whole {name}"
            for _ in range(2):  # the first also says what to import here, so that kills do not fall into imports
                remove(folder)
                ending = run_apart(partial(_run_and_list, work, folder, self.scratch / "modules"), self.scratch / "log")
                if ending.code != 0:
                    raise SystemExit(f"{name} does not run: {ending.said[-2000:]}")
                _import_all((self.scratch / "modules").read_text().split())
            self.whole[name] = ending.seconds, result(folder)
            remove(folder)
        return self.whole[name]


def _run_and_list(work: Callable[[Path], int], folder: Path, modules: Path) -> int:
    code = work(folder)
    modules.write_text("\n".join(sys.modules))
    return code


def _import_all(names: list[str]) -> None:
    for name in names:
        if name not in sys.modules and "trimkit_user" not in name:
            with suppress(Exception):
                import_module(name)


Trial = tuple[str, Callable[[Soak], dict[str, Any]]]
"""The name of a trial, which is its line's, and what does it."""


# ---- kills


def kill_runs(name: str, number: int, work: Callable[[Path], int], result: Callable[[Path], str], soak: Soak) -> dict:
    """One run, killed up to three times."""
    seconds, expected = soak.undisturbed(name, work, result)
    keys, folder, log = random.Random(f"{name} {number}"), soak.scratch / f"{name} {number}", soak.scratch / "log"
    row: dict[str, Any] = {"kills": 0, "torn": 0}
    for left in range(KILLS_A_RUN, -1, -1):
        waits = bool(left % 2) and name not in peers.PEERS  # whose temporary files are elsewhere
        when = When(keys.uniform(0, seconds), keys.uniform(0, 0.03), folder.parent if waits else None)
        ending = run_apart(partial(work, folder), log, when if left else None)
        if ending.code is not None or ending.hung:
            break
        row["kills"] += 1
        row["torn"] += is_writing(soak.scratch, ending.process)
    return {**row, **judged(ending, folder, result, expected)}


def judged(ending: Ending, folder: Path, result: Callable[[Path], str], expected: str) -> dict[str, Any]:
    """How a trial ended, and what it said where that is not the same."""
    if ending.hung:
        outcome = "hung"
    elif ending.code != 0:
        outcome = "lost"
    elif result(folder) == expected:
        outcome = "same"
    else:
        outcome = "said" if WORDS.search(ending.said) else "silent"
    remove(folder)
    return {"outcome": outcome} | ({} if outcome == "same" else {"said": ending.said[-600:]})


def kill_pairs(case: ours.Case, number: int, soak: Soak) -> dict[str, Any]:
    """A run on two processes of which one is killed, once, and the other ends by itself."""
    name, log = str(case), soak.scratch / "log"
    command = [sys.executable, "-m", "trimkit"]
    program = partial(_call, command, case)
    seconds, expected = soak.undisturbed(name, program, ours.result_of)
    keys, folder = random.Random(f"{name} {number}"), soak.scratch / f"pair-{case.method}-{number}"
    second = keys.random() < 0.5
    moment = keys.uniform(0.3, 1.0) * seconds  # two processes: the processor's seconds are about the clock's, or less
    first, killed = kill_one_of([*command, *case.arguments(folder)], log, moment, second)
    row = {"kills": int(killed), "torn": 0, "which": "second" if second else "first"}
    if first.hung:
        return {**row, "outcome": "hung", "said": first.said[-600:]}
    ending = run_apart(partial(program, folder), log) if killed else first
    return {**row, **judged(ending, folder, ours.result_of, expected)}


def _call(command: list[str], case: ours.Case, folder: Path) -> int:
    return subprocess.run([*command, *case.arguments(folder)], check=False).returncode


# ---- full disks, folders that may not be written to


def fill_disk(case: ours.Case, number: int, soak: Soak, mounted: bool) -> dict[str, Any]:
    """A run whose disk, or largest file, is too small, then the same with room: refused by name, then the same."""
    _, expected = soak.undisturbed(str(case), partial(ours.train, case), ours.result_of)
    keys = random.Random(f"full {case} {number} {mounted}")
    place = soak.scratch / "small"
    place.mkdir()
    for file in soak.scratch.glob("*.npz"):
        shutil.copy(file, place)
    bytes_ = int(10 ** keys.uniform(4.7, 7.3))
    try:
        if mounted:
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={bytes_}", "small", place], check=True)
            for file in soak.scratch.glob("*.npz"):
                shutil.copy(file, place)
        folder = place / "run"
        narrow = (lambda: None) if mounted else (lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_, bytes_)))
        first = run_apart(lambda: (narrow(), ours.train(case, folder))[1], soak.scratch / "log")
        row = {"bytes": bytes_, "refused": first.code == 2, "names": _names(first.said, folder)}
        if first.code not in (0, 2) or "Traceback" in first.said:
            return {**row, "outcome": "lost", "said": first.said[-600:]}
        if mounted:
            subprocess.run(["mount", "-o", "remount,size=1G", place], check=True)
        return {**row, **judged(_after(first, case, folder, soak), folder, ours.result_of, expected)}
    finally:
        if mounted:
            subprocess.run(["umount", place], check=False, stderr=subprocess.DEVNULL)
        remove(place)


def _after(first: Ending, case: ours.Case, folder: Path, soak: Soak) -> Ending:
    return first if first.code == 0 else run_apart(partial(ours.train, case, folder), soak.scratch / "log")


def _names(said: str, folder: Path) -> bool:
    """Whether an error names a place in the run's folder, and why it could not be written."""
    last = said.strip().splitlines()[-1:] or [""]
    return folder.name in last[0] and bool(re.search("space|too large|denied|read-only", last[0], re.IGNORECASE))


def forbid_writing(case: ours.Case, soak: Soak) -> dict[str, Any]:
    """A user who may not write where the run should go: refused by name, nothing is left."""
    place = soak.scratch / "closed"
    place.mkdir()
    for file in soak.scratch.glob("*.npz"):
        shutil.copy(file, place)
    place.chmod(0o555)

    def work() -> int:
        ours.train(case, soak.scratch / "open")  # whose imports another user may not be able to read
        if os.getuid() == 0:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        return ours.train(case, place / "run")

    ending = run_apart(work, soak.scratch / "log")
    remove(soak.scratch / "open")
    left = [path.name for path in place.iterdir() if path.suffix != ".npz"]
    place.chmod(0o755)
    remove(place)
    refused = ending.code == 2 and not left and "Traceback" not in ending.said
    row = {"refused": ending.code == 2, "names": _names(ending.said, place / "run")}
    return {**row, "outcome": "same" if refused else "lost", "said": ending.said[-600:]}


# ---- damaged files


def flip_bytes(case: ours.Case, soak: Soak) -> Iterator[tuple[str, Callable[[], dict[str, Any]]]]:
    """One byte of each file of a finished run, in turn; whoever reads the run must name the file."""
    whole, longer = soak.scratch / f"flip {case}", soak.scratch / "longer"
    if run_apart(partial(ours.train, case, whole), soak.scratch / "log").code != 0:
        raise SystemExit(f"{case} does not run")
    shutil.copytree(whole, longer)
    run_apart(partial(ours.train, case, longer, ours.LONGER), soak.scratch / "log")
    expected = ours.result_of(longer)
    remove(longer)
    for path in sorted(path for path in whole.rglob("*") if path.is_file()):
        name = path.relative_to(whole).as_posix()
        yield f"flip {case} {name}", partial(_flip, case, whole, name, expected, soak)
    remove(whole)


def _flip(case: ours.Case, whole: Path, name: str, expected: str, soak: Soak) -> dict[str, Any]:
    """Flip one byte of a copy, evaluate it and go on with it."""
    copied, log = soak.scratch / "flipped", soak.scratch / "log"
    shutil.copytree(whole, copied)
    content = bytearray((copied / name).read_bytes())
    keys = random.Random(f"{case} {name}")
    content[keys.randrange(len(content))] ^= keys.randrange(1, 256)
    (copied / name).write_bytes(content)
    evaluated = run_apart(partial(ours.evaluate, case, copied), log)
    longer = run_apart(partial(ours.go_on, case, copied, ours.LONGER), log)
    named = [Path(name).stem in ending.said for ending in (evaluated, longer)]
    equal = longer.code != 0 or ours.result_of(copied) == expected
    remove(copied)
    row = {"evaluate": evaluated.code, "resume": longer.code, "named": named, "equal": equal}
    if any("Traceback" in ending.said for ending in (evaluated, longer)):
        return {**row, "outcome": "lost", "said": evaluated.said[-300:] + longer.said[-300:]}
    return {**row, "outcome": "said" if any(named) and (equal or named[1]) else "silent"}


# ---- all of it


def trials(wanted: float, state: Soak) -> Iterator[Trial]:
    """All trials, kills first and until there were enough, in an order in which every method comes before any again."""
    for number in count():
        if state.kills >= wanted:
            return
        case = (all_ := ours.cases())[number % len(all_)]
        yield f"kill {case} {number}", partial(kill_runs, str(case), number, partial(ours.train, case), ours.result_of)
        for name, work in peers.PEERS.items():
            if number % 5 == 0 and find_spec({"huggingface": "transformers"}.get(name, name)):
                yield f"kill {name} {number}", partial(kill_runs, name, number, work, _peer_result)
        if number % 10 == 0:
            pair = ours.pairs()[number // 10 % len(ours.pairs())]
            yield f"kill {pair} {number}", partial(kill_pairs, pair, number)
        if number % 5 == 0:
            for mounted in (False, True) if os.getuid() == 0 else (False,):
                where = "a full disk" if mounted else "a limit of a file's size"
                yield f"full {case} {where} {number}", partial(fill_disk, case, number, mounted=mounted)
            yield f"closed {case} {number}", partial(forbid_writing, case)


def _peer_result(folder: Path) -> str:
    return (folder / "weights.txt").read_text()


def remove(folder: Path) -> None:
    """A run and what is beside it."""
    for path in (folder, folder.with_name(f"{folder.name}.partial")):
        shutil.rmtree(path, ignore_errors=True)


def table(log: Path) -> str:
    """The log as a table: what was done to which system, and how it ended."""
    counts: dict[str, Counter[str]] = {}
    for line in log.read_text().splitlines():
        row = json.loads(line)
        count = counts.setdefault(_group(row["trial"]), Counter())
        count.update({"trials": 1, row["outcome"]: 1, "kills": row.get("kills", 0), "torn": row.get("torn", 0)})
    columns = ("trials", "kills", "torn", "same", "said", "lost", "silent", "hung")
    lines = [f"| | {' | '.join(columns)} |", f"|---|{'---|' * len(columns)}"]
    return "\n".join(lines + [f"| {name} | {' | '.join(str(c[k]) for k in columns)} |" for name, c in counts.items()])


def _group(trial: str) -> str:
    what, name, *_ = trial.split()
    who = name if name in peers.PEERS else "trimkit"
    pair = ", one of two processes" if "2 processes" in trial else ""
    full = next((where for where in ("a full disk", "a limit of a file's size") if where in trial), None)
    return f"{who}: {full or {'kill': 'killed', 'closed': 'no right to write', 'flip': 'a flipped byte'}[what]}{pair}"


def main() -> None:
    """Do the trials that the log lacks, then print the table."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--log", type=Path, default=Path("soak.jsonl"), help="lines of trials that are done")
    p.add_argument("--kills", type=int, default=300, help="so many kills of runs in one process, at least")
    p.add_argument("--only", choices=["kill", "full", "closed", "flip"], help="one kind of trial")
    p.add_argument("--most", type=int, default=10**9, help="stop after so many new lines")
    p.add_argument("--share", default="1/1", help="which part of the trials, such as 2/4")
    p.add_argument("--peers", type=Path, help="folder in which Lightning and transformers are installed")
    p.add_argument("--table", action="store_true", help="print the table of a log, do nothing")
    arguments = p.parse_args()
    if not arguments.table:
        soak(arguments)
    sys.stdout.write(table(arguments.log) + "\n")


def soak(arguments: argparse.Namespace) -> None:
    """The trials that the log lacks, each a line as soon as it is done."""
    if arguments.peers:
        sys.path.append(str(arguments.peers))

    part, parts = map(int, arguments.share.split("/"))
    rows = [json.loads(line) for line in arguments.log.read_text().splitlines()] if arguments.log.exists() else []
    done = {row["trial"] for row in rows}
    with tempfile.TemporaryDirectory() as scratch, arguments.log.open("a") as log:
        Path(scratch).chmod(0o755)
        ours.write_data(Path(scratch))
        state = Soak(Path(scratch), kills=sum(map(_kills_of_ours, rows)))
        missing = ((name, do) for name, do in _rows(arguments, part, parts, state) if name not in done)
        for name, do in islice(missing, arguments.most):
            row = {"trial": name, **do()}
            state.kills += _kills_of_ours(row)
            log.write(json.dumps(row) + "\n")
            log.flush()


def _kills_of_ours(row: dict[str, Any]) -> int:
    """How often a run in one process was killed in a trial."""
    return row.get("kills", 0) if _group(row["trial"]) == "trimkit: killed" else 0


def _rows(arguments: Any, part: int, parts: int, state: Soak) -> Iterator[tuple[str, Callable[[], dict[str, Any]]]]:
    for name, do in islice(trials(arguments.kills / parts, state), part - 1, None, parts):
        if arguments.only in (None, name.split()[0]):
            yield name, partial(do, state)
    for i, method in enumerate(FLIPPED):
        if i % parts == part - 1 and arguments.only in (None, "flip"):
            yield from flip_bytes(ours.Case(method), state)


if __name__ == "__main__":
    main()
