"""Metrics of independent component analysis: against known sources, and of components alone.

Against the truth: `amari_distance` of a linear unmixing, and `mean_correlation` (MCC) of any codes, which is worth
something beside `mcc_baselines` only. Of components without it: `negentropy`, `excess_kurtosis`,
`squared_correlations`, `mutual_information_matrix`, and `report`, which sums them up with intervals. `check_ica` asks
whether data meet the assumptions of linear ICA at all. Everything is computed in float64 and depends on its arguments
and the seed alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trimkit.metrics.independence.baselines import mcc_baselines
from trimkit.metrics.independence.components import (
    excess_kurtosis,
    mutual_information_matrix,
    negentropy,
    report,
    squared_correlations,
)
from trimkit.metrics.independence.correlation import mean_correlation
from trimkit.metrics.independence.unmixing import amari_distance
from trimkit.registry.lazy import lazy_names

if TYPE_CHECKING:
    from trimkit.metrics.independence.check import check_ica

__all__ = [
    "amari_distance",
    "check_ica",
    "excess_kurtosis",
    "mcc_baselines",
    "mean_correlation",
    "mutual_information_matrix",
    "negentropy",
    "report",
    "squared_correlations",
]

__getattr__, __dir__ = lazy_names(__name__, {"check_ica": "trimkit.metrics.independence.check:check_ica"})
