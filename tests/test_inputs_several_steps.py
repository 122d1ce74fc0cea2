"""Several explained inputs whose integrated gradients need more steps, and spaces that tell their rows apart."""

import torch
from torch import nn

import trimkit
from trimkit.attributions.gradient import IntegratedGradients
from trimkit.predictor.several import Several, space_of
from trimkit.transforms.base import Identity


class Product(nn.Module):
    """Far from linear in both inputs."""

    def forward(self, a, b):
        return a.exp().sum(1) * b.exp().sum(1)


def test_samples_of_several_inputs_get_more_steps_where_they_need_them():
    keys = torch.Generator().manual_seed(0)
    inputs = {"a": torch.randn(4, 5, generator=keys), "b": torch.randn(4, 3, generator=keys)}
    coarse = IntegratedGradients(1)
    coarse.most_steps = 16
    result = trimkit.Trim(Product(), {"a": "dct"}, coarse, at=["a", "b"])(inputs)
    fine = trimkit.Trim(Product(), {"a": "dct"}, IntegratedGradients(32), at=["a", "b"])(inputs)
    assert result.steps is not None
    assert int(result.steps.max()) > 1
    for name in ("a", "b"):
        assert torch.allclose(result.scores[name], fine.scores[name], rtol=0.05, atol=0.05)


class Shifted(Identity):
    """Knows how far each sample is moved."""

    def __init__(self, by):
        super().__init__()
        self.by = by

    def inverse(self, s, size=None):
        return s + self.by

    def at_rows(self, samples):
        return Shifted(self.by[samples])


def test_each_of_several_spaces_is_asked_for_its_rows():
    spaces = Several({"a": Shifted(torch.tensor([[0.0], [1.0], [2.0]])), "b": Identity()})
    chosen = spaces.at_rows(torch.tensor([2, 0]))
    assert chosen.spaces[0].by.flatten().tolist() == [2.0, 0.0]
    assert spaces.spaces[0].by.flatten().tolist() == [0.0, 1.0, 2.0]


def test_spaces_of_the_same_inputs_are_taken_as_they_are():
    spaces = Several({"a": Identity(), "b": Identity()})
    assert space_of(spaces, ["a", "b"]) is spaces
