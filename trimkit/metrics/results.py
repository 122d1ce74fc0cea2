"""What a metric answers: a number, how sure it is, how it was computed, and what it is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class MetricResult:
    """One metric of one representation.

    Attributes:
        name: of the metric, such as "mutual_information_gap".
        value: finite; its range is the metric's.
        interval: 95 % bootstrap interval (low, high), or None where none was asked for or none is honest.
        protocol: how it was computed, as plain values: samples, bins, estimator, predictor, seed, what was resampled.
            A number without it compares with nothing: three definitions of the mutual information gap circulate.
        parts: what it is made of, as plain values: "per_factor" (factor → value), matrices as nested lists.
    """

    name: str
    value: float
    interval: tuple[float, float] | None
    protocol: Mapping[str, Any]
    parts: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "value": self.value,
            "interval": None if self.interval is None else list(self.interval),
            "protocol": dict(self.protocol),
            "parts": dict(self.parts),
        }

    def __str__(self) -> str:
        spread = "" if self.interval is None else f" [{self.interval[0]:.3f}, {self.interval[1]:.3f}]"
        return f"{self.name} {self.value:.3f}{spread}"


def plain(values: Any) -> Any:
    """An array as nested lists of Python numbers, a NumPy scalar as a number.

    >>> import numpy as np
    >>> plain(np.array([[1.0, 2.0]])), plain(np.float64(0.5))
    ([[1.0, 2.0]], 0.5)
    """
    return np.asarray(values).tolist()


def by_name(names: tuple[str, ...], values: Any) -> dict[str, Any]:
    """Factor → value.

    >>> by_name(("shape", "size"), [0.5, 1.0])
    {'shape': 0.5, 'size': 1.0}
    """
    return dict(zip(names, plain(values), strict=True))
