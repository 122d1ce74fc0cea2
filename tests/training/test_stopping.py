"""Signals stop a run after a step, with a checkpoint; a second interrupt stops it at once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
import torch

from trimkit.errors import OptionError
from trimkit.training import Settings, train
from trimkit.training.loop import Loop
from trimkit.training.stopping import Clock, Stopped, Stopper

OPTIONS = {"batch_size": 8, "checkpoint_every": 1000}


@pytest.fixture(autouse=True)
def interruptible():
    """Python's own handler of SIGINT, which a job that a shell runs in the background inherits as ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def newest(folder):
    return torch.load(sorted((folder / "checkpoints").glob("*.pt"))[-1], weights_only=True)


def signalled(step: int, *numbers: int):
    """Loop._advance that sends signals to its own process in a step."""
    advance = Loop._advance

    def run(loop: Loop, batch) -> None:
        advance(loop, batch)
        if loop.step == step:
            for number in numbers:
                os.kill(os.getpid(), number)

    return run


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_the_step_is_finished_and_saved(toy, data, tmp_path, monkeypatch, same, capsys, number, code):
    handler = signal.getsignal(number)
    monkeypatch.setattr(Loop, "_advance", signalled(4, number))
    with pytest.raises(Stopped, match=r"stopped after step 5 with a checkpoint; go on with --resume") as stopped:
        train(toy(), data, folder=tmp_path / "run", steps=9, **OPTIONS)
    monkeypatch.undo()
    assert stopped.value.code == code
    assert f"{number.name}: stopping with a checkpoint after this step" in capsys.readouterr().err
    assert signal.getsignal(number) is handler
    assert newest(tmp_path / "run.partial")["step"] == 5
    train(toy(), data, folder=tmp_path / "run", steps=9, resume=True, **OPTIONS)
    train(toy(), data, folder=tmp_path / "whole", steps=9, **OPTIONS)
    assert same(newest(tmp_path / "run"), newest(tmp_path / "whole"))


def test_a_signal_after_the_last_step_is_heard(toy, data, tmp_path, monkeypatch, same):
    run = Loop.run
    monkeypatch.setattr(Loop, "run", lambda *given: (run(*given), os.kill(os.getpid(), signal.SIGTERM)))
    with pytest.raises(Stopped, match=r"stopped after step 4 with a checkpoint; go on with --resume"):
        train(toy(), data, folder=tmp_path / "run", steps=4, **OPTIONS)
    monkeypatch.undo()
    resumed = train(toy(), data, folder=tmp_path / "run", steps=4, resume=True, **OPTIONS)
    whole = train(toy(), data, folder=tmp_path / "whole", steps=4, **OPTIONS)
    assert same(resumed.method.state_dict(), whole.method.state_dict())


def test_one_interrupt_saves_and_a_second_does_not_wait(toy, data, tmp_path, monkeypatch):
    monkeypatch.setattr(Loop, "_advance", signalled(4, signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        train(toy(), data, folder=tmp_path / "one", steps=9, **OPTIONS)
    monkeypatch.undo()
    assert newest(tmp_path / "one.partial")["step"] == 5
    monkeypatch.setattr(Loop, "_advance", signalled(4, signal.SIGINT, signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        train(toy(), data, folder=tmp_path / "two", steps=9, **OPTIONS)
    assert newest(tmp_path / "two.partial")["step"] == 0


def test_without_a_folder_signals_are_left_alone(toy, data, monkeypatch):
    monkeypatch.setattr(Loop, "_advance", signalled(1, signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        train(toy(), data, steps=9, **OPTIONS)


def test_a_thread_can_train_too(toy, data, tmp_path):
    runs = []
    thread = threading.Thread(
        target=lambda: runs.append(train(toy(), data, folder=tmp_path / "run", steps=2, **OPTIONS))
    )
    thread.start()
    thread.join()
    assert runs[0].steps == 2


def test_a_copy_of_the_process_dies_of_a_signal():
    stopper, (heard, ready) = Stopper(), os.pipe()
    with stopper.listening():
        child = os.fork()
        if child == 0:
            os.write(ready, b"x")
            time.sleep(30)
            os._exit(0)
        assert os.read(heard, 1) == b"x"  # a signal before Python is ready in the copy is lost
        os.kill(child, signal.SIGTERM)
        _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGTERM
    assert stopper.received == 0


def test_checkpoints_by_time(toy, data, tmp_path, monkeypatch):
    saved = []
    monkeypatch.setattr(Clock, "due", property(lambda clock: True))
    advance = Loop._advance
    monkeypatch.setattr(Loop, "_advance", lambda loop, batch: (saved.append(loop.step), advance(loop, batch)))
    train(toy(), data, folder=tmp_path / "run", steps=4, checkpoint_minutes=1.0, **OPTIONS)
    names = sorted(path.name for path in (tmp_path / "run" / "checkpoints").glob("*.pt"))
    assert names == ["step-00000003.pt", "step-00000004.pt"]


def test_the_clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    clock, never = Clock(0.5), Clock(None)
    due = []
    for now[0] in (129.9, 130.0):
        due.append(clock.due)
    clock.restart()
    due.append(clock.due)
    now[0] = 1e9
    assert ([*due, clock.due], never.due) == ([False, True, False, True], False)


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan")])
def test_no_time_is_no_time(value):
    with pytest.raises(OptionError, match="expected checkpoint_minutes > 0"):
        Settings(checkpoint_minutes=value)


@pytest.mark.parametrize("workers", ["0", "2"])
def test_the_command_ends_with_the_signals_code(tmp_path, workers):
    """The signal goes to the whole group, as SLURM and a terminal send it."""
    options = ["--steps", "100000", "--batch-size", "16", "--method.network", "mlp", "--out", "run"]
    command = [sys.executable, "-m", "trimkit", "train", "vae", "--data", "digits", *options, "--workers", workers]
    command += ["--log-every", "5"]
    log = tmp_path / "run.partial" / "metrics.jsonl"
    child = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True)
    while not (log.exists() and log.read_text().count("\n") > 2):
        assert child.poll() is None, child.communicate()
        time.sleep(0.05)
    os.killpg(child.pid, signal.SIGTERM)
    _, errors = child.communicate(timeout=60)
    assert child.returncode == 143, errors
    last = errors.splitlines()[-1]
    assert last.startswith("trimkit: SIGTERM: stopped after step ")
    manifests = sorted((tmp_path / "run.partial" / "checkpoints").glob("*.json"))
    assert json.loads(manifests[-1].read_text())["step"] == int(last.split()[5])
