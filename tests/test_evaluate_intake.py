"""`trimkit.evaluate` takes data in every form in which training does."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import trimkit
from trimkit.data import dataset_of
from trimkit.errors import DataError

QUICK = {"samples": 60, "protocol": "quick"}


@pytest.fixture(scope="module")
def rows():
    x = torch.randn(60, 6, generator=torch.Generator().manual_seed(0))
    return x, (x[:, 0] > 0).long() + (x[:, 1] > 0).long()


def forms(x, y, folder):
    np.savez(folder / "rows.npz", x=x.numpy(), y=y.numpy())
    pairs = TensorDataset(x, y)
    batches = [(x[:25], y[:25]), (x[25:], y[25:])]
    return {
        "path": folder / "rows.npz",
        "text": str(folder / "rows.npz"),
        "arrays": (x.numpy(), y.numpy()),
        "PyTorch's dataset": pairs,
        "loader": DataLoader(pairs, batch_size=25),
        "list of samples": list(zip(x, y, strict=True)),
        "batches": batches,
        "iterable": (batch for batch in batches),
        "mappings": [{"x": part, "y": labels} for part, labels in batches],
    }


def values(evaluation):
    return {name: result.value for name, result in evaluation.metrics.items()}


def test_a_method_is_worth_the_same_on_every_form_of_its_data(rows, tmp_path):
    method = trimkit.create("method", "vae", shape=(6,), network="mlp", latent_dim=2)
    expected = values(trimkit.evaluate(method, dataset_of("rows", *rows), **QUICK))
    assert "mutual_information_gap" in expected
    for name, form in forms(*rows, tmp_path).items():
        assert values(trimkit.evaluate(method, form, **QUICK)) == expected, name


def test_an_encoder_takes_a_loader_and_samples_alone(rows):
    x, y = rows
    loader = DataLoader(TensorDataset(x, y), batch_size=25)
    evaluation = trimkit.evaluate(lambda x: x[:, :2], loader, **QUICK)
    assert evaluation.settings["split"] == "given"
    assert "dci_completeness" in evaluation.metrics
    alone = trimkit.evaluate(lambda x: x[:, :2], x, **QUICK)
    assert any("neither factors nor labels" in note for note in alone.notes)


def test_data_that_are_called_training_data_are_said_to_be_such(rows):
    evaluation = trimkit.evaluate(lambda x: x[:, :2], rows, split="train", **QUICK)
    assert "the samples are those that the run was trained on" in evaluation.notes


def test_samples_that_are_generated_are_compared_with_a_loader(rows):
    x, y = rows
    method = trimkit.create("method", "vae", shape=(6,), network="mlp", latent_dim=2)
    features = trimkit.evaluation.make_features(torch.nn.Linear(6, 4), "linear")
    loader = DataLoader(TensorDataset(x, y), batch_size=25)
    evaluation = trimkit.evaluate(method, loader, features=features, **QUICK)
    assert evaluation.settings["samples"] == 60
    assert {"frechet_distance", "perceptual_path_length"} <= set(evaluation.metrics)


def test_what_is_no_data_is_refused():
    with pytest.raises(DataError, match="expected data as a tensor, array"):
        trimkit.evaluate(lambda x: x, 3, **QUICK)
