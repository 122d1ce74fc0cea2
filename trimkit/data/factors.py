"""Rows by their generative factors: samples that share the value of one factor, as disentanglement metrics ask for."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from trimkit.errors import DataError

MOST_VALUES = 2**20
"""Values of a factor, and classes: what counts them takes memory for each, so larger numbers are refused."""

INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


class FactorSampler:
    """Draws numbers of samples by their factors, with replacement.

    Rows are grouped by the values of a factor when it is first asked for, by one stable sort, and kept: the grid of
    dSprites (737,280 rows) then gives 64 matching rows in some microseconds. Nothing is assumed about the table: where
    it is a complete grid, the other factors of matching rows are uniform and independent, as the published protocols
    draw them; where it is not, they follow the rows that have the value.

    Args:
        factors: (N, K) integers from 0, K ≥ 1.
    Raises:
        DataError: no such table.

    Example:
        >>> grid = torch.cartesian_prod(torch.arange(3), torch.arange(4))
        >>> rows = FactorSampler(grid).sharing(1, 5, torch.Generator().manual_seed(0))
        >>> len(grid[rows, 1].unique())
        1
    """

    def __init__(self, factors: Tensor) -> None:
        check_factors("factors", factors)
        self.factors = factors
        self.sizes = factor_sizes(factors)
        self._groups: dict[int, _Groups] = {}

    def __len__(self) -> int:
        return len(self.factors)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Numbers of n samples, each drawn uniformly from all, (n,) int64.

        Raises:
            DataError: n < 1.
        """
        _check_count(n)
        return torch.randint(len(self.factors), (n,), generator=generator)

    def sharing(self, k: int, n: int, generator: torch.Generator, value: int | None = None) -> Tensor:
        """Numbers of n samples whose factor k has one value, each drawn uniformly from those that have it.

        The value is that of a sample drawn uniformly, so a rare value is rarely the shared one; on a complete grid all
        values are equally likely.

        Args:
            k: number of the factor, 0 … K − 1.
            n: how many, at least 1.
            generator: of the draws.
            value: the shared value; by default a random one.
        Returns:
            (n,) int64.
        Raises:
            DataError: no factor k, no sample with the value, or n < 1.
        """
        _check_count(n)
        groups = self._grouped(k)
        if value is None:
            value = int(self.factors[self.sample(1, generator), k])
        first, count = groups.span(torch.tensor([value]))
        if int(count) == 0:
            raise DataError(f"factor {k}: no sample has the value {value}, expected one that occurs")
        drawn = torch.randint(int(count), (n,), generator=generator)
        return groups.order[first + drawn].long()

    def pairs_sharing(self, k: int, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Numbers of n pairs of samples that agree in factor k, pair by pair.

        The first of a pair is drawn uniformly from all samples, the second uniformly from those that share its value
        (which may be the first itself).

        Returns:
            Two tensors (n,) int64.
        Raises:
            DataError: no factor k, or n < 1.
        """
        groups = self._grouped(k)
        left = self.sample(n, generator)
        first, count = groups.span(self.factors[left, k].long())
        share = torch.rand(n, dtype=torch.float64, generator=generator)
        return left, groups.order[first + (share * count).long()].long()

    def _grouped(self, k: int) -> _Groups:
        if not 0 <= k < self.factors.shape[1]:
            raise DataError(f"expected the number of a factor in 0 … {self.factors.shape[1] - 1}, got {k}")
        if k not in self._groups:
            self._groups[k] = _Groups.of(self.factors[:, k])
        return self._groups[k]


@dataclass(frozen=True)
class _Groups:
    """The rows in the order of one factor's values: those of value v are order[starts[v] : starts[v + 1]]."""

    order: Tensor  # (N,) int32
    starts: Tensor  # (V + 1,) int64

    @classmethod
    def of(cls, column: Tensor) -> _Groups:
        counts = torch.bincount(column.long())
        starts = torch.cat((torch.zeros(1, dtype=torch.int64), counts.cumsum(0)))
        return cls(column.argsort(stable=True).int(), starts)

    def span(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """First place and number of rows of each value; none for a value that does not occur."""
        inside = values.clamp(0, len(self.starts) - 2)
        count = (self.starts[inside + 1] - self.starts[inside]) * (inside == values)
        return self.starts[inside], count


def factor_sizes(factors: Tensor) -> tuple[int, ...]:
    """Number of values of each factor of (N, K): its largest value plus one.

    >>> factor_sizes(torch.tensor([[0, 2], [1, 0]]))
    (2, 3)
    """
    return tuple(int(largest) + 1 for largest in factors.amax(0))


def check_factors(name: str, factors: Tensor) -> None:
    """Refuse what is no table of factors: (N, K) integers from 0, with at least one sample and one factor.

    Raises:
        DataError: what was expected and what was got.

    >>> check_factors("mine", torch.tensor([[0, 1], [1, 0]]))
    >>> check_factors("mine", torch.tensor([0.5]))
    Traceback (most recent call last):
    trimkit.errors.DataError: ...
    """
    if factors.dtype not in INTEGERS or factors.ndim != 2 or factors.numel() == 0:
        raise DataError(
            f"{name}: expected factors as integers (N, K), N and K ≥ 1, got {factors.dtype} {tuple(factors.shape)}"
        )
    if int(factors.min()) < 0:
        raise DataError(
            f"{name}: expected values of factors from 0, got {int(factors.min())}; number the values of each factor"
        )
    if int(factors.max()) >= MOST_VALUES:
        raise DataError(
            f"{name}: expected values of factors below {MOST_VALUES}, got {int(factors.max())}; number the values of "
            "each factor"
        )


def _check_count(n: int) -> None:
    if n < 1:
        raise DataError(f"expected a number of samples ≥ 1, got {n}")
