"""Conditional runs on the command line: samples of classes, codes, ways between codes, the latent transform."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import trimkit
from trimkit.cli import main
from trimkit.data import Dataset, load
from trimkit.methods import between, load_method


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Runs that see classes, vectors and nothing, beside their data."""
    root = tmp_path_factory.mktemp("conditional")
    x = torch.rand(30, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    y = torch.arange(30) % 3
    np.savez(root / "data.npz", x=x.numpy(), y=y.numpy(), aux=y.numpy())
    u = {"classes": y, "vectors": torch.randn(30, 2), "plain": None}
    sizes = {"classes": {"segments": 3}, "vectors": {"aux_dim": 2}, "plain": {}}
    for name, aux in u.items():
        options = {"network": "mlp", "latent_dim": 2, "conditional": bool(sizes[name]), **sizes[name]}
        method = trimkit.create("method", "vae", shape=(1, 8, 8), **options)
        data = Dataset(name, x, y, classes=("a", "b", "c"), aux=aux)
        trimkit.train(method, data, folder=root / name, steps=2, batch_size=10)
    return root


def test_samples_are_of_the_classes_in_turn_and_data_again(folder, tmp_path):
    out = str(tmp_path / "a.npz")
    assert main(["sample", str(folder / "classes"), "--n", "5", "--classes", "2,0", "--out", out]) == 0
    data, aux = load(out), torch.tensor([2, 0, 2, 0, 2])
    assert torch.equal(data.aux, aux)
    assert torch.equal(data.y, aux)
    with torch.no_grad():
        expected = load_method(folder / "classes").sample(5, torch.Generator().manual_seed(0), aux)
    assert torch.equal(data.x, expected)


def test_without_a_word_all_classes_are_drawn_alike(folder, tmp_path):
    out = str(tmp_path / "a.npz")
    assert main(["sample", str(folder / "classes"), "--n", "7", "--batch-size", "2", "--out", out]) == 0
    assert load(out).aux.tolist() == [0, 1, 2, 0, 1, 2, 0]


def test_a_vector_is_for_all_samples(folder, tmp_path):
    out = str(tmp_path / "a.npz")
    assert main(["sample", str(folder / "vectors"), "--n", "3", "--aux", "0.5,-1", "--out", out]) == 0
    assert load(out).aux.tolist() == [[0.5, -1.0]] * 3


def test_codes_are_those_given_the_classes_of_the_data(folder, tmp_path):
    out, data = str(tmp_path / "codes.npz"), load(str(folder / "data.npz"))
    assert main(["encode", str(folder / "classes"), str(folder / "data.npz"), "--out", out]) == 0
    with torch.no_grad():
        expected = load_method(folder / "classes").encode(data.x, data.aux).mean
    torch.testing.assert_close(load(out).x, expected)
    assert torch.equal(load(out).aux, data.aux)


@pytest.mark.parametrize(("asked", "held"), [([], 1), (["--classes", "2"], 2)])
def test_a_way_holds_the_class_of_its_start_or_the_one_asked_for(folder, tmp_path, asked, held):
    out, data = str(tmp_path / "way.npz"), load(str(folder / "data.npz"))
    arguments = ["--between", "1,5", "--data", str(folder / "data.npz"), "--frames", "3", "--out", out, *asked]
    assert main(["interpolate", str(folder / "classes"), *arguments]) == 0
    method = load_method(folder / "classes")
    with torch.no_grad():
        codes = method.encode(data.x[[1, 5]], data.aux[[1, 5]]).mean
        way = between(codes[:1], codes[1:], 3, "spherical")[0]
        expected = method.decode(way, aux=torch.full((3,), held))
    torch.testing.assert_close(load(out).x, expected)


def test_drawn_codes_go_through_the_classes_in_turn(folder, tmp_path):
    out = str(tmp_path / "way.npz")
    arguments = ["--pairs", "2", "--frames", "2", "--classes", "0,2", "--seed", "4", "--out", out]
    assert main(["interpolate", str(folder / "classes"), *arguments]) == 0
    method = load_method(folder / "classes")
    with torch.no_grad():
        codes = method.sample_codes(4, torch.Generator().manual_seed(4))
        expected = method.decode(codes, aux=torch.tensor([0, 0, 2, 2]))
    torch.testing.assert_close(load(out).x, expected)


def test_the_latent_transform_holds_one_class(folder):
    transform = trimkit.create("transform", "latent", run=str(folder / "classes"), aux=2)
    x = load(str(folder / "data.npz")).x[:4]
    aux = torch.full((4,), 2)
    torch.testing.assert_close(transform(x), load_method(folder / "classes").encode(x, aux).mean)


def test_a_conditional_run_is_evaluated_with_the_classes_of_the_data(folder):
    data = load(str(folder / "data.npz"), "all")
    evaluation = trimkit.evaluate(folder / "classes", data, samples=30)
    assert evaluation.kl["total"] > 0
    features = trimkit.evaluation.make_features(torch.nn.Flatten(), "pixels")
    assert "frechet_distance" in trimkit.evaluate(folder / "classes", data, samples=30, features=features).metrics


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sample", "plain", "--classes", "3"], "--classes does not fit VAE of"),
        (["sample", "plain", "--aux", "1"], "it sees no auxiliary variables; train it with --method.conditional true"),
        (["sample", "vectors", "--classes", "3"], ": give --aux"),
        (["sample", "vectors"], "VAE sees vectors of 2 numbers: give one, such as --aux 0,1"),
        (["sample", "vectors", "--aux", "1,2,3"], "vectors u as floats (N, 2), got torch.float32 (1, 3)"),
        (["sample", "classes", "--classes", "3"], "labels u in 0 … 2, got 3 … 3"),
        (["sample", "classes", "--classes", "-1"], "expected numbers of classes such as 3,7, got '-1'"),
        (["sample", "classes", "--classes", "a"], "expected numbers of classes such as 3,7, got 'a'"),
        (["sample", "classes", "--aux", "x"], "expected numbers such as 0.5,1, got 'x'"),
        (["interpolate", "plain", "--classes", "1"], "--classes does not fit VAE of"),
    ],
)
def test_what_does_not_fit_is_one_line(folder, capsys, arguments, message):
    command, name, *rest = arguments
    assert main([command, str(folder / name), *rest]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
