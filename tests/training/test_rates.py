"""A phase's learning rate over the steps: set by the runner, exact under resumption, one for each optimiser."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from trimkit.errors import OptionError
from trimkit.methods import Batch, Phase, StepResult, Term, adam, linear
from trimkit.training import Settings, train
from trimkit.training.engine import Engine
from trimkit.training.runner import Position, make_runners
from trimkit.training.updates import LearningRate

BATCH = Batch(torch.ones(4, 1))


class Tiny(nn.Module):
    """One weight with a gradient of 1."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(1))

    def loss(self, *_) -> StepResult:
        return StepResult({"loss": Term(self.w.sum())})


def sgd(parameters):
    return torch.optim.SGD(parameters, lr=0.5)


def phase(method: Tiny, name: str = "only", **more) -> Phase:
    return Phase(name, [method.w], method.loss, {"loss": 1.0}, **{"optimiser": sgd, **more})


def moves(method: Tiny, *phases: Phase, steps: int = 4) -> list[float]:
    """How far the weight goes in each step."""
    runners, settings, found = make_runners(method, phases, None, {}), Settings(device="cpu"), []
    for step in range(steps):
        before = float(method.w.detach())
        for runner in runners:
            if step % runner.phase.interval == 0:
                runner.step([BATCH], Engine(settings), Position(step, 0, step), settings)
        found.append(before - float(method.w.detach()))
    return found


def test_the_rate_is_the_optimisers_times_the_factor_of_the_step():
    method = Tiny()
    assert moves(method, phase(method, rate=linear(1.0, 0.0, 4))) == pytest.approx([0.5, 0.375, 0.25, 0.125])
    method = Tiny()
    assert moves(method, phase(method, rate=0.1)) == pytest.approx([0.05] * 4)
    method = Tiny()
    assert moves(method, phase(method)) == pytest.approx([0.5] * 4)


def test_groups_keep_their_proportions():
    w, v = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.SGD([{"params": [w], "lr": 1.0}, {"params": [v], "lr": 0.1}])
    rate = LearningRate(optimiser, linear(1.0, 0.0, 10), "p")
    for step, expected in ((5, [0.5, 0.05]), (0, [1.0, 0.1])):
        rate.set(step)
        assert [group["lr"] for group in optimiser.param_groups] == pytest.approx(expected)


def test_a_phase_that_shares_an_optimiser_shares_its_rate():
    """A lazy phase at every second step counts twice, at the rate of the phase whose optimiser it shares."""
    method = Tiny()
    owner = phase(method, "main", rate=linear(1.0, 0.0, 4))
    lazy = phase(method, "lazy", shares="main", interval=2, lazy=True)
    alone, doubled = 0.5, 2 * 0.5
    expected = [alone + doubled, 0.75 * alone, 0.5 * (alone + doubled), 0.25 * alone]
    assert moves(method, lazy, owner) == pytest.approx(expected)  # whichever comes first
    with pytest.raises(OptionError, match="phase 'lazy': expected no rate beside shares='main'"):
        phase(method, "lazy", shares="main", rate=0.5)


@pytest.mark.parametrize("factor", [-0.1, math.nan, math.inf, lambda step: -1.0])
def test_a_factor_that_is_none(factor):
    method = Tiny()
    with pytest.raises(OptionError, match=r"phase 'only': expected a finite rate ≥ 0 at step 0, got"):
        moves(method, phase(method, rate=factor))


@pytest.fixture
def scheduled(toy_class):
    """The toy method with a rate that falls over twelve steps, of Adam, whose state holds the rate of its last step."""

    class Scheduled(toy_class):
        def phases(self):
            first, *rest = super().phases()
            options = {**vars(first), "rate": linear(1.0, 0.0, 12), "optimiser": adam(1e-2)}
            return [Phase(**options), *rest]

    def make(seed: int):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return Scheduled((6,))

    return make


def test_a_resumed_run_has_the_rates_of_an_uninterrupted_one(scheduled, data, tmp_path, same):
    def newest(folder):
        return torch.load(sorted((folder / "checkpoints").glob("*.pt"))[-1], weights_only=True)

    quick = {"batch_size": 8, "checkpoint_every": 100}
    train(scheduled(0), data, steps=10, folder=tmp_path / "whole", **quick)
    train(scheduled(0), data, steps=7, folder=tmp_path / "parts", **quick)
    train(scheduled(5), data, steps=10, folder=tmp_path / "parts", resume=True, **quick)
    whole, parts = newest(tmp_path / "whole"), newest(tmp_path / "parts")
    assert same(whole, parts)
    assert whole["optimisers"]["networks"]["param_groups"][0]["lr"] == pytest.approx(1e-2 * (1 - 9 / 12))


def test_a_rate_of_zero_trains_nothing_and_a_rate_matters(scheduled, data):
    def weights(method):
        return torch.cat([p.detach().flatten() for p in method.parameters()])

    still, moving = scheduled(0), scheduled(0)
    still.phases = lambda: [Phase(**{**vars(phase), "rate": 0.0}) for phase in type(still).phases(still)]
    before = weights(still).clone()
    train(still, data, steps=3, batch_size=8)
    train(moving, data, steps=3, batch_size=8)
    assert torch.equal(weights(still), before)
    assert not torch.equal(weights(moving), before)
