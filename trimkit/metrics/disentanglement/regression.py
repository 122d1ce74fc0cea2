"""The BetaVAE score (Higgins et al. 2017, "beta-VAE", section 3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

from trimkit.metrics.arrays import Floats, Integers, warn_of_one
from trimkit.metrics.bootstrap import DRAWS, generator, share_interval, torch_generator
from trimkit.metrics.disentanglement.sampling import Encoder, Groups, Sampler, codes_of, groups_of, shares, varying
from trimkit.metrics.predictors import quiet
from trimkit.metrics.results import MetricResult, by_name


def beta_vae_score(
    encode: Encoder,
    sampler: Sampler,
    *,
    protocol: str | Groups = "quick",
    names: Sequence[str] = (),
    seed: int = 0,
    draws: int = DRAWS,
) -> MetricResult:
    """How well a linear classifier tells which factor pairs of samples share, from how far their codes are apart.

    A feature: mean |z¹ − z²| over pairs that agree in one random factor, pair by pair. A logistic regression
    (scikit-learn, multinomial, C 1, features as they are, so the scale of the codes matters) says which factor; the
    value is its accuracy on fresh groups. It is 1 for many a rotated code too: the FactorVAE score was made to mend
    that. With one factor there is nothing to tell and the value is 1.

    Args:
        encode: codes of numbered samples (see `Encoder`); each is asked for once.
        sampler: draws numbers of samples.
        protocol: "quick" (800 + 500 groups of 64 pairs), "dlib" (10,000 + 5,000), or `Groups`.
        names: of the factors.
        seed: of the groups and the interval.
        draws: resamples of the test groups; 0 for no interval.
    Returns:
        A value in [0, 1]; chance is 1/K. Parts: "per_factor" (accuracy) and "train".
    Raises:
        ShapeError, DataError, OptionError, UnknownNameError: arrays or options that do not fit.
    Warns:
        TrimkitWarning: one factor varies.
    """
    groups, factors = groups_of(protocol), varying(sampler, names)
    warn_of_one("the BetaVAE score", len(factors), "factor")
    rng = generator(seed, "beta_vae_score")
    shared = rng.integers(len(factors), size=groups.train + groups.test)
    features = _features(encode, sampler, groups.size, np.array([*factors])[shared], torch_generator(rng))
    right = _predicted(features, shared, groups.train) == shared
    test = right[groups.train :]
    described: dict[str, Any] = {"predictor": "logistic regression", "seed": seed, "draws": draws}
    return MetricResult(
        "beta_vae_score",
        float(test.mean()),
        share_interval(test, draws, rng),
        {"train": groups.train, "test": groups.test, "size": groups.size, "interval": "test groups resampled"}
        | described,
        {
            "per_factor": by_name(tuple(factors.values()), shares(test, shared[groups.train :], len(factors))),
            "train": float(right[: groups.train].mean()),
        },
    )


def _features(encode: Encoder, sampler: Sampler, size: int, shared: Integers, draws: torch.Generator) -> Floats:
    """Mean |z¹ − z²| of each group: (groups, D)."""
    pairs = [sampler.pairs_sharing(int(k), size, draws) for k in shared]
    codes = codes_of(encode, np.stack([[left.numpy(), right.numpy()] for left, right in pairs]))
    return np.abs(codes[:, 0] - codes[:, 1]).mean(1)


def _predicted(features: Floats, shared: Integers, train: int) -> Integers:
    if len(np.unique(shared[:train])) < 2:  # nothing to tell apart
        return np.full(len(features), shared[0])
    with quiet():
        return LogisticRegression().fit(features[:train], shared[:train]).predict(features)
