"""What every sparse autoencoder can do, over the registry."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn
from torch.testing import assert_close

import trimkit
from trimkit.cli import main
from trimkit.errors import ShapeError
from trimkit.methods import load_method
from trimkit.registry import specification

SHARED = {"features", "normalise", "pre_bias", "learning_rate", "axis"}
TOPK = {"k", "auxiliary", "dead_after"}
OWN = {
    "sae": {"l1", "tied"},
    "topk-sae": TOPK,
    "batch-topk-sae": TOPK,
    "jumprelu-sae": {"l0", "threshold", "bandwidth"},
    "matryoshka-sae": TOPK | {"nested"},
}


@pytest.fixture
def rest():
    """The frozen rest of a network, smooth, on five activations."""
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3)).double()


def test_its_help_names_the_options_of_the_family_and_its_own(name, capsys):
    assert main(["train", name, "--help"]) == 0
    assert set(re.findall(r"--method\.(\w+)", capsys.readouterr().out)) == SHARED | OWN[name]


def test_the_specification_says_what_the_method_is(name, make):
    spec, method = specification("method", name), make(name)
    assert tuple(space.name for space in method.latent_spaces()) == spec.spaces
    assert spec.reference


def test_features_and_error_are_the_data(name, make, x):
    method = make(name).eval()
    codes = method.encode(x, space="features+error").mean
    assert codes.shape == (7, 17)
    assert_close(method.decode(codes, "features+error"), x)
    assert_close(codes[:, :12], method.encode(x).mean)
    assert_close(codes[:, 12:], x - method.decode(codes[:, :12]))


def test_features_are_not_negative(name, make, x):
    z = make(name).eval().encode(x).mean
    assert z.min() == 0
    assert z.max() > 0


def test_a_row_is_read_alone(name, make, x):
    method = make(name).eval()
    assert_close(method.encode(x).mean[2:3], method.encode(x[2:3]).mean)


def test_positions_are_read_one_by_one(name, make, x):
    flat = make(name).eval()
    grid = make(name, shape=(5, 2, 3), axis=0).eval()
    grid.load_state_dict(flat.state_dict())
    images = torch.randn(4, 5, 2, 3, dtype=torch.float64)
    codes = grid.encode(images).mean
    assert codes.shape == (4, 2, 3, 12)
    assert_close(codes[:, 1, 2], flat.encode(images[:, :, 1, 2]).mean)
    assert_close(grid.decode(codes)[:, :, 1, 2], flat.decode(codes[:, 1, 2]))
    assert_close(flat.as_transform()(images), codes)
    assert_close(flat.as_transform().inverse(codes, (5, 2, 3)), grid.decode(codes))


def test_tokens_are_read_one_by_one(name, make):
    flat, tokens = make(name).eval(), make(name, shape=(4, 5), axis=-1).eval()
    tokens.load_state_dict(flat.state_dict())
    x = torch.randn(3, 4, 5, dtype=torch.float64)
    assert_close(tokens.encode(x).mean, flat.as_transform()(x))
    assert tokens.space().groups.labels.shape == (4, 12)
    assert tokens.space("features+error").groups.names[-2:] == ("feature 11", "error")


def test_what_has_positions_and_no_axis_is_one_vector(make):
    method = make("topk-sae", shape=(1, 2, 3))
    assert method.width == 6
    x = torch.randn(3, 1, 2, 3, dtype=torch.float64)
    assert method.encode(x).mean.shape == (3, 12)
    assert method.decode(method.encode(x).mean).shape == x.shape


def test_the_groups_are_features_over_positions(make):
    transform = make("topk-sae").as_transform()
    groups = transform.groups((5, 2, 3))
    assert groups.names == tuple(f"feature {j}" for j in range(12))
    assert groups.labels.shape == (2, 3, 12)
    assert not transform.exact
    assert make("topk-sae").as_transform("features+error").exact


def test_a_layer_of_another_width_is_refused(make):
    with pytest.raises(ShapeError, match=r"trained on 5 features a position, got a layer output \(6, 2\)"):
        make("topk-sae").as_transform()(torch.zeros(3, 6, 2).double())


def test_the_axis_can_be_said_where_two_fit(make):
    method = make("topk-sae")
    x = torch.randn(2, 5, 5, dtype=torch.float64)
    assert_close(method.as_transform()(x)[0, 3], method.encode(x[0, 3][None]).mean[0])
    assert_close(method.as_transform(axis=0)(x)[0, 3], method.encode(x[0, :, 3][None]).mean[0])


def test_trains_with_trim_and_prediction_through_the_rest(name, make, x, rest):
    method = make(name)
    before = {key: value.clone() for key, value in method.named_parameters()}
    options = {"predictor": rest.float(), "trim": ["l1@features:0.1"], "log_every": 1, "batch_size": 4}
    run = trimkit.train(method.float(), x.float(), steps=3, **options)
    assert {"recon", "prediction", "l1@features", "l0", "dead"} <= run.history[-1].keys()
    moved = [key for key, value in method.named_parameters() if not torch.equal(value.double(), before[key])]
    assert "dictionary.directions" in moved
    assert "encoder.weight" in moved
    assert_close(method.dictionary.directions.norm(dim=1), torch.ones(12))


def test_a_run_is_loaded_with_its_options(name, x, tmp_path):
    method = trimkit.create("method", name, shape=(5,), features=40, learning_rate=3e-4)
    trimkit.train(method, x.float(), steps=2, batch_size=4, folder=tmp_path / "run")
    loaded = load_method(tmp_path / "run")
    assert loaded.options == method.options
    assert torch.equal(loaded.encode(x.float()).mean, method.eval().encode(x.float()).mean)
