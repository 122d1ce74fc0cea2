"""Hard-concrete gates: their distribution, their count and what they learn to keep."""

import pytest
import torch
from torch.autograd import gradcheck

from trimkit.errors import OptionError, ShapeError
from trimkit.penalties import Gate


def test_gates_open_as_often_as_their_count_says():
    torch.manual_seed(0)
    gate = Gate(torch.zeros(3))
    with torch.no_grad():
        gate.locations[0].copy_(torch.tensor([-3.0, 0.0, 2.0]))
    drawn = gate(torch.ones(40_000, 3), torch.Generator().manual_seed(1))
    assert abs(float((drawn != 0).double().mean(0).sum()) - gate.expected_l0().item()) < 0.02
    assert drawn.min() == 0
    assert drawn.max() == 1


def test_they_start_as_open_as_asked_and_are_fixed_in_eval_mode():
    gate = Gate({"a": torch.zeros(2, 1), "b": torch.zeros(4)}, open=0.7).eval()
    assert torch.allclose(gate.expected_l0(), torch.tensor(0.7 * 6))
    s = {"a": torch.ones(5, 2, 3), "b": torch.ones(5, 4)}
    assert torch.equal(gate(s)["a"], gate(s)["a"])
    assert torch.allclose(gate(s)["b"], gate.values()[1].expand(5, 4))


def test_draws_come_from_the_generator_and_differ_between_samples():
    gate = Gate(torch.zeros(4))
    first, again = (gate(torch.ones(3, 4), torch.Generator().manual_seed(2)) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first[0], first[1])


def test_complex_coefficients_are_scaled():
    s = torch.randn(2, 4, dtype=torch.complex64)
    gate = Gate(torch.zeros(4)).eval()
    assert torch.allclose(gate(s).angle(), s.angle(), atol=1e-6)


def test_derivatives_are_right():
    gate = Gate(torch.zeros(3, dtype=torch.float64), open=0.5).double().eval()
    s = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)

    def gated(s, location):
        return torch.func.functional_call(gate, {"locations.0": location}, s)

    assert gradcheck(gated, (s, gate.locations[0].detach().requires_grad_()))


def test_they_learn_to_keep_what_a_regression_needs():
    torch.manual_seed(0)
    gate, weight = Gate(torch.zeros(6), open=0.8), torch.tensor([2.0, 0, 0, -3.0, 0, 0])
    optimiser = torch.optim.Adam(gate.parameters(), 0.05)
    for _ in range(200):
        s = torch.randn(64, 6)
        loss = ((gate(s) - s) @ weight).square().mean() + 0.2 * gate.expected_l0()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    kept = gate.values()[0]
    assert kept[[0, 3]].min() > 0.9
    assert kept[[1, 2, 4, 5]].max() < 0.1


@pytest.mark.parametrize(
    ("make", "kind", "says"),
    [
        (lambda: Gate(torch.zeros(3), open=1.0), OptionError, r"open in \(0, 1\), got 1.0"),
        (lambda: Gate(torch.zeros(3))(torch.ones(2, 4)), ShapeError, r"broadcasts to \(4,\), got \(3,\)"),
        (lambda: Gate(torch.zeros(3, 4))(torch.ones(2, 4)), ShapeError, "must be one that broadcasts"),
        (lambda: Gate(torch.zeros(3))([torch.ones(2, 3)] * 2), ShapeError, "expected 1 leaves of coefficients, got 2"),
    ],
)
def test_what_does_not_fit_says_what_would(make, kind, says):
    with pytest.raises(kind, match=says):
        make()
