"""The metrics of a run for TensorBoard, where it is wanted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from trimkit.errors import OptionError
from trimkit.training.run_folder import RunFolder
from trimkit.training.settings import Settings


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
