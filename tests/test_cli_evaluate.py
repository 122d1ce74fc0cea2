"""``trimkit evaluate``: a run's metrics from end to end, and one line for everything that does not fit."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from trimkit.cli import main
from trimkit.cli._representation import Encoder, load_for_evaluation
from trimkit.errors import DataError, ModelError
from trimkit.methods import DiagonalGaussian, LatentSpace, load_method

CPU = torch.device("cpu")
QUICK = ("--steps", "3", "--log-every", "3", "--method.network", "mlp", "--method.latent_dim", "3")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with runs on data with factors, with labels, and with neither."""
    folder = tmp_path_factory.mktemp("runs")
    g = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(range(2), range(3), range(4)), -1).reshape(-1, 3).repeat(3, 0)
    x = (grid @ g.random((3, 12)) / 9).astype("float32")
    names = np.array(["shape", "size", "hue"])
    np.savez(folder / "factors.npz", x=x, y=grid[:, 0], factors=grid, factor_names=names)
    np.savez(folder / "labels.npz", x=x, y=grid[:, 1])
    np.savez(folder / "alone.npz", x=x)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in ("factors", "labels", "alone"):
            assert main(["train", "beta-vae", "--data", f"{name}.npz", "--out", name, *QUICK]) == 0
    return folder


@pytest.fixture
def work(home, monkeypatch):
    """The same, without evaluations."""
    monkeypatch.chdir(home)
    yield home
    for evaluation in home.glob("*/evaluation.json"):
        evaluation.unlink()


def test_a_run_with_factors_beside_its_baselines(work, capsys):
    assert main(["evaluate", "factors", "--samples", "60", "--baselines"]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0] == "beta-vae on factors (test): 60 of 72 samples, protocol quick, seed 0"
    assert lines[1].split() == ["metric", "beta-vae", "random", "pca", "ica", "95", "%", "interval", "protocol"]
    assert lines[-1] == "factors/evaluation.json"
    assert err == ""
    assert {"factor", "shape", "size", "hue"} <= {line.partition(" ")[0] for line in lines}
    found = json.loads((work / "factors" / "evaluation.json").read_text())
    assert {"factor_vae_score", "beta_vae_score", "mutual_information_gap", "sap"} <= set(found["metrics"])
    assert set(found["baselines"]) == {"random", "pca", "ica"}
    assert set(found["metrics"]) - set(found["baselines"]["pca"]) == {"sampled_mutual_information_gap"}
    gap = found["metrics"]["mutual_information_gap"]
    assert list(gap["parts"]["per_factor"]) == ["shape", "size", "hue"]
    assert gap["interval"][0] <= gap["value"] <= gap["interval"][1]
    assert [part["estimator"] for part in found["kl"]["parts"]] == ["symmetric", "batch"]
    assert found["kl"]["total"] == pytest.approx(sum(found["kl"]["per_dimension"]))
    assert found["environment"]["versions"]["trimkit"]


def test_labels_are_the_one_factor_and_without_them_only_codes_are_compared(work, capsys):
    assert main(["evaluate", "labels", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found["metrics"]["explicitness"]["parts"]["per_factor"]) == ["label"]
    assert "factor_vae_score" not in found["metrics"]
    assert found["notes"][0].startswith("labels has no known factors: its labels are the one factor")
    assert found == json.loads((work / "labels" / "evaluation.json").read_text())
    assert main(["evaluate", "alone", "--split", "train"]) == 0
    out = capsys.readouterr().out
    assert "note: the samples are those that the run was trained on" in out
    assert "note: alone has neither factors nor labels" in out
    found = json.loads((work / "alone" / "evaluation.json").read_text())
    assert list(found["metrics"]) == [
        "gaussian_total_correlation",
        "wasserstein_correlation",
        "mean_pairwise_mutual_information",
    ]


def test_the_seed_decides_and_nothing_is_overwritten_without_force(work, capsys):
    files = []
    for options in ((), ("--force",), ("--force", "--seed", "1")):
        assert main(["evaluate", "labels", *options]) == 0
        files.append((work / "labels" / "evaluation.json").read_text())
    assert files[0] == files[1] != files[2]
    capsys.readouterr()
    assert main(["evaluate", "labels"]) == 2
    assert capsys.readouterr().err == "trimkit: error: labels/evaluation.json exists; add --force to replace it\n"
    assert (work / "labels" / "evaluation.json").read_text() == files[2]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nowhere"], "nowhere/config.yaml does not name the data of the run; give them with --data"),
        (["nowhere", "--data", "alone.npz"], "nowhere is not the folder of a complete run"),
        (["alone", "--samples", "19"], "--samples: expected at least 20, got 19"),
        (["alone", "--seed", "-1"], "--seed: expected a number ≥ 0, got -1"),
        (["alone", "--data", "digits"], "the run was trained on samples (12,), got (1, 16, 16) of 'digits'"),
        (["alone", "--space", "w"], "has no latent space 'w'"),
        (["alone", "--device", "cdua"], "--device: expected auto, cpu"),
        (["alone", "--smaples", "30"], "Did you mean '--samples'?"),
    ],
)
def test_what_does_not_fit_is_one_line(work, capsys, arguments, told):
    assert main(["evaluate", *arguments]) == 2
    err = capsys.readouterr().err
    assert told in err
    assert len(err.splitlines()) == 1
    assert not list(work.glob("*/evaluation.json"))


def test_help_imports_no_torch():
    program = "from trimkit.cli import main; main(['evaluate', '--help'])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0
    assert "--protocol {quick,dlib}" in done.stdout
    check = "import sys, trimkit.cli.evaluate as e; e._parser(); assert not {'torch', 'numpy'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", check]).returncode == 0


def test_splits_are_chosen_for_metrics():
    assert load_for_evaluation("toy-factors").split == "all"
    assert load_for_evaluation("toy-factors", "train").split == "train"
    assert load_for_evaluation("digits").split == "test"
    with pytest.raises(DataError):
        load_for_evaluation("toy-factors", "validation")


def test_the_encoder_gives_posteriors_in_the_order_asked_for(work):
    method, data = load_method("factors"), load_for_evaluation("factors.npz")
    encoder = Encoder(method, method.space(), data, CPU)
    numbers = torch.tensor([5, 0, 5, 71])
    found = encoder.posterior(numbers)
    assert isinstance(found, DiagonalGaussian)
    with torch.no_grad():
        expected = method.encode(data.x[numbers])
    assert torch.equal(found.mean, expected.mean)
    assert torch.equal(encoder.means(numbers), expected.mean)
    assert torch.equal(found.log_variance, expected.log_variance)


def test_spaces_that_cannot_be_encoded_to_are_refused(work):
    method, data = load_method("factors"), load_for_evaluation("factors.npz")
    with pytest.raises(ModelError, match="space 'w' has no codes to evaluate: it is only sampled"):
        Encoder(
            method, LatentSpace("w", (3,), can_encode=False, reason="it is only sampled"), data, torch.device("cpu")
        )
    with pytest.raises(DataError, match="needs auxiliary variables"):
        Encoder(method, LatentSpace("z", (3,), needs_aux=True), data, CPU)
