"""FastICA, Picard and Infomax in runs, audits and penalties."""

from __future__ import annotations

import json

import pytest
import torch
from PIL import Image
from trimkit_ica.linear import FastICA, Infomax, LinearICA, Picard

import trimkit
from trimkit.cli import main
from trimkit.methods import load_method
from trimkit.training.pictures import GAP, LABEL, LINE

METHODS = [FastICA, Picard, Infomax]
NAMES = ["fastica", "picard", "infomax"]


def fitted(kind: type[LinearICA], x: torch.Tensor, **options) -> LinearICA:
    method = kind(tuple(x.shape[1:]), **options)
    method.fit(x)
    return method


@pytest.mark.parametrize("name", NAMES)
def test_a_run_is_stored_loaded_and_repeated_bit_for_bit(mixture, name, tmp_path):
    x = mixture(k=5).x.float()
    options = {"components": 4, "order": "negentropy", "seed": 3}
    method = trimkit.create("method", name, shape=(5,), **options)
    run = trimkit.train(method, x, folder=tmp_path / "run")
    loaded = load_method(tmp_path / "run")
    assert loaded.options == method.options
    assert loaded.options["order"] == "negentropy"
    assert (loaded.converged, loaded.iterations) == (True, method.iterations)
    again = trimkit.create("method", name, shape=(5,), **options)
    again.fit(x)
    for (key, stored), fresh, trained in zip(
        loaded.state_dict().items(), again.state_dict().values(), method.state_dict().values(), strict=True
    ):
        assert torch.equal(stored, fresh), key
        assert torch.equal(stored, trained), key
        assert stored.dtype == fresh.dtype
    assert run.results["train"]["squared_error"] > 0
    assert json.loads((tmp_path / "run" / "method.json").read_text())["method"] == name


def test_a_fitted_method_can_be_fitted_anew_and_loaded_into(mixture):
    first, other = fitted(FastICA, mixture().x), mixture("laplace", seed=5).x
    state = first.state_dict()
    fresh = FastICA((4,))
    fresh.load_state_dict(state)
    assert torch.equal(fresh.unmixing, first.unmixing)
    fresh.fit(other)
    assert torch.equal(fresh.unmixing, fitted(FastICA, other).unmixing)
    with pytest.raises(RuntimeError, match="Missing key"):
        fresh.load_state_dict({})


@pytest.mark.parametrize("kind", METHODS)
@pytest.mark.parametrize("components", [3, None])
def test_a_predictor_is_explained_in_components(mixture, kind, components):
    x = mixture(k=4).x
    transform = fitted(kind, x, components=components).as_transform()
    f = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3)).double()
    trim = trimkit.Trim(f, transform=transform, attribution="integrated_gradients")
    result = trim(x[:4], target=1)
    assert torch.allclose(result.output, f(x[:4]))  # the residual carries what components leave out
    assert result.gap.abs().max() < 0.05
    s = transform(x[:4])
    assert torch.allclose(transform.inverse(s) + transform.residual(x[:4], s), x[:4])
    assert transform.groups((4,)).names[0] == "component 1"


def test_penalties_in_components_train_a_model(mixture):
    x = mixture(k=4).x.float()
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))
    penalty = trimkit.TrimPenalty("hoyer", transform=fitted(FastICA, x).as_transform(), attribution="input_x_gradient")
    _, value = penalty(model, x[:16], target=torch.zeros(16, dtype=torch.long))
    value.backward()
    assert model[0].weight.grad.abs().max() > 0


def test_a_run_from_the_command_line_is_audited_in_its_components(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "fastica", "--data", "digits", "--method.components", "9", "--out", "run"]) == 0
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"components.png", "reconstructions.png", "traversals.png", "model.safetensors", "COMPLETE"} <= names
    with Image.open(tmp_path / "run" / "components.png") as picture:
        assert picture.size == (8 * (LABEL + GAP) - GAP, 2 * (64 + LINE + GAP) - GAP)  # nine components in two rows
    (tmp_path / "net.py").write_text(
        "import torch\ndef make():\n    torch.manual_seed(0)\n    return torch.nn.Sequential(torch.nn.Flatten(), "
        "torch.nn.Linear(256, 10))\n"
    )
    options = ["--model", "net.py:make", "--data", "digits", "--samples", "80", "--out", "report"]
    assert main(["audit", *options, "--transform", "latent:run=run", "--checks", "completeness"]) == 0
    found = json.loads((tmp_path / "report" / "results.json").read_text())
    assert "LatentTransform" in str(found["provenance"]["transform"])


def test_patterns_are_shown_with_grey_for_0():
    x = torch.randn(200, 1, 2, 2, dtype=torch.float64) ** 3
    method = fitted(FastICA, x)
    shown = method.exhibits()["components"]
    assert list(shown) == [f"component {i}" for i in range(1, 5)]
    for i, pattern in enumerate(shown.values()):
        column = method.mixing[:, i]
        assert torch.allclose(pattern.flatten(), 0.5 + column / (2 * column.abs().max()))
        assert 0 <= float(pattern.min()) <= float(pattern.max()) <= 1
