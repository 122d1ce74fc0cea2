"""Metrics of dictionaries, on codes whose numbers are known."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn
from torch.testing import assert_close
from trimkit_sae.baselines import baseline_dictionaries, best_of
from trimkit_sae.metrics import agreement, describe, loss_recovered

import trimkit
from trimkit.cli import main
from trimkit.data import Dataset
from trimkit.errors import ShapeError
from trimkit.predictor.activations import Source, attention_mask, collect

NET = """
from torch import nn
def net():
    return nn.Sequential(nn.Flatten(), nn.Linear(256, 12), nn.ReLU(), nn.Linear(12, 10))
"""


def half(x):
    """A code that keeps half of each vector, and whose feature 2 is dead."""
    active = torch.zeros(len(x), 3, dtype=torch.bool)
    active[:, 0] = True
    active[::4, 1] = True
    return x / 2, active


@pytest.fixture
def rows():
    x = torch.randn(100, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return x - x.mean(0)


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3)).double()


def source(net, x, y=None, at="1"):
    data = [x] if y is None else [(x, y)]
    return Source(net, at, data, attention_mask)


def test_what_half_of_each_vector_explains(rows):
    found = describe(half, rows)
    assert found["l0"].value == 1.25
    assert found["explained_variance"].value == pytest.approx(0.75)
    assert found["dead_share"].value == pytest.approx(1 / 3)
    assert found["feature_density"].parts["5 %"] == pytest.approx(0.25 + 0.05 * 0.75)
    low, high = found["l0"].interval
    assert low < 1.25 < high


def test_a_code_that_is_the_vector_recovers_all_of_the_loss(net, rows):
    everything = loss_recovered(lambda x: (x, x > 0), source(net, rows), 4)
    nothing = loss_recovered(lambda x: (0 * x, x > 0), source(net, rows), 4)
    assert (everything.value, nothing.value) == (1.0, 0.0)
    assert everything.protocol["loss"] == "KL"


def test_the_loss_recovered_is_that_of_the_labels(net, rows):
    y = torch.arange(100) % 3
    found = loss_recovered(half, source(net, rows, y), 4)
    cross_entropy = nn.functional.cross_entropy
    h = net[:2](rows)
    plain, spliced, zeros = (cross_entropy(net[2](part), y).item() for part in (h, h / 2, 0 * h))
    assert found.value == pytest.approx((zeros - spliced) / (zeros - plain))
    assert found.parts == pytest.approx({"plain": plain, "spliced": spliced, "zeros": zeros})


def test_the_loss_recovered_of_one_number_is_squared_error(rows):
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 1)).double()
    found = loss_recovered(half, source(net, rows, at="0"), 4)
    h = net[0](rows)
    left = (net[1](h / 2) - net[1](h)).square().mean() / (net[1](0 * h) - net[1](h)).square().mean()
    assert found.protocol["loss"] == "squared error"
    assert found.value == pytest.approx(1 - left.item())


def test_the_loss_recovered_of_a_map_is_spliced_pixel_by_pixel():
    net = nn.Sequential(nn.Conv2d(1, 3, 2), nn.Flatten(), nn.Linear(27, 2)).double()
    x = torch.randn(6, 1, 4, 4, dtype=torch.float64)
    assert loss_recovered(lambda h: (h, h > 0), source(net, x, at="0"), 3).value == 1.0


def test_a_dictionary_agrees_with_its_shuffled_self():
    directions = torch.randn(20, 6, generator=torch.Generator().manual_seed(1))
    same = agreement(directions, 2 * directions.flip(0))
    assert same.value == pytest.approx(1.0)
    assert same.parts["alike"] == 1.0
    assert 0.3 < same.parts["random"] < 0.9
    half_same = agreement(directions, torch.cat([directions[:10], -directions[:10]]))
    assert 0.5 <= half_same.parts["alike"] < 1.0
    with pytest.raises(ShapeError, match=r"expected directions \(M, d\) of one width"):
        agreement(directions, directions[:, :3])


def test_components_explain_what_no_other_k_orthonormal_ones_do(rows):
    x = rows @ torch.diag(torch.tensor([4.0, 2.0, 1.0, 0.1], dtype=torch.float64))
    found = baseline_dictionaries(x, 9)
    assert found["random"].shape == (9, 4)
    assert_close(found["pca"] @ found["pca"].T, torch.eye(4, dtype=torch.float64))
    x_hat, z = best_of(found["pca"], x.mean(0), 2)(x)
    coefficients = (x - x.mean(0)) @ found["pca"].T
    kept = coefficients.square().sort(dim=1, descending=True).values[:, :2].sum(1)
    assert_close((x_hat - x.mean(0)).square().sum(1), kept, rtol=1e-4, atol=1e-6)
    assert (z != 0).sum(1).unique().tolist() == [2]


def test_all_components_explain_everything(rows):
    for directions in baseline_dictionaries(rows, 9).values():
        assert describe(best_of(directions, rows.mean(0), 4), rows)["explained_variance"].value > 0.999


def test_evaluate_gives_these_metrics_beside_dictionaries_that_were_not_trained(planted):
    _, x = planted
    method = trimkit.create("method", "topk-sae", shape=(20,), features=80, k=3, learning_rate=5e-3)
    trimkit.train(method, x, steps=300, batch_size=256)
    found = trimkit.evaluate(method, Dataset("planted", x), samples=500, baselines=True)
    assert list(found.metrics) == ["l0", "explained_variance", "dead_share", "feature_density"]
    assert list(found.baselines) == ["random", "pca", "ica"]
    explained = {name: metrics["explained_variance"].value for name, metrics in found.baselines.items()}
    assert found.metrics["explained_variance"].value > max(explained.values())
    assert all(metrics["l0"].value == 3 for metrics in found.baselines.values())


def test_from_the_command_line_on_a_network_of_ones_own(tmp_path, monkeypatch, capsys):
    (tmp_path / "users_net.py").write_text(NET)
    monkeypatch.chdir(tmp_path)
    data = "activations:model=users_net.py:net,at=2,data=digits"
    small = ["--method.features", "24", "--method.k", "4", "--steps", "20", "--out", "run"]
    assert main(["train", "topk-sae", "--data", data, *small]) == 0
    assert main(["evaluate", "run", "--data", data, "--baselines", "--samples", "200"]) == 0
    shown = capsys.readouterr().out
    assert "loss_recovered" in shown
    found = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert found["metrics"]["l0"]["value"] <= 4
    assert set(found["baselines"]) == {"random", "pca", "ica"}
    assert collect(nn.Sequential(nn.Linear(2, 2)), "0", torch.zeros(3, 2)).source is not None
