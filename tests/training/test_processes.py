"""Training on two processes (gloo) against one on the whole batch: every method, every kind of penalty, float64.

All cases run in one process group, started once.
"""

from __future__ import annotations

import os
import traceback
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn

import trimkit
from trimkit.data import Dataset
from trimkit.errors import OptionError
from trimkit.methods import Batch, Delta, LatentSpace, Method, Phase, StepResult, Term, gather, standard_normal
from trimkit.training import TrimTerm, distributed, train

from ..two_processes import Results, run_on_two

STEPS = 4
PENALTIES = {
    "l1": "l1:1",  # in the first space of any method
    "hoyer": "hoyer@z:1",
    "group_l1": "group_l1@z:1",
    "monotone_gradient": TrimTerm(("monotone_gradient", {"margin": 0.5}), "z", 1.0),
    "expected_gradients": TrimTerm("l1", "z", 1.0, ("expected_gradients", {"samples": 2})),
    "smoothgrad": TrimTerm("hoyer", "z", 1.0, ("smoothgrad", {"samples": 3})),
}


def data(shape: tuple[int, ...]) -> Dataset:
    x = torch.rand(24, *shape, generator=torch.Generator().manual_seed(0))
    y = (x.flatten(1)[:, 0] > 0.5).long()
    return Dataset("noise", x, y, classes=("low", "high"), aux=y)


class Statistics(Method):
    """Everything of the whole batch that a loss can depend on, a derivative within the loss, and a running mean."""

    def __init__(self, shape=(6,)) -> None:
        super().__init__(shape)
        self.encoder = nn.Linear(6, 3)
        self.decoder = nn.Linear(3, 6)
        self.unused = nn.Linear(2, 2)
        self.register_buffer("mean", torch.zeros(3))

    def latent_spaces(self):
        return [LatentSpace("z", (3,))]

    def encode(self, x, aux=None, space=None):
        return Delta(self.encoder(x))

    def decode(self, z, space=None):
        return self.decoder(z)

    def phases(self):
        weights = {"recon": 1.0, "correlation": 1.0, "penalty": 1.0}
        return [Phase("all", list(self.parameters()), self.loss, weights, trains_decoder=True, ema=0.5, draws=2)]

    def loss(self, batch: Batch, generator: torch.Generator, step: int) -> StepResult:
        z = self.encoder(batch.x) + 0.1 * standard_normal(batch.x[:, :3], generator)
        assert batch.other is not None
        every = torch.cat([gather(z), gather(self.encoder(batch.other.x))])
        x_hat = self.decode(z)
        if self.training:
            self.mean = self.mean.lerp(z.detach().mean(0), 0.1)
        (slope,) = torch.autograd.grad(self.decoder(z).square().sum(), z, create_graph=True)
        terms = {
            "recon": Term((x_hat - batch.x).square().sum(1)),
            "correlation": Term((every.T.cov() * every.T.corrcoef()).square().sum()),
            "penalty": Term(gather(slope).square().mean(0).sqrt().sum()),
        }
        return StepResult(terms, x_hat, {"mean": self.mean.clone()})


def outcome(name: str, options: dict[str, Any], penalty: str | None = None, **settings: Any) -> dict[str, Any]:
    """Weights, metrics and results of a run; the same initial weights each time, also under another weight."""
    torch.manual_seed(dist.get_rank() if dist.is_initialized() else 0)  # the first process's weights must count
    method = Statistics() if name == "statistics" else trimkit.create("method", name, **options)
    torch.manual_seed(1)
    predictor = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 2))
    trim = [] if penalty is None else [PENALTIES[penalty]]
    guided = {} if penalty is None else {"predictor": predictor, "trim": trim}
    fixed = {"steps": STEPS, "batch_size": 8, "device": "cpu", "precision": "64", "log_every": 1, "clip": 5.0}
    run = train(method, data(method.shape), **guided, **{**fixed, **settings})
    history = [{k: v for k, v in row.items() if k != "images_per_second"} for row in run.history]
    return {
        "weights": torch.cat([tensor.flatten().double() for tensor in method.state_dict().values()]).tolist(),
        "history": history,
        "results": run.results["train"],
    }


def double_backward() -> list[float]:
    """Gathered rows' second derivative: ∂/∂x of |∂(Σ gathered cubes)/∂x|² where each of two processes sums all rows."""
    from trimkit.processes import Share, sharing

    x = torch.arange(1.0, 3.0, dtype=torch.float64) + 2 * dist.get_rank()
    x.requires_grad_(True)
    with sharing(Share(dist.get_rank(), 2, 2, 2)):
        (first,) = torch.autograd.grad(gather(x).pow(3).sum(), x, create_graph=True)  # 2 · 3 x²
        (second,) = torch.autograd.grad(first.square().sum(), x)  # 2 · 36 · 2 x³
    return [*first.tolist(), *second.tolist()]


def unreduced(parameters: Any) -> None:
    """The known mistake: each process steps on the gradient of its own share."""


def work(rank: int, results: Results, cases: dict[str, tuple], folder: str) -> None:
    found: dict[str, Any] = {}
    for case, (name, options, penalty) in cases.items():
        try:
            found[case] = outcome(name, options, penalty)
        except Exception:
            results[rank] = {case: traceback.format_exc()}
            raise
    found["folder"] = outcome("statistics", {}, steps=2, folder=f"{folder}/run", checkpoint_every=1)
    found["resumed"] = outcome("statistics", {}, folder=f"{folder}/run", resume=True, checkpoint_every=1)
    found["double backward"] = double_backward()
    with pytest.raises(
        OptionError, match=r"2 processes in 1 turns share evenly, a multiple of 2, got 7 .* batch_size=6"
    ):
        outcome("statistics", {}, batch_size=7)
    reduce_gradients, distributed.reduce_gradients = distributed.reduce_gradients, unreduced
    found["unreduced"] = outcome("statistics", {})
    distributed.reduce_gradients = reduce_gradients
    results[rank] = found
    if rank == 1:
        Statistics.loss = fail  # type: ignore[method-assign]
    try:
        outcome("statistics", {}, steps=1)
    except Exception as error:
        results[f"failure {rank}"] = repr(error)


def fail(self: Statistics, batch: Batch, generator: torch.Generator, step: int) -> StepResult:
    raise ZeroDivisionError("on one process only")


@pytest.fixture(scope="module")
def cases(registered) -> dict[str, tuple]:
    found = {name: (name, options, "l1" if has_transform(name, options) else None) for name, options in registered}
    options = dict(registered)["vae"]
    found |= {f"vae {penalty}": ("vae", options, penalty) for penalty in PENALTIES if penalty != "l1"}
    return {**found, "statistics": ("statistics", {}, None)}


@pytest.fixture(scope="module")
def ranks(cases, tmp_path_factory) -> dict[Any, Any]:
    """What each process found, by its rank."""
    folder = str(tmp_path_factory.mktemp("processes"))
    return {**run_on_two(work, cases, folder), "folder": folder}


def has_transform(name: str, options: dict[str, Any]) -> bool:
    """Can a penalty be taken in the space z, of data that the predictor reads?"""
    space = trimkit.create("method", name, **options).space()
    return options["shape"] == (6,) and space.name == "z" and space.can_decode and not space.needs_aux


def distance(one: dict, other: dict) -> float:
    a, b = (torch.tensor(found["weights"], dtype=torch.float64) for found in (one, other))
    return float((a - b).abs().max() / b.abs().max())


def differences(one: dict, other: dict) -> float:
    """Largest relative difference of weights, losses and gradients; diagnostics need not be means over samples."""
    found = distance(one, other)
    for row, expected in zip(one["history"], other["history"], strict=True):
        for name in ("loss", "gradient_norm"):
            found = max(found, abs(row[name] - expected[name]) / abs(expected[name]))
    return found


def normalises_batches(name: str, options: dict[str, Any]) -> bool:
    """Batch normalisation in train mode: statistics of a share, which the documentation says."""
    modules = [] if name == "statistics" else trimkit.create("method", name, **options).modules()
    return any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in modules)


def test_two_processes_equal_one_for_every_method_and_penalty(ranks, cases):
    found, plain = {}, outcome(*cases["vae"][:2])
    for case, (name, options, penalty) in cases.items():
        expected = outcome(name, options, penalty)
        assert ranks[0][case]["weights"] == ranks[1][case]["weights"], case
        assert ranks[0][case]["results"] == ranks[1][case]["results"], case
        found[case] = differences(ranks[0][case], expected)
        if name == "vae":  # the penalty must matter, or the test could not fail
            assert distance(plain, expected) > 1e-4, case
    shared_out = {case for case in found if normalises_batches(*cases[case][:2])}
    exact = {case: error for case, error in found.items() if case not in shared_out}
    assert len(exact) > len(PENALTIES)
    assert {case: error for case, error in exact.items() if not error <= 1e-12} == {}


def test_gradients_that_are_not_reduced_are_found(ranks):
    expected = outcome("statistics", {})
    assert distance(ranks[0]["unreduced"], ranks[1]["unreduced"]) > 1e-3
    assert distance(ranks[0]["unreduced"], expected) > 1e-3


def test_gathered_rows_have_second_derivatives(ranks):
    x = torch.arange(1.0, 5.0, dtype=torch.float64)
    for rank in range(2):
        own = x[2 * rank : 2 * rank + 2]
        assert ranks[rank]["double backward"] == [*(6 * own**2).tolist(), *(144 * own**3).tolist()]


def test_one_process_writes_and_both_resume(ranks, cases, tmp_path):
    expected = outcome("statistics", {}, folder=tmp_path / "one")
    assert ranks[0]["resumed"]["weights"] == ranks[1]["resumed"]["weights"] == ranks[0]["statistics"]["weights"]
    assert distance(ranks[0]["resumed"], expected) <= 1e-12
    folder = os.path.join(ranks["folder"], "run")
    with open(os.path.join(folder, "metrics.jsonl")) as file:
        assert len(file.readlines()) == STEPS
    assert sorted(os.listdir(folder)) == sorted(os.listdir(tmp_path / "one"))


def test_a_failure_on_one_process_ends_the_other_too(ranks):
    assert ranks["failure 1"] == "ZeroDivisionError('on one process only')"
    assert "failure 0" in ranks
