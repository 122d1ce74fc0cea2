"""How far a run is: a bar on a terminal, plain lines elsewhere, curves in TensorBoard, each where it is wanted."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from trimkit.errors import OptionError
from trimkit.training.run_folder import RunFolder
from trimkit.training.settings import Settings


class Progress:
    """Shows nothing; base of those that show something, and a context manager.

    Args:
        total: steps of the whole run.
        batch_size: images a step.
        done: steps that were done before.
    """

    def __init__(self, total: int, batch_size: int, done: int = 0) -> None:
        self.total = total
        self._batch_size = batch_size
        self._first = done
        self._started = time.perf_counter()
        self._shown: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return

    def update(self, step: int, numbers: Mapping[str, float]) -> None:
        """After ``step`` steps, with the newest "loss" and terms."""

    def speed(self, step: int) -> float:
        """Images a second since the start of this process's share of the run."""
        elapsed = max(time.perf_counter() - self._started, 1e-9)
        return (step - self._first) * self._batch_size / elapsed

    def remaining(self, step: int) -> float:
        """Seconds left at this speed."""
        speed = self.speed(step)
        return (self.total - step) * self._batch_size / speed if speed else 0.0

    def pace(self, step: int, between: str) -> str:
        """Images a second, the GPU memory where there is one, and the time that is left, with a text between them."""
        parts = (f"{self.speed(step):,.0f} images/s", gpu_memory(), f"{_clock(self.remaining(step))} left")
        return between.join(filter(None, parts))


def gpu_memory() -> str:
    """The most memory that this process has held on its GPU, such as ``"1.2 GB"``; "" where it uses none of CUDA."""
    import torch

    return f"{torch.cuda.max_memory_allocated() / 1e9:.1f} GB" if torch.cuda.is_initialized() else ""


class PlainProgress(Progress):
    """About twenty lines on stderr over the whole run."""

    def update(self, step: int, numbers: Mapping[str, float]) -> None:
        """One line at the first call, then after each twentieth of the run, and at its end."""
        if self._shown is None or step - self._shown >= self.total / 20 or step == self.total:
            self._shown = step
            sys.stderr.write(f"step {step}/{self.total}  {describe(numbers)}  {self.pace(step, '  ')}\n")


class RichProgress(Progress):
    """One live bar on stderr."""

    def __enter__(self) -> Self:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
        from rich.progress import Progress as Bar

        columns = ("train", BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[text]}"))
        self._bar = Bar(*columns, console=Console(stderr=True))
        self._task = self._bar.add_task("train", total=self.total, completed=self._first, text="")
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def update(self, step: int, numbers: Mapping[str, float]) -> None:
        """Move the bar; rich limits how often it is drawn."""
        self._bar.update(self._task, completed=step, text=f"loss {numbers['loss']:.4g} · {self.pace(step, ' · ')}")


def make_progress(total: int, batch_size: int, done: int = 0, *, wanted: bool = True) -> Progress:
    """The form that suits stderr: a bar on a terminal, lines elsewhere and under NO_COLOR or TERM=dumb."""
    if not wanted:
        return Progress(total, batch_size, done)
    plain = not sys.stderr.isatty() or bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
    return (PlainProgress if plain else RichProgress)(total, batch_size, done)


def describe(numbers: Mapping[str, Any]) -> str:
    """``loss 123.4  recon 110.2``: the scalars among the numbers, in their order."""
    return "  ".join(f"{name} {value:.4g}" for name, value in numbers.items() if isinstance(value, float))


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class Board:
    """Writes scalars to ``tensorboard/`` in a run's folder; without a writer it writes nothing.

    Args:
        folder: of the run.
        writer: `torch.utils.tensorboard.SummaryWriter`, the class; None for nothing.
    """

    def __init__(self, folder: RunFolder | None = None, writer: Any = None) -> None:
        self._folder = folder
        self._writer = writer
        self._open: Any = None

    @contextmanager
    def opened(self, first: int) -> Iterator[None]:
        """Open for a while; what was written for steps after ``first`` by a run that stopped is hidden."""
        if self._writer is None or self._folder is None:
            yield
            return
        self._open = self._writer(str(self._folder.working / "tensorboard"), purge_step=first + 1)
        try:
            yield
        finally:
            self._open.close()
            self._open = None

    def write(self, row: Mapping[str, Any]) -> None:
        """A line of metrics.jsonl as ``phase/name``, a curve each; lists as ``phase/name/0``, …"""
        if self._open is None:
            return
        for name, value in row.items():
            for key, number in _scalars(name, value):
                if name not in ("step", "phase"):
                    self._open.add_scalar(f"{row['phase']}/{key}", number, row["step"])


def make_board(folder: RunFolder | None, settings: Settings) -> Board:
    """A board for the run's metrics, if `Settings.tensorboard` asks for it.

    Raises:
        OptionError: TensorBoard is not installed.
    """
    if not settings.tensorboard:
        return Board()
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise OptionError(
            "tensorboard=True needs TensorBoard, which is not installed: pip install 'trimkit[tensorboard]'"
        ) from error
    return Board(folder, SummaryWriter)


def _scalars(name: str, value: Any) -> Iterator[tuple[str, float]]:
    if isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _scalars(f"{name}/{index}", inner)
    elif isinstance(value, int | float):
        yield name, value
