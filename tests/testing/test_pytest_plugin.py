"""Audits in anyone's tests: the fixture, its pages and its summary, in a pytest of its own."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import trimkit
from trimkit import cli
from trimkit.cli.audit import _parser
from trimkit.data.shortcut import digits_shortcut
from trimkit.demo.networks import train_classifier
from trimkit.registry.lazy import import_target

HEAD = """
import pytest
import torch

@pytest.fixture
def model():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(8, 2)).eval()

@pytest.fixture
def data():
    return torch.randn(80, 8, generator=torch.Generator().manual_seed(0))
"""


@pytest.fixture
def run(tmp_path):
    """Run pytest on a test file in a process of its own."""

    def call(source: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "test_user.py").write_text(HEAD + source)
        command = [sys.executable, "-m", "pytest", "-p", "trimkit.testing.pytest_plugin", *arguments]
        plain = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # installed or not, it is loaded once
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=plain)

    return call


def test_a_sound_model_passes_and_is_summed_up(run):
    result = run("""
def test_sound(trimkit_audit, model, data):
    report = trimkit_audit(model, data, checks=["completeness"], samples=80)
    assert report.verdict("completeness").status == "PASS"
""")
    assert result.returncode == 0, result.stdout
    assert "test_user.py::test_sound: explanation PASS, model NOT JUDGED" in result.stdout


def test_a_verdict_that_fails_fails_the_test(run):
    result = run("""
def test_bad(trimkit_audit, model, data):
    trimkit_audit(model, data, checks=["reliance"], forbid=[f"feature {i}" for i in range(6)], samples=80)
""")
    assert result.returncode == 1
    assert "model FAIL" in result.stdout
    assert "FAIL           reliance [integrated_gradients]  Relies on" in result.stdout
    assert "pytest_plugin.py" not in result.stdout  # the lines, no traceback


@pytest.mark.parametrize(("fail_on", "code"), [("fail", 0), ("inconclusive", 0), ("warn", 0), ("not-judged", 1)])
def test_strictness_is_the_tests_own(run, fail_on, code):
    result = run(f"""
def test_strict(trimkit_audit, model, data):
    trimkit_audit(model, data, checks=["completeness"], samples=80, fail_on={fail_on!r})
""")
    assert result.returncode == code


def test_an_open_answer_fails_where_that_is_asked(run):
    result = run("""
def test_lenient(trimkit_audit, model, data):
    trimkit_audit(model, data, checks=["completeness"], samples=4)

def test_strict(trimkit_audit, model, data):
    trimkit_audit(model, data, checks=["completeness"], samples=4, fail_on="inconclusive")
""")
    assert "1 failed, 1 passed" in result.stdout
    assert "INCONCLUSIVE   completeness" in result.stdout


def test_an_unknown_strictness_is_an_error(run):
    result = run("""
def test_typo(trimkit_audit, model, data):
    trimkit_audit(model, data, fail_on="wran")
""")
    assert result.returncode == 1
    assert "Did you mean 'warn'?" in result.stdout


def test_pages_are_written_where_asked(run, tmp_path):
    result = run(
        """
@pytest.mark.parametrize("seed", [0, 1])
def test_page(trimkit_audit, model, data, seed):
    for _ in range(2):
        trimkit_audit(model, data, checks=["completeness"], samples=4, seed=seed)
""",
        "--trimkit-report",
        "pages",
    )
    assert result.returncode == 0, result.stdout
    folders = sorted(path.parent.name for path in (tmp_path / "pages").glob("*/report.html"))
    name = "test_user.py-test_page"
    assert folders == [f"{name}-0", f"{name}-0-2", f"{name}-1", f"{name}-1-2"]
    assert f"pages{os.sep}{name}-0{os.sep}report.html" in result.stdout


def test_pytest_starts_without_torch(tmp_path):
    (tmp_path / "test_light.py").write_text("import sys\n\ndef test_light():\n    assert 'torch' not in sys.modules\n")
    command = [sys.executable, "-m", "pytest", "-p", "trimkit.testing.pytest_plugin", "-q"]
    plain = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=plain)
    assert result.returncode == 0, result.stdout


def test_the_entry_point_names_the_plugin():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {"trimkit": "trimkit.testing.pytest_plugin"}


def commands():
    """The audits that the page on CI tells users to run."""
    text = (Path(__file__).parents[2] / "docs" / "howto" / "ci.md").read_text(encoding="utf-8")
    return [line.partition("run: ")[2] for line in text.splitlines() if "run: trimkit audit" in line]


def test_the_documented_gate_can_be_typed():
    (command,) = commands()
    name, _, *argv = shlex.split(command)
    arguments = _parser().parse_args(argv)
    assert (name, arguments.forbid, arguments.junit) == ("trimkit", ["bin 5,5"], "audit.xml")
    assert isinstance(import_target(arguments.model)(), torch.nn.Module)
    assert arguments.data in trimkit.available("datasets")


@pytest.mark.slow
def test_the_documented_gate_is_red_and_green(tmp_path, monkeypatch):
    """Where the pattern gives the label away in training, and where it is random."""
    monkeypatch.chdir(tmp_path)
    for pattern, code in (("label", 1), ("random", 0)):
        model = train_classifier(digits_shortcut("train", pattern), epochs=15)
        save_file(model.state_dict(), "trim.safetensors")
        (command,) = commands()
        argv = shlex.split(command.replace("$GITHUB_STEP_SUMMARY", "summary.md"))[1:]
        assert cli.main([*argv, "--out", pattern]) == code
