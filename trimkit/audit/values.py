"""Values of single samples, gathered batch by batch, that merge to the same bits whatever ran where."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from trimkit.audit.statistics import Array
from trimkit.errors import DataError


@dataclass
class SampleValues:
    """Named values of samples: one partial for each batch, combined in the order of sample ids at the end.

    Because nothing is summed before the end, a run in one process and shards that are merged give the same bits, as
    long as the batches have the same boundaries.

    Example:
        >>> import torch
        >>> store = SampleValues()
        >>> store.update([4, 7], {"gap": torch.tensor([0.25, 0.5])})
        >>> store.merge(SampleValues({1: ([1], {"gap": np.array([2.0])})}))
        >>> store.finalise()
        ([1, 4, 7], {'gap': array([2.  , 0.25, 0.5 ])})
    """

    partials: dict[int, tuple[list[int], dict[str, Array]]] = field(default_factory=dict)
    _held: set[int] = field(default_factory=set, init=False, repr=False)

    def __post_init__(self) -> None:
        self._held.update(i for ids, _ in self.partials.values() for i in ids)

    def update(self, ids: Sequence[int], values: Mapping[str, Tensor]) -> None:
        """Add the values of one batch.

        Args:
            ids: of its samples, rising.
            values: name → (N, ...).
        Raises:
            DataError: an id that is there already.
        """
        arrays = {name: value.detach().cpu().double().numpy() for name, value in values.items()}
        self._add(list(ids), arrays)

    def merge(self, other: SampleValues) -> None:
        """Add the partials of another store, such as a shard's.

        Raises:
            DataError: samples that both hold.
        """
        for ids, arrays in other.partials.values():
            self._add(ids, arrays)

    def finalise(self, expected: Iterable[int] | None = None) -> tuple[list[int], dict[str, Array]]:
        """All values in the order of ids.

        Args:
            expected: the ids that must be there, where that is known.
        Returns:
            ids (n) and name → (n, ...).
        Raises:
            DataError: samples that are missing, or a name that some batches lack.
        """
        parts = [self.partials[first] for first in sorted(self.partials)]
        ids = [i for part, _ in parts for i in part]
        missing = set(ids if expected is None else expected) - set(ids)
        if missing:
            raise DataError(f"{len(missing)} samples are missing, the first is number {min(missing)}; add their shard")
        order = np.argsort(ids, kind="stable")
        names = sorted({name for _, arrays in parts for name in arrays})
        return [ids[i] for i in order], {name: self._column(parts, name)[order] for name in names}

    def _add(self, ids: list[int], arrays: dict[str, Array]) -> None:
        twice = self._held.intersection(ids)
        if twice:
            raise DataError(f"sample {min(twice)} is there already; merge each shard once")
        if ids:
            self.partials[ids[0]] = (ids, arrays)
            self._held.update(ids)

    @staticmethod
    def _column(parts: list[tuple[list[int], dict[str, Array]]], name: str) -> Array:
        if any(name not in arrays for _, arrays in parts):
            raise DataError(f"some batches have no values {name!r}: they come from audits with different settings")
        return np.concatenate([arrays[name] for _, arrays in parts])
