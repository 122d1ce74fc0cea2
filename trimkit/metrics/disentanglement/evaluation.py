"""All metrics of one representation in one call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trimkit.errors import OptionError
from trimkit.metrics.arrays import FEWEST, Floats, as_array, as_codes, as_factors
from trimkit.metrics.bootstrap import DRAWS, generator
from trimkit.metrics.disentanglement.dci import dci_scores
from trimkit.metrics.disentanglement.irs import irs
from trimkit.metrics.disentanglement.modularity import explicitness, modularity
from trimkit.metrics.disentanglement.mutual_information import mutual_information_gap
from trimkit.metrics.disentanglement.regression import beta_vae_score
from trimkit.metrics.disentanglement.sampling import Encoder, Sampler, codes_of, groups_of
from trimkit.metrics.disentanglement.sap import sap
from trimkit.metrics.disentanglement.unsupervised import (
    gaussian_total_correlation,
    mean_pairwise_mutual_information,
    wasserstein_correlation,
)
from trimkit.metrics.disentanglement.voting import factor_vae_score
from trimkit.metrics.results import MetricResult

Results = dict[str, MetricResult]
"""Name of the metric → its result, in the order in which they are shown."""

NEED_FACTORS = ("dci_disentanglement", "modularity", "factor_vae_score", "beta_vae_score")
"""Metrics of how few factors a code is about: 1 for every code, noise too, where one factor varies."""

NEED_CODES = ("dci_completeness",)
"""Metrics of how few codes a factor needs: 1 for every code, noise too, where there is one."""


def report(
    codes: Any,
    factors: Any = None,
    *,
    protocol: str = "quick",
    names: Sequence[str] = (),
    seed: int = 0,
    draws: int = DRAWS,
) -> Results:
    """Every metric that needs no more than codes and factors, but those that are 1 by definition (`NEED_FACTORS`).

    Args:
        codes: (N, D) real, N ≥ 20: of any encoder, posterior means where it gives distributions.
        factors: (N, K) integers, or None for the metrics that need none.
        protocol: "quick", with a random forest in DCI; or "dlib", with gradient boosting (minutes for 10,000 rows).
        names: of the factors.
        seed: of divisions, predictors and intervals.
        draws: resamples of the intervals; 0 for none.
    Returns:
        Name → result.
    Raises:
        ShapeError, DataError, OptionError, UnknownNameError: arrays or options that do not fit.

    Example:
        Two factors, each with a code of its own, and the same codes rotated by 45 degrees.

        >>> import numpy as np
        >>> from trimkit.metrics import disentanglement
        >>> factors = np.random.default_rng(0).integers(0, 4, (2000, 2))
        >>> results = disentanglement.report(factors.astype(float), factors, names=["shape", "size"])
        >>> results["mutual_information_gap"].parts["per_factor"]["shape"] > 0.99
        True
        >>> rotated = factors @ np.array([[1.0, -1.0], [1.0, 1.0]])
        >>> for name in ("mutual_information_gap", "dci_disentanglement", "modularity"):
        ...     print(f"{name:24}{results[name].value:.1f}{disentanglement.report(rotated, factors)[name].value:7.1f}")
        mutual_information_gap  1.0    0.0
        dci_disentanglement     1.0    0.0
        modularity              1.0    0.0
    """
    shared: dict[str, Any] = {"seed": seed, "draws": draws}
    if factors is None:
        return _by_name(*_unsupervised(codes, shared))
    shared["names"] = names
    z = as_codes(codes)
    several = len(as_factors(factors, len(z), names).sizes) > 1
    results = (*_descriptive(z, factors, shared, several=several), *_predictive(z, factors, protocol, shared))
    return _applicable(_by_name(*results), codes=z.shape[1] > 1, factors=several)


def evaluate(
    encode: Encoder,
    sampler: Sampler,
    *,
    samples: int = 10_000,
    protocol: str = "quick",
    names: Sequence[str] = (),
    seed: int = 0,
    draws: int = DRAWS,
) -> Results:
    """Every metric of `report`, and those that hold factors fixed: the FactorVAE and the BetaVAE score.

    Where one factor varies, or there is one code, those that are 1 by definition are left out.

    Args:
        encode: codes (n, D) of the samples of the numbers (n,) int64, such as ``lambda rows: my_encoder(x[rows])``; or
            the codes (N, D) of all samples.
        sampler: draws numbers of samples by their factors: ``trimkit.data.FactorSampler(factors)``.
        samples: for the metrics of `report`, drawn without replacement, so that no sample is both learnt from and
            tested on; all, where there are fewer. With "dlib", metrics that learn something have half as many again to
            test on, 10,000 + 5,000; with "quick" they test on a third.
        protocol: "quick" (800 + 500 groups of 64, forest) or "dlib" (10,000 + 5,000, gradient boosting; many minutes).
        names: of the factors.
        seed: of everything that is drawn.
        draws: resamples of the intervals; 0 for none.
    Returns:
        Name → result.
    Raises:
        ShapeError, DataError, OptionError, UnknownNameError: arrays or options that do not fit.

    Example:
        >>> import torch
        >>> from trimkit.data import FactorSampler
        >>> from trimkit.metrics import disentanglement
        >>> factors = torch.cartesian_prod(torch.arange(4), torch.arange(5), torch.arange(6))
        >>> x = torch.nn.functional.one_hot(factors).flatten(1).float()  # the data of your own
        >>> encoder = torch.nn.Linear(18, 3, bias=False)  # and the encoder
        >>> _ = encoder.weight.data.copy_(torch.block_diag(*torch.arange(6.0).expand(3, 1, 6)))
        >>> sampler = FactorSampler(factors)
        >>> results = disentanglement.evaluate(lambda rows: encoder(x[rows]), sampler, samples=500)
        >>> print(results["factor_vae_score"])
        factor_vae_score 1.000 [1.000, 1.000]
    """
    groups_of(protocol)
    if samples < FEWEST:
        raise OptionError(f"samples: expected at least {FEWEST}, got {samples}")
    table = as_array(sampler.factors)
    wanted = 3 * samples // 2 if protocol == "dlib" else samples
    numbers = generator(seed, "evaluate").permutation(len(table))[:wanted]
    codes, factors = as_codes(codes_of(encode, numbers)), table[numbers]
    several = len(as_factors(factors[:samples], len(codes[:samples]), names).sizes) > 1
    shared: dict[str, Any] = {"names": names, "seed": seed, "draws": draws}
    votes = (factor_vae_score, beta_vae_score) if several else ()
    results = _by_name(
        *_descriptive(codes[:samples], factors[:samples], shared, several=several),
        *(vote(encode, sampler, protocol=protocol, **shared) for vote in votes),
        *_predictive(codes, factors, protocol, shared),
    )
    return _applicable(results, codes=codes.shape[1] > 1, factors=several)


def _applicable(results: Results, *, codes: bool, factors: bool) -> Results:
    """Without what is 1 by definition, where there are not several codes or factors."""
    left_out = {*(() if codes else NEED_CODES), *(() if factors else NEED_FACTORS)}
    return {name: result for name, result in results.items() if name not in left_out}


def _by_name(*results: MetricResult) -> Results:
    return {result.name: result for result in results}


def _descriptive(codes: Any, factors: Any, shared: dict[str, Any], *, several: bool) -> list[MetricResult]:
    """Of all rows at once."""
    few = {name: value for name, value in shared.items() if name != "names"}
    return [
        mutual_information_gap(codes, factors, **shared),
        *([modularity(codes, factors, **shared)] if several else []),
        irs(codes, factors, **shared),
        *_unsupervised(codes, few),
    ]


def _unsupervised(codes: Any, shared: dict[str, Any]) -> list[MetricResult]:
    z: Floats = as_codes(codes)
    return [
        gaussian_total_correlation(z, **shared),
        wasserstein_correlation(z, **shared),
        mean_pairwise_mutual_information(z, **shared),
    ]


def _predictive(codes: Any, factors: Any, protocol: str, shared: dict[str, Any]) -> list[MetricResult]:
    """Of rows to learn from and others to test on."""
    groups_of(protocol)
    predictor = "boosting" if protocol == "dlib" else "forest"
    return [
        *dci_scores(codes, factors, predictor, **shared),
        sap(codes, factors, **shared),
        explicitness(codes, factors, **shared),
    ]
