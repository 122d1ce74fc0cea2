"""The measures of each task, as functions of sums over samples, so that one bootstrap gives every interval.

Each sample keeps a few sums (hits, true positives, squared errors). A measure is a function of their means
over samples; its interval is that of the function over resampled means. Shares of samples have Wilson's interval.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import torch
from scipy.stats import binomtest
from torch import Tensor
from torch.nn.functional import log_softmax

from trimkit.audit.statistics import FEWEST, LEVEL, TAILS, Array, Bootstrap
from trimkit.audit.task import Task
from trimkit.report.verdicts import Estimate
from trimkit.targets import IGNORED, class_axis

Sums: TypeAlias = dict[str, Tensor]
"""Name → (n, ...) float64, a row for each sample."""

Means: TypeAlias = dict[str, Array]
"""Name → (..., m) means over samples, (m,) or of B resamples (B, m)."""


_NOT_DRAWN = ("frequency", "exact", "predicted")
"""Sums of which no resampled mean is needed; the tokens of a vocabulary are many."""


@dataclass(frozen=True)
class Measure:
    """One measure of a model.

    Attributes:
        name: in reports.
        estimate: with its 95 % interval.
        trivial: the same measure of what needs no model; None where there is no such number.
        baseline: what that is, in words.
        better: the good side.
        each: the measure of each class, label or output, where it is a mean of such; "nan" where a class never occurs.
    """

    name: str
    estimate: Estimate
    trivial: float | None = None
    baseline: str = "chance"
    better: Literal["higher", "lower"] = "higher"
    each: tuple[float, ...] = ()

    @property
    def at_chance(self) -> bool:
        """The interval does not lie on the good side of the trivial number."""
        if self.trivial is None:
            return False
        low, high = self.estimate.low, self.estimate.high
        return bool(low <= self.trivial) if self.better == "higher" else bool(high >= self.trivial)

    @property
    def figures(self) -> str:
        """``0.600 [0.539, 0.658]``."""
        value, low, high = (_figure(v) for v in (self.estimate.value, self.estimate.low, self.estimate.high))
        return f"{value} [{low}, {high}]"

    @property
    def comparison(self) -> str:
        """``chance 0.113``, or ""."""
        return "" if self.trivial is None else f"{self.baseline} {_figure(self.trivial)}"

    @property
    def text(self) -> str:
        """``pixel accuracy 0.900 [0.880, 0.920] (most frequent class 0.700)``."""
        beside = f" ({self.comparison}{', at chance' if self.at_chance else ''})" if self.comparison else ""
        return f"{self.name} {self.figures}{beside}"


def sums_of(task: Task, output: Tensor, y: Tensor) -> Sums:
    """The sums of a batch's samples; {} where the labels do not fit the output.

    Args:
        task: of the model.
        output: (N, ...) float64 on the CPU.
        y: labels, see `trimkit.audit.task.Task.labels`.
    """
    if task.name == "regression":
        return _squares(output, y.double())
    predicted = task.predictions(output)
    if predicted is None:
        return {}
    if task.name == "multilabel":
        return _confusions(predicted, y)
    wanted, classes = task.truth(y), max(2, output.shape[class_axis(output)] if output.ndim > 1 else 1)
    if int(wanted.max()) >= classes:
        return {}
    if task.has_classes:
        return {"hits": (predicted == wanted).double(), "truth": wanted.double(), "predicted": predicted.double()}
    counted = (wanted != IGNORED).flatten(1)
    sums = {"hits": ((predicted == wanted).flatten(1) & counted).sum(1).double(), "counted": counted.sum(1).double()}
    frequency = _per_class(wanted, counted, classes)
    if task.name == "segmentation":
        truth, seen = frequency, _per_class(predicted, counted, classes)
        both = _per_class(predicted, counted & (predicted == wanted).flatten(1), classes)
        return {**sums, "both": both, "either": truth + seen - both, "frequency": frequency}
    if task.name == "language-modelling":
        picked = log_softmax(output, -1).gather(2, wanted.clamp_min(0)[..., None])[..., 0]
        sums["surprise"] = -picked.where(wanted != IGNORED, 0.0).sum(1)
    return {**sums, "frequency": frequency}


def measures_of(task: Task, sums: Sums, bootstrap: Bootstrap) -> tuple[Measure, ...]:
    """The measures of a task, the one that decides first."""
    return _MEASURES[task.name](sums, _Draws(sums, bootstrap))


class _Draws:
    """Estimates of functions of means, by one bootstrap."""

    def __init__(self, sums: Sums, bootstrap: Bootstrap) -> None:
        self.means: Means = {name: _rows(values).mean(0) for name, values in sums.items()}
        enough = bootstrap.n >= FEWEST
        drawn = {name: values for name, values in sums.items() if enough and name not in _NOT_DRAWN}
        self.drawn: Means = {name: bootstrap.means(_rows(values)) for name, values in drawn.items()}

    def estimate(self, measure: Callable[[Means], Array]) -> Estimate:
        """The measure of all samples, with the interval of its resamples; infinite where there are too few samples."""
        value = float(measure(self.means))
        if not self.drawn:
            return Estimate(value, -np.inf, np.inf)
        low, high = np.nanquantile(measure(self.drawn), TAILS)
        return Estimate(value, float(low), float(high))


def _classification(sums: Sums, draws: _Draws) -> tuple[Measure, ...]:
    truth = sums["truth"].long()
    return (Measure("accuracy", _share(sums["hits"]), float(torch.bincount(truth).max()) / len(truth)),)


def _binary(sums: Sums, draws: _Draws) -> tuple[Measure, ...]:
    truth, predicted = sums["truth"] == 1, sums["predicted"] == 1
    errors = (("false positive rate", ~truth), ("false negative rate", truth))
    rates = [Measure(name, _share((predicted != truth)[some].double()), better="lower") for name, some in errors]
    return (*_classification(sums, draws), *rates)


def _multilabel(sums: Sums, draws: _Draws) -> tuple[Measure, ...]:
    always = 2 * draws.means["truth"] / (1 + draws.means["truth"])
    counts = torch.unique(sums["truth"], dim=0, return_counts=True)[1]
    return (
        Measure(
            "macro F1",
            draws.estimate(lambda m: _mean(_f1(m))),
            float(_mean(always)),
            "all labels always",
            each=_listed(_f1(draws.means)),
        ),
        Measure("exact match", _share(sums["exact"]), float(counts.max()) / len(sums["truth"]), "most frequent set"),
    )


def _segmentation(sums: Sums, draws: _Draws) -> tuple[Measure, ...]:
    shares = draws.means["frequency"] / draws.means["frequency"].sum()
    present = (shares > 0).sum()
    iou = Measure(
        "mean IoU",
        draws.estimate(lambda m: _mean(_ratio(m["both"], m["either"]))),
        float(shares.max() / present),
        "most frequent class",
        each=_listed(_ratio(draws.means["both"], draws.means["either"])),
    )
    return iou, _position_accuracy("pixel accuracy", "most frequent class", draws)


def _tagging(sums: Sums, draws: _Draws) -> tuple[Measure, ...]:
    return (_position_accuracy("token accuracy", "most frequent tag", draws),)


def _language(sums: Sums, draws: _Draws) -> tuple[Measure, ...]:
    shares = draws.means["frequency"] / draws.means["frequency"].sum()
    entropy = -(shares[shares > 0] * np.log(shares[shares > 0])).sum()
    perplexity = draws.estimate(lambda m: np.exp(_ratio(m["surprise"], m["counted"])[..., 0]))
    return (
        Measure("perplexity", perplexity, float(np.exp(entropy)), "token frequencies alone", "lower"),
        _position_accuracy("next-token accuracy", "most frequent token", draws),
    )


def _regression(sums: Sums, draws: _Draws) -> tuple[Measure, ...]:
    error = draws.estimate(lambda m: np.sqrt(_mean(m["error"])))
    spread = float(np.sqrt(_mean(draws.means["square"] - draws.means["value"] ** 2)))
    return (
        Measure(
            "R²", draws.estimate(lambda m: _mean(_r2(m))), 0.0, "the mean of the labels", each=_listed(_r2(draws.means))
        ),
        Measure("root mean squared error", error, spread, "of the mean of the labels", "lower"),
    )


_MEASURES: dict[str, Callable[[Sums, _Draws], tuple[Measure, ...]]] = {
    "classification": _classification,
    "binary": _binary,
    "multilabel": _multilabel,
    "regression": _regression,
    "segmentation": _segmentation,
    "tagging": _tagging,
    "language-modelling": _language,
}


def _position_accuracy(name: str, baseline: str, draws: _Draws) -> Measure:
    frequency = draws.means["frequency"]
    share = float(frequency.max() / frequency.sum())
    return Measure(name, draws.estimate(lambda m: _ratio(m["hits"], m["counted"])[..., 0]), share, baseline)


def _squares(output: Tensor, y: Tensor) -> Sums:
    """Of each output; of maps, over all of their values together."""
    y = y.reshape(output.shape)
    columns = {"value": y, "square": y * y, "error": (output - y) ** 2}
    if output.ndim > 2:
        return {name: values.flatten(1).mean(1, keepdim=True) for name, values in columns.items()}
    return {name: values.reshape(len(y), -1) for name, values in columns.items()}


def _confusions(predicted: Tensor, y: Tensor) -> Sums:
    both = (predicted & y).double()
    exact = (predicted == y).all(1).double()
    return {"both": both, "seen": predicted.double(), "truth": y.double(), "exact": exact}


def _per_class(classes: Tensor, counted: Tensor, number: int) -> Tensor:
    """(N, *positions) → (N, number): how many counted positions of each sample are of each class."""
    flat = classes.flatten(1).masked_fill(~counted, number)
    return torch.stack([torch.bincount(row, minlength=number + 1)[:number] for row in flat]).double()


def _share(hits: Tensor) -> Estimate:
    """Share of ones in (n,), with Wilson's interval; anything from 0 to 1 where there are none."""
    if not len(hits):
        return Estimate(float("nan"), 0.0, 1.0)
    interval = binomtest(int(hits.sum()), len(hits)).proportion_ci(LEVEL, "wilson")
    return Estimate(float(hits.mean()), float(interval.low), float(interval.high))


def _f1(means: Means) -> Array:
    return _ratio(2 * means["both"], means["seen"] + means["truth"])


def _r2(means: Means) -> Array:
    return 1 - _ratio(means["error"], means["square"] - means["value"] ** 2)


def _ratio(over: Array, under: Array) -> Array:
    """NaN where there is nothing to divide by."""
    return np.divide(over, under, out=np.full(np.broadcast(over, under).shape, np.nan), where=under > 0)


def _mean(values: Array) -> Array:
    """Over the last axis, without NaN."""
    counted = ~np.isnan(values)
    return np.where(counted, values, 0).sum(-1) / np.maximum(counted.sum(-1), 1)


def _rows(values: Tensor) -> Array:
    return values.reshape(len(values), -1).numpy()


def _listed(values: Array) -> tuple[float, ...]:
    return tuple(float(v) for v in values)


def _figure(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 100 or not np.isfinite(value) else f"{value:.4g}"
