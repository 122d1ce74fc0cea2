"""Signals that end a process, taken in so that nothing stays half done."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType

ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Those that ask a process to end; Windows has no SIGHUP."""


class Terminated(KeyboardInterrupt):
    """The process is asked to end: passes wherever Ctrl-C does, so that files are closed and folders given back.

    Args:
        number: of the signal.

    Attributes:
        code: of the process's exit, 128 + the number.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.code = 128 + number


@contextmanager
def receiving(receive: Callable[[int], None], numbers: Iterable[int] = ENDING) -> Iterator[None]:
    """Within, signals call a function, and after it what they called before.

    Signals that are ignored, as SIGHUP under ``nohup``, stay so, and all are left alone in a thread, which cannot have
    any. A copy of this process dies of them as usual: it has nothing to finish.

    Args:
        receive: called with the signal's number, between two instructions of Python in the main thread.
        numbers: of the signals.
    """
    process = os.getpid()

    def handle(number: int, frame: FrameType | None) -> None:
        if os.getpid() == process:
            receive(number)
        else:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    in_main = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in numbers if in_main}
    before = {number: handler for number, handler in before.items() if handler not in (signal.SIG_IGN, None)}
    try:
        for number in before:
            signal.signal(number, handle)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def ending_in_order() -> Iterator[None]:
    """Within, SIGTERM and SIGHUP raise `Terminated`, where the process would have died of them on the spot."""

    def end(number: int) -> None:
        raise Terminated(number)

    fatal = [number for number in ENDING if signal.getsignal(number) is signal.SIG_DFL]
    with receiving(end, fatal):
        yield
