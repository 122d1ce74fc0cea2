"""Sums over samples that have the same bits in any order, whatever ran where; their size does not grow with samples.

Floating sums depend on their order. Here every value is first rounded onto a grid of fixed points and then summed as an
integer, which is exact. The grid is that of the largest magnitude of the column so far: a coarser one only drops
digits, which are summed apart (indexed sums, Demmel and Nguyen 2015, doi:10.1109/TC.2014.2345391).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from trimkit.audit.columns import Array, Column, rounded
from trimkit.audit.statistics import DRAWS, poisson_weights
from trimkit.errors import DataError

Integers = NDArray[np.int64]

SLICE = 32
"""Bits of a slice. A column keeps two, so that rounding moves a value by at most 2⁻³² of the column's largest."""

FULL = 256
"""Entries a sample up to which a column keeps all resamples; a wider one keeps fewer, at least `FEWEST_DRAWS`."""

FEWEST_DRAWS = 64

FIRST = 1024
"""Samples, the first in key order, whose rows are kept; fewer of columns with more than `FIRST_ENTRIES` entries."""

FIRST_ENTRIES = 64

BLOCK = 512
"""Samples that are gathered before they are multiplied by their weights."""


class ExactSum:
    """Weighted sums Σ w v as integers: adding and merging are associative and commutative, bit for bit.

    With t the slice of the largest |v| so far, v is rounded to a multiple of 2^(32 (t − 1)) and split into a multiple
    of 2^(32 t) and a rest; the multiples are summed. Good for 2³² samples.

    Example:
        >>> one, two = ExactSum(), ExactSum()
        >>> one.add(np.array([[0.25], [1e9]]), np.ones((1, 2)))
        >>> two.add(np.array([[-1e9]]), np.ones((1, 1)))
        >>> one.merge(two)
        >>> one.total().tolist()
        [[0.25]]
    """

    def __init__(self) -> None:
        self.top: int | None = None
        self.high: Integers = np.zeros(0, np.int64)
        self.low: Integers = np.zeros(0, np.int64)

    def add(self, values: Array, weights: Array) -> None:
        """Add samples.

        Args:
            values: (N, m), finite.
            weights: (R, N) whole numbers as floats, of sum below 2²¹ a row.
        """
        add_all([(self, values)], weights)

    def slices(self, values: Array) -> tuple[Array, Array]:
        """The two slices of values (N, m), whole numbers, after the grid has been raised to hold them."""
        largest = float(np.abs(values).max(initial=0.0))
        if largest > 0:
            self._raise(math.ceil((math.frexp(largest)[1] - SLICE + 1) / SLICE))
        if self.top is None:
            return np.zeros_like(values), np.zeros_like(values)
        high = np.rint(np.ldexp(values, -SLICE * self.top))
        low = np.rint(np.ldexp(values, -SLICE * (self.top - 1))) - np.ldexp(high, SLICE)
        return high, low

    def put(self, high: Array, low: Array) -> None:
        """Add sums (R, m) of slices."""
        if not self.high.size:
            self.high, self.low = (np.zeros(high.shape, np.int64) for _ in range(2))
        self.high += high.astype(np.int64)
        self.low += low.astype(np.int64)

    def merge(self, other: ExactSum) -> None:
        """Add the sums of other samples."""
        if not self.high.size:
            self.high, self.low = (np.zeros_like(other.high) for _ in range(2))
        if other.top is None:
            return
        self._raise(other.top)
        assert self.top is not None
        high, low = _lift(other.high, other.low, self.top - other.top)
        self.high, self.low = self.high + high, self.low + low

    def total(self) -> Array:
        """(R, m) the sums."""
        if self.top is None:
            return np.zeros(self.high.shape)
        parts = (self.high.astype(np.float64), self.low.astype(np.float64))
        return np.ldexp(parts[0], SLICE * self.top) + np.ldexp(parts[1], SLICE * (self.top - 1))

    def _raise(self, top: int) -> None:
        if self.top is not None and top > self.top:
            self.high, self.low = _lift(self.high, self.low, top - self.top)
        self.top = top if self.top is None else max(self.top, top)


def _lift(high: Integers, low: Integers, slices: int) -> tuple[Integers, Integers]:
    """The same sums on a grid so many slices coarser, on which the values have no high slice."""
    if slices == 0:
        return high, low
    return np.zeros_like(high), high if slices == 1 else np.zeros_like(high)


def add_all(several: Iterable[tuple[ExactSum, Array]], weights: Array) -> None:
    """Add values (N, m) of the same samples to several sums, in one product with the weights (R, N).

    The product is exact: whole numbers of at most 31 bits, by weights whose row sums are below 2²¹.
    """
    pairs = list(several)
    columns = [part for total, values in pairs for part in total.slices(values)]
    summed = weights @ np.concatenate(columns, axis=1)
    start = 0
    for total, values in pairs:
        width = values.shape[1]
        high, low = summed[:, start : start + width], summed[:, start + width : start + 2 * width]
        total.put(high, low)
        start += 2 * width


class State:
    """What is kept of the values of one check for one attribution: additive, and O(1) in the number of samples.

    Args:
        seed: of the audit, which keys the resamples.
        first: id → place in key order, of the samples whose rows may be kept.
        totals: names of which the sum alone is kept.

    Example:
        >>> import torch
        >>> state = State(0, {4: 0, 7: 1})
        >>> state.update([4, 7], {"gap": torch.tensor([0.25, 0.5])})
        >>> other = State(0, {4: 0, 7: 1})
        >>> other.update([9], {"gap": torch.tensor([3.0])})
        >>> other.merge(state)
        >>> column = other.finalise()["gap"]
        >>> column.n, column.mean(), column.rows.tolist()
        (3, 1.25, [0.25, 0.5])
    """

    def __init__(self, seed: int, first: Mapping[int, int], totals: Sequence[str] = ()) -> None:
        self.seed, self.first, self.totals = seed, first, frozenset(totals)
        self.n = 0
        self.weight: Integers = np.zeros(DRAWS, np.int64)
        self.sums: dict[str, ExactSum] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.held: Counter[str] = Counter()
        self.broken: dict[str, NDArray[np.bool_]] = {}
        self.counts: dict[str, Counter[float]] = {}
        self.rows: dict[str, dict[int, Array]] = {}
        self._ids: list[int] = []
        self._waiting: list[dict[str, Array]] = []

    def update(self, ids: Sequence[int], values: Mapping[str, Tensor]) -> None:
        """Add the values of one batch.

        Args:
            ids: of its samples.
            values: name → (N, ...). A value that is not finite makes the mean of its entry NaN.
        Raises:
            DataError: a name whose values have another shape than before.
        """
        waiting = {}
        for name, value in values.items():
            array = value.detach().cpu().double().numpy()
            self._check_shape(name, array.shape[1:])
            self._keep(name, ids, array)
            flat = self._finite(name, array.reshape(len(array), -1))
            self.held[name] += len(ids)
            if name in self.totals:
                self.sums.setdefault(name, ExactSum()).add(flat, np.ones((1, len(ids))))
            else:
                waiting[name] = flat
        self.n += len(ids)
        if self._waiting and waiting.keys() != self._waiting[0].keys():
            self.settle()
        self._ids += ids
        self._waiting.append(waiting)
        if len(self._ids) >= BLOCK:
            self.settle()

    def settle(self) -> None:
        """Sum the samples that wait for their weights."""
        waiting, ids = self._waiting, tuple(self._ids)
        self._waiting, self._ids = [], []
        if not ids:
            return
        weights = _weights(self.seed, ids)
        self.weight += weights[1:].sum(1).astype(np.int64)
        by_draws: dict[int, list[tuple[ExactSum, Array]]] = {}
        for name in waiting[0]:
            values = np.concatenate([batch[name] for batch in waiting])
            by_draws.setdefault(draws_of(values.shape[1]), []).append((self.sums.setdefault(name, ExactSum()), values))
        for draws, several in by_draws.items():
            add_all(several, weights[: 1 + draws])

    def merge(self, other: State) -> None:
        """Add what was kept of other samples.

        Raises:
            DataError: values of another shape.
        """
        self.settle()
        other.settle()
        for name, total in other.sums.items():
            self._check_shape(name, other.shapes[name])
            self.sums.setdefault(name, ExactSum()).merge(total)
            self.broken[name] = np.logical_or(self.broken.get(name, False), other.broken[name])
        for name, counted in other.counts.items():
            self.counts.setdefault(name, Counter()).update(counted)
        for name, rows in other.rows.items():
            self.rows.setdefault(name, {}).update(rows)
        self.held.update(other.held)
        self.n += other.n
        self.weight = self.weight + other.weight

    def finalise(self) -> dict[str, Column]:
        """Name → column.

        Raises:
            DataError: a name that some batches lack.
        """
        self.settle()
        for name, held in self.held.items():
            if held != self.n:
                raise DataError(
                    f"{self.n - held} of {self.n} samples have no value {name!r}: measure the same names in every batch"
                )
        return {name: self._column(name) for name in sorted(self.sums)}

    def _column(self, name: str) -> Column:
        shape, broken, total = self.shapes[name], self.broken[name], self.sums[name].total()
        total[:, broken] = np.nan
        weight = self.weight[: len(total) - 1]
        draws = total[1:][weight > 0] / weight[weight > 0][:, None]
        rows = dict(sorted(self.rows.get(name, {}).items()))
        kept = np.array(list(rows.values())).reshape(len(rows), *shape)
        return Column(
            self.n,
            (total[0] / self.n).reshape(shape),
            draws.reshape(len(draws), *shape),
            tuple(rows),
            kept,
            self.counts.get(name, {}),
        )

    def _check_shape(self, name: str, shape: tuple[int, ...]) -> None:
        if self.shapes.setdefault(name, shape) != shape:
            raise DataError(f"values {name!r} have shape {shape} a sample here, and {self.shapes[name]} in others")

    def _keep(self, name: str, ids: Sequence[int], values: Array) -> None:
        if name in self.totals:
            return
        if values.ndim == 1:
            self.counts.setdefault(name, Counter()).update(rounded(values[np.isfinite(values)]).tolist())
        most = min(FIRST, FIRST * FIRST_ENTRIES // max(1, int(np.prod(values.shape[1:]))))
        kept = self.rows.setdefault(name, {})
        kept.update({i: values[row].copy() for row, i in enumerate(ids) if self.first.get(i, FIRST) < most})

    def _finite(self, name: str, values: Array) -> Array:
        finite = np.isfinite(values)
        self.broken[name] = np.logical_or(self.broken.get(name, False), ~finite.all(0))
        return values if finite.all() else np.where(finite, values, 0.0)


def draws_of(width: int) -> int:
    """Resamples that a column with so many entries keeps: all, or so many that it stays small.

    Example:
        >>> draws_of(1), draws_of(256), draws_of(512), draws_of(100_000)
        (2000, 2000, 1000, 64)
    """
    return max(FEWEST_DRAWS, min(DRAWS, FULL * DRAWS // max(1, width)))


@lru_cache(maxsize=2)
def _weights(seed: int, ids: tuple[int, ...]) -> Array:
    """(1 + DRAWS, N): ones, then the resamples' weights; shared by all checks that saw the same samples."""
    return np.concatenate([np.ones((1, len(ids))), poisson_weights(seed, ids, DRAWS).T.astype(np.float64)])


def as_json(state: State) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """A state as plain JSON values and arrays, for a file."""
    state.settle()
    arrays: dict[str, NDArray[Any]] = {"weight": state.weight}
    for name, total in state.sums.items():
        arrays |= {f"high {name}": total.high, f"low {name}": total.low, f"broken {name}": state.broken[name]}
    for name, rows in state.rows.items():
        arrays[f"rows {name}"] = np.array(list(rows.values())).reshape(len(rows), *state.shapes[name])
    plain = {
        "n": state.n,
        "tops": {name: total.top for name, total in state.sums.items()},
        "shapes": {name: list(shape) for name, shape in state.shapes.items()},
        "held": dict(state.held),
        "ids": {name: list(rows) for name, rows in state.rows.items()},
        "counts": {name: list(map(list, counted.items())) for name, counted in state.counts.items()},
    }
    return plain, arrays


def from_json(state: State, plain: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> State:
    """Fill a new state with what `as_json` gave."""
    state.n, state.weight, state.held = plain["n"], arrays["weight"], Counter(plain["held"])
    state.shapes = {name: tuple(shape) for name, shape in plain["shapes"].items()}
    state.counts = {name: Counter(dict(pairs)) for name, pairs in plain["counts"].items()}
    for name, top in plain["tops"].items():
        total = state.sums[name] = ExactSum()
        total.top, total.high, total.low = top, arrays[f"high {name}"], arrays[f"low {name}"]
        state.broken[name] = arrays[f"broken {name}"]
    for name, ids in plain["ids"].items():
        state.rows[name] = dict(zip(ids, arrays[f"rows {name}"], strict=True))
    return state
