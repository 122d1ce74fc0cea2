"""``trimkit interpolate``: arrays that are data again, a strip and a film."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

import trimkit
from trimkit.cli import main
from trimkit.data import load
from trimkit.methods import between, load_method

STYLED = {"z_dim": 4, "w_dim": 6, "mapping_layers": 2, "channel_max": 4}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A small VAE of pictures, whose folder is in a folder of its own."""
    folder = tmp_path_factory.mktemp("between")
    x = torch.rand(30, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    np.savez(folder / "data.npz", x=x.numpy())
    method = trimkit.create("method", "vae", shape=(1, 8, 8), network="mlp", latent_dim=3)
    trimkit.train(method, str(folder / "data.npz"), folder=folder / "run", steps=2, batch_size=10)
    return folder / "run"


@pytest.fixture(scope="module")
def styled(tmp_path_factory):
    """A small StyleGAN2."""
    folder = tmp_path_factory.mktemp("styled")
    method = trimkit.create("method", "stylegan2", shape=(1, 8, 8), **STYLED)
    x = torch.rand(16, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    trimkit.train(method, x, folder=folder / "run", steps=1, batch_size=8)
    return folder / "run"


def test_between_samples_the_ends_are_their_reconstructions(run, tmp_path, capsys):
    data, out = str(run.parent / "data.npz"), tmp_path / "way.npz"
    asked = ["--between", "3,17", "0,8", "--data", data, "--frames", "5", "--out", str(out)]
    assert main(["interpolate", str(run), *asked]) == 0
    written = [str(out), str(tmp_path / "way.png"), str(tmp_path / "way.gif")]
    assert capsys.readouterr().out.split() == ["spherical", *written]
    method, x = load_method(run), load(data).x
    with torch.no_grad():
        codes = method.encode(x[[3, 0, 17, 8]]).mean
        expected = method.decode(between(codes[:2], codes[2:], 5, "spherical").flatten(0, 1))
    torch.testing.assert_close(load(str(out)).x, expected)
    with np.load(out) as arrays:
        assert arrays["codes"].shape == (10, 3)
    with Image.open(tmp_path / "way.gif") as film:
        assert film.n_frames == 8
    with Image.open(tmp_path / "way.png") as strip:
        assert strip.size[0] > 5 * 64


@pytest.mark.parametrize(("space", "path"), [("z", "spherical"), ("w", "linear"), ("s", "linear")])
def test_drawn_codes_of_every_space_of_a_generator(styled, tmp_path, capsys, space, path):
    out = tmp_path / "way.npz"
    arguments = ["interpolate", str(styled), "--space", space, "--pairs", "2", "--frames", "3", "--out", str(out)]
    assert main([*arguments, "--seed", "5"]) == 0
    assert capsys.readouterr().out.split()[0] == path
    method = load_method(styled)
    with torch.no_grad():
        codes = method.sample_codes(4, torch.Generator().manual_seed(5), space)
        expected = method.decode(codes[[0, 2]], space)
    torch.testing.assert_close(load(str(out)).x[::3], expected)


def test_the_path_that_is_asked_for_is_taken(run, tmp_path, capsys):
    asked = ["--path", "linear", "--out", str(tmp_path / "a.npz"), "--frames", "3", "--pairs", "1"]
    assert main(["interpolate", str(run), *asked]) == 0
    assert capsys.readouterr().out.startswith("linear\n")
    with np.load(tmp_path / "a.npz") as arrays:
        codes = arrays["codes"]
    np.testing.assert_allclose(codes[1], (codes[0] + codes[2]) / 2, rtol=1e-6)


def test_the_help_ends_with_an_example(capsys):
    assert main(["interpolate", "--help"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("  trimkit interpolate runs/")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["RUN", "--frames", "1"], "--frames: expected a number ≥ 2, got 1"),
        (["RUN", "--pairs", "0"], "--pairs: expected a number ≥ 1, got 0"),
        (["RUN", "--between", "3"], "expected two numbers of samples such as 3,17, got '3'"),
        (["RUN", "--between", "3,99", "--data", "DATA"], "--between: expected numbers in 0 … 29, got 99"),
        (["RUN", "--between", "3,4", "--data", "digits"], "was made for floating data"),
        (["RUN", "--space", "w"], "has no latent space 'w'"),
        (["RUN", "--path", "curved"], "invalid choice: 'curved'"),
        (["GAN", "--between", "0,1", "--data", "DATA"], "data have no codes of 'w': StyleGAN2 has no encoder"),
        (["DATA"], "no folder"),
    ],
)
def test_what_does_not_fit_is_one_line(run, styled, capsys, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    names = {"RUN": str(run), "GAN": str(styled), "DATA": str(run.parent / "data.npz")}
    assert main(["interpolate", *(names.get(argument, argument) for argument in arguments)]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_method_that_draws_no_codes_goes_between_samples_alone(tmp_path, capsys):
    x = torch.randn(40, 5, generator=torch.Generator().manual_seed(0))
    np.savez(tmp_path / "data.npz", x=x.numpy())
    method = trimkit.create("method", "sae", shape=(5,), features=8)
    trimkit.train(method, str(tmp_path / "data.npz"), folder=tmp_path / "run", steps=2, batch_size=10)
    assert main(["interpolate", str(tmp_path / "run")]) == 2
    assert "give two samples to go between, such as --between 0,1" in capsys.readouterr().err
    asked = ["--between", "0,1", "--data", str(tmp_path / "data.npz")]
    assert main(["interpolate", str(tmp_path / "run"), *asked]) == 0
    assert load(str(tmp_path / "run" / "interpolation.npz")).shape == (5,)
