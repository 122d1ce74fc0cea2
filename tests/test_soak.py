"""The soak itself: it kills when it says so, and calls a loss a loss."""

import json
import os
import sys
import time
from importlib import import_module
from pathlib import Path

import pytest

BENCHMARKS = str(Path(__file__).resolve().parents[1] / "benchmarks")


@pytest.fixture
def soak(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    names = ("soak", "_soak_process", "_soak_peers", "_soak_trimkit")
    modules = [import_module(name) for name in names]
    yield modules[0]
    for name in names:
        sys.modules.pop(name)


def busy(seconds=60.0):
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass
    return 0


def test_a_process_says_how_it_ended_and_what_it_wrote(soak, tmp_path):
    def work():
        os.write(2, b"trimkit: error: no\n")
        return 2

    ending = soak.run_apart(work, tmp_path / "log")
    assert (ending.code, ending.hung, ending.said) == (2, False, "trimkit: error: no\n")


def test_a_process_that_is_killed_has_no_code(soak, tmp_path):
    ending = soak.run_apart(busy, tmp_path / "log", soak.When(0.05))
    assert ending.code is None
    assert ending.seconds >= 0.05


def test_a_kill_can_wait_for_a_file_that_is_being_written(soak, tmp_path):
    def work():
        busy(0.1)
        (tmp_path / f"a.tmp-{os.getpid()}").write_text("half")
        return busy()

    (tmp_path / "b.tmp-1").write_text("another's")
    ending = soak.run_apart(work, tmp_path / "log", soak.When(0.0, writing=tmp_path))
    assert ending.code is None
    assert soak.is_writing(tmp_path, ending.process)


@pytest.mark.parametrize(
    ("code", "result", "said", "outcome"),
    [
        (0, "same", "", "same"),
        (0, "other", "", "silent"),
        (0, "other", "step-00000002.pt is damaged", "said"),
        (1, "same", "Traceback", "lost"),
    ],
)
def test_an_outcome_is_judged_by_code_result_and_words(soak, tmp_path, code, result, said, outcome):
    ending = soak.Ending(code, 1.0, False, said)
    assert soak.judged(ending, tmp_path / "run", lambda folder: result, "same")["outcome"] == outcome


@pytest.mark.parametrize(("forget", "outcome"), [(False, "same"), (True, "silent")])
def test_a_run_that_forgets_what_it_had_is_told_from_one_that_goes_on(soak, tmp_path, forget, outcome):
    """Sums 0 … 59 with a file of how far it came; one of the two forgets the sum up to there."""

    def work(folder):
        folder.mkdir(exist_ok=True)
        file = folder / "n"
        begin = int(file.read_text()) if file.exists() else 0
        for n in range(begin, 60):
            (folder / "next").write_text(str(n))
            (folder / "next").replace(file)
            busy(0.01)
        (folder / "sum").write_text(str(sum(range(begin if forget else 0, 60))))
        return 0

    state = soak.Soak(tmp_path)
    numbers = (n for n in range(100) if soak.random.Random(f"lightning {n}").uniform(0, 1) > 0.3)
    row = soak.kill_runs("lightning", next(numbers), work, lambda folder: (folder / "sum").read_text(), state)
    assert row["kills"] > 0
    assert row["outcome"] == outcome


def test_the_table_counts_kills_and_outcomes(soak, tmp_path):
    rows = [
        {"trial": "kill vae 0", "kills": 3, "torn": 1, "outcome": "same"},
        {"trial": "kill vae on 2 processes 0", "kills": 1, "outcome": "hung"},
        {"trial": "kill lightning 0", "kills": 2, "outcome": "silent"},
        {"trial": "full vae a full disk 0", "outcome": "same"},
    ]
    (tmp_path / "log").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert soak.table(tmp_path / "log").splitlines()[2:] == [
        "| trimkit: killed | 1 | 3 | 1 | 1 | 0 | 0 | 0 | 0 |",
        "| trimkit: killed, one of two processes | 1 | 1 | 0 | 0 | 0 | 0 | 0 | 1 |",
        "| lightning: killed | 1 | 2 | 0 | 0 | 0 | 0 | 1 | 0 |",
        "| trimkit: a full disk | 1 | 0 | 0 | 1 | 0 | 0 | 0 | 0 |",
    ]
