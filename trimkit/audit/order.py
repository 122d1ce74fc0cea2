"""Samples by the ids that people gave them: in one order, whatever order they came in, and named so in reports."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeAlias

import torch
from torch import Tensor

from trimkit.data import Dataset

Ids: TypeAlias = Sequence[str | int] | Callable[[int], str | int] | None
"""An id for each sample, or a function of its place; None for those of the dataset, where it has any."""


def in_order_of_ids(data: Dataset, id_of: Ids = None) -> tuple[Dataset, Tensor | None]:
    """The samples in the order of their ids, numbers in these by their size.

    Args:
        data: any order.
        id_of: what its samples are called.
    Returns:
        The dataset with ids, and the place (N,) that each sample had; as it was and None without ids.
    Raises:
        DataError: ids that are not N different ones.

    Example:
        >>> ordered, places = in_order_of_ids(Dataset("scans", torch.eye(3)), ["p10", "9", "p1"])
        >>> ordered.ids, places.tolist()
        (('9', 'p1', 'p10'), [1, 2, 0])
    """
    if id_of is not None:
        given = map(id_of, range(len(data))) if callable(id_of) else id_of
        data = replace(data, ids=tuple(map(str, given)))
    if not data.ids:
        return data, None
    places = torch.tensor(sorted(range(len(data)), key=lambda i: _rank(data.ids[i])))
    return (data, None) if bool((places[1:] > places[:-1]).all()) else (data.select(places), places)


def _rank(name: str) -> tuple[list[str | int], str]:
    """Texts and the numbers between them by turns, so that p9 comes before p10."""
    parts = re.split(r"([0-9]+)", name)
    return [int(part) if place % 2 else part for place, part in enumerate(parts)], name
