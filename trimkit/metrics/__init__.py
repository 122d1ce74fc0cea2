"""Metrics: what codes and generated samples are worth, as functions over arrays.

They know no method, no dataset and no device. `disentanglement` is about codes and the factors behind data,
`generation` about samples of generative networks; both give a `MetricResult`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trimkit._lazy import lazy_names

if TYPE_CHECKING:
    from trimkit.metrics import disentanglement, generation
    from trimkit.metrics.results import MetricResult

__all__ = ["MetricResult", "disentanglement", "generation"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "MetricResult": "trimkit.metrics.results:MetricResult",
        "disentanglement": "trimkit.metrics.disentanglement",
        "generation": "trimkit.metrics.generation",
    },
)
