"""Progress: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import pytest
import torch

from trimkit.training import progress as module
from trimkit.training.progress import PlainProgress, Progress, RichProgress, describe, make_progress

NUMBERS = {"loss": 123.456, "recon": 110.0, "kl_per_dimension": [1.0, 2.0]}


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is told."""
    now = [100.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])
    return now


def test_speed_and_remaining_time_count_this_process_alone(clock):
    shown = Progress(total=100, batch_size=10, done=40)
    clock[0] += 5
    assert shown.speed(50) == pytest.approx(20.0)
    assert shown.remaining(50) == pytest.approx(25.0)


def test_lines(clock, capsys):
    with PlainProgress(total=100, batch_size=10) as shown:
        clock[0] += 2
        shown.update(50, NUMBERS)
    assert capsys.readouterr().err == "step 50/100  loss 123.5  recon 110  250 images/s  0:02 left\n"


def test_on_a_gpu_lines_tell_its_memory(clock, capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 2_340_000_000)
    clock[0] += 2
    PlainProgress(total=100, batch_size=10).update(50, NUMBERS)
    assert "images/s  2.3 GB  " in capsys.readouterr().err


def test_about_twenty_lines_and_always_the_last(clock, capsys):
    shown = PlainProgress(total=1000, batch_size=1)
    for step in [*range(10, 1000, 10), 999, 1000]:
        clock[0] += 1
        shown.update(step, NUMBERS)
    lines = capsys.readouterr().err.splitlines()
    assert 20 <= len(lines) <= 22
    assert lines[0].startswith("step 10/1000")
    assert lines[-1].startswith("step 1000/1000")


def test_silence(capsys):
    with make_progress(10, 1, wanted=False) as shown:
        shown.update(10, NUMBERS)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("terminal", "environment", "kind"),
    [
        (False, {}, PlainProgress),
        (True, {}, RichProgress),
        (True, {"NO_COLOR": "1"}, PlainProgress),
        (True, {"TERM": "dumb"}, PlainProgress),
    ],
)
def test_the_form_suits_the_terminal(monkeypatch, terminal, environment, kind):
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(module.sys.stderr, "isatty", lambda: terminal, raising=False)
    assert type(make_progress(10, 1)) is kind


def test_the_bar_runs_and_stops(capsys):
    with RichProgress(total=10, batch_size=2, done=4) as shown:
        shown.update(5, NUMBERS)
        shown.update(10, NUMBERS)
    err = capsys.readouterr().err
    assert "10/10" in err
    assert "images/s" in err


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0:00"), (61, "1:01"), (3725, "1:02:05")])
def test_clock(seconds, text):
    assert module._clock(seconds) == text


def test_only_scalars_are_described():
    assert describe(NUMBERS) == "loss 123.5  recon 110"
