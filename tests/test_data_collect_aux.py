"""Auxiliary variables of samples and batches that come as mappings."""

from __future__ import annotations

import pytest
import torch
from torch.utils.data import DataLoader

import trimkit
from trimkit.data import as_dataset

X = torch.rand(7, 4, generator=torch.Generator().manual_seed(0))
LABELS, VECTORS = torch.arange(7) % 3, torch.randn(7, 2, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("aux", [LABELS, VECTORS])
def test_samples_batches_and_loaders_bring_theirs(aux):
    samples = [{"x": x, "y": y, "aux": u} for x, y, u in zip(X, LABELS, aux, strict=True)]
    batches = [{"x": X[rows], "aux": aux[rows]} for rows in (slice(3), slice(3, None))]
    for source in (samples, batches, DataLoader(samples, batch_size=3)):  # type: ignore[arg-type]  # no torch dataset
        data = as_dataset(source, shape=(4,))
        assert torch.equal(data.aux, aux)
        assert torch.equal(data.x, X)


def test_without_any_there_are_none():
    assert as_dataset([{"x": x} for x in X]).aux is None


def test_a_conditional_method_is_trained_on_a_loader_of_mappings():
    samples = [{"x": x, "aux": u} for x, u in zip(X, LABELS, strict=True)]
    method = trimkit.create("method", "vae", shape=(4,), network="mlp", latent_dim=2, conditional=True, segments=3)
    run = trimkit.train(method, DataLoader(samples, batch_size=3), steps=2, batch_size=7)  # type: ignore[arg-type]
    assert run.results["train"]["squared_error"] > 0
