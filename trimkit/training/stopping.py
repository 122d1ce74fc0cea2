"""Stopping a run where nothing is lost: after a step, with a checkpoint."""

from __future__ import annotations

import signal
import sys
import time
from contextlib import AbstractContextManager

from trimkit.storage.signals import receiving


class Stopped(SystemExit):
    """A run that a signal stopped after a step; its checkpoint is saved. The exit code is 128 + the signal's number.

    Args:
        number: of the signal.
        message: what was reached, and how to go on.

    Attributes:
        message: as given.
    """

    def __init__(self, number: int, message: str) -> None:
        super().__init__(128 + number)
        self.message = message

    def __str__(self) -> str:
        return self.message


class Stopper:
    """Remembers a signal that asks the run to stop, until the step is done.

    Attributes:
        received: number of the signal; 0 for none.
    """

    def __init__(self) -> None:
        self.received = 0

    def listening(self) -> AbstractContextManager[None]:
        """Within, SIGTERM, SIGHUP and the first SIGINT are remembered; the second SIGINT stops at once."""
        return receiving(self._receive)

    def _receive(self, number: int) -> None:
        if number == self.received == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = number
        more = "; again to stop at once" if number == signal.SIGINT else ""
        sys.stderr.write(f"trimkit: {signal.Signals(number).name}: stopping with a checkpoint after this step{more}\n")


class Clock:
    """Says when a checkpoint is due by time.

    Args:
        minutes: between checkpoints; None for never.
    """

    def __init__(self, minutes: float | None) -> None:
        self._seconds = None if minutes is None else 60 * minutes
        self.restart()

    def restart(self) -> None:
        """A checkpoint was written now."""
        self._last = time.monotonic()

    @property
    def due(self) -> bool:
        """True where the last checkpoint is older than it may be."""
        return self._seconds is not None and time.monotonic() - self._last >= self._seconds
