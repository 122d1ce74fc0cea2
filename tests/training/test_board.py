"""The metrics of a run for TensorBoard: what is written, and what is said where it is not installed."""

from __future__ import annotations

import builtins
import sys
from types import ModuleType
from typing import ClassVar

import pytest

from trimkit.errors import OptionError
from trimkit.training import train
from trimkit.training.progress import Board

OPTIONS = {"batch_size": 8, "log_every": 1, "device": "cpu", "tensorboard": True}


class Writer:
    """Keeps what it is given, as `torch.utils.tensorboard.SummaryWriter` takes it."""

    made: ClassVar[list[Writer]] = []

    def __init__(self, log_dir: str, purge_step: int) -> None:
        self.log_dir, self.purge_step = log_dir, purge_step
        self.scalars: dict[tuple[str, int], float] = {}
        self.closed = False
        Writer.made.append(self)

    def add_scalar(self, tag: str, value: float, step: int) -> None:
        self.scalars[tag, step] = value

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def writers(monkeypatch):
    fake = ModuleType("torch.utils.tensorboard")
    fake.SummaryWriter = Writer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", fake)
    monkeypatch.setattr(Writer, "made", [])
    return Writer.made


def test_every_number_of_the_metrics_is_a_curve(toy, data, tmp_path, writers):
    run = train(toy(), data, folder=tmp_path / "run", steps=3, **OPTIONS)
    (writer,) = writers
    assert writer.closed
    assert (writer.log_dir, writer.purge_step) == (str(tmp_path / "run.partial" / "tensorboard"), 1)
    for row in run.history:
        assert writer.scalars[f"{row['phase']}/loss", row["step"]] == row["loss"]
    last = [row for row in run.history if row["phase"] == "networks"][-1]
    for index, kl in enumerate(last["kl_per_dimension"]):
        assert writer.scalars[f"networks/kl_per_dimension/{index}", 3] == kl
    assert not any(tag.endswith(("/step", "/phase")) for tag, _ in writer.scalars)


def test_a_resumed_run_hides_what_it_does_again(toy, data, tmp_path, writers):
    train(toy(), data, folder=tmp_path / "run", steps=2, **OPTIONS)
    train(toy(), data, folder=tmp_path / "run", steps=4, resume=True, **OPTIONS)
    assert [writer.purge_step for writer in writers] == [1, 3]


def test_the_writer_is_closed_after_an_exception(toy, data, tmp_path, writers, monkeypatch):
    method = toy()
    reconstruct = method.reconstruct

    def fail(batch, generator, step):
        return 1 / 0 if step == 1 else reconstruct(batch, generator, step)

    monkeypatch.setattr(method, "reconstruct", fail)
    with pytest.raises(ZeroDivisionError):
        train(method, data, folder=tmp_path / "run", steps=3, **OPTIONS)
    assert writers[0].closed


def test_without_tensorboard_the_extra_is_named_before_any_work(toy, data, tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    original = builtins.__import__

    def absent(name, *arguments, **more):
        if name.startswith(("torch.utils.tensorboard", "tensorboard")):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return original(name, *arguments, **more)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(OptionError, match=r"pip install 'trimkit\[tensorboard\]'"):
        train(toy(), data, folder=tmp_path / "run", steps=1, **OPTIONS)
    assert not list(tmp_path.iterdir())


def test_a_board_that_is_not_wanted_writes_nothing(toy, data, tmp_path):
    board = Board()
    with board.opened(0):
        board.write({"step": 1, "phase": "a", "loss": 1.0})
    run = train(toy(), data, folder=tmp_path / "run", steps=1, **{**OPTIONS, "tensorboard": False})
    assert run.folder is not None
    assert not (run.folder / "tensorboard").exists()
