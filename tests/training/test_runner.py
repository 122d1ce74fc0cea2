"""What a phase's step is made of: a second draw, tensors handed on, lazy phases, shared optimisers, bad gradients."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import trimkit
from trimkit.data import Dataset
from trimkit.errors import OptionError, TrainingError, TrimkitWarning
from trimkit.methods import Batch, Phase, StepResult, Term, adam, gather, linear, standard_normal
from trimkit.training import Settings, train
from trimkit.training.engine import Engine
from trimkit.training.loop import Loop
from trimkit.training.runner import PhaseRunner, Position, make_runners

START = Position(0, 0, 0)
BATCH = Batch(torch.ones(4, 1))


class Tiny(nn.Module):
    """One weight w and another v; phases are given by the test."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor([1.0, 2.0]))
        self.v = nn.Parameter(torch.tensor([3.0]))
        self.register_buffer("calm", torch.tensor([4.0]))


def sgd(parameters):
    return torch.optim.SGD(parameters, lr=1.0)


def phase(method: Tiny, loss, name: str = "only", **more) -> Phase:
    return Phase(name, [method.w], loss, {"loss": 1.0}, **{"optimiser": sgd, **more})


def step(runner: PhaseRunner, *turns: Batch, at: Position = START, **settings):
    chosen = Settings(device="cpu", **settings)
    return runner.step(turns or [BATCH], Engine(chosen), at, chosen)


def total(method: Tiny, times: float = 1.0):
    return lambda *_: StepResult({"loss": Term(times * method.w.sum())})


def loop_of(method, phases, data, **settings) -> Loop:
    chosen = Settings(device="cpu", **{"batch_size": 4, **settings})
    return Loop(method, data, make_runners(method, phases, None, {}), Engine(chosen), chosen)


@pytest.fixture
def numbered():
    """Twelve samples whose value is their number, with labels and auxiliary variables that say the same."""
    numbers = torch.arange(12)
    classes = tuple(map(str, range(12)))
    return Dataset("numbers", numbers[:, None].float(), numbers, classes=classes, aux=numbers[:, None].double())


def test_a_second_draw_is_another_permutation_with_all_that_is_known(numbered):
    method, seen = Tiny(), []

    def look(batch, *_):
        seen.append(batch)
        return total(method)()

    loop_of(method, [phase(method, look, draws=2)], numbered).run(6, lambda: None)
    for epoch in (seen[:3], seen[3:]):
        for draw in (epoch, [b.other for b in epoch]):
            assert sorted(int(x) for b in draw for x in b.x) == list(range(12))
        assert not torch.equal(torch.cat([b.x for b in epoch]), torch.cat([b.other.x for b in epoch]))
    for batch in seen:
        for part in (batch, batch.other):
            assert torch.equal(part.x[:, 0], part.y.float())
            assert torch.equal(part.x.double(), part.aux)
        assert batch.other.other is None


def test_one_draw_sees_no_second(numbered):
    method, seen = Tiny(), {}

    def look(name):
        return lambda batch, *_: (seen.setdefault(name, batch.other), total(method)())[1]

    phases = [phase(method, look("one"), "one"), phase(method, look("two"), "two", draws=2)]
    loop_of(method, phases, numbered).run(1, lambda: None)
    assert seen["one"] is None
    assert seen["two"] is not None


@pytest.mark.parametrize("accumulate", [1, 2])
def test_carried_tensors_reach_later_phases_of_the_same_rows_detached(numbered, accumulate):
    method, seen = Tiny(), []

    def hand_on(batch, *_):
        assert not batch.carried  # nothing is left of the step before
        scaled = batch.x * method.w.sum()
        return StepResult({"loss": Term(scaled.sum(1))}, carried={"scaled": scaled})

    def take(batch, *_):
        seen.append((batch.carried["scaled"], batch.x))
        return StepResult({"loss": Term(method.w.sum() * batch.x[:, 0])})

    before = float(method.w.detach().sum())
    phases = [phase(method, hand_on, "first"), phase(method, take, "second", interval=2)]
    loop_of(method, phases, numbered, accumulate=accumulate).run(1, lambda: None)
    assert len(seen) == accumulate
    for scaled, x in seen:
        assert not scaled.requires_grad
        assert torch.equal(scaled, before * x)


def test_a_lazy_phases_weights_count_k_fold():
    method = Tiny()
    lazy = Phase("r1", [method.w], total(method), {"loss": linear(0.0, 10.0, 10)}, sgd, interval=16, lazy=True)
    eager = Phase("critic", [method.v], total(method), {"loss": 0.5}, sgd, interval=3)
    r1, critic = make_runners(method, [lazy, eager], None, {})
    assert r1.objective.weight("loss", 2) == 16 * 2.0
    assert critic.objective.weight("loss", 2) == 0.5
    before = method.w.detach().clone()
    step(r1, at=Position(2, 0, 2))
    assert torch.equal(method.w, before - 32.0)  # lr 1, gradient 1, weight 2 · 16


def test_adam_beside_a_lazy_regularisation_is_corrected_by_hand_written_values():
    (optimiser,) = [adam(0.002, (0.0, 0.99), interval=16)([nn.Parameter(torch.zeros(1))])]
    group = optimiser.param_groups[0]
    assert group["lr"] == pytest.approx(0.0018823529411764706)  # 0.002 · 16/17
    assert group["betas"] == (0.0, pytest.approx(0.9905854573074332))  # 0.99 ** (16/17)
    plain = adam(0.002, (0.5, 0.99))([nn.Parameter(torch.zeros(1))]).param_groups[0]
    assert (plain["lr"], plain["betas"]) == (0.002, (0.5, 0.99))
    with pytest.raises(OptionError, match="expected an interval ≥ 1, got 0"):
        adam(interval=0)


def test_a_shared_optimiser_counts_the_steps_of_both_phases(numbered):
    method = Tiny()
    main = phase(method, total(method), "main", optimiser=adam(0.1, interval=2))
    r1 = phase(method, total(method), "r1", shares="main", interval=2, lazy=True)
    loop = loop_of(method, [r1, main], numbered)  # in either order
    first, second = loop.runners
    assert (first.phase.name, second.phase.name) == ("r1", "main")
    assert first.optimiser is second.optimiser
    loop.run(4, lambda: None)
    assert int(second.optimiser.state[method.w]["step"]) == 4 + 2
    assert list(loop.state()["optimisers"]) == ["main"]


@pytest.mark.parametrize(
    ("shares", "parameters", "message"),
    [
        ("nobody", "w", "shares the optimiser of 'nobody', which is no phase with one of its own"),
        ("r2", "w", "shares the optimiser of 'r2', which is no phase with one of its own"),
        ("main", "v", "shares the optimiser of 'main', but not its parameters"),
    ],
)
def test_an_optimiser_that_cannot_be_shared(shares, parameters, message):
    method = Tiny()
    phases = [
        phase(method, total(method), "main"),
        Phase("r1", [getattr(method, parameters)], total(method), {"loss": 1.0}, shares=shares),
        phase(method, total(method), "r2", shares="main"),
    ]
    with pytest.raises(TrainingError, match=message):
        make_runners(method, phases, None, {})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shares": "only"}, "phase 'only': expected the name of another phase in shares"),
        ({"ema": 1.0}, r"phase 'only': expected ema in \[0, 1\), got 1.0"),
        ({"draws": 3}, "expected draws 1 or 2, got 3"),
    ],
)
def test_phases_that_make_no_sense(options, message):
    with pytest.raises(OptionError, match=message):
        phase(Tiny(), None, **options)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_skip_leaves_the_step_out_and_counts_it(value):
    method = Tiny()
    before = method.w.detach().clone()
    runner = PhaseRunner(phase(method, total(method, value)), method, {"loss": 1.0})
    report = step(runner, nonfinite="skip")
    assert torch.equal(method.w, before)
    assert (report.finite, runner.nonfinite, method.w.grad) == (False, 1, None)
    assert not runner.optimiser.state


def test_scrub_puts_numbers_in_the_place_of_what_is_none():
    method = Tiny()

    def bad(*_):
        return StepResult({"loss": Term((method.w * torch.tensor([math.nan, -math.inf])).sum())})

    runner = PhaseRunner(phase(method, bad), method, {"loss": 1.0})
    step(runner, nonfinite="scrub")
    assert method.w.tolist() == [1.0, 2.0 + 1e5]
    assert runner.nonfinite == 1


def test_scrubbed_gradients_are_clipped():
    method = Tiny()
    runner = PhaseRunner(phase(method, total(method, math.inf)), method, {"loss": 1.0})
    step(runner, nonfinite="scrub", clip=1.0)
    assert method.w.tolist() == pytest.approx([1 - math.sqrt(0.5), 2 - math.sqrt(0.5)])


def test_bad_gradients_are_counted_in_metrics_results_and_checkpoints(toy, data, tmp_path, monkeypatch):
    method = toy()
    monkeypatch.setattr(
        method, "criticise", lambda *_: StepResult({"critic": Term(method.critic.weight.sum() * math.nan)})
    )
    options = {"folder": tmp_path / "run", "batch_size": 8, "log_every": 1, "nonfinite": "skip"}
    train(method, data, steps=3, **options)  # the critic at steps 0 and 2
    run = train(method, data, steps=5, resume=True, **options)
    assert run.results["nonfinite"] == {"networks": 0, "critic": 3}
    assert [row["nonfinite"] for row in run.history if row["phase"] == "critic"] == [1, 1, 2, 2, 3]


def test_nothing_but_the_phases_parameters_moves():
    method = Tiny()
    kept = {name: value.clone() for name, value in method.state_dict().items() if name != "w"}
    step(
        PhaseRunner(
            phase(method, lambda *_: StepResult({"loss": Term((method.w * method.v).sum())})), method, {"loss": 1.0}
        )
    )
    assert all(torch.equal(method.state_dict()[name], value) for name, value in kept.items())
    assert method.v.grad is None
    assert method.w.tolist() == [-2.0, -1.0]


def test_every_phase_of_every_method_moves_its_own_parameters_only(method_case, samples_of):
    name, options = method_case
    method = trimkit.create("method", name, **options).train()
    settings = Settings(device="cpu", batch_size=8)
    data = samples_of(options["shape"])
    loop = Loop(method, data, make_runners(method, method.phases(), None, {}), Engine(settings), settings)
    batch, carried = loop.batch(), {}
    if any(runner.phase.draws == 2 for runner in loop.runners):
        assert batch.other is not None
    for runner in loop.runners:
        before = {name: p.detach().clone() for name, p in method.named_parameters()}
        report = runner.step([runner.seen(batch, carried)], loop.engine, START, settings)
        carried |= report.carried[0]
        own = {id(p) for p in runner.phase.parameters}
        moved = {name: not torch.equal(before[name], p) for name, p in method.named_parameters()}
        others = [name for name, p in method.named_parameters() if id(p) not in own]
        assert not any(moved[name] for name in others)
        assert any(moved.values())


def test_turns_add_up_to_the_whole_batch(toy_class, data):
    """Noise included; statistics of the batch (batch normalisation, dropout) left out."""

    def trained(accumulate):
        torch.manual_seed(0)
        method = toy_class((6,))
        method.encoder = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 6))
        run = train(method, data, steps=4, batch_size=20, accumulate=accumulate, precision="64", log_every=1)
        return torch.cat([p.detach().flatten() for p in method.parameters()]), run.history

    (whole, log), (turned, other_log) = trained(1), trained(5)
    torch.testing.assert_close(turned, whole, rtol=1e-12, atol=1e-14)
    for row, other in zip(log, other_log, strict=True):
        assert other["loss"] == pytest.approx(row["loss"], rel=1e-12)
        assert other.get("kl_per_dimension", 0) == pytest.approx(row.get("kl_per_dimension", 0), rel=1e-12)


@pytest.mark.parametrize("statistic", [lambda x: x.mean(), lambda x: gather(x).sum(1)])
def test_statistics_of_the_batch_are_warned_of_once_under_accumulation(statistic):
    method = Tiny()
    loss = phase(method, lambda batch, *_: StepResult({"loss": Term(statistic(batch.x * method.w[0]))}))
    runner = PhaseRunner(loss, method, {"loss": 1.0})
    step(runner)  # in one turn there is nothing to warn of
    with pytest.warns(
        TrimkitWarning, match="phase 'only' has terms that are statistics of the batch; with accumulate=2"
    ):
        step(runner, BATCH, BATCH)
    step(runner, BATCH, BATCH)


def test_noise_of_gathered_rows_is_the_same_in_every_turn():
    from trimkit.processes import Share, sharing

    def noise(rows: int, share: Share) -> torch.Tensor:
        with sharing(share):
            return standard_normal(torch.zeros(rows, 2), torch.Generator().manual_seed(0))

    whole = noise(6, Share(0, 1, 6))
    assert torch.equal(torch.cat([noise(2, Share(i, 3, 2)) for i in range(3)]), whole)
    assert torch.equal(noise(6, Share(1, 3, 2, processes=3)), whole)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"accumulate": 3}, "1 processes in 3 turns share evenly, a multiple of 3, got 8 samples; choose batch_size=6"),
        ({"accumulate": 0}, "expected accumulate ≥ 1, got 0"),
        ({"nonfinite": "ignore"}, "expected nonfinite as one of raise, skip, scrub, got 'ignore'"),
        ({"precision": "8"}, "expected precision as one of 32, 64, bf16, 16, got '8'"),
        ({"ema": 1.5}, r"expected ema in \[0, 1\), got 1.5"),
        ({"workers": -1}, "expected workers ≥ 0, got -1"),
        ({"tensorboard": True}, "tensorboard and pictures_every need a folder"),
        ({"pictures_every": 5}, "tensorboard and pictures_every need a folder"),
    ],
)
def test_settings_that_do_not_fit(toy, data, settings, message):
    with pytest.raises(OptionError, match=message):
        train(toy(), data, batch_size=8, steps=1, **settings)


def test_a_wrapped_network_in_a_method_is_refused(toy, data):
    class FSDPModule(nn.Linear):
        """Named as torch names what it shards."""

    method = toy()
    method.critic = FSDPModule(3, 2)
    with pytest.raises(Exception, match="under FSDP is refused"):
        train(method, data, steps=1, batch_size=8)
