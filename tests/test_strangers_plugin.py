"""A stranger's distribution is installed with pip and its four parts are used from the command line."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

FIXTURE = Path(__file__).parent / "fixtures" / "acme-trim"
Overlay = runpy.run_path(str(Path(__file__).parents[1] / "downstream" / "run.py"))["Overlay"]
MODEL = """
import torch

def classifier():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(256, 16), torch.nn.Tanh(), torch.nn.Linear(16, 10))
"""

pytestmark = pytest.mark.slow


class Stranger(Overlay):
    """An environment with a model in its folder, whose commands must end well."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        (self.work / "acme_model.py").write_text(MODEL)

    def trimkit(self, *arguments: str, codes: tuple[int, ...] = (0,)) -> str:
        """What a command prints; a traceback or an unexpected exit code fails the test."""
        done = self.run("trimkit", *arguments)
        assert done.returncode in codes, done.stdout + done.stderr
        assert "Traceback" not in done.stderr, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def overlay(tmp_path_factory):
    made = Stranger(tmp_path_factory.mktemp("overlay"))
    made.install(FIXTURE)
    return made


def test_the_plugin_is_discovered(overlay):
    records = {record["name"]: record for record in json.loads(overlay.trimkit("plugins", "--json"))}
    assert records["acme"]["state"] == "loaded"
    assert (records["acme"]["distribution"], records["acme"]["version"]) == ("acme-trim", "1.2.3")
    assert records["trimkit"]["state"] == "loaded"


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("transforms", "acme_haar"),
        ("attributions", "acme_squared_gradient"),
        ("penalties", "acme_l2"),
        ("methods", "acme-pca"),
    ],
)
def test_its_parts_are_listed(overlay, kind, name):
    assert any(line.startswith(f"{name} ") for line in overlay.trimkit("list", kind).splitlines())


def test_its_transform_and_attribution_in_an_audit(overlay):
    overlay.trimkit(
        *("audit", "--model", "acme_model:classifier", "--data", "digits"),
        *("--transform", "acme_haar", "--attribution", "acme_squared_gradient", "--samples", "32", "--out", "audit"),
        codes=(0, 1, 3),  # the verdict on an untrained model is not the point
    )
    results = (overlay.work / "audit" / "results.json").read_text()
    assert all(name in results for name in ("acme_haar", "acme_squared_gradient", "acme-trim"))
    assert (overlay.work / "audit" / "report.html").stat().st_size > 0


def test_its_method_is_trained(overlay):
    overlay.trimkit("train", "acme-pca", "--data", "digits", "--method.components", "8", "--out", "pca")
    assert "acme-trim" in (overlay.work / "pca" / "environment.json").read_text()


def test_its_penalty_shapes_another_plugins_method(overlay):
    overlay.trimkit(
        *("train", "beta-vae", "--data", "digits", "--predictor", "acme_model:classifier"),
        *("--trim", "acme_l2@z:0.1", "--steps", "20", "--out", "vae"),
    )
    lines = (overlay.work / "vae" / "metrics.jsonl").read_text().splitlines()
    assert "acme_l2" in lines[-1]


def test_its_quick_promises_are_kept(overlay):
    lines = [line for line in overlay.trimkit("plugins", "--check", "acme").splitlines() if line.startswith("acme ")]
    assert len(lines) == 5
    assert all(line.endswith("kept") for line in lines)


def test_a_new_plugin_is_installed_offline_and_green(overlay, tmp_path):
    project = tmp_path / "trimkit-fresh"
    overlay.trimkit("new-plugin", project.name, "--kind", "penalty", "--kind", "command", "--out", str(project))
    overlay.install(project)
    (overlay.work / "test_fresh.py").write_text(
        'from trimkit.testing import conformance\ntest_promises = conformance("fresh")\n'
    )
    records = {record["name"]: record for record in json.loads(overlay.trimkit("plugins", "--json"))}
    assert (records["fresh"]["distribution"], records["fresh"]["state"]) == ("trimkit-fresh", "loaded")
    assert overlay.trimkit("fresh-summary", "digits").startswith("digits: 1200 samples of shape (1, 16, 16)")
    assert "passed" in overlay.run("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_fresh.py").stdout
