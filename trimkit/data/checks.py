"""Options of simulated data, checked: each message names the data, the option and what it can be."""

from __future__ import annotations

import math
from typing import Any

import torch

from trimkit.errors import OptionError


def at_least(data: str, least: int, **options: Any) -> None:
    """Refuse options that are no whole numbers from ``least``.

    Raises:
        OptionError: the first one that does not fit.
    """
    for name, value in options.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise OptionError(f"{data}: expected {name} as a whole number ≥ {least}, got {value!r}")


def numbers(data: str, least: float, **options: Any) -> None:
    """Refuse options that are no finite numbers from ``least``.

    Raises:
        OptionError: the first one that does not fit.
    """
    for name, value in options.items():
        real = isinstance(value, int | float) and not isinstance(value, bool)
        if not real or not math.isfinite(value) or value < least:
            raise OptionError(f"{data}: expected {name} as a number ≥ {least:g}, got {value!r}")


def seeded(data: str, seed: int) -> torch.Generator:
    """A generator of its own for a seed.

    Raises:
        OptionError: a seed that is no whole number ≥ 0.
    """
    at_least(data, 0, seed=seed)
    return torch.Generator().manual_seed(seed)
