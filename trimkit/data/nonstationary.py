"""Sources whose spread changes from segment to segment, through a nonlinear map: the benchmark of TCL and iVAE.

Hyvärinen, Morioka 2016 (arXiv:1605.06336); Khemakhem et al. 2020 (arXiv:1907.04809).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn.functional import leaky_relu

from trimkit.data import laws
from trimkit.data.base import Dataset, part_of
from trimkit.data.checks import at_least, numbers, seeded
from trimkit.errors import OptionError, nearest

NAME = "nonstationary"

LAWS: dict[str, laws.Law] = {
    "gaussian": laws.gaussian,
    "laplace": laws.laplace,
    "hypersecant": laws.hypersecant,
}

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "xtanh": lambda t: t.tanh() + 0.1 * t,
    "lrelu": partial(leaky_relu, negative_slope=0.1),
    "sigmoid": torch.sigmoid,
    "none": lambda t: t,
}

CANDIDATES = 10_000
"""Random matrices among which those of a layer are the quarter that is conditioned best."""


def nonstationary(
    split: str = "train",
    *,
    segments: int = 40,
    observations: int = 1000,
    dim: int = 5,
    features: int | None = None,
    layers: int = 3,
    activation: str = "xtanh",
    sources: str = "gaussian",
    low: float = 0.5,
    high: float = 3.0,
    means: float = 0.0,
    noise: float = 0.0,
    repeat: bool = False,
    seed: int = 0,
) -> Dataset:
    """Sources whose standard deviations differ between segments, through a network of random matrices.

    s = μ_u + σ_u ∘ ε for a sample of segment u, with ε of mean 0 and variance 1, σ_u uniform in [low, high] and μ_u
    uniform in [−means, means], one for each source and segment. The bounds are of *standard deviations*, though the
    published code calls them variances: by default the variances lie between .25 and 9. Then x ← activation(x A),
    layer by layer, without an activation after the last: three layers have two nonlinearities. The matrices are those
    of `layer_matrix`.

    Args:
        split: "train" for nine tenths of each segment, "test" for the rest, both in a fixed random order; "all" in the
            order of the segments.
        segments: M, values of the auxiliary variable.
        observations: samples of each segment.
        dim: number of sources d.
        features: number of entries p of x, ≥ d; d by default.
        layers: of the mixing, ≥ 1.
        activation: "xtanh" (tanh t + .1 t), "lrelu" (slope .1), "sigmoid" or "none".
        sources: law of ε: "gaussian", "laplace" or "hypersecant", each of variance 1.
        low: of the standard deviations, > 0.
        high: of the standard deviations, ≥ low.
        means: bound of the segments' means.
        noise: standard deviation of Gaussian noise on x.
        repeat: take one matrix for all layers of the same shape, as the data of the released iVAE do: they are easier.
        seed: of everything.
    Returns:
        x (N, p) with N = segments · observations; aux (N,) the segment; sources (N, d).
    Raises:
        DataError: another split.
        OptionError: options out of range.
    """
    features = dim if features is None else features
    _check_sizes(NAME, segments, observations, layers)
    at_least(NAME, 1, dim=dim)
    at_least(NAME, dim, features=features)
    numbers(NAME, 0, low=low, means=means, noise=noise)
    numbers(NAME, low, high=high)
    if low == 0:
        raise OptionError(f"{NAME}: expected low > 0, a standard deviation, got 0")
    bend = _activation(activation)
    law, rng = laws.law_of(NAME, sources, LAWS), seeded(NAME, seed)
    spread = low + (high - low) * torch.rand(segments, 1, dim, generator=rng, dtype=torch.float64)
    centre = means * (2 * torch.rand(segments, 1, dim, generator=rng, dtype=torch.float64) - 1)
    s = centre + spread * law((segments, observations, dim), rng)
    x = _network(s, [dim, *[features] * layers], bend, rng, repeat)
    x += noise * laws.gaussian(tuple(x.shape), rng)
    return as_segments(NAME, x, s, split)


def as_segments(name: str, x: Tensor, s: Tensor, split: str) -> Dataset:
    """A dataset of segments that lie one after the other; see `part_of` for the splits.

    Args:
        name: of the data.
        x: (M, L, p) samples.
        s: (M, L, d) their sources.
        split: "train", "test" (a tenth of each segment) or "all".
    """
    labels = torch.arange(len(x)).repeat_interleave(x.shape[1])
    whole = Dataset(name, x.flatten(0, 1).float(), split="all", aux=labels, sources=s.flatten(0, 1).float())
    return part_of(whole, split, labels)


def layer_matrix(rows: int, columns: int, rng: torch.Generator) -> Tensor:
    """Entries uniform in [−1, 1], columns of norm 1, condition at most that of the best quarter of such matrices.

    Returns:
        (rows, columns) float64.
    """
    most = _quartile(rows, columns)
    while True:
        matrices = _normalised(16, rows, columns, rng)
        good = torch.linalg.cond(matrices) <= most
        if bool(good.any()):
            return matrices[int(good.nonzero()[0])]


@cache
def _quartile(rows: int, columns: int) -> float:
    """The first quartile of the condition of random matrices: always of the same ones, so that it has no seed."""
    rng = torch.Generator().manual_seed(0)
    return float(torch.linalg.cond(_normalised(CANDIDATES, rows, columns, rng)).quantile(0.25))


def _normalised(count: int, rows: int, columns: int, rng: torch.Generator) -> Tensor:
    matrices = 2 * torch.rand(count, rows, columns, generator=rng, dtype=torch.float64) - 1
    return matrices / torch.linalg.vector_norm(matrices, dim=1, keepdim=True)


def _network(
    x: Tensor, widths: list[int], bend: Callable[[Tensor], Tensor], rng: torch.Generator, repeat: bool
) -> Tensor:
    """x ← bend(x A) for each pair of widths; the last layer is linear."""
    matrices: list[Tensor] = []
    for rows, columns in pairwise(widths):
        before = [matrix for matrix in matrices if matrix.shape == (rows, columns)] if repeat else []
        matrices += before[:1] or [layer_matrix(rows, columns, rng)]
    for matrix in matrices[:-1]:
        x = bend(x @ matrix)
    return x @ matrices[-1]


def _activation(name: str) -> Callable[[Tensor], Tensor]:
    if name not in ACTIVATIONS:
        raise OptionError(f"{NAME}: there is no activation {name!r}. {nearest(str(name), ACTIVATIONS)}")
    return ACTIVATIONS[name]


def _check_sizes(name: str, segments: int, observations: int, layers: int) -> None:
    at_least(name, 1, segments=segments, layers=layers)
    at_least(name, 10, observations=observations)  # so that a tenth of each segment is a sample to test on
