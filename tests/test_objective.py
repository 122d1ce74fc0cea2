import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trimkit.errors import OptionError, ShapeError
from trimkit.objective import Objective, Term, as_schedule, constant, cosine, cyclical, linear, one_cycle


def test_the_loss_is_the_weighted_sum_of_means():
    objective = Objective({"a": 2.0, "b": 0.5})
    loss, parts = objective({"a": torch.tensor([1.0, 3.0]), "b": Term(torch.tensor(4.0))})
    assert float(loss) == 6.0
    assert {name: (float(p.value), p.weight, float(p.weighted)) for name, p in parts.items()} == {
        "a": (2.0, 2.0, 4.0),
        "b": (4.0, 0.5, 2.0),
    }


def test_schedules_follow_the_step():
    objective = Objective({"a": linear(0.0, 1.0, steps=10)})
    assert [float(objective({"a": torch.tensor(1.0)}, step)[0]) for step in (0, 5, 10, 99)] == [0.0, 0.5, 1.0, 1.0]


def test_a_weight_of_zero_leaves_the_graph_and_does_not_spread_nan():
    x = torch.tensor(1.0, requires_grad=True)
    objective = Objective({"a": 1.0, "b": 0.0})
    loss, parts = objective({"a": x * 2, "b": x * float("nan")})
    loss.backward()
    assert float(x.grad) == 2.0
    assert math.isnan(parts["b"].value)


@given(st.floats(-5, 5), st.floats(-5, 5), st.integers(1, 50), st.integers(0, 100))
def test_ramps_start_and_end_where_they_say(start, end, steps, step):
    for ramp in (linear(start, end, steps), cosine(start, end, steps)):
        assert ramp(0) == pytest.approx(start)
        assert ramp(steps + step) == pytest.approx(end)
        low, high = sorted((start, end))
        assert low - 1e-9 <= ramp(step) <= high + 1e-9


def test_one_cycle_rises_to_its_peak_and_falls_to_nothing():
    ramp = one_cycle(0.1, 2.0, 1000)
    assert [ramp(0), ramp(300), ramp(1000), ramp(5000)] == pytest.approx([0.1, 2.0, 0.0, 0.0])
    assert ramp(150) == pytest.approx(1.05)
    assert ramp(650) == pytest.approx(1.0)
    values = [ramp(step) for step in range(1001)]
    assert values[:301] == sorted(values[:301])
    assert values[300:] == sorted(values[300:], reverse=True)
    assert [one_cycle(0.5, 1.0, 1)(step) for step in (0, 1, 2)] == [0.5, 1.0, 0.0]
    assert as_schedule("one_cycle(0.1, 2, 1000)")(650) == pytest.approx(1.0)


def test_half_way_a_cosine_is_half_way_and_flat_at_its_ends():
    ramp = cosine(0.0, 1.0, 1000)
    assert ramp(500) == pytest.approx(0.5)
    assert ramp(1) < 1e-5
    assert constant(3.0)(17) == 3.0


@given(st.floats(-5, 5), st.floats(-5, 5), st.integers(1, 25), st.integers(0, 5), st.integers(0, 24))
def test_cycles_rise_in_their_first_half_and_begin_anew(start, end, half, cycle, step):
    ramp, step = cyclical(start, end, 2 * half), step % half
    assert ramp(2 * half * cycle) == start
    assert ramp(2 * half * cycle + step) == pytest.approx(linear(start, end, half)(step))
    assert ramp(2 * half * cycle + half + step) == pytest.approx(end)


def test_schedules_are_read_from_text():
    assert [as_schedule("cyclical(0, 2, 8)")(step) for step in (0, 2, 4, 7, 8, 10)] == [0.0, 1.0, 2.0, 2.0, 0.0, 1.0]
    assert as_schedule(" linear(0, 4, 100) ")(50) == 2.0
    assert as_schedule("cosine(0, 1, 10)")(5) == pytest.approx(0.5)
    assert as_schedule("0.5") == 0.5
    with pytest.raises(OptionError, match=r"'one_cycle\(0.04, 1, 5000\)', got 'cyclical\(0, 1\)'"):
        as_schedule("cyclical(0, 1)")
    with pytest.raises(OptionError, match="steps ≥ 1, got 0"):
        as_schedule("cyclical(0, 1, 0)")


def test_terms_know_whether_they_are_statistics_of_the_batch():
    assert Term(torch.tensor(1.0)).batch_statistic
    assert not Term(torch.ones(3)).batch_statistic


@pytest.mark.parametrize(
    ("make", "kind", "says"),
    [
        (lambda: Objective({}), OptionError, "at least one"),
        (lambda: Objective({"a": math.nan}), OptionError, "finite number or a schedule for 'a', got nan"),
        (lambda: Objective({"a": "1"}), OptionError, "got '1'"),
        (lambda: Objective({"kl": 1.0})({"k": torch.ones(1)}), OptionError, "'k' has no weight"),
        (lambda: Objective({"a": 1, "b": 1})({"a": torch.ones(1)}), OptionError, r"terms \['b'\] too"),
        (lambda: Term(torch.ones(2, 2)), ShapeError, r"got \(2, 2\)"),
        (lambda: Term(torch.ones(0)), ShapeError, "empty term"),
        (lambda: Term(torch.ones(2, dtype=torch.long)), ShapeError, "floating values, got torch.int64"),
        (lambda: Objective({"a": 1})({"a": np.ones(2)}), OptionError, "term 'a': expected a tensor .* got ndarray"),
        (lambda: Objective({"a": 1})({"a": torch.ones(0)}), ShapeError, "term 'a': .* empty"),
        (lambda: Objective({"a": np.float32("nan")}), OptionError, "finite number or a schedule for 'a'"),
        (lambda: Objective({"a": lambda step: math.inf})({"a": 1.0}, 7), OptionError, "of 'a' at step 7, got inf"),
        (lambda: Objective({"a": lambda step: None})({"a": 1.0}, 7), OptionError, "of 'a' at step 7, got None"),
        (lambda: linear(0, 1, 0), OptionError, "steps ≥ 1, got 0"),
    ],
)
def test_what_does_not_fit_says_what_would(make, kind, says):
    with pytest.raises(kind, match=says):
        make()


def test_numbers_are_constants_and_numpys_are_weights():
    x = torch.tensor([1.0, 3.0], requires_grad=True)
    loss, parts = Objective({"a": np.float32(0.5), "b": 2, "c": 1})({"a": x, "b": 3.0, "c": np.float32(4)})
    loss.backward()
    assert (float(loss.detach()), float(parts["b"].weighted)) == (11.0, 6.0)
    assert x.grad.tolist() == [0.25, 0.25]


def test_weights_that_are_all_zero_would_train_nothing():
    x = torch.ones(2, requires_grad=True)
    objective = Objective({"a": linear(0.0, 1.0, steps=10), "b": 0.0})
    with pytest.raises(OptionError, match="every weight is 0 at step 0: nothing would be trained"):
        objective({"a": x * 2, "b": x}, step=0)
    assert objective({"a": x * 2, "b": x}, step=1)[0].requires_grad
    with torch.no_grad():
        assert float(objective({"a": x * 2, "b": x}, step=0)[0]) == 0.0
