"""x ≈ f(z): do as many components as were taken carry the data, well conditioned, from enough rows?"""

from __future__ import annotations

import math

import numpy as np

from trimkit.metrics.bootstrap import DRAWS, LEVEL, generator, row_weights
from trimkit.report.verdicts import Estimate, Status, Verdict, judge, number, samples_needed
from trimkit_ica.assumptions.fitted import MAX_ITERATIONS, ROWS_PER_SQUARE, TOLERANCE, Fitted, decides

Z95 = 1.959964
"""Of the normal distribution: half the length of a 95 % interval, in standard errors."""

ROUNDING = 1e-24
"""Share of the variance below which a residual is the rounding error of float64."""

TAILS = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)


def exactly(value: float) -> Estimate:
    """A number that was counted, not estimated."""
    return Estimate(float(value), float(value), float(value))


def rank(of: Fitted) -> Verdict:
    """Are the variables linearly independent? WARN where they are not: there are fewer components than variables."""
    variables, constant = of.fit.shape[1], int((of.fit == of.fit[0]).all(0).sum())
    still = f" ({constant} of them constant)" if constant else ""
    if of.rank == variables:
        sentence = f"All {variables} variables bring variance of their own."
    elif of.rank == len(of.fit) - 1:
        sentence = f"{len(of.fit)} rows show {of.rank} directions at most; there are {variables} variables{still}."
    else:
        sentence = (
            f"The {variables} variables{still} have {of.rank} independent directions; the others are linear "
            "combinations of these, or too small beside them to be told from rounding."
        )
    return Verdict(
        "rank",
        "Are the variables linearly independent?",
        Status.PASS if of.rank == variables else Status.WARN,
        sentence,
        exactly(of.rank),
        variables,
        "≥",
        len(of.fit),
        of.seed,
        settings=of.settings(constant=constant),
    )


def conditioning(of: Fitted) -> Verdict:
    """Is the smallest direction that is kept far above rounding?"""
    condition = float(of.eigenvalues[0] / of.eigenvalues[of.components - 1])
    good = condition <= of.limits.condition
    sentence = f"The largest variance of a direction that is kept is {number(condition)} times the smallest."
    advice = "" if good else " Whitening blows up what may be noise: scale the variables, or take fewer components."
    return Verdict(
        "conditioning",
        "Can the covariance be whitened without blowing up noise?",
        Status.PASS if good else Status.WARN,
        sentence + advice,
        exactly(condition),
        of.limits.condition,
        "≤",
        len(of.fit),
        of.seed,
        settings=of.settings(whitening="float64"),
    )


def residual(of: Fitted) -> Verdict:
    """Which share of the variance of unseen rows do the components leave out? Its interval resamples those rows."""
    centred = of.test - of.mean
    directions, _ = np.linalg.qr(of.basis)
    left, whole = ((centred - centred @ directions @ directions.T) ** 2).sum(1), (centred**2).sum(1)
    left[left < ROUNDING * whole.sum()] = 0
    weights = row_weights(len(whole), DRAWS, generator(of.seed, "residual")).astype(np.float64)
    value = float(left.sum() / whole.sum())
    low, high = np.quantile((weights @ left) / (weights @ whole), TAILS)
    estimate = Estimate(value, min(float(low), value), max(float(high), value))
    limit = of.limits.residual
    status = judge(estimate, limit, "≤")
    needed = samples_needed(estimate, limit, len(whole)) if status is Status.INCONCLUSIVE else None
    needed = of.in_all(needed, len(whole))
    return Verdict(
        "residual",
        "Do the components carry the data?",
        status,
        f"{of.components} components leave out {number(value, '%') if value else 'nothing'}"
        + (" % of the variance" if value else "")
        + " of unseen rows."
        + (_enough(of) if status is not Status.PASS else "")
        + decides(needed),
        estimate,
        limit,
        "≤",
        len(whole),
        of.seed,
        settings=of.settings(interval="test rows resampled", draws=DRAWS),
        samples_needed=needed,
        unit="%",
    )


def gap(of: Fitted) -> Verdict:
    """Is the first direction that is left out clearly smaller than the last that is kept?

    The standard error of log(λ_k / λ_{k+1}) is that of the mean of z_k² − z_{k+1}², first order.
    """
    question = "Is the cut between kept and left-out directions a clear one?"
    k = of.components
    if k == of.rank:
        return Verdict(
            "eigenvalue gap",
            question,
            Status.NOT_APPLICABLE,
            "No direction is left out.",
            n=len(of.fit),
            seed=of.seed,
            mandatory=False,
            settings=of.settings(),
        )
    ratio = float(of.eigenvalues[k - 1] / of.eigenvalues[k])
    squares = of.white[:, k - 1] ** 2 - of.white[:, k] ** 2
    error = Z95 * float(squares.std()) / math.sqrt(len(squares))
    clear = math.log(ratio) > error
    logs = Estimate(math.log(ratio), math.log(ratio) - error, math.log(ratio) + error)
    needed = None if clear else samples_needed(logs, 0.0, len(of.fit))
    sentence = f"Direction {k} has {number(ratio)} times the variance of direction {k + 1}, the first that is left out."
    return Verdict(
        "eigenvalue gap",
        question,
        Status.PASS if clear else Status.WARN,
        sentence + ("" if clear else " Other samples may keep another direction."),
        Estimate(ratio, ratio * math.exp(-error), ratio * math.exp(error)),
        1.0,
        "≥",
        len(of.fit),
        of.seed,
        mandatory=False,
        settings=of.settings(interval="first-order error of the log ratio"),
        samples_needed=of.in_all(needed, len(of.fit)),
    )


def sample_size(of: Fitted) -> Verdict:
    """Are there enough rows for k² numbers? Below n = 5 k², FastICA often does not converge, or to noise."""
    rows, wanted = len(of.fit), ROWS_PER_SQUARE * of.components**2
    missing = of.in_all(wanted - rows, rows) if rows < wanted else None
    few = "" if missing is None else f" {missing} more samples, or fewer components, would do."
    return Verdict(
        "sample size",
        "Are there enough rows for so many components?",
        Status.PASS if missing is None else Status.WARN,
        f"The fit has {rows} rows for {of.components} components; {ROWS_PER_SQUARE} k² = {wanted}.{few}",
        exactly(rows),
        wanted,
        "≥",
        rows,
        of.seed,
        settings=of.settings(),
        samples_needed=missing,
    )


def convergence(of: Fitted) -> Verdict:
    """Did FastICA reach a fixed point?"""
    times = f"{of.iterations} iteration{'s' if of.iterations != 1 else ''}"
    return Verdict(
        "convergence",
        "Did the fit reach a fixed point?",
        Status.PASS if of.converged else Status.WARN,
        f"FastICA converged after {times}."
        if of.converged
        else f"FastICA did not converge in {times}: too few rows, or components that are Gaussian. Do not read the "
        "components one by one.",
        exactly(of.iterations),
        MAX_ITERATIONS,
        "≤",
        len(of.fit),
        of.seed,
        settings=of.settings(method="symmetric FastICA, log cosh", tolerance=TOLERANCE, converged=of.converged),
    )


def _enough(of: Fitted) -> str:
    """How many components would leave out no more than is allowed, by the spectrum of the fit's rows."""
    left = 1 - np.cumsum(of.eigenvalues) / of.eigenvalues.sum()
    return f" {int((left > of.limits.residual).sum()) + 1} would leave out at most {number(of.limits.residual, '%')} %."
