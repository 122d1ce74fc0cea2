"""Whose turn it is: what is one for a model, or for the whole process, is used by one thread at a time.

Captum's hooks sit on the modules themselves, and so does what is replaced below an explained layer; torch's and numpy's
default random states, and whether compiled code runs, are the process's.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

from torch import nn

WRAPPERS = ("module", "_orig_mod", "inner")
"""Attributes under which DistributedDataParallel, torch.compile and `trimkit.FrozenPredictor` keep the model."""

_WRAPPER_TYPES = (
    "DistributedDataParallel",
    "DataParallel",
    "OptimizedModule",
    "FrozenPredictor",
    "_Explained",
    "_Logits",
)

Lock: TypeAlias = Any
"""A re-entrant lock: `threading.RLock` is a function."""

_turns: WeakKeyDictionary[nn.Module, Lock] = WeakKeyDictionary()
_process = threading.RLock()
_making = threading.Lock()


def _forget() -> None:
    """In a copy of this process, whoever held a lock is not there to release it."""
    global _process, _making
    _turns.clear()
    _process, _making = threading.RLock(), threading.Lock()


if hasattr(os, "register_at_fork"):  # not on Windows, where no process is a copy of another
    os.register_at_fork(after_in_child=_forget)


def alone(model: Any) -> AbstractContextManager[Any]:
    """Within, no other thread explains this model; a module and what wraps it are one model, a function is none."""
    if not isinstance(model, nn.Module):
        return nullcontext()
    with _making:
        return _turns.setdefault(unwrapped(model), threading.RLock())


def process_wide() -> AbstractContextManager[Any]:
    """Within, no other thread of trimkit's changes what the whole process shares.

    Whoever needs a model too takes that first.
    """
    return _process


def in_this_thread(hook: Callable[..., Any]) -> Callable[..., Any]:
    """A hook that does nothing, and returns None, where another thread runs the module."""
    mine = threading.get_ident()

    def own(*arguments: Any) -> Any:
        return hook(*arguments) if threading.get_ident() == mine else None

    return own


def unwrapped(model: nn.Module) -> nn.Module:
    """The module behind the wrappers of distributed training, compilation and freezing."""
    while type(model).__name__ in _WRAPPER_TYPES:
        inside = (getattr(model, name, None) for name in WRAPPERS)
        wrapped = next((m for m in inside if isinstance(m, nn.Module)), None)
        if wrapped is None:
            return model
        model = wrapped
    return model
