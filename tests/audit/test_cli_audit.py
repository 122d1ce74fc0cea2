"""``trimkit audit``: what it prints, what it writes, how it exits, and one line for every mistake."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from trimkit import cli
from trimkit.cli._progress import show_progress
from trimkit.cli._tables import verdict_line
from trimkit.cli.audit import parse_choice
from trimkit.errors import OptionError
from trimkit.registry.spelling import parse_values

SOURCE = """
import torch
from torch import nn

def linear(classes: int = 3):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, classes))

def channels():
    return nn.Conv2d(3, 2, 3)

class Noisy(nn.Module):
    def forward(self, x):
        return torch.rand(len(x), 3)

class Blind(nn.Module):
    "The same output for every input."
    def forward(self, x):
        return x.flatten(1)[:, :3] * 0

def nan():
    return torch.full((4, 1, 8, 8), float("nan"))

def empty():
    return torch.zeros(0, 1, 8, 8)

def unlabelled():
    return torch.rand(90, 1, 8, 8, generator=torch.Generator().manual_seed(0))
"""


@pytest.fixture
def folder(tmp_path, monkeypatch, model, data):
    """A working folder with a user's module, weights and data."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shop.py").write_text(SOURCE)
    save_file(model.state_dict(), tmp_path / "w.safetensors")
    save_file({"x": data.x, "y": data.y}, tmp_path / "d.safetensors")
    torch.save(nn.Linear(3, 2), tmp_path / "whole.pt")
    yield tmp_path
    import sys

    sys.modules.pop("shop", None)


GOOD = [
    "audit",
    "--model",
    "shop:linear",
    "--weights",
    "w.safetensors",
    "--data",
    "d.safetensors",
    "--transform",
    "fft",
]


def test_a_good_explanation_passes(folder, capsys):
    copies = ["--threshold", "randomisation.copies=32"]
    assert cli.main([*GOOD, "--samples", "120", "--out", "result", *copies]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("data         d, split test: 160 samples of 1×8×8")
    assert "two samples  in (2, 1, 8, 8), out (2, 3)" in "\n".join(out)
    checks = ["reproducibility", "completeness", "reconstruction", "controls", "randomisation"]
    verdicts = [line.split()[:2] for line in out if line.startswith("PASS")]
    assert verdicts == [["PASS", check] for check in checks]
    assert next(line for line in out if line.startswith("Explanation:")).startswith("Explanation: PASS")
    assert next(line for line in out if line.startswith("Model:")).startswith("Model: WARN")
    assert out[-1] == "result/report.html"
    results = json.loads((folder / "result" / "results.json").read_text())
    assert results["exit_code"] == 0
    assert {p.name for p in (folder / "result").iterdir()} == {"report.html", "results.json"}


def test_options_reach_the_audit(folder, capsys):
    options = [
        "--samples",
        "90",
        "--attribution",
        "saliency",
        "integrated_gradients:n_steps=5,chunk=5",
        "--target",
        "1",
    ]
    options += [
        "--checks",
        "completeness",
        "reconstruction",
        "--threshold",
        "completeness.tolerance=0.01",
        "--seed",
        "3",
    ]
    assert cli.main([*GOOD[:-1], "fft:bands=3", *options, "--out", "o", "--model.arg", "classes=3"]) == 0
    record = json.loads((folder / "o" / "results.json").read_text())["provenance"]
    assert record["transform"] == "FFT(dims=None, bands=3)"
    attribution = record["attributions"]["integrated_gradients"]
    assert attribution.startswith("IntegratedGradients(n_steps=5")
    assert "chunk=5" in attribution
    assert (record["target"], record["audited"]["seed"], record["audited"]["n"]) == (1, 3, 90)
    assert record["checks"]["completeness"]["tolerance"] == 0.01
    assert "completeness [saliency]" in capsys.readouterr().out


def test_failing_inconclusive_and_strict_exits(folder):
    audit = ["audit", "--model", "shop:linear", "--weights", "w.safetensors", "--data", "d.safetensors"]
    strict = ["--checks", "completeness", "--threshold", "completeness.tolerance=1e-12"]
    assert cli.main([*audit, *strict]) == 1
    blind = ["audit", "--model", "shop:Blind", "--data", "d.safetensors", "--samples", "80"]
    assert cli.main([*blind, "--checks", "controls"]) == 3
    assert cli.main([*GOOD, "--checks", "completeness", "--samples", "30"]) == 3
    warned = [*GOOD[:-1], "identity", "--checks", "controls", "--attribution", "saliency", "--samples", "40"]
    codes = {fail_on: cli.main([*warned, "--fail-on", fail_on]) for fail_on in ("fail", "warn")}
    statuses = json.loads((folder / "trimkit-audit-4" / "results.json").read_text())["overall"]
    assert (
        codes
        == {"PASS": {"fail": 0, "warn": 0}, "WARN": {"fail": 0, "warn": 1}, "FAIL": {"fail": 1, "warn": 1}}[statuses]
    )


def test_reports_are_never_overwritten_by_themselves(folder, capsys):
    quick = [*GOOD, "--samples", "20", "--checks", "reconstruction"]
    for expected in ("trimkit-audit", "trimkit-audit-2", "trimkit-audit-3"):
        assert cli.main(quick) == 0
        assert capsys.readouterr().out.splitlines()[-1] == f"{expected}/report.html"
    assert cli.main([*quick, "--out", "trimkit-audit"]) == 2
    assert "--out trimkit-audit exists; name another folder, or add --force" in capsys.readouterr().err
    assert cli.main([*quick, "--out", "trimkit-audit", "--force", "--seed", "9"]) == 0
    record = json.loads((folder / "trimkit-audit" / "results.json").read_text())["provenance"]
    assert record["audited"]["seed"] == 9
    assert not [p for p in folder.iterdir() if p.name.startswith(".")]


def test_force_replaces_report_folders_only(folder, capsys):
    (folder / "precious").mkdir()
    (folder / "precious" / "thesis.tex").write_text("years of work")
    assert cli.main([*GOOD, "--out", "precious", "--force"]) == 2
    assert "is no report folder" in capsys.readouterr().err
    assert (folder / "precious" / "thesis.tex").read_text() == "years of work"


def test_nothing_is_left_behind_when_writing_fails(folder, monkeypatch):
    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("trimkit.audit.report.Report.to_html", fail)
    assert cli.main([*GOOD, "--samples", "20", "--checks", "reconstruction", "--out", "o"]) == 2
    assert not [p for p in folder.iterdir() if p.name in ("o",) or p.name.startswith(".")]


def changed(**options):
    arguments = {"model": "shop:linear", "data": "d.safetensors", **options}
    return ["audit", *(word for name, value in arguments.items() for word in (f"--{name.replace('_', '-')}", value))]


BAD = {
    "missing module": (changed(model="nowhere:net"), "there is no module 'nowhere'"),
    "missing factory": (changed(model="shop:lineer"), "shop has no 'lineer'. Did you mean 'linear'"),
    "no factory named": (changed(model="shop"), "expected a model as 'package.module:factory'"),
    "pickled weights": (changed(weights="whole.pt"), "refused: it holds pickled objects"),
    "pickled model": (changed(model="whole.pt"), "a pickled module runs code"),
    "weights are a folder": (changed(weights="."), "is a folder; expected a file in it"),
    "data are a folder": (changed(data="."), "no pictures in .; expected .png, .jpg"),
    "option of the wrong type": (
        changed(transform="fft:bands=x"),
        "fft: expected bands as a whole number, or as bands",
    ),
    "negative seed": (changed(seed="-1"), "--seed: expected a number ≥ 0, got -1"),
    "no such device": (changed(device="gpu"), "--device: expected auto, cpu, cuda"),
    "missing weights": (changed(weights="gone.safetensors"), "does not exist"),
    "wrong weights": (changed(weights="d.safetensors"), "do not fit the model: the file lacks 1.weight"),
    "wrong shape": (changed(model="shop:channels"), "does not take samples of shape (1, 8, 8)"),
    "random model": (changed(model="shop:Noisy"), "two outputs for one input"),
    "unknown data": (changed(data="digitz"), "digitz"),
    "missing file": (changed(data="gone.npz"), "gone.npz"),
    "NaN": (changed(data="shop:nan"), "NaN or infinity"),
    "empty": (changed(data="shop:empty"), "is empty"),
    "unknown transform": (changed(transform="fourier"), "no transform 'fourier'"),
    "unknown option": (changed(transform="fft:band=3"), "transform 'fft' has no option 'band'. Did you mean 'bands'"),
    "bad option": (changed(transform="fft:bands"), "fft:bands"),
    "unknown attribution": (changed(attribution="saliancy"), "Did you mean 'saliency'"),
    "unknown check": (changed(checks="controlls"), "Did you mean 'controls'"),
    "unknown threshold": (changed(threshold="controls.alfa=1"), "no option 'alfa'. Did you mean 'alpha'"),
    "bad threshold": (changed(threshold="controls.alpha"), "expected name=value"),
    "bad target": (changed(target="best"), "expected target 'predicted', 'label', the number of a class"),
    "target out of range": (changed(target="7"), "target 7 is out of range"),
    "no labels": (changed(data="shop:unlabelled", target="label"), "has none; use target='predicted'"),
    "no samples": (changed(samples="0"), "samples ≥ 1"),
    "no number": (changed(samples="many"), "many"),
    "unknown flag": ([*changed(), "--trasform", "fft"], "Did you mean '--transform'"),
    "no model": (["audit", "--data", "d.safetensors"], "--model"),
    "factory argument": ([*changed(), "--model.arg", "klasses=3"], "no option 'klasses'"),
}


@pytest.mark.parametrize(("arguments", "message"), BAD.values(), ids=BAD.keys())
def test_mistakes_are_one_line_and_code_2(folder, capsys, arguments, message):
    assert cli.main(arguments) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1, err
    assert err.startswith("trimkit: error: ")
    assert message in err
    assert not list(folder.glob("trimkit-audit*"))


def test_suspicions_are_said_once(folder, capsys):
    save_file({"x": (torch.rand(80, 1, 8, 8) * 255).round()}, folder / "raw.safetensors")
    arguments = changed(data="raw.safetensors", checks="reconstruction")
    assert cli.main(arguments) == 0
    err = capsys.readouterr().err
    assert err.count("divided by 255") == 1
    assert "divided by 255" in (folder / "trimkit-audit" / "report.html").read_text()


def test_regression_data_are_audited_with_their_values(folder, capsys):
    save_file({"x": torch.rand(80, 1, 8, 8), "y": torch.randn(80)}, folder / "r.safetensors")
    arguments = changed(data="r.safetensors", checks="reconstruction", device="cpu", model="shop:linear")
    assert cli.main([*arguments, "--model.arg", "classes=1"]) == 0
    out = capsys.readouterr().out
    assert "task         regression (output (N, 1), labels (N,))" in out
    assert "R²: " in out


def test_verdicts_are_wrapped_on_a_terminal(monkeypatch):
    head, text = f"{'PASS':<14} completeness  ", "all is well " * 20
    assert verdict_line(head, text).count("\n") == 1
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    first, *others = verdict_line(head, text).splitlines()
    assert first.startswith("PASS")
    assert all(len(line) <= 80 and line[: len(head)].isspace() and line[len(head)] != " " for line in others)
    monkeypatch.setenv("COLUMNS", "200")
    assert max(map(len, verdict_line(head, text).splitlines())) <= 100


def test_choices_are_parsed():
    assert parse_choice("acme-trim:mellin") == "acme-trim:mellin"
    assert parse_choice("w:wavelet=db5,levels=4") == ("w", {"wavelet": "db5", "levels": 4})
    assert parse_values(["a=true", "b=1e-3", "c=x"], "x") == {"a": True, "b": 1e-3, "c": "x"}
    with pytest.raises(OptionError, match="cannot be read"):
        parse_values(["a=[1,"], "x")


def test_a_terminal_gets_a_bar(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with show_progress() as progress:
        progress(1, 2)
    monkeypatch.setenv("TERM", "dumb")
    with show_progress() as progress:
        assert progress is None


def test_help_needs_no_torch(folder):
    import subprocess
    import sys

    code = (
        "import sys; from trimkit import cli; rc = cli.main(['audit', '--help'])\n"
        "assert rc == 0 and 'torch' not in sys.modules, rc"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "exit codes" in done.stdout.casefold()


def test_the_demo_of_a_report_can_be_moved(folder):
    cli.main([*GOOD, "--samples", "20", "--checks", "reconstruction", "--out", "a/b/c"])
    shutil.move("a/b/c", "elsewhere")
    assert "data:image/png" in (folder / "elsewhere" / "report.html").read_text()
