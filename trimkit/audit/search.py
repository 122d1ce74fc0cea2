"""Groups on which a model leans far beyond what the data and its other groups let expect, where nobody named any.

Signs, each with its own part of the error rate, and Bonferroni over the groups:

- **it changes predictions and helps none** (with labels). Other samples' values in a group change the class of a share
  φ of the samples, and cost a share λ of them their right answer. Where a model uses a group well, λ is κ φ, κ taken
  from all other groups; a group with λ < φ κ/2 is used without being of use.
- **the model is right more often without it** (with labels), when its coefficients are set to the baseline.
- **it weighs more than its energy**. The effects of the other groups, against the energies of their changes, predict
  that of this one (a line in logarithms, Student's t); an effect above the prediction's upper end stands out, if the
  explanation's share exceeds the amplitude's too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm, t

from trimkit.audit.columns import Array, Column
from trimkit.audit.statistics import Resampling
from trimkit.report.verdicts import Estimate

FEWEST_GROUPS = 4
"""Below so many, the others say nothing of one."""

FEWEST_FOR_A_LINE = 7
"""Groups that a line through the others needs, with four degrees of freedom left."""

_FLOOR = 0.01
"""Added to effects before their logarithm, so that groups without any effect do not widen the prediction."""


@dataclass(frozen=True)
class GroupStanding:
    """One group: what the explanation says, what the model does, what the data hold.

    Attributes:
        name: of the group.
        share: of the explanation.
        amplitude: share of the coefficients' amplitude.
        effect: of other samples' values there on the explained output.
        removed: effect of setting them to the baseline.
        flips: share of samples whose predicted class other samples' values change; None without classes.
        loss: share of samples that lose their right answer, less those that gain one; None without labels.
        gain: share of samples that gain their right answer when it is removed, less those that lose it; None without
            labels.
        expected_loss: what so many changed predictions would cost in the other groups.
        useless: it changes predictions, and helps none.
        harmful: the model is right more often without it.
        outweighs: its effect is beyond what its energy lets expect.
        probe: cross-validated accuracy of a linear probe on it alone; None without labels.
    """

    name: str
    share: Estimate
    amplitude: float
    effect: Estimate
    removed: Estimate
    flips: Estimate | None = None
    loss: Estimate | None = None
    gain: Estimate | None = None
    expected_loss: float = 0.0
    useless: bool = False
    harmful: bool = False
    outweighs: bool = False
    probe: float | None = None

    @property
    def stands_out(self) -> bool:
        """Far beyond what the others let expect."""
        return self.useless or self.harmful or self.outweighs

    @property
    def excess(self) -> float:
        """What groups are ordered by: useless changes of predictions, right answers to gain, the effect."""
        wasted = 0.0 if self.loss is None else self.expected_loss - self.loss.value
        gained = 0.0 if self.gain is None else self.gain.value
        signs = ((self.useless, wasted), (self.harmful, gained), (self.outweighs, self.effect.value))
        return sum(size for sign, size in signs if sign)


def standings(
    names: tuple[str, ...],
    values: Mapping[str, Column],
    energy: Array,
    draws: Resampling,
    limits: tuple[float, float],
) -> list[GroupStanding]:
    """Every group, those that stand out first, the others by their effect.

    Args:
        names: of the G groups.
        values: "share", "amplitude", "replaced", "removed" and, with labels, "flips", "loss" and "gain": (n, G) each.
        energy: (G,) mean squared change of a group whose values are replaced.
        draws: over the samples.
        limits: level of the whole search, and the effect below which nothing is flagged.
    """
    alpha, least = limits
    labelled = "loss" in values
    alpha = alpha / 3 if labelled else alpha
    none = np.zeros(len(names))
    expected = _expected_loss(values) if labelled else none
    useless = _useless(values, draws, alpha, least) if labelled else none
    harmful = _harmful(values["gain"], draws, alpha, least) if labelled else none
    outweighs = _outweighs(values, energy, draws, alpha, least)
    bands = {name: draws.band(column) for name, column in values.items()}

    def estimate(name: str, group: int) -> Estimate | None:
        return Estimate(*(float(ends[group]) for ends in bands[name])) if name in bands else None

    rows = [
        GroupStanding(
            name,
            *(estimate("share", g), float(bands["amplitude"][0][g]), estimate("replaced", g), estimate("removed", g)),  # type: ignore[arg-type]
            flips=estimate("flips", g),
            loss=estimate("loss", g),
            gain=estimate("gain", g),
            expected_loss=float(expected[g]),
            useless=bool(useless[g]),
            harmful=bool(harmful[g]),
            outweighs=bool(outweighs[g]),
        )
        for g, name in enumerate(names)
    ]
    return sorted(rows, key=lambda row: (not row.stands_out, -row.excess, -row.effect.value))


def _expected_loss(values: Mapping[str, Column]) -> Array:
    """κ φ of each group, κ from the others: (G,)."""
    return _rates(values["flips"].mean(0), values["loss"].mean(0)) * values["flips"].mean(0)


def _rates(flips: Array, loss: Array) -> Array:
    """Loss a changed prediction in all other groups: (..., G) → (..., G), at least 0."""
    others = flips.sum(-1, keepdims=True) - flips
    return np.clip((loss.sum(-1, keepdims=True) - loss) / np.where(others <= 0, 1, others), 0, None)


def _useless(values: Mapping[str, Column], draws: Resampling, alpha: float, least: float) -> Array:
    flips, loss = draws.means(values["flips"]), draws.means(values["loss"])
    margin = _rates(flips, loss) * flips / 2 - loss  # (B, G)
    z = norm.ppf(1 - alpha / values["flips"].shape[1])
    mean_flips, mean_loss = values["flips"].mean(0), values["loss"].mean(0)
    value = _rates(mean_flips, mean_loss) * mean_flips / 2 - mean_loss
    return (value - z * margin.std(0) > 0) & (mean_flips - z * flips.std(0) > least)


def _harmful(gain: Column, draws: Resampling, alpha: float, least: float) -> Array:
    z = norm.ppf(1 - alpha / gain.shape[1])
    value = gain.mean(0)
    return (value - z * draws.means(gain).std(0) > 0) & (value > least)


def _outweighs(values: Mapping[str, Column], energy: Array, draws: Resampling, alpha: float, least: float) -> Array:
    groups = len(energy)
    if groups < FEWEST_FOR_A_LINE:
        return np.zeros(groups, bool)
    z = norm.ppf(1 - alpha / groups)
    effects = values["replaced"].mean(0)
    low = effects - z * draws.means(values["replaced"]).std(0)
    top = np.array(
        [_predicted(np.log(energy + 1e-12 * energy.max()), np.log(effects + _FLOOR), g, alpha) for g in range(groups)]
    )
    beyond = np.log(np.clip(low, 0, None) + _FLOOR) > top
    more = draws.means(values["share"] - values["amplitude"])
    return beyond & (low > least) & (more.mean(0) - z * more.std(0) > 0)


def _predicted(x: Array, y: Array, group: int, alpha: float) -> float:
    """Upper end of the prediction for one group by a line through the others, at α over the number of groups."""
    others = np.arange(len(x)) != group
    u, v = x[others], y[others]
    spread = ((u - u.mean()) ** 2).sum()
    slope = max(0.0, float(((u - u.mean()) * (v - v.mean())).sum() / spread)) if spread > 0 else 0.0
    rest = v - v.mean() - slope * (u - u.mean())
    free = len(u) - 2
    far = (x[group] - u.mean()) ** 2 / spread if spread > 0 else 0.0
    width = np.sqrt((rest**2).sum() / free * (1 + 1 / len(u) + far))
    return float(v.mean() + slope * (x[group] - u.mean()) + t.ppf(1 - alpha / len(x), free) * width)
