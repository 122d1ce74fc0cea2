"""Pictures of conditional generators without encoder: samples are asked to be what the data above them are."""

from __future__ import annotations

import pytest
import torch

import trimkit
from trimkit.data import Dataset
from trimkit.training.outcome import DRAWN, SHOWN

SMALL = {"z_dim": 4, "w_dim": 4, "mapping_layers": 1, "channel_base": 32, "channel_max": 4, "conditional": True}


@pytest.fixture
def x():
    return torch.rand(16, 1, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", ["stylegan", "stylegan2"])
def test_a_run_on_vectors_is_stored_with_its_pictures(name, x, tmp_path):
    u = torch.randn(16, 2, generator=torch.Generator().manual_seed(1))
    method = trimkit.create("method", name, shape=(1, 8, 8), aux_dim=2, **SMALL)
    data = Dataset("vectors", x, aux=u)
    trimkit.train(method, data, folder=tmp_path / "run", steps=2, batch_size=8, pictures_every=1)
    names = {path.name for path in (tmp_path / "run").rglob("*.*")}
    assert {"samples.png", "training.gif", "step-00000001-samples.png"} <= names


@pytest.mark.filterwarnings("ignore:StyleGAN")
def test_each_sample_is_of_the_class_of_the_image_above_it(x, tmp_path, monkeypatch):
    asked = []
    method = trimkit.create("method", "stylegan2", shape=(1, 8, 8), segments=4, **SMALL)
    draw = type(method).sample

    def noted(self, n, generator=None, aux=None, **options):
        asked.append(aux)
        return draw(self, n, generator, aux, **options)

    monkeypatch.setattr(type(method), "sample", noted)
    u = torch.arange(16) % 4
    trimkit.train(method, Dataset("classes", x, aux=u), folder=tmp_path / "run", steps=1, batch_size=8)
    (classes,) = [aux for aux in asked if aux is not None]
    assert torch.equal(classes.view(DRAWN, SHOWN), u[:SHOWN].expand(DRAWN, -1))
