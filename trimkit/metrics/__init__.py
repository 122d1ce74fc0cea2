"""Metrics: what codes and generated samples are worth, as functions over arrays.

They know no method, no dataset and no device. `disentanglement` is about codes and the factors behind data,
`independence` about components and the sources behind data, `generation` about samples of generative networks; all
give a `MetricResult`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trimkit.registry.lazy import lazy_names

if TYPE_CHECKING:
    from trimkit.metrics import disentanglement, generation, independence
    from trimkit.metrics.results import MetricResult

__all__ = ["MetricResult", "disentanglement", "generation", "independence"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "MetricResult": "trimkit.metrics.results:MetricResult",
        "disentanglement": "trimkit.metrics.disentanglement",
        "generation": "trimkit.metrics.generation",
        "independence": "trimkit.metrics.independence",
    },
)
