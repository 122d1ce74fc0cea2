"""Pictures that a method adds to its run."""

from __future__ import annotations

import math

import torch
from PIL import Image

import trimkit
from trimkit.methods import Delta, LatentSpace, Method
from trimkit.training.pictures import CELL, GAP, LABEL, LINE


class Mean(Method):
    """The mean of the data, and how far they are from it."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__(shape)
        self.register_buffer("mean", torch.zeros(self.shape))

    def latent_spaces(self):
        return [LatentSpace("z", (math.prod(self.shape),), exact_inverse=True)]

    def encode(self, x, aux=None, space=None):
        return Delta((x - self.mean).flatten(1))

    def decode(self, z, space=None):
        return z.unflatten(1, self.shape) + self.mean

    def fit(self, x, aux=None):
        self.mean = x.mean(0)


class Shown(Mean):
    """The same, with its mean and the opposite to look at."""

    def exhibits(self):
        return {"means": {"mean": self.mean, "opposite": 1 - self.mean}}


def pictures(method: Method, x: torch.Tensor, folder) -> set[str]:
    trimkit.train(method, x, folder=folder)
    return {path.name for path in folder.glob("*.png")}


def test_a_method_shows_nothing_of_its_own_unless_it_says_so(tmp_path):
    x = torch.rand(8, 1, 4, 4)
    assert Mean((1, 4, 4)).exhibits() == {}
    usual = pictures(Mean((1, 4, 4)), x, tmp_path / "plain")
    assert pictures(Shown((1, 4, 4)), x, tmp_path / "shown") == usual | {"means.png"}


def test_what_it_shows_is_drawn_as_data_are(tmp_path):
    x = torch.cat([torch.zeros(8, 1, 4, 4), torch.ones(8, 1, 4, 4)])
    pictures(Shown((1, 4, 4)), x, tmp_path / "run")
    with Image.open(tmp_path / "run" / "means.png") as picture:
        assert picture.size == (8 * (LABEL + GAP) - GAP, CELL + LINE)
        assert picture.getpixel((10, LINE + 10)) == picture.getpixel((LABEL + GAP + 10, LINE + 10)) == (128, 128, 128)


def test_signals_are_drawn_as_curves(tmp_path):
    assert "means.png" in pictures(Shown((1, 20)), torch.rand(8, 1, 20), tmp_path / "run")
