"""How far a run is: a bar on a terminal, plain lines elsewhere, nothing unless asked for."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self


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


class PlainProgress(Progress):
    """About twenty lines on stderr over the whole run."""

    def update(self, step: int, numbers: Mapping[str, float]) -> None:
        """One line at the first call, then after each twentieth of the run, and at its end."""
        if self._shown is None or step - self._shown >= self.total / 20 or step == self.total:
            self._shown = step
            pace = f"{self.speed(step):,.0f} images/s  {_clock(self.remaining(step))} left"
            sys.stderr.write(f"step {step}/{self.total}  {describe(numbers)}  {pace}\n")


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
        pace = f"{self.speed(step):,.0f} images/s · {_clock(self.remaining(step))} left"
        self._bar.update(self._task, completed=step, text=f"loss {numbers['loss']:.4g} · {pace}")


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
