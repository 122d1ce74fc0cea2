"""The phase loop: isolation, order, schedules, finite gradients, and everything of the caller's left alone."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from trimkit.errors import TrainingError
from trimkit.methods import Phase, StepResult, Term, adam, linear
from trimkit.training import Settings
from trimkit.training.engine import Engine, derived_seed
from trimkit.training.feeding import epoch_order
from trimkit.training.loop import Loop
from trimkit.training.runner import PhaseRunner, Position, frozen, make_runners

START = Position(0, 0, 0)
PLAIN = Settings(device="cpu")


@pytest.fixture
def engine():
    return Engine(PLAIN)


@pytest.fixture
def make_loop(data, engine):
    def build(method, **settings) -> Loop:
        runners = make_runners(method, method.phases(), None, {})
        return Loop(method, data, runners, engine, Settings(**{"batch_size": 8, **settings}))

    return build


def snapshot(module: nn.Module) -> list[torch.Tensor]:
    return [p.detach().clone() for p in module.parameters()]


def moved(before: list[torch.Tensor], module: nn.Module) -> list[bool]:
    return [not torch.equal(a, b) for a, b in zip(before, module.parameters(), strict=True)]


def test_a_phase_moves_its_own_networks_and_no_others(toy, make_loop, engine):
    method = toy()
    loop = make_loop(method)
    networks, critic = loop.runners
    batch = loop.batch()
    before = [snapshot(m) for m in (method.encoder, method.decoder, method.critic)]
    critic.step([batch], engine, START, PLAIN)
    assert not any(moved(before[0], method.encoder) + moved(before[1], method.decoder))
    assert all(moved(before[2], method.critic))
    held = snapshot(method.critic)
    networks.step([batch], engine, START, PLAIN)
    assert not any(moved(held, method.critic))
    assert any(moved(before[0], method.encoder))
    assert all(moved(before[1], method.decoder))


def test_no_gradient_is_left_behind(toy, make_loop):
    method = toy()
    make_loop(method).run(3, lambda: None)
    assert all(p.grad is None for p in method.parameters())
    assert all(p.requires_grad for p in method.parameters())


def test_parameters_that_the_user_froze_stay_frozen(toy, make_loop):
    method = toy()
    method.decoder[0].weight.requires_grad_(False)
    before = method.decoder[0].weight.clone()
    make_loop(method).run(3, lambda: None)
    assert torch.equal(method.decoder[0].weight, before)
    assert not method.decoder[0].weight.requires_grad


def test_frozen_thaws_after_an_exception():
    a, b = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1), requires_grad=False)
    seen = []
    with pytest.raises(ZeroDivisionError), frozen([a, b]):
        seen.append(a.requires_grad) or 1 / 0
    assert (seen, a.requires_grad, b.requires_grad) == ([False], True, False)


def test_phases_take_their_turns(toy, make_loop):
    loop = make_loop(toy())
    seen = []
    for runner in loop.runners:
        step = runner.step
        runner.step = lambda *a, _name=runner.phase.name, _step=step: (seen.append((loop.step, _name)), _step(*a))[1]
    loop.run(4, lambda: None)
    assert seen == [(0, "networks"), (0, "critic"), (1, "networks"), (2, "networks"), (2, "critic"), (3, "networks")]
    assert set(loop.reports) == {"networks", "critic"}


def test_each_epoch_visits_each_sample_once_in_its_own_order(toy, make_loop, data):
    loop = make_loop(toy())
    epochs = []
    for _ in range(2):
        rows = []
        for _ in range(5):
            rows.append(loop.batch().x)
            loop.step += 1
        epochs.append(torch.cat(rows))
    assert not torch.equal(*epochs)
    for visited in epochs:
        assert torch.equal(visited.sort(0).values, data.x.sort(0).values)


def test_labels_come_with_their_samples(toy, make_loop, data):
    batch = make_loop(toy()).batch()
    assert torch.equal(batch.y, (batch.x[:, 0] > 0).long())


def test_fewer_samples_than_a_batch_are_one_batch(toy, make_loop):
    loop = make_loop(toy(), batch_size=1000)
    assert len(loop.batch()) == 40
    loop.step = 3
    assert loop.position == Position(3, 3, 0)


def test_schedules_go_by_the_step(toy, make_loop):
    loop = make_loop(toy())
    weights = []
    loop.run(12, lambda: weights.append(loop.reports["networks"].parts["kl"].weight))
    assert weights == pytest.approx([0.01 * step for step in range(10)] + [0.1, 0.1])


def test_the_loss_is_the_weighted_sum_of_the_terms(toy, make_loop):
    loop = make_loop(toy())
    loop.run(6, lambda: None)
    report = loop.reports["networks"]
    expected = sum(part.weight * part.value for part in report.parts.values())
    torch.testing.assert_close(report.loss, expected)
    numbers = report.numbers()
    assert numbers["recon"] == pytest.approx(float(report.parts["recon"].value))
    assert len(numbers["kl_per_dimension"]) == 3


def test_weights_can_be_replaced_by_name(toy):
    method = toy()
    networks, critic = make_runners(method, method.phases(), None, {"recon": 3.0, "critic": "linear(0, 1, 2)"})
    assert networks.objective.weight("recon", 0) == 3.0
    assert critic.objective.weight("critic", 1) == 0.5


def test_the_callers_random_stream_goes_on_as_if_nothing_had_happened(toy, make_loop):
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    make_loop(toy()).run(3, lambda: None)
    assert torch.equal(torch.rand(2), expected)


def one_parameter(loss) -> tuple[nn.Module, PhaseRunner]:
    method = nn.Linear(1, 1, bias=False)
    phase = Phase("only", [method.weight], loss, {"loss": 1.0}, adam(1.0))
    return method, PhaseRunner(phase, method, phase.weights)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_stops_before_the_step(make_loop, toy, engine, value):
    batch = make_loop(toy()).batch()
    method, runner = one_parameter(lambda *_: StepResult({"loss": Term(method.weight.sum() * value)}))
    before = method.weight.clone()
    with pytest.raises(TrainingError, match=rf"step 0, phase 'only': the gradient is not finite \(loss -?{value}\)"):
        runner.step([batch], engine, START, PLAIN)
    assert torch.equal(method.weight, before)
    assert method.weight.grad is None


def test_a_phase_without_a_gradient_is_refused(make_loop, toy, engine):
    batch = make_loop(toy()).batch()
    _, runner = one_parameter(lambda *_: StepResult({"loss": Term(torch.ones(3))}))
    with pytest.raises(TrainingError, match="no term with a weight depends on its parameters"):
        runner.step([batch], engine, START, PLAIN)


def test_clipping_limits_the_norm_that_is_reported_unclipped(make_loop, toy, engine):
    batch = make_loop(toy()).batch()
    method = nn.Linear(1, 1, bias=False)
    phase = Phase(
        "only",
        [method.weight],
        lambda *_: StepResult({"loss": Term(10 * method.weight.sum())}),
        {"loss": 1.0},
        lambda parameters: torch.optim.SGD(parameters, lr=1.0),
    )
    runner = PhaseRunner(phase, method, phase.weights)
    before = method.weight.item()
    report = runner.step([batch], engine, START, Settings(clip=0.5))
    assert float(report.norm) == pytest.approx(10.0)
    assert before - method.weight.item() == pytest.approx(0.5, rel=1e-5)


def test_parameters_that_no_checkpoint_would_hold_are_refused(toy):
    method = toy()
    stray = Phase("stray", [nn.Parameter(torch.zeros(1))], method.criticise, {"critic": 1.0})
    with pytest.raises(TrainingError, match="phase 'stray' trains parameters that are not the method's"):
        make_runners(method, [stray], None, {})


def test_two_phases_of_one_name_are_refused(toy):
    method = toy()
    with pytest.raises(TrainingError, match="two phases are named 'critic'"):
        make_runners(method, [method.phases()[1]] * 2, None, {})


def test_seeds_differ_by_purpose_and_position():
    seeds = {derived_seed(s, p, e, b) for s in (0, 1) for p in ("a", "b") for e in range(10) for b in range(10)}
    assert len(seeds) == 400
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert derived_seed(0, "a", 1, 11) != derived_seed(0, "a", 11, 1)


def test_orders_are_permutations():
    assert sorted(epoch_order(9, 0, 0).tolist()) == list(range(9))
    assert epoch_order(9, 0, 0).tolist() != epoch_order(9, 0, 1).tolist()
    assert linear(0, 1, 2)(1) == 0.5


def test_an_engine_for_a_device_that_is_not_there():
    with pytest.raises(TrainingError, match=r"cannot train on device 'warp': .*; use auto, cpu, cuda"):
        Engine(Settings(device="warp"))
