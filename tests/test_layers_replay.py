"""What lies below an explained layer runs once, and gives what it gave."""

import pytest
import torch
from torch import nn

import trimkit

torch.manual_seed(0)
X = torch.randn(4, 6, dtype=torch.float64)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 6)

    def forward(self, x):
        return x + self.linear(x).tanh()


class Skips(nn.Module):
    """Positions as many as samples, a skip connection around the layer, and one block used twice below it."""

    def __init__(self, write=False):
        super().__init__()
        torch.manual_seed(0)
        self.positions, self.first, self.twice, self.explained = nn.Embedding(6, 1), Block(), Block(), Block()
        self.last, self.write = nn.Linear(6, 3), write
        self.counts = {}
        for name in ("first", "twice", "explained"):
            getattr(self, name).linear.register_forward_hook(lambda *_, name=name: self.count(name))
        self.double()

    def count(self, name):
        self.counts[name] = self.counts.get(name, 0) + 1

    def forward(self, x):
        h = self.first(x) + self.positions(torch.arange(6))[:, 0]
        around = self.twice(self.twice(h))
        if self.write:
            around.mul_(2)
        return self.last(self.explained(around) * around + h).tanh()


def rest(model, x):
    """f of the explained layer's output, by hand."""
    h = model.first(x) + model.positions(torch.arange(6))[:, 0]
    around = model.twice(model.twice(h)) * (2 if model.write else 1)
    return model.explained(around), lambda value: model.last(
        value * around.repeat(len(value) // 4, 1) + h.repeat(len(value) // 4, 1)
    ).tanh()


@pytest.mark.parametrize("write", [False, True])
@pytest.mark.parametrize("attribution", ["integrated_gradients", "feature_ablation", "captum:KernelShap"])
def test_scores_are_those_of_the_rest_of_the_model(attribution, write):
    model = Skips(write).eval()
    with torch.no_grad():
        h, above = rest(model, X)
        keys = [torch.Generator().manual_seed(0) for _ in range(2)]
        scores = trimkit.Trim(model, "identity", attribution, at="explained")(X, 0, generator=keys[0]).scores
        expected = trimkit.Trim(above, "identity", attribution)(h, 0, generator=keys[1]).scores
    assert torch.allclose(scores, expected, atol=1e-8)


def test_blocks_below_run_once_an_explanation():
    model = Skips().eval()
    trim = trimkit.Trim(
        model, "identity", ("integrated_gradients", {"n_steps": 64, "chunk": 4, "tolerance": None}), at="explained"
    )
    first = trim(X, 0).scores
    model.counts.clear()
    assert torch.equal(trim(X, 0).scores, first)
    assert model.counts == {"first": 1, "twice": 2, "explained": 1}
    assert "forward" not in vars(model.first)


def test_a_block_that_is_written_into_runs_again():
    model = Skips(write=True).eval()
    trim = trimkit.Trim(
        model, "identity", ("integrated_gradients", {"n_steps": 8, "chunk": 4, "tolerance": None}), at="explained"
    )
    trim(X, 0)
    model.counts.clear()
    trim(X, 0)
    assert model.counts["first"] > 1


def test_hooks_of_the_user_and_a_failing_model_leave_forwards_as_they_were():
    model = Skips().eval()
    handle = model.first.register_forward_hook(lambda module, args, output: 2 * output)
    doubled = trimkit.Trim(model, at="explained")(X, 0)
    assert torch.equal(doubled.output, model(X))
    assert float(doubled.gap.abs().max()) < 1e-6
    handle.remove()
    broken = trimkit.Trim(model, at="explained")
    with pytest.raises(ZeroDivisionError):
        broken(X, lambda output: 1 / 0)
    assert not any("forward" in vars(module) for module in model.modules())
    assert not any(module._forward_pre_hooks for module in model.modules())
