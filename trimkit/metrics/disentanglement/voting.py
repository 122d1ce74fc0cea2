"""The FactorVAE score (Kim & Mnih 2018, "Disentangling by factorising", section 5)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from trimkit.errors import OptionError
from trimkit.metrics.arrays import Floats, Integers, warn_of_one
from trimkit.metrics.bootstrap import DRAWS, generator, share_interval, torch_generator
from trimkit.metrics.disentanglement.sampling import Encoder, Groups, Sampler, codes_of, groups_of, shares, varying
from trimkit.metrics.results import MetricResult, by_name, plain

DEAD = 0.05
"""Standard deviation below which a code counts as dead, as in the study of Locatello et al. 2019."""


def factor_vae_score(
    encode: Encoder,
    sampler: Sampler,
    *,
    protocol: str | Groups = "quick",
    dead: float = DEAD,
    names: Sequence[str] = (),
    seed: int = 0,
    draws: int = DRAWS,
) -> MetricResult:
    """How well the code that varies least tells which factor was held fixed.

    A vote: samples that share the value of a random factor; d* = argmin_d Var(z_d in the group) / Var(z_d). The
    majority of the training votes says which factor a code stands for, the value is the accuracy on fresh votes. Codes
    whose standard deviation is below ``dead``, and constant ones, have no vote; if all are dead, the value is 0. A code
    that won no training vote stands for the first factor. disentanglement_lib is the same with 10,000 + 5,000 votes.

    Args:
        encode: codes of numbered samples (see `Encoder`); each is asked for once.
        sampler: draws numbers of samples.
        protocol: "quick" (800 + 500 votes of 64), "dlib" (10,000 + 5,000), or `Groups`.
        dead: standard deviation of a dead code.
        names: of the factors.
        seed: of the votes and the interval.
        draws: resamples of the test votes; 0 for no interval.
    Returns:
        A value in [0, 1]; chance is 1/K. Parts: "per_factor" (accuracy), "train", "votes" (D, K), "active" codes.
    Raises:
        ShapeError, DataError, OptionError, UnknownNameError: arrays or options that do not fit.
    Warns:
        TrimkitWarning: one factor varies.
    """
    if dead < 0:
        raise OptionError(f"dead: expected a standard deviation ≥ 0, got {dead}")
    groups, factors = groups_of(protocol), varying(sampler, names)
    warn_of_one("the FactorVAE score", len(factors), "factor")
    rng = generator(seed, "factor_vae_score")
    fixed = rng.integers(len(factors), size=groups.train + groups.test)
    within, variances = _codes(encode, sampler, groups, np.array([*factors])[fixed], torch_generator(rng))
    active = np.flatnonzero((np.sqrt(variances) >= dead) & (variances > 0))
    winners = _winners(within, variances, active)
    votes = np.zeros((len(variances), len(factors)), dtype=np.int64)
    np.add.at(votes, (winners[: groups.train], fixed[: groups.train]), int(len(active) > 0))
    right = (votes.argmax(1)[winners] == fixed) & (len(active) > 0)
    train, test = right[: groups.train], right[groups.train :]
    per_factor = by_name(tuple(factors.values()), shares(test, fixed[groups.train :], len(factors)))
    return MetricResult(
        "factor_vae_score",
        float(test.mean()),
        share_interval(test, draws, rng),
        groups.protocol() | {"dead": dead, "seed": seed, "draws": draws, "interval": "test votes resampled"},
        {"per_factor": per_factor, "train": float(train.mean()), "votes": plain(votes), "active": active.tolist()},
    )


def _codes(
    encode: Encoder, sampler: Sampler, groups: Groups, fixed: Integers, draws: torch.Generator
) -> tuple[Floats, Floats]:
    """Variance of each code within each group (votes, D), and over all samples (D,); all samples encoded in one go."""
    anywhere = sampler.sample(groups.variance, draws).numpy()
    numbers = [sampler.sharing(int(k), groups.size, draws).numpy() for k in fixed]
    codes = codes_of(encode, np.concatenate([anywhere, *numbers]))
    codes -= codes[0]  # a constant code is exactly zero, so that its variance is
    within = codes[groups.variance :].reshape(len(fixed), groups.size, -1)
    return within.var(1, ddof=1), codes[: groups.variance].var(0, ddof=1)


def _winners(within: Floats, variances: Floats, active: Integers) -> Integers:
    """The active code that varies least in each group, as a share of its variance; 0 where none is active."""
    if not len(active):
        return np.zeros(len(within), dtype=np.int64)
    return active[(within[:, active] / variances[active]).argmin(1)]
