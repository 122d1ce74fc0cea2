"""What every method of the family can do, over the registry."""

from __future__ import annotations

import re

import pytest
import torch

import trimkit
from trimkit.cli import main
from trimkit.errors import ModelError, OptionError
from trimkit.methods import Gaussian
from trimkit.registry import available, default, specification
from trimkit.registry.calling import signature_of

SHARED = {"latent_dim", "network", "likelihood", "scale", "learning_rate", "conditional"}
OWN = {
    "vae": set(),
    "beta-vae": {"beta"},
    "beta-vae-b": {"gamma", "capacity"},
    "beta-tcvae": {"alpha", "beta", "gamma", "estimator"},
    "factor-vae": {"gamma", "discriminator_width", "discriminator_learning_rate"},
    "dip-vae-i": {"lambda_off_diagonal", "lambda_diagonal"},
    "dip-vae-ii": {"lambda_off_diagonal", "lambda_diagonal"},
    "info-vae": {"alpha", "lambda_mmd", "kernel"},
    "wae-mmd": {"lambda_mmd", "kernel", "stochastic"},
}

NAMES = [name for name, spec in available("methods").items() if spec.family == "vae"]


def make(name: str, shape: tuple[int, ...] = (1, 8, 8), **options):
    signature = signature_of(default().find("method", name).load())
    assert signature is not None
    taken = signature.parameters
    sized = {"dataset_size": 48} if "dataset_size" in taken else {}
    small = {"discriminator_width": 16} if "discriminator_width" in taken else {}
    return trimkit.create("method", name, shape=shape, latent_dim=3, network="mlp", **{**sized, **small, **options})


def test_all_nine_are_registered():
    expected = "beta-tcvae beta-vae beta-vae-b dip-vae-i dip-vae-ii factor-vae info-vae vae wae-mmd"
    assert sorted(NAMES) == expected.split()


@pytest.mark.parametrize("name", NAMES)
def test_its_help_names_the_options_of_the_family_and_its_own(name, capsys):
    assert main(["train", name, "--help"]) == 0
    assert set(re.findall(r"--method\.(\w+)", capsys.readouterr().out)) == SHARED | OWN[name]


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_option_is_refused_by_its_name(name):
    with pytest.raises(OptionError, match=r"no option 'learning_rat'.*Did you mean 'learning_rate'"):
        make(name, learning_rat=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_trains_with_a_penalty_and_a_prediction_loss(name, images, predictor):
    method = make(name)
    before = {key: value.clone() for key, value in method.state_dict().items()}
    run = trimkit.train(method, images, predictor=predictor, trim=["l1@z:0.1"], steps=3, batch_size=16, log_every=1)
    row = next(row for row in run.history if row["phase"] == "vae")
    assert {"recon", "prediction", "l1@z"} <= row.keys()
    assert all(not torch.equal(value, before[key]) for key, value in method.state_dict().items() if "weight" in key)
    assert run.results["train"]["squared_error"] > 0


@pytest.mark.parametrize("name", NAMES)
def test_takes_data_that_are_no_images(name):
    x = torch.rand(19, 6, generator=torch.Generator().manual_seed(0))
    method = make(name, (6,))
    trimkit.train(method, x, steps=2, batch_size=9)  # evaluated in batches that are not left with one sample
    assert method.sample(4, torch.Generator().manual_seed(0)).shape == (4, 6)
    assert method.decode(method.encode(x).mean).shape == x.shape


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian", "laplace", "logistic", "ms-ssim"])
def test_every_likelihood_is_trained_down(likelihood, images):
    method = make("vae", likelihood=likelihood, learning_rate=2e-3)
    run = trimkit.train(method, images, steps=40, batch_size=24, log_every=1)
    recon = [row["recon"] for row in run.history]
    assert sum(recon[-5:]) < sum(recon[:5]) - 5


@pytest.mark.parametrize("name", NAMES)
def test_a_learned_scale_is_trained_with_the_networks(name, images):
    method = make(name, scale="learned", learning_rate=2e-2)
    assert isinstance(method.observation, Gaussian)
    trimkit.train(method, images, steps=20, batch_size=16)
    assert abs(method.observation.scale - 0.1) > 0.01


@pytest.mark.parametrize("name", NAMES)
def test_float64_is_kept(name, images):
    method = make(name).double()
    x = images.x.double()
    assert method.decode(method.encode(x).mean).dtype == torch.float64


@pytest.mark.parametrize("name", NAMES)
def test_the_specification_says_what_the_method_is(name):
    spec, method = specification("method", name), make(name)
    assert [space.name for space in method.latent_spaces()] == ["z"]
    assert all(space.can_encode and space.can_decode for space in method.latent_spaces())
    assert spec.reference


@pytest.mark.parametrize("name", NAMES)
def test_a_run_is_loaded_with_its_options(name, images, tmp_path):
    method = make(name, learning_rate=3e-4)
    trimkit.train(method, images, steps=1, batch_size=16, folder=tmp_path / "run")
    loaded = trimkit.methods.load_method(tmp_path / "run")
    assert loaded.options == method.options
    with torch.no_grad():
        assert torch.equal(loaded.encode(images.x).mean, method.eval().encode(images.x).mean)


def test_a_run_with_own_networks_and_likelihood_is_loaded_on_trust_alone(images, tmp_path, monkeypatch):
    source = """
import torch
from trimkit.methods import Gaussian
def pair(shape, d):
    size = shape[0] * shape[1] * shape[2]
    decoder = torch.nn.Sequential(torch.nn.Linear(d, size), torch.nn.Unflatten(1, shape))
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(size, 2 * d)), decoder
def blunt(shape):
    return Gaussian(0.7)
"""
    (tmp_path / "own_parts.py").write_text(source)
    monkeypatch.chdir(tmp_path)
    own = {"network": "own_parts.py:pair", "likelihood": "own_parts.py:blunt"}
    method = trimkit.create("method", "vae", shape=(1, 8, 8), latent_dim=3, **own)
    trimkit.train(method, images, steps=1, batch_size=16, folder=tmp_path / "run")
    with pytest.raises(ModelError, match=r"was made with 'own_parts.py:pair', which would be imported and run"):
        trimkit.methods.load_method(tmp_path / "run")
    loaded = trimkit.methods.load_method(tmp_path / "run", allow_code=True)
    assert loaded.observation.scale == pytest.approx(0.7)
    with torch.no_grad():
        assert torch.equal(loaded.encode(images.x).mean, method.eval().encode(images.x).mean)
