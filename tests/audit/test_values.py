"""Stores of sample values: the same bits whatever was merged in which order."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trimkit.audit.values import SampleValues
from trimkit.errors import DataError


def batches(n=10, size=3):
    values = torch.rand(n, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ids = list(range(0, 2 * n, 2))
    return [(ids[i : i + size], {"v": values[i : i + size]}) for i in range(0, n, size)], ids, values.numpy()


def stored(parts):
    store = SampleValues()
    for ids, values in parts:
        store.update(ids, values)
    return store


@given(st.permutations(range(4)), st.integers(0, 4))
def test_merged_shards_equal_one_run_bit_for_bit(order, cut):
    parts, ids, values = batches()
    shuffled = [parts[i] for i in order]
    store = stored(shuffled[:cut])
    store.merge(stored(shuffled[cut:]))
    found_ids, found = store.finalise(expected=ids)
    assert found_ids == ids
    assert np.array_equal(found["v"], values)


def test_interleaved_shards_are_put_in_order():
    store = stored([([0, 2, 4], {"v": torch.tensor([0.0, 2.0, 4.0])})])
    store.merge(stored([([1, 3], {"v": torch.tensor([1.0, 3.0])})]))
    ids, found = store.finalise()
    assert ids == found["v"].tolist() == [0, 1, 2, 3, 4]


def test_overlaps_gaps_and_strange_partials_are_refused():
    parts, ids, _ = batches()
    store = stored(parts)
    with pytest.raises(DataError, match="sample 0 is there already; merge each shard once"):
        store.merge(stored(parts[:1]))
    with pytest.raises(DataError, match="1 samples are missing, the first is number 99"):
        store.finalise(expected=[*ids, 99])
    store.update([101], {"other": torch.zeros(1)})
    with pytest.raises(DataError, match="different settings"):
        store.finalise()
