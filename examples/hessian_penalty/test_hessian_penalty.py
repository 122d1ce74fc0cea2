# ruff: noqa: ANN001, ANN201, D103
"""The penalty where it is known, and training through it: as a stranger would test a plugin."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from trimkit_hessian.penalised import HessianPenalised, hessian_penalty

import trimkit
from trimkit.errors import OptionError

SMALL = {"z_dim": 4, "w_dim": 4, "mapping_layers": 1, "channel_max": 4}


def gen(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(autouse=True)
def small_and_seeded():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        yield
    torch.set_num_threads(threads)


def test_of_a_quadratic_it_is_twice_the_squared_off_diagonal():
    """G(z) = zᵀAz has H = A + Aᵀ everywhere, and second differences of it are exact."""
    a = torch.randn(4, 4, dtype=torch.float64)
    h = a + a.T
    expected = 2 * (h.square().sum() - h.diagonal().square().sum())
    z = torch.randn(3, 4, dtype=torch.float64)
    found = hessian_penalty(lambda z: ((z @ a) * z).sum(1, keepdim=True), z, directions=4000, generator=gen())
    torch.testing.assert_close(found, expected.expand(3), rtol=0.05, atol=0)


def test_latents_that_act_independently_cost_nothing():
    z = torch.randn(3, 4, dtype=torch.float64)
    found = hessian_penalty(lambda z: z.sin() + z.square(), z, directions=5, generator=gen())
    torch.testing.assert_close(found, torch.zeros(3, dtype=torch.float64), atol=1e-12, rtol=0)


def test_the_worst_output_counts():
    z = torch.randn(2, 3, dtype=torch.float64)
    one = hessian_penalty(lambda z: z[:, :1] * z[:, 1:2], z, directions=6, generator=gen())
    both = hessian_penalty(lambda z: torch.cat([z[:, :1] * z[:, 1:2], z], 1), z, directions=6, generator=gen())
    assert torch.equal(one, both)
    with pytest.raises(OptionError, match="expected directions ≥ 2, got 1"):
        hessian_penalty(lambda z: z, z, directions=1)


@pytest.mark.parametrize(
    ("of", "options", "space"),
    [("vae", {"network": "mlp", "latent_dim": 3}, None), ("stylegan2", SMALL, "z"), ("stylegan", SMALL, "w")],
)
def test_it_joins_any_method(of, options, space, tmp_path):
    x = torch.rand(16, 1, 8, 8, generator=gen())

    def made() -> HessianPenalised:
        torch.manual_seed(0)
        return HessianPenalised((1, 8, 8), of, options, space, interval=2)

    whole, parts = made(), made()
    run = trimkit.train(whole, x, steps=4, batch_size=8, log_every=1)
    assert any(row.get("hessian", 0) > 0 for row in run.history)
    trimkit.train(made(), x, steps=2, batch_size=8, folder=tmp_path / "run")
    trimkit.train(parts, x, steps=4, batch_size=8, folder=tmp_path / "run", resume=True)
    assert all(torch.equal(a, b) for a, b in zip(whole.state_dict().values(), parts.state_dict().values(), strict=True))


def test_a_heavy_penalty_straightens_the_decoder():
    x = torch.rand(32, 1, 8, 8, generator=gen())
    z = torch.randn(64, 3, generator=gen(1))
    left = []
    for weight in (0.0, 1e4):
        torch.manual_seed(0)
        options = {"network": "mlp", "latent_dim": 3, "learning_rate": 2e-3}
        method = HessianPenalised((1, 8, 8), "vae", options, weight=weight, interval=1)
        weights = {} if weight else {"hessian": 1e-12}
        trimkit.train(method, x, steps=200, batch_size=16, weights=weights)
        left.append(float(hessian_penalty(method.decode, z, directions=8, generator=gen(2)).detach().mean()))
    assert left[1] < 0.75 * left[0]


@pytest.mark.slow
def test_installed_it_is_found_and_trained_by_name(tmp_path):
    project = Path(__file__).parent
    copy, target = tmp_path / "project", tmp_path / "installed"
    copy.mkdir()
    for path in (project / "pyproject.toml", *project.glob("trimkit_hessian/*.py")):
        to = copy / path.relative_to(project)
        to.parent.mkdir(exist_ok=True)
        to.write_bytes(path.read_bytes())
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, "--target", target, copy], check=True)
    environment = {**os.environ, "PYTHONPATH": str(target)}

    def command(*arguments: str) -> str:
        call = [sys.executable, "-m", "trimkit", *arguments]
        return subprocess.run(call, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True).stdout

    assert "trimkit-hessian" in command("plugins")
    command("train", "hessian-penalty", "--data", "digits", "--steps", "2", "--out", "run")
    assert (tmp_path / "run" / "method.json").exists()
