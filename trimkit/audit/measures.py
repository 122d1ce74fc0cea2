"""The measures of each task, as functions of means over samples, so that one set of resamples gives every interval.

Each sample adds a few numbers (hits, true positives, squared errors). A measure is a function of their means over
samples; its interval is that of the function over resampled means. Shares of samples have Wilson's interval.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import torch
from scipy.stats import binomtest
from torch import Tensor
from torch.nn.functional import log_softmax, one_hot

from trimkit.audit.columns import Array, Column
from trimkit.audit.statistics import FEWEST, Resampling
from trimkit.audit.task import Task
from trimkit.report.verdicts import Estimate
from trimkit.targets import IGNORED, class_axis

Sums: TypeAlias = dict[str, Tensor]
"""Name → (n,) or (n, m), a row for each sample."""

Means: TypeAlias = Mapping[str, Array]
"""Name → (...) means over the samples, or (B, ...) over B resamples."""

TOTALS = ("frequency",)
"""Sums of which no resamples are needed; the tokens of a vocabulary are many."""


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
    """What each sample of a batch adds.

    Args:
        task: of the model.
        output: (N, ...) on the CPU.
        y: labels that fit it, see `trimkit.audit.task.Task.labels`.
    """
    predicted = task.predictions(output)
    if predicted is None:
        return _squares(output.double(), y.double())
    if task.name == "multilabel":
        both, exact = (predicted & y).double(), (predicted == y).all(1).double()
        return {"both": both, "seen": predicted.double(), "truth": y.double(), "exact": exact}
    wanted, classes = task.truth(y), max(2, output.shape[class_axis(output)])
    counted = (wanted != IGNORED).reshape(len(wanted), -1)
    right = (predicted == wanted).reshape(len(wanted), -1) & counted
    frequency = _per_class(wanted, counted, classes)
    if task.has_classes:
        false = (one_hot(predicted, classes) > frequency).double()
        return {"hits": right[:, 0].double(), "frequency": frequency, **({"false": false} if classes == 2 else {})}
    sums = {"hits": right.sum(1).double(), "counted": counted.sum(1).double(), "frequency": frequency}
    if task.name == "segmentation":
        both = _per_class(predicted, right, classes)
        return {**sums, "both": both, "either": frequency + _per_class(predicted, counted, classes) - both}
    if task.name == "language-modelling":
        picked = log_softmax(output.double(), -1).gather(2, wanted.clamp_min(0)[..., None])[..., 0]
        sums["surprise"] = -picked.where(counted, 0.0).sum(1)
    return sums


def joined(parts: Sequence[Sums]) -> Sums:
    """The sums of consecutive samples."""
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def measures_of(task: Task, columns: Mapping[str, Column], resampling: Resampling) -> tuple[Measure, ...]:
    """The measures of a task, the one that decides first."""
    return _MEASURES[task.name](_Means(columns, resampling))


class _Means:
    """Estimates of functions of means, by one set of resamples."""

    def __init__(self, columns: Mapping[str, Column], resampling: Resampling) -> None:
        self.columns, self.resampling = columns, resampling
        self.value: Means = {name: column.value for name, column in columns.items()}
        self.drawn: Means = {name: column.draws for name, column in columns.items()}
        frequency = columns.get("frequency")
        self.shares = np.zeros(1) if frequency is None else frequency.value / frequency.value.sum()

    def estimate(self, measure: Callable[[Means], Array]) -> Estimate:
        """The measure of all samples, with the interval of its resamples; infinite where there are too few samples."""
        value = float(measure(self.value))
        if self.resampling.n < FEWEST:
            return Estimate(value, -np.inf, np.inf)
        low, high = np.nanquantile(measure(self.drawn), self.resampling.tails)
        return Estimate(value, float(low), float(high))

    def share(self, hits: float, total: float) -> Estimate:
        """Two means of zeros and ones as a share, with Wilson's interval."""
        n = round(total * self.resampling.n)
        low_tail, high_tail = self.resampling.tails
        found = binomtest(round(hits * self.resampling.n), n).proportion_ci(high_tail - low_tail, "wilson")
        return Estimate(hits / total, float(found.low), float(found.high))

    def accuracy(self, name: str, baseline: str) -> Measure:
        """Share of positions that are right, beside the share of the most frequent class."""
        of_positions = self.estimate(lambda m: _ratio(m["hits"], m["counted"]))
        return Measure(name, of_positions, float(self.shares.max()), baseline)


def _classification(means: _Means) -> tuple[Measure, ...]:
    hits = float(means.value["hits"])
    return (Measure("accuracy", means.share(hits, 1.0), float(means.shares.max())),)


def _binary(means: _Means) -> tuple[Measure, ...]:
    rates = [
        Measure(f"false {name} rate", means.share(means.value["false"][k], means.shares[1 - k]), better="lower")
        for name, k in (("positive", 1), ("negative", 0))
        if means.shares[1 - k] > 0
    ]
    return (*_classification(means), *rates)


def _multilabel(means: _Means) -> tuple[Measure, ...]:
    always = 2 * means.value["truth"] / (1 + means.value["truth"])
    each = _listed(_f1(means.value))
    f1 = means.estimate(lambda m: _mean(_f1(m)))
    rows = means.columns["truth"].rows
    frequent = float(np.unique(rows, axis=0, return_counts=True)[1].max()) / len(rows)
    exact = means.share(float(means.value["exact"]), 1.0)
    return (
        Measure("macro F1", f1, float(_mean(always)), "all labels always", each=each),
        Measure("exact match", exact, frequent, "most frequent set"),
    )


def _segmentation(means: _Means) -> tuple[Measure, ...]:
    iou = means.estimate(lambda m: _mean(_ratio(m["both"], m["either"])))
    constant = float(means.shares.max() / (means.shares > 0).sum())
    each = _listed(_ratio(means.value["both"], means.value["either"]))
    baseline = "most frequent class"
    return Measure("mean IoU", iou, constant, baseline, each=each), means.accuracy("pixel accuracy", baseline)


def _tagging(means: _Means) -> tuple[Measure, ...]:
    return (means.accuracy("token accuracy", "most frequent tag"),)


def _language(means: _Means) -> tuple[Measure, ...]:
    shares = means.shares[means.shares > 0]
    perplexity = means.estimate(lambda m: np.exp(_ratio(m["surprise"], m["counted"])))
    alone = float(np.exp(-(shares * np.log(shares)).sum()))
    return (
        Measure("perplexity", perplexity, alone, "token frequencies alone", "lower"),
        means.accuracy("next-token accuracy", "most frequent token"),
    )


def _regression(means: _Means) -> tuple[Measure, ...]:
    r2, error = means.estimate(lambda m: _mean(_r2(m))), means.estimate(lambda m: np.sqrt(_mean(m["error"])))
    spread = float(np.sqrt(_mean(_variance(means.value))))
    return (
        Measure("R²", r2, 0.0, "the labels' mean", each=_listed(_r2(means.value))),
        Measure("root mean squared error", error, spread, "of the labels' mean", "lower"),
    )


_MEASURES: dict[str, Callable[[_Means], tuple[Measure, ...]]] = {
    "classification": _classification,
    "binary": _binary,
    "multilabel": _multilabel,
    "regression": _regression,
    "segmentation": _segmentation,
    "tagging": _tagging,
    "language-modelling": _language,
}


def _squares(output: Tensor, y: Tensor) -> Sums:
    """Of each output; of maps, over all of their values together."""
    y = y.reshape(output.shape)
    columns = {"value": y, "square": y * y, "error": (output - y) ** 2}
    if output.ndim > 2:
        return {name: values.flatten(1).mean(1, keepdim=True) for name, values in columns.items()}
    return {name: values.reshape(len(y), -1) for name, values in columns.items()}


def _per_class(classes: Tensor, counted: Tensor, number: int) -> Tensor:
    """(N, *positions) → (N, number): how many counted positions of each sample are of each class."""
    flat = classes.reshape(len(classes), -1).masked_fill(~counted, number)
    return torch.stack([torch.bincount(row, minlength=number + 1)[:number] for row in flat]).double()


def _f1(means: Means) -> Array:
    return _ratio(2 * means["both"], means["seen"] + means["truth"])


def _r2(means: Means) -> Array:
    return 1 - _ratio(means["error"], _variance(means))


def _variance(means: Means) -> Array:
    return means["square"] - means["value"] ** 2


def _ratio(over: Array, under: Array) -> Array:
    """NaN where there is nothing to divide by."""
    return np.divide(over, under, out=np.full(np.broadcast(over, under).shape, np.nan), where=under > 0)


def _mean(values: Array) -> Array:
    """Over the last axis, without NaN."""
    counted = ~np.isnan(values)
    return np.where(counted, values, 0).sum(-1) / np.maximum(counted.sum(-1), 1)


def _listed(values: Array) -> tuple[float, ...]:
    return tuple(float(v) for v in values)


def _figure(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 100 or not np.isfinite(value) else f"{value:.4g}"
