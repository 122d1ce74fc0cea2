"""The maximum mean discrepancy against a double loop, and 0 in the mean for equal distributions."""

from __future__ import annotations

import math

import pytest
import torch

from trimkit.errors import OptionError, ShapeError
from trimkit.methods import maximum_mean_discrepancy


def sample(n: int, seed: int, dimensions: int = 3) -> torch.Tensor:
    return torch.randn(n, dimensions, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def kernel(name: str, a: torch.Tensor, b: torch.Tensor) -> float:
    squared = sum((x - y) ** 2 for x, y in zip(a.tolist(), b.tolist(), strict=True))
    scale = 2 * len(a)
    if name == "rbf":
        return math.exp(-squared / scale)
    return sum(s * scale / (s * scale + squared) for s in (0.1, 0.2, 0.5, 1, 2, 5, 10))


@pytest.mark.parametrize("name", ["imq", "rbf"])
def test_against_a_double_loop(name):
    a, b = sample(5, 0), sample(7, 1) + 0.5
    within_a = sum(kernel(name, a[i], a[j]) for i in range(5) for j in range(5) if i != j) / (5 * 4)
    within_b = sum(kernel(name, b[i], b[j]) for i in range(7) for j in range(7) if i != j) / (7 * 6)
    across = sum(kernel(name, x, y) for x in a for y in b) / 35
    assert float(maximum_mean_discrepancy(a, b, name)) == pytest.approx(within_a + within_b - 2 * across)


@pytest.mark.parametrize("name", ["imq", "rbf"])
def test_unbiased_zero_in_the_mean_and_negative_at_times_for_equal_distributions(name):
    values = [float(maximum_mean_discrepancy(sample(20, 2 * i), sample(20, 2 * i + 1), name)) for i in range(400)]
    spread = torch.tensor(values).std().item()
    assert abs(sum(values) / 400) < 3 * spread / 20
    assert min(values) < 0


@pytest.mark.parametrize("name", ["imq", "rbf"])
def test_grows_with_the_distance(name):
    a, b = sample(200, 0), sample(200, 1)
    found = [float(maximum_mean_discrepancy(a, b + shift, name)) for shift in (0.0, 0.5, 2.0)]
    assert found[0] < found[1] < found[2]


@pytest.mark.parametrize("name", ["imq", "rbf"])
def test_gradients(name):
    a, b = sample(4, 0).requires_grad_(), sample(3, 1).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, y: maximum_mean_discrepancy(x, y, name), (a, b))


def test_bfloat16_codes_are_widened():
    a, b = sample(8, 0).bfloat16(), sample(8, 1).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = maximum_mean_discrepancy(a, b)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, maximum_mean_discrepancy(a.float(), b.float()))


def test_what_does_not_fit_is_refused():
    with pytest.raises(OptionError, match=r"no kernel 'rfb'. Did you mean 'rbf'"):
        maximum_mean_discrepancy(sample(3, 0), sample(3, 1), "rfb")  # type: ignore[arg-type]
    for a, b in ((sample(1, 0), sample(3, 1)), (sample(3, 0), sample(3, 1, 2)), (sample(3, 0)[:, 0], sample(3, 1))):
        with pytest.raises(ShapeError, match="expected two samples"):
            maximum_mean_discrepancy(a, b)
