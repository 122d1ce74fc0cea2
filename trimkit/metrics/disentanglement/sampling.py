"""Codes of drawn samples: what the metrics need that hold one factor fixed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trimkit.errors import DataError, OptionError, ShapeError, UnknownNameError, nearest
from trimkit.metrics.arrays import Floats, Integers, as_array, as_codes

BATCH = 1024
"""Sample numbers that an encoder is asked for at a time."""

Encoder = Callable[[Tensor], Any] | Any
"""Codes (n, D) of the samples of the numbers (n,) int64; or the codes (N, D) of all samples, to be looked up."""


class Sampler(Protocol):
    """Draws numbers of samples by their factors, as `trimkit.data.factors.FactorSampler` does.

    >>> from trimkit.data import FactorSampler
    >>> sampler = FactorSampler(torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]]))
    >>> rows = sampler.sharing(0, 3, torch.Generator().manual_seed(0))
    >>> len(rows), len(sampler.factors[rows, 0].unique())
    (3, 1)
    """

    factors: Any
    """(N, K) integers from 0: tensor or array."""

    def sample(self, n: int, generator: torch.Generator, /) -> Tensor:
        """n numbers of samples, (n,)."""
        ...

    def sharing(self, k: int, n: int, generator: torch.Generator, /) -> Tensor:
        """n numbers of samples that share one value of factor k, (n,)."""
        ...

    def pairs_sharing(self, k: int, n: int, generator: torch.Generator, /) -> tuple[Tensor, Tensor]:
        """n pairs of numbers of samples that agree in factor k, two (n,)."""
        ...


@dataclass(frozen=True)
class Groups:
    """How many groups of samples a metric looks at.

    Attributes:
        train: groups to learn from.
        test: groups to test on.
        size: samples (or pairs of them) a group.
        variance: samples from which each code's variance is taken.
    """

    train: int
    test: int
    size: int = 64
    variance: int = 10_000

    def protocol(self) -> dict[str, Any]:
        """What a result has to say of them."""
        return asdict(self)


PROTOCOLS = {"quick": Groups(800, 500), "dlib": Groups(10_000, 5_000)}
"""800 + 500 groups as in the FactorVAE paper, and the 10,000 + 5,000 of disentanglement_lib."""


def groups_of(protocol: str | Groups) -> Groups:
    """A protocol by its name, or as given.

    Raises:
        UnknownNameError: no such name.
        OptionError: no groups, or too small ones.

    >>> groups_of("quick").train, groups_of(Groups(10, 5)).test
    (800, 5)
    """
    if isinstance(protocol, str):
        if protocol not in PROTOCOLS:
            raise UnknownNameError(f"There is no protocol {protocol!r}. {nearest(protocol, PROTOCOLS)}")
        return PROTOCOLS[protocol]
    if min(protocol.train, protocol.test) < 1 or min(protocol.size, protocol.variance) < 2:
        raise OptionError(f"expected at least one group to learn from and to test on, of two samples, got {protocol}")
    return protocol


def varying(sampler: Sampler, names: Sequence[str] = ()) -> dict[int, str]:
    """The factors that have at least two values: column → name.

    Raises:
        ShapeError: no integers (N, K).
        OptionError: not one name a factor.
        DataError: none has two values.
    """
    table = as_array(sampler.factors)
    if table.ndim != 2 or table.dtype.kind not in "iub" or 0 in table.shape:
        raise ShapeError(f"sampler.factors: expected integers (N, K), got {table.dtype} {table.shape}")
    names = tuple(names) or tuple(map(str, range(table.shape[1])))
    if len(names) != table.shape[1]:
        raise OptionError(f"names: expected one for each of {table.shape[1]} factors, got {len(names)}")
    varying = {k: name for k, name in enumerate(names) if table[:, k].min() < table[:, k].max()}
    if not varying:
        raise DataError(f"factors: each of {table.shape[1]} has one value in all samples, so codes cannot tell any")
    return varying


def codes_of(encode: Encoder, numbers: Integers) -> Floats:
    """The codes of numbered samples, each encoded once: numbers (...) → (..., D) float64.

    Raises:
        ShapeError, DataError: codes that are no finite (n, D).
    """
    unique, inverse = np.unique(numbers, return_inverse=True)
    if callable(encode):
        parts = [_encoded(encode, unique[start : start + BATCH]) for start in range(0, len(unique), BATCH)]
        codes = np.concatenate(parts)
    else:
        table_of_codes = as_array(encode)
        if len(table_of_codes) <= unique[-1]:
            raise ShapeError(
                f"codes: expected one for each sample of the sampler, got {len(table_of_codes)}; give them all"
            )
        codes = as_codes(table_of_codes[unique], fewest=1)
    return codes[inverse].reshape(*numbers.shape, codes.shape[1])


def _encoded(encode: Callable[[Tensor], Any], numbers: Integers) -> Floats:
    codes = as_codes(encode(torch.from_numpy(numbers)), "encode(numbers)", fewest=1)
    if len(codes) != len(numbers):
        raise ShapeError(f"encode: expected one code for each of {len(numbers)} numbers of samples, got {len(codes)}")
    return codes


def shares(right: NDArray[np.bool_], group: Integers, kinds: int) -> Floats:
    """Share of right answers (n,) in each group (n,) of the kinds 0, 1, …: (kinds,); 0 for none.

    >>> shares(np.array([True, False, True]), np.array([0, 0, 2]), 3).tolist()
    [0.5, 0.0, 1.0]
    """
    return np.bincount(group, right, kinds) / np.maximum(np.bincount(group, minlength=kinds), 1)
