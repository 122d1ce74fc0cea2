"""``trimkit sample`` and ``trimkit encode``: arrays that are data again."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

import trimkit
from trimkit.cli import main
from trimkit.data import load
from trimkit.methods import load_method


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A small VAE of pictures, whose folder is in a folder of its own."""
    folder = tmp_path_factory.mktemp("sampled")
    x = torch.rand(30, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    np.savez(folder / "data.npz", x=x.numpy(), y=np.arange(30) % 3, factors=np.arange(60).reshape(30, 2) % 4)
    method = trimkit.create("method", "vae", shape=(1, 8, 8), network="mlp", latent_dim=3)
    trimkit.train(method, str(folder / "data.npz"), folder=folder / "run", steps=2, batch_size=10)
    return folder / "run"


def test_samples_are_the_methods_and_the_seed_decides(run, tmp_path, capsys):
    arguments = ["sample", str(run), "--n", "10", "--batch-size", "10"]
    assert main([*arguments, "--out", str(tmp_path / "a.npz"), "--seed", "3"]) == 0
    assert capsys.readouterr().out.split() == [str(tmp_path / "a.npz"), str(tmp_path / "a.png")]
    expected = load_method(run).sample(10, torch.Generator().manual_seed(3))
    assert torch.equal(load(str(tmp_path / "a.npz")).x, expected.detach())
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size[0] > 8 * 64
    assert main([*arguments, "--out", str(tmp_path / "b.npz"), "--seed", "4"]) == 0
    assert not torch.equal(load(str(tmp_path / "b.npz")).x, expected)


def test_codes_are_posterior_means_with_all_that_is_known(run, tmp_path, capsys):
    data = run.parent / "data.npz"
    assert main(["encode", str(run), str(data), "--out", str(tmp_path / "codes.npz"), "--batch-size", "7"]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'codes.npz'}\n"
    codes, source = load(str(tmp_path / "codes.npz")), load(str(data))
    torch.testing.assert_close(codes.x, load_method(run).encode(source.x).mean.detach())
    assert torch.equal(codes.y, source.y)
    assert torch.equal(codes.factors, source.factors)


def test_codes_of_the_data_of_the_shape_are_a_vector_a_sample(run, tmp_path):
    assert (
        main(["encode", str(run), str(run.parent / "data.npz"), "--out", str(tmp_path / "c.npz"), "--space", "z"]) == 0
    )
    assert load(str(tmp_path / "c.npz")).shape == (3,)


def test_nothing_beside_the_file_is_replaced_without_a_word(run, tmp_path, capsys):
    (tmp_path / "a.png").write_text("mine")
    arguments = ["sample", str(run), "--n", "1", "--out", str(tmp_path / "a.npz")]
    assert main(arguments) == 2
    assert f"{tmp_path / 'a.png'} exists; name another file, or add --force to replace it" in capsys.readouterr().err
    assert not (tmp_path / "a.npz").exists()
    assert main([*arguments, "--force"]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sample", "RUN", "--n", "0"], "--n: expected a number ≥ 1, got 0"),
        (["sample", "RUN", "--seed", "-1"], "--seed: expected a number ≥ 0, got -1"),
        (["sample", "RUN", "--out", "a.png"], "--out: expected a file that ends in .npz, got 'a.png'"),
        (["sample", "RUN", "--out", "no/a.npz"], "--out: there is no folder no; make it first"),
        (["sample", "DATA"], "no folder"),
        (["encode", "RUN", "DATA", "--out", "DATA"], "exists; name another file, or add --force"),
        (["encode", "RUN", "digits", "--out", "c.npz"], "was made for floating data of shape (1, 8, 8)"),
        (["encode", "RUN", "DATA", "--out", "c.npz", "--space", "w"], "has no latent space 'w'"),
        (["encode", "RUN", "DATA", "--out", "c.npz", "--batch-size", "0"], "--batch-size: expected a number ≥ 1"),
        (["encode", "RUN", "missing.npz", "--out", "c.npz"], "data file missing.npz does not exist"),
    ],
)
def test_what_does_not_fit_is_one_line(run, capsys, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    names = {"RUN": str(run), "DATA": str(run.parent / "data.npz")}
    assert main([names.get(argument, argument) for argument in arguments]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
