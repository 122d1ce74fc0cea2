"""``trimkit train``: a run from end to end, and one line for everything that does not fit."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file, save_file

from trimkit.cli import main

MODEL = """
import torch

def classifier():
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3))
"""
QUICK = ("--steps", "4", "--log-every", "2", "--method.network", "mlp", "--method.latent_dim", "3")


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A folder with data (two splits), a predictor and its weights, as a user has."""
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    arrays = {
        f"x_{split}": generator.random((n, 1, 8, 8)).astype("float32") for split, n in (("train", 70), ("test", 9))
    }
    labels = {f"y_{split}": generator.integers(0, 3, n) for split, n in (("train", 70), ("test", 9))}
    np.savez("shapes.npz", **arrays, **labels)
    (tmp_path / "own_model.py").write_text(MODEL)
    weight = torch.randn(3, 64, generator=torch.Generator().manual_seed(0))
    save_file({"1.weight": weight, "1.bias": torch.zeros(3)}, tmp_path / "f.safetensors")
    yield tmp_path
    sys.modules.pop("own_model", None)


GUIDED = (
    "--predictor",
    "own_model:classifier",
    "--predictor-weights",
    "f.safetensors",
    "--trim",
    "l1@z:0.1",
    "hoyer@z:1",
)


def run(*arguments: str) -> int:
    return main(["train", "beta-vae", "--data", "shapes.npz", *QUICK, *arguments])


def test_a_run_from_end_to_end(work, capsys):
    assert run(*GUIDED, "--method.beta", "linear(0, 2, 4)") == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[-1] == "runs/beta-vae-shapes"
    assert "step 4/4" in err
    folder = work / "runs" / "beta-vae-shapes"
    results = json.loads((folder / "results.json").read_text())
    assert (results["steps"], results["train"]["samples"], results["test"]["samples"]) == (4, 70, 9)
    assert {"recon", "kl", "prediction", "l1@z", "hoyer@z", "squared_error", "predictor"} <= set(results["test"])
    with Image.open(folder / "reconstructions.png") as picture:
        assert picture.size == (84 + 9 * 66, 2 * 66)
    with Image.open(folder / "traversals.png") as picture:
        assert picture.size == (84 + 9 * 66, 3 * 66)
    assert (folder / "command.txt").read_text().startswith("trimkit train beta-vae --data shapes.npz --steps 4")
    assert "decoder.0.weight" in load_file(folder / "model.safetensors")


def test_a_collapsed_posterior_is_said_in_one_line(work, capsys):
    assert run("--method.beta", "1000", "--steps", "40", "--out", "collapsed") == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[-1] == "collapsed"
    assert err.splitlines()[-1].startswith("trimkit: warning: no latent is active: the posterior has collapsed")


def test_train_alone_is_help_on_stderr_and_code_2(capsys):
    assert main(["train"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("usage: trimkit train METHOD [options]")


def test_the_recorded_configuration_repeats_the_run(work, capsys):
    assert run(*GUIDED, "--seed", "3", "--out", "one") == 0
    config = yaml.safe_load((work / "one" / "config.yaml").read_text())
    assert config["method"]["beta"] == 4.0
    assert config["trim"] == ["l1@z:0.1", "hoyer@z:1"]
    assert main(["train", "beta-vae", "--config", "one/config.yaml", "--out", "two"]) == 0
    one, two = (load_file(work / name / "model.safetensors") for name in ("one", "two"))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_resume_gives_what_an_uninterrupted_run_gives(work, capsys):
    assert run("--out", "parts", "--epochs", "1") == 2  # steps are given too
    assert "steps or epochs, not both" in capsys.readouterr().err
    assert run(*GUIDED, "--out", "parts") == 0
    assert run(*GUIDED, "--out", "parts", "--steps", "7", "--resume") == 0
    assert run(*GUIDED, "--out", "whole", "--steps", "7") == 0
    parts, whole = (load_file(work / name / "model.safetensors") for name in ("parts", "whole"))
    assert all(torch.equal(parts[name], whole[name]) for name in parts)


def test_the_predictor_alone_may_say_what_is_kept(work, capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        assert run(*GUIDED, "--reconstruction-weight", "0", "--prediction-weight", "linear(0, 5, 4)") == 0
    err = capsys.readouterr().err
    assert "trimkit: warning: the reconstruction weighs 0" in err
    assert ".py:" not in err


def test_the_engines_settings_are_options(work, capsys):
    options = ["--accumulate", "2", "--ema", "0.5", "--nonfinite", "skip", "--pictures-every", "2", "--precision", "64"]
    options += ["--evaluated", "9"]
    assert run(*options, "--out", "a", "--method.beta", "cyclical(0, 1, 4)") == 0
    config = yaml.safe_load((work / "a" / "config.yaml").read_text())
    assert {name: config[name] for name in ("accumulate", "ema", "nonfinite", "precision", "workers", "fast")} == {
        "accumulate": 2,
        "ema": 0.5,
        "nonfinite": "skip",
        "precision": "64",
        "workers": 0,
        "fast": False,
    }
    assert json.loads((work / "a" / "results.json").read_text())["test"]["samples"] == 9
    assert len(list((work / "a" / "pictures").iterdir())) == 4
    assert (work / "a" / "training.gif").exists()
    assert load_file(work / "a" / "model.safetensors")["decoder.0.weight"].dtype == torch.float64


def test_help_lists_the_methods_without_torch():
    program = """
import sys
from trimkit.cli import main
code = main(["train", "--help"])
assert "torch" not in sys.modules
sys.exit(code)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.search(r"  beta-vae +VAE whose KL weighs β", done.stdout)


def test_help_of_a_method_shows_its_options(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["train", "beta-vae", "--help"]) == 0
    out = capsys.readouterr().out
    assert "--method.beta BETA" in out
    assert "weight of the KL: a number ≥ 0" in out
    assert "--method.shape" not in out
    assert "--trim TERM" in out


def test_the_configuration_is_printed(work, capsys):
    assert main(["train", "vae", "--method.latent_dim", "5", "--print_config"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["method"]["latent_dim"] == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["beta-vea"], "There is no method 'beta-vea'. Did you mean 'beta-vae'"),
        (["--steps", "3"], "expected the method first, got '--steps'"),
        (["beta-vae", "--stepz", "3"], "Unexpected '--stepz'. Did you mean '--steps'"),
        (["beta-vae", "--method.betta", "3"], "Unexpected '--method.betta'. Did you mean '--method.beta'"),
        (["beta-vae", "--method.network", "mpl"], "there is no network 'mpl'. Did you mean 'mlp'"),
        (["beta-vae", "--method.beta", "square(1, 2, 3)"], "expected a weight such as 0.5, 'linear(0, 4, 5000)'"),
        (["beta-vae", "--method.beta", "-1"], "expected beta ≥ 0, got -1"),
        (["beta-vae", "--method.latent_dim", "0"], "expected latent_dim ≥ 1"),
        (["beta-vae", "--steps", "many"], "--steps"),
        (["beta-vae", "--data", "digit"], "digit"),
        (["beta-vae", "--data", "missing.npz"], "missing.npz does not exist"),
        (["beta-vae", "--trim", "l1@z:0.1"], "the TRIM term 'l1@z' explains a predictor; give one (--predictor"),
        (["beta-vae", "--predictor-weights", "f.safetensors"], "--predictor-weights needs --predictor"),
        (["beta-vae", "--predictor", "no_such_module:f"], "there is no module 'no_such_module'"),
        (["beta-vae", *GUIDED[:4], "--trim", "l1@q:0.1"], "BetaVAE has no latent space 'q'"),
        (["beta-vae", *GUIDED[:4], "--trim", "l11@z:0.1"], "There is no penalty 'l11'"),
        (["beta-vae", *GUIDED[:4], "--trim", "l1@z:much"], "expected a weight such as 0.5"),
        (["beta-vae", *GUIDED[:4], "--trim", "@z"], "expected PENALTY[@SPACE][:WEIGHT]"),
        (
            ["beta-vae", *GUIDED, "--trim-target", "best"],
            "expected target 'predicted', 'label', the number of a class",
        ),
        (["beta-vae", *GUIDED, "--trim-target", "7"], "target"),
        (["beta-vae", "--reconstruction-weight", "0"], "only a prediction loss trains the decoder"),
        (["beta-vae", "--prediction-weight", "2"], "no term is named 'prediction'. There is no predictor"),
        (["beta-vae", "--resume"], "there is no run runs/beta-vae-shapes to resume"),
        (["beta-vae", "--device", "warp"], "cannot train on device 'warp'"),
        (["beta-vae", "--config", "missing.yaml"], "missing.yaml"),
        (["beta-vae", "--precision", "8"], "--precision"),
        (["beta-vae", "--ema", "2"], "expected ema in [0, 1), got 2"),
        (
            ["beta-vae", "--data", ""],
            "expected the data: a dataset's name, a file, a folder or package.module:function",
        ),
        (["beta-vae", "--data", "os:getcwd"], "data 'os:getcwd': expected a Dataset, x, or (x, y) from the function"),
        (["beta-vae", "--out", ""], "--out: expected a folder, got nothing; leave it out for the usual one"),
        (
            ["beta-vae", "--precision", "16", "--nonfinite", "scrub"],
            "nonfinite='scrub' does not go with precision='16'",
        ),
        (["wae-mmd", "--method.kernel", "imp"], "kernel"),
        (["beta-vae", "--accumulate", "3"], "a multiple of 3, got 64 samples; choose batch_size=63"),
    ],
)
def test_what_does_not_fit_is_one_line(work, capsys, arguments, message):
    data = [] if "--data" in arguments or arguments[0].startswith("-") else ["--data", "shapes.npz"]
    assert main(["train", *arguments, *data]) == 2
    err = capsys.readouterr().err
    assert err.startswith("trimkit: error: ")
    assert err.count("\n") == 1
    assert message in err
    assert not (work / "runs").exists()


@pytest.mark.parametrize(
    ("x", "options", "message"),
    [
        (np.full((5, 1, 8, 8), np.nan), (), "5 of 5 samples hold NaN"),
        (np.zeros((0, 1, 8, 8)), (), "is empty"),
        (np.full((5, 1, 8, 8), 2.0), ("--method.likelihood", "bernoulli"), "needs data in [0, 1], got 2 … 2; rescale"),
        (np.zeros((5, 1, 7, 8)), (), "'burgess' takes square images"),
        (np.zeros((5, 1, 4, 4)), (*GUIDED[:4], "--method.network", "mlp"), "the predictor does not take data of shape"),
    ],
)
def test_data_that_do_not_fit_are_one_line(work, capsys, x, options, message):
    np.savez("bad.npz", x=x.astype("float32"))
    assert main(["train", "vae", "--data", "bad.npz", *options]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
    assert not (work / "runs").exists()


@pytest.mark.filterwarnings("default")
def test_terms_that_the_test_data_lack_are_left_out_of_the_table(work, capsys):
    x = np.random.default_rng(0).random((11, 6)).astype("float32")
    np.savez("one.npz", x_train=x[:10], x_test=x[10:])
    assert main(["train", "wae-mmd", "--data", "one.npz", *QUICK]) == 0
    out, err = capsys.readouterr()
    assert err.count("trimkit: warning: the terms of phase 'vae' are left out of the results on 'one' (test)") == 1
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines()[1:]}
    assert rows["mmd"][1] == "-"
    assert "-" not in rows["squared_error"]


def test_a_run_is_not_overwritten(work, capsys):
    assert run() == 0
    assert run() == 2
    assert "runs/beta-vae-shapes exists already (complete)" in capsys.readouterr().err
