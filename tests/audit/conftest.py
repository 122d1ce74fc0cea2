"""A model whose classes are known to depend on one band of frequencies, on data whose energy lies elsewhere."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import trimkit
from trimkit.audit.checks.base import Findings
from trimkit.audit.counted import Counted
from trimkit.audit.examine import as_dataset
from trimkit.audit.state import State
from trimkit.audit.statistics import Bootstrap
from trimkit.audit.subject import Subject
from trimkit.data import Dataset
from trimkit.registry import resolve

SIZE = 8
BINS = ((3, 1), (1, 3), (3, 0))
"""Fourier bins of the three classes: magnitudes 0.4, 0.4, 0.375 cycles a pixel, far from most of the data's energy."""


def wave(row: int, column: int) -> torch.Tensor:
    phase = torch.arange(SIZE) / SIZE
    return torch.cos(2 * math.pi * (row * phase[:, None] + column * phase))


def planted_model() -> nn.Sequential:
    """Logits that are the amplitudes of three waves."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(SIZE * SIZE, len(BINS)))
    with torch.no_grad():
        model[1].weight.copy_(torch.stack([wave(*b).flatten() for b in BINS]) / 4)
        model[1].bias.zero_()
    return model.eval()


def planted_data(n: int = 160, seed: int = 0) -> Dataset:
    """Smooth pictures of large energy, plus the wave of the class."""
    source = torch.Generator().manual_seed(seed)
    y = torch.randint(len(BINS), (n,), generator=source)
    smooth = nn.functional.interpolate(torch.randn(n, 1, 2, 2, generator=source), size=(SIZE, SIZE), mode="bilinear")
    waves = torch.stack([wave(*b) for b in BINS])[y][:, None]
    return Dataset("planted", 3 * smooth + 0.6 * waves, y, "test", ("a", "b", "c"))


class Edges(trimkit.Attribution):
    """Differences of neighbouring pixels: a map that no model enters into, as Sobel's."""

    def attribute(self, probe, s, baseline, generator):
        assert probe.output is not None
        return (s - s.roll(1, -1)).abs() + (s - s.roll(1, -2)).abs()


class Noise(trimkit.Attribution):
    """Uniform random scores."""

    stochastic = True

    def attribute(self, probe, s, baseline, generator):
        assert probe.output is not None
        return torch.rand(s.shape, generator=generator)


@pytest.fixture(scope="session")
def model() -> nn.Sequential:
    return planted_model()


@pytest.fixture(scope="session")
def data() -> Dataset:
    return planted_data()


@pytest.fixture(scope="session")
def conv() -> nn.Sequential:
    """A small convolutional network with batch normalisation, in evaluation mode."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
    return model.eval()


@pytest.fixture(scope="session")
def report(model, data):
    """An audit of the planted model in frequency space, with two attributions."""
    names, copies = ["integrated_gradients", "saliency"], {"randomisation.copies": 8}
    return trimkit.audit(model, data, transform="fft", attributions=names, samples=128, thresholds=copies)


@pytest.fixture
def edges() -> trimkit.Attribution:
    return Edges()


@pytest.fixture
def noise() -> trimkit.Attribution:
    return Noise()


@pytest.fixture
def subject_of(model, data):
    """Make a subject of the planted model, with some of its fields replaced."""

    def make(**fields) -> Subject:
        attribution = resolve("attribution", fields.pop("attribution", "integrated_gradients"))
        plain = {
            "model": Counted(fields.pop("module", model)),
            "transform": resolve("transform", fields.pop("transform", "identity")),
            "attributions": {"a": attribution},
            "data": as_dataset(fields.pop("data", data)),
        }
        return Subject(**{**plain, **fields})

    return make


@pytest.fixture
def findings_of(subject_of):
    """Put given values of samples in the form in which checks conclude from them."""

    def make(values, **fields) -> Findings:
        n = len(next(iter(values.values())))
        state = State(0, {i: i for i in range(n)})
        state.update(range(n), {name: torch.as_tensor(value) for name, value in values.items()})
        return Findings("a", list(range(n)), state.finalise(), subject_of(**fields), 0, Bootstrap(range(n), 0))

    return make
