"""x ≈ f(z): do as many components as were taken carry the data, well conditioned, from enough rows?"""

from __future__ import annotations

import math

import numpy as np

from trimkit.metrics.bootstrap import DRAWS, LEVEL, generator, row_weights
from trimkit.report.verdicts import Estimate, Status, Verdict, judge, number, samples_needed
from trimkit_ica.assumptions.fitted import MAX_ITERATIONS, ROWS_PER_SQUARE, TOLERANCE, Unmixing, decides

Z95 = 1.959964
"""Of the normal distribution: half the length of a 95 % interval, in standard errors."""

ROUNDING = 1e-24
"""Share of the variance below which a residual is the rounding error of float64."""

TAILS = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)


def exactly(value: float) -> Estimate:
    """A number that was counted, not estimated."""
    return Estimate(float(value), float(value), float(value))


def rank(fitted: Unmixing) -> Verdict:
    """Are the variables linearly independent? WARN where they are not: there are fewer components than variables."""
    variables, constant = fitted.fit.shape[1], int((fitted.fit == fitted.fit[0]).all(0).sum())
    still = f" ({constant} of them constant)" if constant else ""
    if fitted.rank == variables:
        sentence = f"All {variables} variables bring variance of their own."
    elif fitted.rank == len(fitted.fit) - 1:
        sentence = (
            f"{len(fitted.fit)} rows show {fitted.rank} directions at most; there are {variables} variables{still}."
        )
    else:
        sentence = (
            f"The {variables} variables{still} have {fitted.rank} independent directions; the others are linear "
            "combinations of these, or too small beside them to be told from rounding."
        )
    return Verdict(
        "rank",
        "Are the variables linearly independent?",
        Status.PASS if fitted.rank == variables else Status.WARN,
        sentence,
        exactly(fitted.rank),
        variables,
        "≥",
        len(fitted.fit),
        fitted.seed,
        settings=fitted.settings(constant=constant),
    )


def conditioning(fitted: Unmixing) -> Verdict:
    """Is the smallest direction that is kept far above rounding?"""
    condition = float(fitted.eigenvalues[0] / fitted.eigenvalues[fitted.components - 1])
    good = condition <= fitted.limits.condition
    sentence = f"The largest variance of a direction that is kept is {number(condition)} times the smallest."
    advice = "" if good else " Whitening blows up what may be noise: scale the variables, or take fewer components."
    return Verdict(
        "conditioning",
        "Can the covariance be whitened without blowing up noise?",
        Status.PASS if good else Status.WARN,
        sentence + advice,
        exactly(condition),
        fitted.limits.condition,
        "≤",
        len(fitted.fit),
        fitted.seed,
        settings=fitted.settings(whitening="float64"),
    )


def residual(fitted: Unmixing) -> Verdict:
    """Which share of the variance of unseen rows do the components leave out? Its interval resamples those rows."""
    centred = fitted.test - fitted.mean
    directions, _ = np.linalg.qr(fitted.basis)
    left, whole = ((centred - centred @ directions @ directions.T) ** 2).sum(1), (centred**2).sum(1)
    left[left < ROUNDING * whole.sum()] = 0
    weights = row_weights(len(whole), DRAWS, generator(fitted.seed, "residual")).astype(np.float64)
    value = float(left.sum() / whole.sum())
    low, high = np.quantile((weights @ left) / (weights @ whole), TAILS)
    estimate = Estimate(value, min(float(low), value), max(float(high), value))
    limit = fitted.limits.residual
    status = judge(estimate, limit, "≤")
    needed = samples_needed(estimate, limit, len(whole)) if status is Status.INCONCLUSIVE else None
    needed = fitted.in_all(needed, len(whole))
    return Verdict(
        "residual",
        "Do the components carry the data?",
        status,
        f"{fitted.components} components leave out {number(value, '%') if value else 'nothing'}"
        + (" % of the variance" if value else "")
        + " of unseen rows."
        + (_enough(fitted) if status is not Status.PASS else "")
        + decides(needed),
        estimate,
        limit,
        "≤",
        len(whole),
        fitted.seed,
        settings=fitted.settings(interval="test rows resampled", draws=DRAWS),
        samples_needed=needed,
        unit="%",
    )


def gap(fitted: Unmixing) -> Verdict:
    """Is the first direction that is left out clearly smaller than the last that is kept?

    The standard error of log(λ_k / λ_{k+1}) is that of the mean of z_k² − z_{k+1}², first order.
    """
    question = "Is the cut between kept and left-out directions a clear one?"
    k = fitted.components
    if k == fitted.rank:
        return Verdict(
            "eigenvalue gap",
            question,
            Status.NOT_APPLICABLE,
            "No direction is left out.",
            n=len(fitted.fit),
            seed=fitted.seed,
            mandatory=False,
            settings=fitted.settings(),
        )
    ratio = float(fitted.eigenvalues[k - 1] / fitted.eigenvalues[k])
    squares = fitted.white[:, k - 1] ** 2 - fitted.white[:, k] ** 2
    error = Z95 * float(squares.std()) / math.sqrt(len(squares))
    clear = math.log(ratio) > error
    logs = Estimate(math.log(ratio), math.log(ratio) - error, math.log(ratio) + error)
    needed = None if clear else samples_needed(logs, 0.0, len(fitted.fit))
    sentence = f"Direction {k} has {number(ratio)} times the variance of direction {k + 1}, the first that is left out."
    return Verdict(
        "eigenvalue gap",
        question,
        Status.PASS if clear else Status.WARN,
        sentence + ("" if clear else " Other samples may keep another direction."),
        Estimate(ratio, ratio * math.exp(-error), ratio * math.exp(error)),
        1.0,
        "≥",
        len(fitted.fit),
        fitted.seed,
        mandatory=False,
        settings=fitted.settings(interval="first-order error of the log ratio"),
        samples_needed=fitted.in_all(needed, len(fitted.fit)),
    )


def sample_size(fitted: Unmixing) -> Verdict:
    """Are there enough rows for k² numbers? Below n = 5 k², FastICA often does not converge, or to noise."""
    rows, wanted = len(fitted.fit), ROWS_PER_SQUARE * fitted.components**2
    missing = fitted.in_all(wanted - rows, rows) if rows < wanted else None
    few = "" if missing is None else f" {missing} more samples, or fewer components, would do."
    return Verdict(
        "sample size",
        "Are there enough rows for so many components?",
        Status.PASS if missing is None else Status.WARN,
        f"The fit has {rows} rows for {fitted.components} components; {ROWS_PER_SQUARE} k² = {wanted}.{few}",
        exactly(rows),
        wanted,
        "≥",
        rows,
        fitted.seed,
        settings=fitted.settings(),
        samples_needed=missing,
    )


def convergence(fitted: Unmixing) -> Verdict:
    """Did FastICA reach a fixed point?"""
    times = f"{fitted.iterations} iteration{'s' if fitted.iterations != 1 else ''}"
    return Verdict(
        "convergence",
        "Did the fit reach a fixed point?",
        Status.PASS if fitted.converged else Status.WARN,
        f"FastICA converged after {times}."
        if fitted.converged
        else f"FastICA did not converge in {times}: too few rows, or components that are Gaussian. Do not read the "
        "components one by one.",
        exactly(fitted.iterations),
        MAX_ITERATIONS,
        "≤",
        len(fitted.fit),
        fitted.seed,
        settings=fitted.settings(method="symmetric FastICA, log cosh", tolerance=TOLERANCE, converged=fitted.converged),
    )


def _enough(fitted: Unmixing) -> str:
    """How many components would leave out no more than is allowed, by the spectrum of the fit's rows."""
    left, most = 1 - np.cumsum(fitted.eigenvalues) / fitted.eigenvalues.sum(), fitted.limits.residual
    return f" {int((left > most).sum()) + 1} would leave out at most {number(most, '%')} %."
