"""Non-Gaussianity of the components on rows that the fit did not see: the effect size first, then the tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.special import log_ndtr
from scipy.stats import jarque_bera

from trimkit.metrics.arrays import Floats
from trimkit.metrics.bootstrap import DRAWS, generator
from trimkit.metrics.independence.log_cosh import GAUSSIAN_LOG_COSH, log_cosh
from trimkit.report.verdicts import Estimate, Status, Verdict, holm, judge, number, samples_needed
from trimkit_ica.assumptions.fitted import Unmixing, decides, standardised
from trimkit_ica.assumptions.space import TAILS

LEVEL = 0.05
"""Of the tests, after Holm over all components and both tests."""


@dataclass(frozen=True)
class NonGaussianity:
    """How far from Gaussian one component is.

    Attributes:
        excess: E log cosh s − E log cosh ν: below zero for heavy tails, above for light ones.
        negentropy: its square, the proxy that FastICA maximises.
        kurtosis: E s⁴ − 3.
        anderson_darling: A², corrected for the estimated mean and variance.
        anderson_darling_p: after Holm.
        jarque_bera_p: after Holm.
    """

    excess: Estimate
    negentropy: Estimate
    kurtosis: Estimate
    anderson_darling: float
    anderson_darling_p: float
    jarque_bera_p: float

    @property
    def gaussian(self) -> bool:
        """Neither test rejects a normal distribution."""
        return min(self.anderson_darling_p, self.jarque_bera_p) >= LEVEL

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        estimates = {"negentropy": self.negentropy, "kurtosis": self.kurtosis}
        return {
            **{name: {"value": e.value, "low": e.low, "high": e.high} for name, e in estimates.items()},
            "anderson_darling": self.anderson_darling,
            "anderson_darling_p": self.anderson_darling_p,
            "jarque_bera_p": self.jarque_bera_p,
            "gaussian": self.gaussian,
        }


def shapes(fitted: Unmixing) -> list[NonGaussianity]:
    """Effect sizes with bootstrap intervals, and tests, of every component."""
    s = fitted.sources
    statistics = anderson_darling(s)
    p_anderson = anderson_darling_p(statistics, len(s))
    _, p_jarque = map(np.asarray, jarque_bera(s, axis=0))
    adjusted = np.reshape(holm([*p_anderson.tolist(), *p_jarque.tolist()]), (2, -1))
    excess, kurtosis = _estimates(s, fitted.seed)
    return [
        NonGaussianity(e, _squared(e), k, float(a), float(p), float(q))
        for e, k, a, p, q in zip(excess, kurtosis, statistics, *adjusted, strict=True)
    ]


def non_gaussianity(fitted: Unmixing, measured: list[NonGaussianity]) -> Verdict:
    """At most one Gaussian component: so the second smallest effect must be above what is Gaussian in practice.

    FAIL needs both: an effect that lies below the limit with its whole interval, and tests that do not tell two
    components from Gaussian ones. Where the tests do tell them, the effect is small but there: WARN.
    """
    limit = fitted.limits.negentropy
    order = sorted(range(len(measured)), key=lambda i: measured[i].negentropy.value)
    second = measured[order[1]]
    gaussian = [i + 1 for i, shape in enumerate(measured) if shape.gaussian]
    status = side = judge(second.negentropy, limit, "≥")
    if side is Status.FAIL and len(gaussian) <= 1:
        status = Status.WARN
    if side is Status.PASS and len(gaussian) > 1:
        status = Status.INCONCLUSIVE
    needed = _needed(second, limit, len(fitted.sources)) if side is Status.INCONCLUSIVE else None
    needed = fitted.in_all(needed, len(fitted.sources))
    return Verdict(
        "non-Gaussianity",
        "Is at most one component Gaussian?",
        status,
        _sentence(status, gaussian, order) + decides(needed),
        second.negentropy,
        limit,
        "≥",
        len(fitted.sources),
        fitted.seed,
        settings=fitted.settings(
            estimate="second smallest (E log cosh s − E log cosh ν)²",
            interval="test rows resampled",
            draws=DRAWS,
            tests="Anderson–Darling and Jarque–Bera, Holm over components and tests",
            gaussian=gaussian,
        ),
        samples_needed=needed,
    )


def anderson_darling(s: Floats) -> Floats:
    """A² of each column against a normal distribution with its mean and variance (ddof 1): (n, k) → (k,).

    A² = −n − (1/n) Σ_i (2i − 1) [log Φ(y_(i)) + log(1 − Φ(y_(n+1−i)))], Anderson and Darling 1954.
    """
    n = len(s)
    y = np.sort((s - s.mean(0)) / s.std(0, ddof=1), axis=0)
    weights = (2 * np.arange(1, n + 1) - 1)[:, None]
    return -n - (weights * (log_ndtr(y) + log_ndtr(-y[::-1]))).mean(0)


def anderson_darling_p(statistics: Floats, n: int) -> Floats:
    """P-values of A² where mean and variance are estimated: D'Agostino and Stephens 1986, table 4.9.

    Args:
        statistics: (k,) of n rows.
        n: rows, at least 8.
    Returns:
        (k,); never below 4·10⁻²⁴, where the approximation ends.
    """
    a = np.minimum(statistics * (1 + 0.75 / n + 2.25 / n**2), 10.0)
    return np.select(
        [a >= 0.6, a >= 0.34, a >= 0.2],
        [
            np.exp(1.2937 - 5.709 * a + 0.0186 * a**2),
            np.exp(0.9177 - 4.279 * a - 1.38 * a**2),
            1 - np.exp(-8.318 + 42.796 * a - 59.938 * a**2),
        ],
        1 - np.exp(-13.436 + 101.14 * a - 223.73 * a**2),
    )


def p_text(p: float) -> str:
    """A p-value as it is written: below 10⁻¹⁰ its size says nothing, and approximations end.

    Example:
        >>> p_text(0.0312), p_text(0.0)
        ('0.0312', '< 10⁻¹⁰')
    """
    return "< 10⁻¹⁰" if p < 1e-10 else number(p)


def _estimates(s: Floats, seed: int) -> tuple[list[Estimate], list[Estimate]]:
    """Excess of log cosh and of kurtosis of each column, with percentile intervals over resampled rows."""
    draws = generator(seed, "non-Gaussianity")
    values = _moments(s)
    resampled = np.stack([_moments(s[draws.integers(len(s), size=len(s))]) for _ in range(DRAWS)])
    low, high = np.quantile(resampled, TAILS, axis=0)
    ends = np.stack([values, np.minimum(low, values), np.maximum(high, values)], axis=-1)
    excess, kurtosis = ([Estimate(*column) for column in row] for row in ends.tolist())
    return excess, kurtosis


def _moments(s: Floats) -> Floats:
    """(2, k): E log cosh − E log cosh ν, and E s⁴ − 3, of standardised columns."""
    y = standardised(s)
    return np.stack([log_cosh(torch.from_numpy(y)).mean(0).numpy() - GAUSSIAN_LOG_COSH, (y**4).mean(0) - 3])


def _squared(e: Estimate) -> Estimate:
    """The interval of a number's square from that of the number."""
    ends = e.low**2, e.high**2
    return Estimate(e.value**2, 0.0 if e.low <= 0 <= e.high else min(ends), max(ends))


def _needed(shape: NonGaussianity, limit: float, n: int) -> int | None:
    """Samples that would decide, on the scale on which the error is normal: that of the excess, not of its square."""
    e = shape.excess
    half = e.half_width
    return samples_needed(Estimate(abs(e.value), abs(e.value) - half, abs(e.value) + half), limit**0.5, n)


def _sentence(status: Status, gaussian: list[int], order: list[int]) -> str:
    few = f"Components {order[0] + 1} and {order[1] + 1} are nearest to Gaussian"
    if status is Status.PASS:
        one = f"Component {gaussian[0]} may be Gaussian, which one may; the" if gaussian else "All the"
        return f"{one} others are clearly not." if gaussian else "No component is Gaussian."
    if status is Status.FAIL:
        several = ", ".join(map(str, gaussian))
        return f"Components {several} cannot be told from Gaussian: any rotation of them is as good a solution."
    if status is Status.WARN:
        return f"{few}: the tests tell them from it, but by so little that the fit rests on little."
    return f"{few}; so few rows do not say whether they are far enough from it."
