"""States: exact sums against Fractions, the same bits in any order, and means, quantiles and intervals as of arrays."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trimkit.audit.columns import Column
from trimkit.audit.state import BLOCK, FIRST, ExactSum, State, draws_of
from trimkit.audit.statistics import MANY, Bootstrap, Resampling, choose, in_key_order, quantile_estimate, quantiles
from trimkit.errors import DataError

FLOATS = st.floats(-1e300, 1e300)


def ranks(n):
    return {i: place for place, i in enumerate(in_key_order(range(n), 0, FIRST))}


def states(n=40, size=7, seed=0):
    values = torch.rand(n, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    parts = []
    for start in range(0, n, size):
        state = State(0, ranks(n))
        state.update(range(start, min(n, start + size)), {"v": values[start : start + size]})
        parts.append(state)
    return parts, values.numpy()


def merged(parts):
    whole = State(0, ranks(0))
    for part in parts:
        whole.merge(part)
    return whole


def summed(*several):
    total = ExactSum()
    for values in several:
        total.add(np.array(values, dtype=float)[:, None], np.ones((1, len(values))))
    return total


@given(st.lists(FLOATS, min_size=1, max_size=12))
def test_sums_are_those_of_values_rounded_to_the_grid(values):
    total = summed(values)
    largest = max(map(abs, values))
    error = abs(Fraction(float(total.total()[0, 0])) - sum(map(Fraction, values)))
    assert error <= len(values) * Fraction(largest) * Fraction(2) ** -31


@given(st.lists(st.lists(FLOATS, min_size=1, max_size=4), min_size=2, max_size=6), st.randoms())
def test_sums_have_the_same_bits_in_any_order_and_grouping(parts, random):
    whole = summed(*parts)
    shuffled = random.sample(parts, len(parts))
    cut = random.randrange(len(parts))
    one, other = summed(*shuffled[:cut]), summed(*shuffled[cut:])
    one.merge(other)
    assert (one.top, one.high.tolist(), one.low.tolist()) == (whole.top, whole.high.tolist(), whole.low.tolist())


@settings(deadline=None)
@given(st.permutations(range(6)), st.integers(0, 6))
def test_merged_states_equal_one_bit_for_bit(order, cut):
    one = merged(states()[0]).finalise()["v"]
    parts, values = states()
    shuffled = [parts[i] for i in order]
    other = merged([merged(shuffled[:cut]), merged(shuffled[cut:])]).finalise()["v"]
    assert np.array_equal(one.value, other.value)
    assert np.array_equal(one.draws, other.draws)
    assert other.ids == tuple(range(40))
    assert np.array_equal(other.rows, values)


def test_seven_and_a_thousand_shards_give_the_bits_of_one():
    values = torch.randn(3000, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 1e5
    found = []
    for count in (1, 7, 1000):
        parts = [State(0, ranks(3000)) for _ in range(count)]
        for number, part in enumerate(parts):
            ids = torch.arange(3000)[number::count]
            part.update(ids.tolist(), {"v": values[ids], "gap": values[ids, 0].abs()})
        found.append(merged(reversed(parts)).finalise())
    for other in found[1:]:
        for name, column in found[0].items():
            assert np.array_equal(column.draws, other[name].draws)
            assert np.array_equal(column.value, other[name].value)
            assert np.array_equal(column.rows, other[name].rows)
            assert column.counts == other[name].counts


def test_means_and_resamples_are_those_of_the_bootstrap():
    parts, values = states(60)
    column, bootstrap = merged(parts).finalise()["v"], Bootstrap(range(60), 0)
    np.testing.assert_allclose(column.value, values.mean(0), rtol=1e-9)
    np.testing.assert_allclose(column.draws, bootstrap.means(values), rtol=1e-9)
    one, other = Resampling(60).estimate(column[:, 1]), bootstrap.estimate(values[:, 1])
    assert (one.value, one.low, one.high) == pytest.approx((other.value, other.low, other.high), rel=1e-9)


def test_columns_are_linear_as_arrays_are():
    parts, values = states()
    v, draws = merged(parts).finalise()["v"], Bootstrap(range(40), 0)
    for column, array in (
        (v[:, 0] - v[:, 1], values[:, 0] - values[:, 1]),
        (2 * v.mean(1) / 3 + 1.5, 2 * values.mean(1) / 3 + 1.5),
        (1.0 - v[:, 0], 1.0 - values[:, 0]),
        (np.float64(2) - v[:, :1], 2 - values[:, :1]),
    ):
        np.testing.assert_allclose(np.asarray(column), array)
        np.testing.assert_allclose(column.value, array.mean(0), atol=1e-9)
        np.testing.assert_allclose(column.draws, draws.means(array), atol=1e-9)
    assert v.shape == (40, 2)
    assert v.mean() == pytest.approx(values.mean())


def test_what_is_not_kept_is_refused():
    state = State(0, ranks(2 * FIRST))
    state.update(range(2 * FIRST), {"v": torch.zeros(2 * FIRST)})
    column = state.finalise()["v"]
    assert len(column.ids) == FIRST
    with pytest.raises(DataError, match="not kept, only their means and 1024 rows"):
        np.asarray(column)
    with pytest.raises(IndexError, match="single samples are not kept"):
        column[0]


def test_wide_columns_keep_fewer_resamples_and_rows():
    state = State(0, ranks(40), totals=("sum",))
    wide = torch.rand(40, 5000, dtype=torch.float64)
    state.update(range(40), {"wide": wide, "sum": wide})
    found = state.finalise()
    assert len(found["wide"].draws) == draws_of(5000) == 102
    assert len(found["wide"].ids) == FIRST * 64 // 5000
    assert found["sum"].draws.shape == (0, 5000)
    np.testing.assert_allclose(found["sum"].value, wide.mean(0), rtol=1e-8)


def test_values_that_are_not_finite_make_their_own_mean_nan():
    state = State(0, ranks(3))
    state.update(range(3), {"v": torch.tensor([[1.0, 2.0], [torch.nan, 2.0], [3.0, 2.0]])})
    column = state.finalise()["v"]
    assert np.isnan(column.value[0])
    assert column.value[1] == 2.0


def test_strange_values_are_refused():
    state = State(0, ranks(4))
    state.update([0, 1], {"v": torch.zeros(2)})
    state.update([2, 3], {"other": torch.zeros(2)})
    with pytest.raises(DataError, match="2 of 4 samples have no value"):
        state.finalise()
    with pytest.raises(DataError, match=r"'v' have shape \(3,\)"):
        state.update([5], {"v": torch.zeros(1, 3)})


def counted(values):
    return Column(len(values), np.float64(0), np.zeros(0), (), np.zeros(0), counts_of(values))


def counts_of(values):
    state = State(0, {})
    state.update(range(len(values)), {"v": torch.as_tensor(values)})
    return state.finalise()["v"].counts


def test_quantiles_of_counts_are_within_one_per_cent_and_their_intervals_cover():
    rng = np.random.default_rng(0)
    truth, inside = np.quantile(rng.exponential(size=10**6), 0.95), []
    for _ in range(100):
        values = rng.exponential(size=1200)
        exact, rough = quantile_estimate(values, 0.95), quantile_estimate(counted(values), 0.95)
        assert rough.value == pytest.approx(exact.value, rel=0.01)
        assert exact.low - 0.01 * exact.low <= rough.low <= exact.low
        assert exact.high <= rough.high <= 1.01 * exact.high
        inside.append(rough.low <= truth <= rough.high)
    assert np.mean(inside) >= 0.93


def test_quantiles_are_linear_between_order_statistics():
    values = np.random.default_rng(1).normal(size=37)
    np.testing.assert_allclose(quantiles(values, [0.0, 0.31, 0.5, 1.0]), np.quantile(values, [0.0, 0.31, 0.5, 1.0]))


def test_looks_that_share_the_error_rate_have_wider_intervals():
    parts, _ = states(60)
    column = merged(parts).finalise()["v"][:, 0]
    whole, part = Resampling(60).estimate(column), Resampling(60, spent=0.2).estimate(column)
    assert part.low < whole.low < whole.high < part.high


def test_many_ids_are_mixed_and_a_larger_choice_keeps_the_smaller_one():
    total = MANY + 100_000
    few, more = in_key_order(range(total), 3, 50), in_key_order(range(total), 3, 400)
    assert more[:50] == few
    assert len(set(more)) == 400
    assert 0.4 * total < np.mean(more) < 0.6 * total
    assert choose(total, None, 0) == range(total)


def test_a_state_is_no_larger_for_more_samples():
    sizes = []
    for n in (2 * FIRST, 8 * FIRST):
        state = State(0, ranks(n))
        for start in range(0, n, BLOCK):
            rows = torch.rand(BLOCK, 3, generator=torch.Generator().manual_seed(start))
            state.update(range(start, start + BLOCK), {"v": rows, "gap": rows[:, 0]})
        state.settle()
        held = sum(s.high.nbytes + s.low.nbytes for s in state.sums.values())
        sizes.append((held, len(state.rows["v"]), len(state.rows["gap"])))
    assert sizes[0] == sizes[1]
