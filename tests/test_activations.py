"""What a layer makes of data, as data."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close
from torch.utils.data import DataLoader, TensorDataset

import trimkit
from trimkit.data import Dataset, load
from trimkit.data.files import names_code
from trimkit.errors import DataError, ModelError, OptionError, ShapeError
from trimkit.predictor.activations import collect, split_positions
from trimkit.predictor.rest import Rest
from trimkit.registry.spelling import parse_spec

NET = """
import torch
from torch import nn
def net():
    return nn.Sequential(nn.Flatten(), nn.Linear(256, 6), nn.ReLU(), nn.Linear(6, 10))
"""


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Dropout(0.5), nn.Linear(6, 3))


@pytest.fixture
def inputs():
    return torch.randn(10, 4, generator=torch.Generator().manual_seed(0))


class Words(nn.Module):
    """Token ids with a mask → (n, T, d) → logits."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding = nn.Embedding(7, 5)
        self.mix = nn.Linear(5, 5)
        self.head = nn.Linear(5, 2)

    def forward(self, input_ids, attention_mask=None):
        return self.head(self.mix(self.embedding(input_ids)).mean(1))


def test_the_rows_are_the_layers_output_in_evaluation_mode(net, inputs):
    data = collect(net.train(), "2", inputs, batch_size=3)
    assert_close(data.x, net[:2](inputs).detach())
    assert net.training
    assert net[2].training
    assert data.name == "inputs@2"


def test_the_layer_can_be_the_module(net, inputs):
    assert collect(net, net[1], inputs).sha256 == collect(net, "1", inputs).sha256
    with pytest.raises(ModelError, match="the ReLU given as at= is no part of the model"):
        collect(net, nn.ReLU(), inputs)


def test_labels_and_factors_are_those_of_the_input(inputs):
    convolution = nn.Sequential(nn.Conv2d(1, 3, 2), nn.Flatten(), nn.Linear(27, 2))
    y, factors = torch.arange(10) % 2, torch.arange(10)[:, None]
    data = Dataset("images", torch.randn(10, 1, 4, 4), y, classes=("a", "b"), factors=factors)
    found = collect(convolution, "0", data, batch_size=4)
    assert found.x.shape == (90, 3)
    assert found.y.tolist() == y.repeat_interleave(9).tolist()
    assert found.factors[:, 0].tolist() == factors[:, 0].repeat_interleave(9).tolist()
    assert_close(found.x[9 * 7 + 5], convolution[0](data.x[7:8])[0, :, 1, 2].detach())


def test_the_whole_output_can_be_a_sample():
    convolution = nn.Sequential(nn.Conv2d(1, 3, 2), nn.Flatten(), nn.Linear(27, 2))
    assert collect(convolution, "0", torch.randn(5, 1, 4, 4), rows="whole").x.shape == (5, 3, 3, 3)


def test_padding_is_left_out():
    model, ids = Words(), torch.tensor([[1, 2, 0], [3, 0, 0]])
    batch = {"input_ids": ids, "attention_mask": (ids > 0).long(), "labels": torch.tensor([1, 0])}
    data = collect(model, "mix", [batch, batch])
    tokens = model.mix(model.embedding(torch.tensor([1, 2, 3]))).detach()
    assert_close(data.x, tokens.repeat(2, 1))
    assert data.y.tolist() == [1, 1, 0, 1, 1, 0]


def test_padding_of_ones_own(net):
    model, ids = Words(), torch.tensor([[1, 2, 0], [3, 0, 0]])
    data = collect(model, "mix", [(ids, torch.tensor([1, 0]))], padding=lambda inputs: inputs > 0)
    assert data.x.shape == (3, 5)
    with pytest.raises(ShapeError, match=r"expected a mask of the positions \(2, 3\), got \(2,\)"):
        collect(model, "mix", [ids], padding=lambda inputs: inputs[:, 0])


def test_batches_of_a_loader(net, inputs):
    labels = torch.arange(10) % 3
    data = collect(net, "0", DataLoader(TensorDataset(inputs, labels), batch_size=4))
    assert_close(data.x, net[0](inputs).detach())
    assert data.y.tolist() == labels.tolist()
    unlabelled = collect(net, "0", inputs.split(4))
    assert unlabelled.y is None
    assert_close(unlabelled.x, data.x)


def test_the_axis_of_the_features_can_be_said():
    h = torch.arange(24.0).reshape(2, 3, 4)
    rows, number = split_positions(h, torch.tensor([5, 6]), axis=0)
    assert rows[1].tolist() == h[0, :, 1].tolist()
    assert number.tolist() == [5] * 4 + [6] * 4
    assert split_positions(h, torch.tensor([5, 6]))[0].shape == (6, 4)


def test_rows_on_disk_are_those_in_memory(net, inputs, tmp_path):
    held, stored = collect(net, "0", inputs), collect(net, "0", inputs, folder=tmp_path, batch_size=3)
    index = torch.tensor([9, 0, 4, 4])
    assert_close(stored.x[index], held.x[index])
    assert stored.x.shape == held.x.shape
    assert stored.take(3).x[:].shape == (3, 6)


def test_rows_on_disk_are_made_once_for_one_model_and_data(net, inputs, tmp_path):
    first = collect(net, "0", inputs, folder=tmp_path)
    calls = []
    net[0].register_forward_hook(lambda *_: calls.append(1))
    again = collect(net, "0", inputs, folder=tmp_path)
    assert again.sha256 == first.sha256
    assert not calls
    with torch.no_grad():
        net[0].weight.mul_(2)
    other = collect(net, "0", inputs, folder=tmp_path)
    assert calls
    assert other.sha256 != first.sha256
    assert_close(other.x[:], net[0](inputs).detach())


def test_a_damaged_file_is_refused(net, inputs, tmp_path):
    collect(net, "0", inputs, folder=tmp_path)
    (tmp_path / "activations.f32").write_bytes(b"abc")
    with pytest.raises(DataError, match=r"holds no float32 samples of shape \(6,\); delete it"):
        collect(net, "0", inputs, folder=tmp_path)


def test_a_layer_that_is_not_there_is_refused(net, inputs):
    with pytest.raises(OptionError, match=r"at='9' is neither an input nor a layer"):
        collect(net, "9", inputs)
    with pytest.raises(OptionError, match="expected rows 'positions' or 'whole', got 'tokens'"):
        collect(net, "0", inputs, rows="tokens")
    with pytest.raises(DataError, match="expected data to run the model on, got none"):
        collect(net, "0", [])


def test_the_dataset_by_its_name(tmp_path, monkeypatch):
    (tmp_path / "own_net.py").write_text(NET)
    monkeypatch.chdir(tmp_path)
    spec = "activations:model=own_net.py:net,at=2,data=digits"
    train, test = load(spec, "train"), load(spec, "test")
    assert (train.name, train.shape, len(train), len(test)) == ("digits@2", (6,), 1200, 597)
    assert train.classes == load("digits").classes
    assert_close(test.x, test.source.model[:3](load("digits", "test").x).detach())
    kept = load(f"{spec},cache=kept", "test")
    assert_close(kept.x[:], test.x)
    assert (tmp_path / "kept" / "test" / "activations.f32").stat().st_size == 4 * 597 * 6


def test_the_callers_random_state_is_untouched(tmp_path, monkeypatch):
    (tmp_path / "random_net.py").write_text(NET)
    monkeypatch.chdir(tmp_path)
    before = torch.random.get_rng_state()
    load("activations:model=random_net.py:net,at=2,data=digits", "test")
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_name_with_a_model_names_code():
    assert names_code("activations:model=pkg.mod:fn,at=layer3,data=digits")
    assert not names_code("sprites:size=32")
    assert not names_code("digits")


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("activations:model=a.b:f,at=3", ("activations", {"model": "a.b:f", "at": 3})),
        ("activations:data=sprites:size=32", ("activations", {"data": "sprites:size=32"})),
        ("mine.py:faces:size=32", ("mine.py:faces", {"size": 32})),
    ],
)
def test_options_may_hold_colons(text, means):
    assert parse_spec(text) == means


def test_a_method_trains_on_rows_from_disk(net, inputs, tmp_path):
    method = trimkit.create("method", "vae", shape=(6,), latent_dim=2, network="mlp")
    run = trimkit.train(method, collect(net, "0", inputs, folder=tmp_path), steps=2, batch_size=4)
    assert run.results["train"]["samples"] == 10


def test_the_rest_of_a_network_is_its_slice(net, inputs):
    rest = Rest(net, "1", inputs)
    h = torch.randn(7, 6, requires_grad=True)
    assert_close(rest(h), net.eval()[2:](h))
    gradient = torch.autograd.grad(rest(h).sum(), h)[0]
    assert_close(gradient, torch.autograd.grad(net[2:](h).sum(), h)[0])


def test_a_frozen_copy_of_the_rest_is_a_predictor(net, inputs):
    rest = trimkit.FrozenPredictor(Rest(net, "1", inputs))
    h = torch.randn(7, 6)
    assert_close(rest(h), net.eval()[2:](h))


def test_a_rest_that_reads_the_input_again_is_refused(inputs):
    class Skip(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x):
            return self.layer(x) + x

    with pytest.raises(ModelError, match="what follows the layer 'layer' also reads the input by a way round it"):
        Rest(Skip(), "layer", inputs)
