"""Rows of the whole batch on one process; several are in tests/training/test_processes.py."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import trimkit
from trimkit.methods import gather, standard_normal
from trimkit.processes import Share, draw, sharing


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_one_process_has_all_rows():
    rows = torch.ones(3, 2, requires_grad=True)
    assert gather(rows) is rows
    with sharing(Share(0, 1, 3)) as share:
        assert gather(rows) is rows
    assert share.gathered


def test_a_share_ends_with_its_step_also_after_an_exception():
    with pytest.raises(ZeroDivisionError), sharing(Share(1, 2, 3)):
        raise ZeroDivisionError
    assert torch.equal(standard_normal(torch.zeros(3, 2), generator()), torch.randn(3, 2, generator=generator()))


def test_shares_nest():
    with sharing(Share(0, 2, 1)):
        with sharing(Share(1, 2, 1)):
            inner = standard_normal(torch.zeros(1), generator())
        outer = standard_normal(torch.zeros(1), generator())
    assert torch.equal(torch.cat([outer, inner]), torch.randn(2, generator=generator()))


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4), st.sampled_from([(), (3,), (2, 2)]))
def test_shares_of_draws_are_the_whole_batchs_draws(count, rows, copies, shape):
    def make(size):
        return torch.rand(size, generator=generator(), dtype=torch.float64)

    whole = make((copies, count * rows, *shape))
    parts = []
    for index in range(count):
        with sharing(Share(index, count, rows)):
            parts.append(draw(make, (copies * rows, *shape), copies).unflatten(0, (copies, rows)))
    assert torch.equal(torch.cat(parts, 1), whole)


@pytest.mark.parametrize("shape", [(), (5,), (4, 2)])
def test_what_is_not_a_row_each_is_drawn_alike_everywhere(shape):
    found = []
    for index in range(2):
        with sharing(Share(index, 2, 3)):
            found.append(draw(lambda size: torch.rand(size, generator=generator()), shape))
    assert torch.equal(*found)
    assert found[0].shape == shape


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_noise_has_the_type_of_what_it_is_added_to(dtype):
    with sharing(Share(1, 2, 3)):
        assert standard_normal(torch.zeros(3, 2, dtype=dtype), generator()).dtype == dtype


@pytest.mark.parametrize(
    "attribution",
    [("expected_gradients", {"samples": 3}), ("gradient_shap", {"samples": 2}), ("smoothgrad", {"samples": 4})],
)
def test_stochastic_attributions_of_a_share_are_those_of_the_whole_batch(attribution):
    """With references given, since a turn cannot see the rest of the batch."""
    x = torch.randn(6, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    model = torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.Tanh(), torch.nn.Linear(5, 1)).double()
    name, options = attribution
    found = trimkit.create("attribution", name, **options)
    baseline = None if name == "smoothgrad" else torch.randn(5, 4, generator=generator(), dtype=torch.float64)

    def scores(rows):
        return found(model, rows, target=0, baseline=baseline, generator=generator())

    whole, parts = scores(x), []
    for index, rows in enumerate(x.chunk(3)):
        with sharing(Share(index, 3, 2)):
            parts.append(scores(rows))
    torch.testing.assert_close(torch.cat(parts), whole, rtol=1e-12, atol=1e-14)
