"""What is left of one measured value when the samples are gone: its mean, the mean's resamples, and a few rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from trimkit.errors import DataError

Array: TypeAlias = NDArray[np.float64]

BITS = 8
"""Significant bits of the values that are counted: rounding moves a value by at most 2⁻⁸ of itself, 0.4 %."""


@dataclass(frozen=True, eq=False)
class Column:
    """One named value of n samples, (n, ...), of which only what is linear in them is kept.

    It reads like an array whose first axis is the samples: it can be added, subtracted, scaled, indexed behind the
    first axis (``column[:, 0]``) and averaged (``mean(0)`` over the samples, ``mean(1)`` behind them). Where all
    samples are among the rows it is an array: ``numpy.asarray(column)``.

    Attributes:
        n: number of samples.
        value: (...) their mean.
        draws: (B, ...) means of the resamples; B is 0 where only the sum was wanted.
        ids: samples whose rows are kept, rising.
        rows: (len(ids), ...) their values.
        counts: of a column (n,): value, rounded to `BITS` significant bits → number of samples.
    """

    n: int
    value: Array
    draws: Array
    ids: tuple[int, ...]
    rows: Array
    counts: Mapping[float, int] = field(default_factory=dict)

    __array_ufunc__ = None  # so that ``array - column`` comes here

    def __len__(self) -> int:
        return self.n

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, ...)."""
        return (self.n, *self.value.shape)

    @property
    def complete(self) -> bool:
        """The rows of all samples are kept."""
        return len(self.ids) == self.n

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if not self.complete:
            raise DataError(
                f"the values of {self.n} samples are not kept, only their means and {len(self.ids)} rows: measure what "
                "is not linear in them for each sample, or use column.rows"
            )
        return np.array(self.rows, dtype=dtype)

    def __getitem__(self, index: Any) -> Column:
        first, *rest = index if isinstance(index, tuple) else (index,)
        if not (isinstance(first, slice) and first == slice(None)):
            raise IndexError(f"expected column[:, ...], since single samples are not kept, got [{first!r}, ...]")
        return self._each(lambda part: part[(slice(None), *rest)]) if rest else self

    def mean(self, axis: int | None = None) -> Any:
        """Over the samples (0) an array (...), behind them (1, 2, …) a column, over everything a number."""
        if axis is None:
            return float(self.value.mean())
        return self.value if axis == 0 else self._each(lambda part: part.mean(axis))

    def __neg__(self) -> Column:
        return self._each(np.negative)

    def __add__(self, other: Any) -> Column:
        return self._with(other, np.add)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Column:
        return self._with(other, np.subtract)

    def __rsub__(self, other: Any) -> Column:
        return -self + other

    def __mul__(self, factor: float) -> Column:
        return self._each(lambda part: part * factor)

    __rmul__ = __mul__

    def __truediv__(self, divisor: float) -> Column:
        return self._each(lambda part: part / divisor)

    def _each(self, change: Callable[[Array], Array]) -> Column:
        """A change of (m, ...) that treats every row alike."""
        return Column(self.n, change(self.value[None])[0], change(self.draws), self.ids, change(self.rows))

    def _with(self, other: Any, join: Callable[[Any, Any], Array]) -> Column:
        if not isinstance(other, Column):
            return self._each(lambda part: join(part, other))
        one, two = self._shared(other), other._shared(self)
        return Column(self.n, join(one.value, two.value), join(one.draws, two.draws), one.ids, join(one.rows, two.rows))

    def _shared(self, other: Column) -> Column:
        """With the rows and resamples that another has too."""
        if self.ids == other.ids and len(self.draws) == len(other.draws):
            return self
        keep = np.isin(self.ids, other.ids)
        ids = tuple(np.array(self.ids)[keep].tolist())
        return replace(self, ids=ids, rows=self.rows[keep], draws=self.draws[: len(other.draws)])


def rounded(values: Array) -> Array:
    """Values with `BITS` significant bits, exactly: small whole numbers and their doubles stay as they are.

    Example:
        >>> rounded(np.array([32.0, 96.0, 0.1])).tolist()
        [32.0, 96.0, 0.10009765625]
    """
    parts, exponents = np.frexp(values)
    return np.ldexp(np.rint(np.ldexp(parts, BITS)), exponents - BITS)
