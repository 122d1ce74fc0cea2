"""How far an audit is: a bar on a terminal, lines in a log."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trimkit.audit.run import Progress


@contextmanager
def show_progress(lines: bool = False) -> Iterator[Progress | None]:
    """A bar on stderr, with rate and time left, while it is a terminal; else a line a step where that is asked for."""
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield _line_writer() if lines else None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = ("auditing", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("auditing", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _line_writer() -> Progress:
    """Writes ``4096 of 100000 samples, 312 a second, 5 min left`` after every step."""
    begun = time.monotonic()

    def write(done: int, total: int) -> None:
        """A line for so many samples of the total."""
        rate = done / max(1e-9, time.monotonic() - begun)
        left = (total - done) / rate
        spoken = f"{left:.0f} s" if left < 120 else f"{left / 60:.0f} min"
        sys.stderr.write(f"{done} of {total} samples, {rate:.3g} a second, {spoken} left\n")

    return write
