"""Known concepts in a dictionary: over how many features one is split, how often another feature has absorbed it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from torch import Tensor

from trimkit.metrics import MetricResult
from trimkit.metrics.bootstrap import generator
from trimkit.metrics.predictors import quiet

MOST = 10
"""Features of the widest probe, and values of a factor that are each a concept; of more, quarters are."""

FEWEST = 20
"""Vectors with and without a concept, at least, for it to be looked at."""

JUMP = 0.03
"""Gain of F1 by one more feature, below which a concept is split no further (Chanin et al. 2024)."""

ALIGNED = 0.025
"""Cosine with the probe's direction from which a feature may have absorbed a concept (Chanin et al. 2024)."""

MAIN = 0.5
"""Share of what a vector has along the probe's direction that the absorbing feature has to give."""

Flags = NDArray[np.bool_]


class Concept(NamedTuple):
    """Something that is known of each vector, and the direction in which a probe reads it.

    Attributes:
        name: factor and value, such as "shape 2".
        held: (n,) where it is.
        direction: (d,) of length 1, of a logistic probe on the vectors, fitted to the training half.
        read: (n,) where the probe says so.
        along: (n,) ⟨x, direction⟩ beyond the mean of training vectors without the concept.
    """

    name: str
    held: Flags
    direction: Tensor
    read: Flags
    along: Tensor


def make_concepts(vectors: Tensor, factors: Tensor, names: Sequence[str], train: Flags) -> list[Concept]:
    """A concept for each value of each factor, or, of more than `MOST` values, for each quarter of them.

    Args:
        vectors: (n, d).
        factors: (n, K) integers.
        names: of the factors.
        train: (n,) the half that probes are fitted to.
    """
    x = vectors.detach().double().cpu().numpy()
    mean, spread = x[train].mean(0), np.maximum(x[train].std(0), 1e-12)
    concepts = []
    for values, name in zip(factors.T.cpu().numpy(), names, strict=True):
        ranges = len(np.unique(values)) > MOST
        groups = np.searchsorted(np.quantile(values, [0.25, 0.5, 0.75]), values) if ranges else values
        for value in np.unique(groups):
            held = groups == value
            if all(min(part.sum(), (~part).sum()) >= FEWEST for part in (held[train], held[~train])):
                probe = _fit((x[train] - mean) / spread, held[train])
                read = probe.predict((x - mean) / spread).astype(bool)
                direction = probe.coef_[0] / spread
                direction /= np.linalg.norm(direction)
                along = x @ direction - (x[train & ~held] @ direction).mean()
                label = f"{name} {'quarter ' if ranges else ''}{value}"
                concepts.append(Concept(label, held, torch.as_tensor(direction), read, torch.as_tensor(along)))
    return concepts


def describe_concepts(
    z: Tensor, directions: Tensor, concepts: Sequence[Concept], train: Flags, seed: int = 0
) -> dict[str, MetricResult]:
    """How a dictionary holds concepts.

    Splitting: sparse probes (Gurnee et al. 2023, arXiv:2305.01610) read a concept off the k features whose standardised
    means differ most; those needed are the first after which one more gains less than `JUMP` of F1 on the other half.

    Absorption (Chanin et al. 2024, arXiv:2409.14507): of vectors that hold a concept, and of which a probe on the
    vectors says so, the share in which none of the features needed is active, while another one stands for the
    concept: its direction is aligned with the probe's, and of all features it gives most, at least `MAIN` of what the
    vector has along it. The paper measures what a feature gives by ablation in the model; here it is z_j ⟨d_j, p⟩,
    which needs none.

    Args:
        z: (n, M) features, 0 where inactive.
        directions: (M, d) what one unit of each adds to a vector.
        concepts: see `make_concepts`.
        train: (n,) the half that probes are fitted to.
        seed: for the protocol.
    Returns:
        "features_per_concept": mean of the features needed, ≥ 1, with F1 by k in its parts. "absorption": mean rate in
        [0, 1]. Empty without concepts.
    """
    if not concepts:
        return {}
    codes, rows = z.detach().double().cpu(), directions.detach().double().cpu()
    needed: dict[str, int] = {}
    scores: dict[str, list[float]] = {}
    rates: dict[str, float] = {}
    for concept in concepts:
        features, scores[concept.name] = split_features(codes.numpy(), concept.held, train)
        needed[concept.name] = len(features)
        rates[concept.name] = absorption_rate(codes, rows, concept, features, ~train)
    protocol = {"samples": len(z), "seed": seed, "draws": 0}
    split = {"probes": "logistic, features by difference of means", "jump of F1": JUMP}
    absorbed = {"aligned above": ALIGNED, "share along the probe": MAIN}
    return {
        "features_per_concept": _mean("features_per_concept", needed, {**protocol, **split}, {"f1": scores}),
        "absorption": _mean("absorption", rates, {**protocol, **absorbed}, {}),
    }


def halves(n: int, seed: int) -> Flags:
    """A random half of n vectors: (n,), True where probes are fitted."""
    return generator(seed, "concepts").permutation(n) < n // 2


def split_features(z: NDArray[np.float64], held: Flags, train: Flags) -> tuple[list[int], list[float]]:
    """The features needed for a concept, and F1 on the other half by the number of features.

    Args:
        z: (n, M).
        held: (n,) where the concept is.
        train: (n,) where probes are fitted.
    """
    spread = z[train].std(0)
    live = np.where(spread > 0, spread, math.inf)
    difference = np.abs(z[train & held].mean(0) - z[train & ~held].mean(0)) / live
    order = np.argsort(-difference, kind="stable")[: min(MOST, z.shape[1])].tolist()
    scores: list[float] = []
    for k in range(1, len(order) + 1):
        chosen = z[:, order[:k]] / live[order[:k]]
        answers = _fit(chosen[train], held[train]).predict(chosen[~train])
        scores.append(float(f1_score(held[~train], answers)))
        if k > 1 and scores[-1] - scores[-2] < JUMP:
            return order[: k - 1], scores
    return order, scores


def absorption_rate(z: Tensor, directions: Tensor, concept: Concept, features: Sequence[int], rows: Flags) -> float:
    """The share of vectors with a concept for which another feature than its own stands; 0 where the probe reads none.

    Args:
        z: (n, M).
        directions: (M, d).
        concept: see `Concept`.
        features: its own.
        rows: (n,) those that are looked at.
    """
    seen = torch.as_tensor(np.flatnonzero(rows & concept.held & concept.read))
    if not len(seen):
        return 0.0
    along = directions @ concept.direction
    cosines = along / directions.norm(dim=1).clamp_min(1e-12)
    gives = z[seen] * along
    largest, place = gives.max(1)
    stands = (cosines[place].abs() >= ALIGNED) & (largest > 0) & (largest >= MAIN * concept.along[seen])
    silent = (z[seen][:, list(features)] == 0).all(1)
    return float((silent & stands).double().mean())


def _fit(x: Any, y: Any) -> Any:
    with quiet():
        return LogisticRegression(C=1.0, class_weight="balanced", max_iter=200).fit(x, y)


def _mean(name: str, values: Mapping[str, float], protocol: dict[str, Any], parts: Mapping[str, Any]) -> MetricResult:
    mean = sum(values.values()) / len(values)
    return MetricResult(name, float(mean), None, {**protocol, "concepts": len(values)}, {"each": dict(values), **parts})
