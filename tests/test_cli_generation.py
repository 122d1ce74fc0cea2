"""``trimkit evaluate --predictor``: what a run generates, seen by a frozen predictor."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from trimkit.cli import main
from trimkit.data import Dataset
from trimkit.errors import DataError, ModelError
from trimkit.evaluation.generation import evaluate_samples, make_features
from trimkit.evaluation.representation import Settings
from trimkit.methods import LatentSpace, Method, load_method, standard_normal

SMALL = ("--steps", "1", "--batch-size", "8")
GAN = ("--method.z_dim", "4", "--method.w_dim", "4", "--method.mapping_layers", "1", "--method.channel_max", "4")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with a predictor, and runs of a method without encoder and of one with."""
    folder = tmp_path_factory.mktemp("runs")
    np.savez(folder / "images.npz", x=np.random.default_rng(0).random((80, 1, 8, 8), dtype=np.float32))
    lines = ["import torch", "def make():", "    torch.manual_seed(0)", "    first = torch.nn.Linear(64, 6)"]
    lines += ["    return torch.nn.Sequential(torch.nn.Flatten(), first, torch.nn.Tanh(), torch.nn.Linear(6, 3))"]
    (folder / "seen.py").write_text("\n".join(lines))
    vae = ("--method.network", "mlp", "--method.latent_dim", "2")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name, options in (("stylegan2", GAN), ("vae", vae)):
            assert main(["train", name, "--data", "images.npz", "--out", name, *SMALL, *options]) == 0
    return folder


@pytest.fixture
def work(home, monkeypatch):
    """The same, without evaluations."""
    monkeypatch.chdir(home)
    yield home
    for evaluation in home.glob("*/evaluation.json"):
        evaluation.unlink()


class Line(Method):
    """x = (z, 0, 0, 0) with z ~ N(0, 1): data of the same law are as like it as can be."""

    def __init__(self, can_decode: bool = True) -> None:
        super().__init__((4,))
        self.can_decode = can_decode

    def latent_spaces(self):
        none = LatentSpace("none", (1,), can_encode=False)
        return [none, LatentSpace("z", (1,), can_encode=False, can_decode=self.can_decode)]

    def encode(self, x, aux=None, space=None):
        raise NotImplementedError

    def sample_codes(self, n, generator=None, space=None):
        if self.space(space).name == "none":
            return super().sample_codes(n, generator, space)
        return standard_normal(torch.empty(n, 1, dtype=torch.float64), generator)

    def decode(self, z: Tensor, space=None) -> Tensor:
        return torch.cat([z, torch.zeros(len(z), 3).to(z)], dim=1)

    def sample(self, n, generator=None, aux=None):
        return self.decode(self.sample_codes(n, generator, "z"))


class Mute(Line):
    """Draws nothing."""

    sample = Method.sample


def lines(shift: float = 0.0) -> Dataset:
    x = torch.zeros(600, 4)
    x[:, 0] = torch.randn(600, generator=torch.Generator().manual_seed(5)) + shift
    return Dataset("lines", x, split="test")


def evaluated(method: Method, data: Dataset, **options):
    return evaluate_samples(
        "run", method, data, Settings(samples=500), make_features(nn.Identity(), "pixels"), **options
    )


def test_samples_of_the_datas_law_are_near_and_others_as_far_as_they_are():
    near, far = evaluated(Line(), lines()).metrics, evaluated(Line(), lines(8.0)).metrics
    assert near["frechet_distance"].value < 0.05
    assert far["frechet_distance"].value == pytest.approx(64.0, rel=0.1)  # the means are 8 apart
    assert near["kernel_distance"].value < 0.05 < far["kernel_distance"].value
    assert near["precision"].value > 0.9 > 0.3 > far["precision"].value
    assert near["recall"].value > 0.9
    assert near["frechet_distance"].protocol["real"] == near["frechet_distance"].protocol["made"] == 500


def test_path_lengths_are_of_the_first_space_with_codes_and_images():
    """|dx/dt|² = (z₁ − z₀)², whose mean over the prior is 2."""
    found = evaluated(Line(), lines()).metrics["perceptual_path_length"]
    assert found.protocol["space"] == "z"
    assert found.parts["untrimmed"] == pytest.approx(2.0, rel=0.3)
    with pytest.raises(ModelError, match="--space: Line draws no codes of the space 'none'"):
        evaluated(Line(), lines(), space="none")
    with pytest.raises(ModelError, match="--space z: its codes cannot be decoded"):
        evaluated(Line(can_decode=False), lines(), space="z")
    without = evaluated(Line(can_decode=False), lines())
    assert "perceptual_path_length" not in without.metrics
    assert any("there is no path length" in note for note in without.notes)


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ModelError, match="no samples to evaluate: Mute has no prior to sample from"):
        evaluated(Mute(), lines())
    with pytest.raises(DataError, match=r"trained on samples \(4,\), got \(2,\) of 'pairs'"):
        evaluated(Line(), Dataset("pairs", torch.zeros(30, 2)))
    with pytest.raises(ModelError, match=r"linear gives no features of samples \(4,\)"):
        evaluate_samples("run", Line(), lines(), Settings(), make_features(nn.Linear(3, 2), "linear"))


class Answering(nn.Module):
    def __init__(self, answer) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, x: Tensor):
        return self.answer(x)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (lambda x: (x, x), "f: expected features \\(100, ...\\), one row a sample, got tuple"),
        (lambda x: x.mean(), "f: expected features \\(100, ...\\), one row a sample, got \\(\\)"),
        (lambda x: x / 0, "f: expected finite features, got NaN or infinity"),
    ],
)
def test_what_are_no_features_is_the_predictors_fault(answer, told):
    with pytest.raises(ModelError, match=told):
        make_features(Answering(answer), "f")(torch.zeros(100, 4))


def test_features_of_any_shape_are_rows_and_maps_are_pooled():
    x = torch.rand(30, 2, 3, 3)
    assert make_features(Answering(lambda x: x[:, 0, 0, 0]), "f")(x).shape == (30, 1)
    assert make_features(Answering(lambda x: x[:, 0]), "f")(x).shape == (30, 9)
    torch.testing.assert_close(make_features(Answering(lambda x: x), "f")(x), x.mean((2, 3)))


def test_a_run_without_encoder_end_to_end(work, capsys):
    assert main(["evaluate", "stylegan2", "--predictor", "seen:make", "--predictor-layer", "2"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("stylegan2 on images (train): 80 samples of each, seed 0\n")
    assert "note: features: seen:make, layer 2;" in out
    found = json.loads((work / "stylegan2" / "evaluation.json").read_text())
    assert list(found["metrics"]) == [
        *("frechet_distance", "kernel_distance", "precision", "recall", "perceptual_path_length")
    ]
    assert found["metrics"]["frechet_distance"]["protocol"]["features"] == 6
    assert found["metrics"]["perceptual_path_length"]["protocol"]["space"] == "w"
    assert len(found["predictor"]) == 64
    assert main(["evaluate", "stylegan2", "--predictor", "seen:make", "--predictor-layer", "2", "--force"]) == 0
    assert json.loads((work / "stylegan2" / "evaluation.json").read_text()) == found


def test_a_run_with_encoder_can_be_asked_for_its_samples_too(work, capsys):
    assert main(["evaluate", "vae", "--predictor", "seen:make"]) == 0
    assert "vae on images (train): 80 samples of each" in capsys.readouterr().out
    found = json.loads((work / "vae" / "evaluation.json").read_text())
    assert found["metrics"]["frechet_distance"]["protocol"]["features"] == 3


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["stylegan2"], "has no encoder: find codes by projection"),
        (["stylegan2"], "give a predictor: --predictor pkg.mod:fn"),
        (["stylegan2", "--predictor-layer", "2"], "need --predictor, the function that makes the model"),
        (["stylegan2", "--predictor", "seen:make", "--baselines"], "--baselines are other codes of the data"),
        (["stylegan2", "--predictor", "seen:make", "--predictor-layer", "9"], "the predictor has no layer '9'"),
        (["stylegan2", "--predictor", "seen:made"], "made"),
    ],
)
def test_what_does_not_fit_is_one_line(work, capsys, arguments, told):
    assert main(["evaluate", *arguments]) == 2
    err = capsys.readouterr().err
    assert told in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("space", ["w", "z", "w+", "s"])
def test_codes_of_a_style_based_generator_are_those_of_its_samples(work, space):
    method = load_method("stylegan2")
    codes = method.sample_codes(2, torch.Generator().manual_seed(1), space)
    with torch.no_grad():
        expected = method.sample(2, torch.Generator().manual_seed(1), noise="constant")
        torch.testing.assert_close(method.decode(codes, space), expected)
