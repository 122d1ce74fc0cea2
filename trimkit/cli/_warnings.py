"""Warnings as lines that a user can read: no file, no line number, no source."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from trimkit.errors import TrimkitWarning
from trimkit.registry.loader import printable


@contextmanager
def one_line_warnings() -> Iterator[None]:
    """Write trimkit's own warnings as ``trimkit: warning: …`` on stderr; all others as usual, and none with control
    characters.
    """
    with warnings.catch_warnings():
        inherited = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            """Ours as a line, others as before."""
            if issubclass(category, TrimkitWarning):
                sys.stderr.write(f"trimkit: warning: {printable(str(message))}\n")
            else:
                inherited(printable(str(message)), category, *where, **more)

        warnings.showwarning = show
        yield
