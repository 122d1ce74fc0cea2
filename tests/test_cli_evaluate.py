"""``trimkit evaluate``: a run's metrics from end to end, and one line for everything that does not fit."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

import trimkit
from trimkit.cli import main
from trimkit.data import load
from trimkit.errors import DataError, ModelError
from trimkit.evaluation import representation
from trimkit.evaluation.representation import Encoder, load_for_evaluation
from trimkit.methods import DiagonalGaussian, LatentSpace, load_method
from trimkit.storage import write_manifest

CPU = torch.device("cpu")
WITHOUT_FACTORS = [
    "gaussian_total_correlation",
    "wasserstein_correlation",
    "mean_pairwise_mutual_information",
]
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
    assert lines[0] == "beta-vae on factors (train): 60 of 72 samples, protocol quick, seed 0"
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
    assert found["notes"][0] == "the samples are those that the run was trained on"
    assert found["notes"][1].startswith("labels has no known factors: its labels are the one factor")
    assert found == json.loads((work / "labels" / "evaluation.json").read_text())
    assert main(["evaluate", "alone", "--split", "train"]) == 0
    out = capsys.readouterr().out
    assert "note: the samples are those that the run was trained on" in out
    assert "note: alone has neither factors nor labels" in out
    found = json.loads((work / "alone" / "evaluation.json").read_text())
    assert list(found["metrics"]) == WITHOUT_FACTORS


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
        (["nowhere"], "there is no run nowhere; expected a folder that `trimkit train` wrote"),
        (["nowhere", "--data", "alone.npz"], "nowhere is not the folder of a complete run"),
        (["alone", "--samples", "19"], "--samples: expected at least 20, got 19"),
        (["alone", "--seed", "-1"], "--seed: expected a number ≥ 0, got -1"),
        (["alone", "--data", "digits"], "the run was trained on samples (12,), got (1, 16, 16) of 'digits'"),
        (["alone", "--data", ""], "expected the data: a dataset's name, a file, a folder or package.module:function"),
        (["alone", "--split", "zz"], "'alone' has no split 'zz' of its own, only the samples of training"),
        (["alone", "--split", "test"], "'alone' has no split 'test' of its own"),
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


@pytest.fixture
def config_of(work):
    """Writes what a run's config.yaml says of its data, and puts it back."""
    path = work / "alone" / "config.yaml"
    before = path.read_text()
    yield lambda **config: path.write_text(yaml.safe_dump({**yaml.safe_load(before), **config}))
    path.write_text(before)


@pytest.mark.parametrize("spec", ["stranger:rows", "stranger:rows:n=3", "os:system:command=touch touched"])
def test_nothing_that_a_run_folder_names_is_imported(work, config_of, capsys, spec):
    (work / "stranger.py").write_text("open('touched', 'w').close()\n")
    config_of(data=spec)
    assert main(["evaluate", "alone"]) == 2
    err = capsys.readouterr().err
    assert f"names {spec!r} as the data, which would be imported and run; if you trust it: --data " in err
    assert len(err.splitlines()) == 1
    assert not (work / "touched").exists()
    assert "stranger" not in sys.modules


def test_data_that_only_a_program_knew_must_be_given(work, config_of, capsys):
    for name in ("noise", "digits"):
        config_of(data=name, data_sha256="0" * 64)
        assert main(["evaluate", "alone"]) == 2
        assert f"on data that it called {name!r}, and no dataset of that name is the same" in capsys.readouterr().err


def test_a_run_of_a_program_on_registered_data(work, tmp_path, capsys):
    data = load("toy-factors")
    method = trimkit.create("method", "beta-vae", shape=data.shape, network="mlp", latent_dim=2)
    trimkit.train(method, data, folder=tmp_path / "run", steps=2)
    assert main(["evaluate", str(tmp_path / "run"), "--samples", "60"]) == 0
    assert "beta-vae on toy-factors (all)" in capsys.readouterr().out


def test_own_networks_are_imported_on_request_only(work, capsys):
    (work / "own_networks.py").write_text(
        "from trimkit_vae.networks import make_networks\n"
        "def build(shape, latent_dim):\n    return make_networks('mlp', shape, latent_dim)\n"
    )
    options = ["--steps", "2", "--method.network", "own_networks:build", "--method.latent_dim", "2"]
    assert main(["train", "beta-vae", "--data", "alone.npz", "--out", "own", *options]) == 0
    capsys.readouterr()
    assert main(["evaluate", "own"]) == 2
    assert "load_method(folder, allow_code=True), or --allow-code" in capsys.readouterr().err
    assert main(["evaluate", "own", "--allow-code"]) == 0


def test_one_constant_label_is_no_factor(work, capsys):
    with np.load("labels.npz") as arrays:
        np.savez("constant.npz", x=arrays["x"], y=np.zeros(len(arrays["x"]), int))
    assert main(["evaluate", "labels", "--data", "constant.npz", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found["metrics"]) == WITHOUT_FACTORS
    assert "the labels of constant have one value in all samples: only metrics that need none" in found["notes"]


def test_an_infinite_kl_is_null(work, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree("alone", run)
    state = load_file(run / "model.safetensors")
    last = [name for name in state if name.startswith("encoder") and name.endswith("bias")][-1]
    state[last][3:] = 200.0  # log σ²
    save_file(state, run / "model.safetensors")
    write_manifest(run, later={})
    assert main(["evaluate", str(run), "--json"]) == 0
    found = json.loads(capsys.readouterr().out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert found["kl"]["total"] is None
    assert "the KL is not finite: some posterior has no spread, or its variance is beyond all numbers" in found["notes"]


def test_the_two_estimators_see_the_same_draw():
    posterior = DiagonalGaussian(torch.randn(40, 2), torch.zeros(40, 2))
    symmetric, batch = representation._kl(posterior, 40, seed=3)["parts"]
    for part in ("mi", "tc", "dwkl"):  # at B = N both are the batch's mean
        assert symmetric[part] == pytest.approx(batch[part], abs=1e-5)


def test_splits_are_chosen_for_metrics():
    assert load_for_evaluation("toy-factors").split == "all"
    assert load_for_evaluation("toy-factors", "train").split == "train"
    assert load_for_evaluation("digits").split == "test"
    with pytest.raises(DataError):
        load_for_evaluation("toy-factors", "validation")


def test_splits_of_files_are_theirs_or_those_of_training(work):
    x = np.random.default_rng(0).random((60, 3), "float32")
    np.savez("both.npz", x_train=x[:40], x_test=x[40:])
    np.savez("held.npz", x_test=x)
    assert [load_for_evaluation("both.npz", split).split for split in (None, "test", "train")] == ["test"] * 2 + [
        "train"
    ]
    assert load_for_evaluation("held.npz").split == "test"
    assert [load_for_evaluation("alone.npz", split).split for split in (None, "all", "train")] == ["train"] * 3
    with pytest.raises(DataError, match="expected an array 'x' or 'x_zz'"):
        load_for_evaluation("both.npz", "zz")


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
