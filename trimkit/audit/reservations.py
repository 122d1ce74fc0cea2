"""What an order of removal that beats its controls may still hide: a tiny lead, or support that is scored zero."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from scipy.stats import ttest_1samp
from torch import Tensor

from trimkit.audit.columns import Column
from trimkit.audit.removal import OPERATORS, values_of_sets
from trimkit.audit.statistics import TAILS, Resampling
from trimkit.audit.subject import Batch, Subject
from trimkit.coefficients import tree
from trimkit.coefficients.tree import Tree
from trimkit.report.verdicts import number

SILENT = 1e-6
"""A group is scored zero below this share of the sample's largest."""


def silent_falls(subject: Subject, batch: Batch, scores: Tree, replacement: Tree) -> Tensor:
    """How far the output falls without the groups that are scored zero, and without all others.

    A group whose absence speaks for the output (Dhurandhar 2018, a pertinent negative) gets no score from a baseline
    at which it is absent already; another removal operator shows what it holds.

    Args:
        subject: model, transform and groups.
        batch: samples.
        scores: of one attribution.
        replacement: what removed coefficients become.
    Returns:
        (N, 3) float64 on the CPU: both falls, see `trimkit.audit.removal.measured_value`, and the sum of their
            magnitudes; zeros where no group is silent.
    """
    sizes = subject.groups.sums(tree.map_leaves(Tensor.abs, scores)).cpu()
    silent = sizes <= SILENT * sizes.amax(1, keepdim=True)
    if not bool(silent.any()):
        return torch.zeros(len(batch), 3, dtype=torch.float64)
    sets = torch.stack([torch.zeros_like(silent), silent, ~silent], dim=1)
    values = values_of_sets(subject, batch, sets, replacement)
    falls = values[:, :1] - values[:, 1:]
    return torch.cat([falls, falls.abs().sum(1, keepdim=True)], dim=1)


def lead_reached(values: Mapping[str, Column], least: float) -> tuple[float, bool]:
    """How much of the lead of the best order over random ones the scores reach, over all removal operators.

    Args:
        values: of the check `controls`.
        least: share that is enough.
    Returns:
        The share, and whether it lies below ``least`` beyond doubt (t-test over the searched samples, 2.5 %).
    """
    leads, bests = np.zeros(1), np.zeros(1)
    for operator in OPERATORS:
        best = values[f"{operator}/best"].rows
        some = ~np.isnan(best)
        random, own = (values[f"{operator}/{order}"].rows[some, 1:-1].mean(1) for order in ("random", "scores"))
        leads, bests = leads + random - own, bests + random - best[some]
    if len(leads) < 2 or bests.mean() <= 0:
        return 1.0, False
    short = leads - least * bests
    test: Any = ttest_1samp(short, 0.0, alternative="less") if np.ptp(short) > 0 else None
    below = test is not None and test.pvalue < TAILS[0]
    return float(leads.mean() / bests.mean()), bool(below)


def silent_share(falls: Column, most: float, bootstrap: Resampling) -> tuple[float, bool]:
    """How much of the output's movement is a fall without the groups scored zero.

    Args:
        falls: (n, 3) of `silent_falls`.
        most: share that is allowed.
        bootstrap: over the samples.
    Returns:
        The share, and whether it lies above ``most`` with its whole interval.
    """
    fall, moved = falls[:, 0], falls[:, 2]
    if not moved.mean():
        return 0.0, False
    return max(0.0, fall.mean() / moved.mean()), bootstrap.estimate(fall - most * moved).low > 0


def reservation(values: Mapping[str, Column], bootstrap: Resampling, reach: float, silent: float) -> str:
    """Why an order that beats both controls everywhere is no PASS yet, or "".

    Args:
        values: of the check `controls`.
        bootstrap: over the samples.
        reach: share of the best order's lead that is enough.
        silent: share of the output's movement that groups scored zero may hold.
    """
    if not all(f"{operator}/{what}" in values for operator in OPERATORS for what in ("silent", "best")):
        return ""
    for operator, becomes in OPERATORS.items():
        share, above = silent_share(values[f"{operator}/silent"], silent, bootstrap)
        if above:
            return (
                f"Better than both controls, but groups that are scored zero hold {number(share, '%')} % of what the "
                f"output loses when coefficients are {becomes}: their absence speaks for the output, and this baseline "
                "cannot show it. Explain from another baseline, such as the mean of the data, or with "
                "expected_gradients."
            )
    share, below = lead_reached(values, reach)
    if below:
        return (
            f"Better than both controls, but by little: the scores reach {number(share, '%')} % of the lead that the "
            f"best order found has over random ones, less than {number(reach, '%')} %."
        )
    return ""
