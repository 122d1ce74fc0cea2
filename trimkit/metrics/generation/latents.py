"""What codes of generative networks are worth: codes as classes, and codes that come back."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from trimkit.errors import DataError, ShapeError
from trimkit.metrics.arrays import Integers, as_array, as_codes
from trimkit.metrics.bootstrap import (
    DRAWS,
    generator,
    interval,
    row_weights,
    share_interval,
    weighted_means,
)
from trimkit.metrics.results import MetricResult, plain


def code_accuracy(
    train_codes: Any, train_labels: Any, test_codes: Any, test_labels: Any, *, seed: int = 0, draws: int = DRAWS
) -> MetricResult:
    """Accuracy of categorical codes as class labels, one class a code (Chen et al. 2016, section 7.2).

    Codes are matched to classes one to one so that the training rows agree best (Hungarian method), and scored on other
    rows: matching and scoring on the same rows flatters, most of all where there are more codes than classes. A code
    beyond the number of classes stands for no class and is always wrong.

    Args:
        train_codes: (N,) integers ≥ 0, or (N, K) probabilities, of which the largest counts; N ≥ 20.
        train_labels: (N,) integers ≥ 0.
        test_codes: (M,) or (M, K), M ≥ 1.
        test_labels: (M,).
        seed: of the interval.
        draws: resamples of the test rows, for the interval; 0 for none.
    Returns:
        "code_accuracy" in [0, 1]. Parts: "train" accuracy; "matching", the class of each code, −1 for none; "classes",
        the number of classes that are the most frequent one of some code's training rows.
    Raises:
        ShapeError, DataError: arrays that do not fit.
    """
    train, test = (
        (_classes(c, "codes", likeliest=True), _classes(y, "labels"))
        for c, y in ((train_codes, train_labels), (test_codes, test_labels))
    )
    for part, (codes, labels) in (("training", train), ("test", test)):
        if len(codes) != len(labels) or not len(codes):
            raise ShapeError(f"expected one label for each {part} code, got {len(codes)} codes, {len(labels)} labels")
    if len(train[0]) < 20:
        raise DataError(f"expected at least 20 training rows to match codes by, got {len(train[0])}")
    counts = np.zeros([1 + max(train[i].max(), test[i].max()) for i in (0, 1)], dtype=np.int64)
    np.add.at(counts, train, 1)
    matching = np.full(len(counts), -1)
    matched, classes = linear_sum_assignment(-counts)
    matching[matched] = classes
    right = matching[test[0]] == test[1]
    parts = {
        "train": float((matching[train[0]] == train[1]).mean()),
        "matching": plain(matching),
        "classes": len(set(counts[counts.sum(1) > 0].argmax(1))),
    }
    protocol = {"train": len(train[0]), "test": len(right), "matching": "Hungarian, on the training rows", "seed": seed}
    spread = share_interval(right, draws, generator(seed, "code_accuracy"))
    return MetricResult("code_accuracy", float(right.mean()), spread, protocol | {"draws": draws}, parts)


def reciprocity_error(codes: Any, again: Any, *, seed: int = 0, draws: int = DRAWS) -> MetricResult:
    """E ‖w − E(G(w))‖² / E ‖w − w̄‖²: 0 for an encoder that inverts the generator, 1 for one that answers w̄.

    Args:
        codes: (N, ...) codes w, N ≥ 20.
        again: (N, ...) codes of the data that they generate.
        seed: of the interval.
        draws: resamples of the rows, for the interval; 0 for none.
    Returns:
        "reciprocity_error", ≥ 0, without unit. Parts: "variance", E ‖w − w̄‖².
    Raises:
        ShapeError, DataError: arrays that do not fit.
        DataError: codes that are all the same.
    """
    w, other = as_codes(codes), as_codes(again, "again")
    if w.shape != other.shape:
        raise ShapeError(f"expected codes and their return of one shape, got {w.shape} and {other.shape}")
    error, spread = np.square(w - other).sum(1), np.square(w - w.mean(0)).sum(1)
    if not spread.mean() > 0:
        raise DataError("the codes are all the same, so that nothing can be lost; the mapping network has collapsed")
    weights = row_weights(len(w), draws, generator(seed, "reciprocity_error"))
    of_error, of_spread = weighted_means(np.stack([error, spread], 1), weights).T
    value = float(error.mean() / spread.mean())
    ends = interval(value, of_error / np.maximum(of_spread, np.finfo(float).tiny), 0)
    protocol = {"samples": len(w), "dimensions": w.shape[1], "seed": seed, "draws": draws}
    return MetricResult("reciprocity_error", value, ends, protocol, {"variance": float(spread.mean())})


def _classes(values: Any, name: str, *, likeliest: bool = False) -> Integers:
    """Integer classes (N,) of integers (N,) or (N, 1), or of the largest of (N, K) probabilities."""
    array = as_array(values)
    array = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
    if likeliest and array.ndim == 2 and array.shape[1]:
        if not np.isfinite(array).all():
            raise DataError(f"{name}: expected finite probabilities, got NaN or infinity")
        array = array.argmax(1)
    if array.ndim != 1 or array.dtype.kind not in "iu" or (array < 0).any():
        expected = "integers ≥ 0 (N,)" + (", or probabilities (N, K)" if likeliest else "")
        raise ShapeError(f"{name}: expected {expected}, got {array.dtype} {array.shape}")
    return array.astype(np.int64)
