"""Metrics of independent component analysis: against known sources, and of components alone.

Against the truth: `amari_distance` of a linear unmixing, and `mean_correlation` (MCC) of any codes, which is worth
something beside `mcc_baselines` only. Of components without it: `negentropy`, `excess_kurtosis`,
`squared_correlations`, `mutual_information_matrix`, and `report`, which sums them up with intervals. Everything is
computed in float64 and depends on its arguments and the seed alone. `check_ica`, which asks whether data meet the
assumptions of linear ICA at all, comes with the distribution trimkit-ica and has its name here too.
"""

from __future__ import annotations

from typing import Any

from trimkit.errors import PluginError
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
from trimkit.registry.lazy import import_target

__all__ = [
    "amari_distance",
    "excess_kurtosis",
    "mcc_baselines",
    "mean_correlation",
    "mutual_information_matrix",
    "negentropy",
    "report",
    "squared_correlations",
]


def __getattr__(name: str) -> Any:
    """`check_ica`, imported when it is asked for.

    Raises:
        PluginError: its distribution is not installed.
    """
    if name != "check_ica":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return import_target("trimkit_ica.assumptions:check_ica")
    except ModuleNotFoundError as error:
        if error.name != "trimkit_ica":
            raise
        raise PluginError("check_ica comes with trimkit-ica: pip install trimkit-ica") from error


def __dir__() -> list[str]:
    return sorted({*globals(), "check_ica"})
