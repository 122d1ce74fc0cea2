"""What a reader of an evaluation has to know: what was left out, and why."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from trimkit.data import Dataset
from trimkit.metrics import MetricResult
from trimkit.metrics.disentanglement.voting import DEAD

Metrics: TypeAlias = dict[str, MetricResult]


def notes_on(data: Dataset, metrics: Metrics, kl: Mapping[str, Any]) -> Iterator[str]:
    """What a reader has to know of the samples and of what they did not allow."""
    if data.split == "train":
        yield "the samples are those that the run was trained on"
    named = "labels" if data.factors is None else "factors"
    if data.factors is None and data.class_labels is None:
        yield f"{data.name} has neither factors nor labels: only metrics that need none"
    elif "mutual_information_gap" not in metrics:
        yield f"the {named} of {data.name} have one value in all samples: only metrics that need none"
    elif data.factors is None:
        yield f"{data.name} has no known factors: its labels are the one factor; votes need several, and are left out"
    if "mutual_information_gap" in metrics and "dci_disentanglement" not in metrics:
        if data.factors is not None:
            yield f"one factor of {data.name} varies: votes need several, and are left out"
        yield "not applicable: dci_disentanglement and modularity, which are 1 for every code of one factor, noise too"
    if "mutual_information_gap" in metrics and "dci_completeness" not in metrics:
        yield "not applicable: dci_completeness, which is 1 where there is one code, noise too"
    if _too_small(metrics):
        yield (
            f"the codes' spread is below {DEAD:g}: the FactorVAE score counts them as dead, and SAP and the BetaVAE "
            "score depend on their scale too; bring them to variance 1 to compare"
        )
    left_out = {name for result in metrics.values() for name in result.protocol.get("left_out", ())}
    if left_out:
        yield f"left out, with one value in all samples: {', '.join(sorted(left_out))}"
    if not math.isfinite(kl.get("total", 0.0)):
        yield "the KL is not finite: some posterior has no spread, or its variance is beyond all numbers"
    yield "seeds of training spread as widely as methods do: compare several runs, and look at each factor"


def _too_small(metrics: Metrics) -> bool:
    """Whether all codes were dead to the votes, though they vary."""
    votes, held = metrics.get("factor_vae_score"), metrics.get("irs")
    return votes is not None and held is not None and not votes.parts["active"] and bool(held.parts["active"])
