"""Warnings as lines that a user can read: no file, no line number, no source."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from trimkit.errors import TrimkitWarning


@contextmanager
def one_line_warnings() -> Iterator[None]:
    """Write trimkit's own warnings as ``trimkit: warning: …`` on stderr; leave all others as they are."""
    with warnings.catch_warnings():
        inherited = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            if issubclass(category, TrimkitWarning):
                sys.stderr.write(f"trimkit: warning: {' '.join(str(message).split())}\n")
            else:
                inherited(message, category, *where, **more)

        warnings.showwarning = show
        yield
