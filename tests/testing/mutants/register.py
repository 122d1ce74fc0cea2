"""Which parts have a fault, and which have none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple


class Fault(NamedTuple):
    """What is wrong with a part: the promise that it breaks, and what the message says to change."""

    kind: str
    promise: str
    says: str


FAULTS: dict[str, Fault] = {}
SOUND: dict[str, str] = {}


def fault(kind: str, promise: str, says: str) -> Callable[[Any], Any]:
    def register(part: Any) -> Any:
        FAULTS[part.__name__] = Fault(kind, promise, says)
        return part

    return register


def sound(kind: str) -> Callable[[Any], Any]:
    def register(part: Any) -> Any:
        SOUND[part.__name__] = kind
        return part

    return register
