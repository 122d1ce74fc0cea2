"""Number formats: what runs in 16 bits, what never does, and what float16 needs."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from trimkit.errors import OptionError, TrainingError, TrimkitWarning
from trimkit.methods import Batch, Phase, StepResult, Term
from trimkit.training import Settings, train
from trimkit.training import precision as module
from trimkit.training.engine import Engine
from trimkit.training.loop import Loop
from trimkit.training.precision import mixed, quicken, resolved, why_no_bf16
from trimkit.training.runner import PhaseRunner, Position, make_runners

OPTIONS = {"batch_size": 8, "log_every": 1, "device": "cpu", "steps": 3}


@pytest.fixture
def types(toy_class, monkeypatch):
    """The types in which parts of the toy run are computed, in training only."""
    seen: dict[str, set] = {}

    def note(name, function):
        def wrapper(self, *args, **kwargs):
            found = function(self, *args, **kwargs)
            if self.training:
                seen.setdefault(name, set()).update({args[0].dtype if args else None, getattr(found, "dtype", None)})
            return found

        return wrapper

    monkeypatch.setattr(nn.Linear, "forward", note("linear", nn.Linear.forward))
    return seen


def test_networks_run_in_bfloat16_and_hand_on_float32(toy, data, types):
    method = toy()
    terms = {}
    reconstruct = method.reconstruct

    def look(batch, generator, step):
        result = reconstruct(batch, generator, step)
        if method.training:
            terms.update(
                {name: term.values.dtype for name, term in result.terms.items()}, x_hat=result.reconstruction.dtype
            )
        return result

    method.reconstruct = look
    train(method, data, precision="bf16", **OPTIONS)
    assert torch.bfloat16 in types["linear"]
    assert set(terms.values()) == {torch.float32}
    assert all(p.dtype == torch.float32 for p in method.parameters())
    assert "forward" not in method.encoder.__dict__


def test_explanations_are_in_float32_whatever_the_networks_run_in(toy, data, predictor, types, monkeypatch):
    from trimkit.training.guidance import Guidance

    terms = Guidance.terms

    def look(self, *args):
        types.clear()
        with torch.no_grad():
            assert not torch.is_autocast_enabled("cpu")
        found = terms(self, *args)
        assert all(torch.bfloat16 not in seen for seen in types.values())
        return found

    monkeypatch.setattr(Guidance, "terms", look)
    train(toy(), data, predictor=predictor, trim=["l1@z:0.1"], precision="bf16", **OPTIONS)


def test_bfloat16_is_near_float32(toy, data):
    ends = []
    for precision in ("32", "bf16"):
        run = train(toy(), data, precision=precision, **{**OPTIONS, "steps": 30})
        ends.append(run.results["train"]["recon"])
    assert ends[1] == pytest.approx(ends[0], rel=0.05)
    assert ends[1] != ends[0]


def test_float64_is_float64_throughout(toy, data, predictor):
    method = toy()
    run = train(method, data, predictor=predictor, trim=["l1@z:0.1"], precision="64", **OPTIONS)
    assert all(p.dtype == torch.float64 for p in method.parameters())
    wide = run.history[-1]["loss"]
    assert float(torch.tensor(wide, dtype=torch.float32)) != wide


def overflowing(method, times):
    return lambda batch, *_: StepResult({"loss": Term((method.w * batch.x).sum(1) * times)})


class OneWeight(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.ones(1))


def test_float16_scales_its_loss_and_lowers_the_scale_instead_of_stepping():
    settings = Settings(device="cpu", precision="16")
    engine, method = Engine(settings), OneWeight()
    engine._scaler._init_scale = 2.0**127  # so that the first gradient overflows

    sgd = lambda parameters: torch.optim.SGD(parameters, lr=0.5)  # noqa: E731
    phase = Phase("only", [method.w], overflowing(method, 4.0), {"loss": 1.0}, sgd)
    runner = PhaseRunner(phase, method, phase.weights)
    reports = [runner.step([Batch(torch.ones(2, 1))], engine, Position(0, 0, 0), settings) for _ in range(4)]
    finite = [report.finite for report in reports]
    assert finite[0] is False
    assert finite[-1] is True
    assert runner.nonfinite == finite.count(False)
    assert engine._scaler.get_scale() == 2.0 ** (127 - finite.count(False))
    assert float(method.w.detach()) == 1.0 - 2.0 * finite.count(True)
    assert float(reports[-1].norm) == pytest.approx(4.0)  # unscaled
    other = Engine(settings)
    other.restore(engine.state())
    assert other._scaler.get_scale() == engine._scaler.get_scale()


def test_float16_gives_up_when_no_scale_helps():

    settings = Settings(device="cpu", precision="16")
    engine, method = Engine(settings), OneWeight()
    phase = Phase("only", [method.w], overflowing(method, math.nan), {"loss": 1.0})
    runner = PhaseRunner(phase, method, phase.weights)

    def steps(number: int) -> None:
        for _ in range(number):
            runner.step([Batch(torch.ones(2, 1))], engine, Position(0, 0, 0), settings)

    steps(16)  # from 2^16 down to 1
    with pytest.raises(TrainingError, match=r"the gradient is not finite \(loss nan\)"):
        steps(1)
    assert float(method.w.detach()) == 1.0


def test_a_float16_run_resumes_bit_for_bit(toy, data, tmp_path, same):
    def run(name, steps, **more):
        folder = tmp_path / name
        train(toy(), data, folder=folder, **{**OPTIONS, "steps": steps, "precision": "16"}, **more)
        return torch.load(folder / "checkpoints" / f"step-{steps:08d}.pt", weights_only=True)

    run("parts", 3)
    assert same(run("parts", 6, resume=True), run("whole", 6))


def test_networks_in_lists_are_networks_too_and_are_put_back():
    class Holder(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])
            self.plain = nn.Identity()

    holder = Holder()
    own = holder.layers[1].forward = lambda x: nn.Linear.forward(holder.layers[1], x)
    plugin = torch.autocast("cpu", dtype=torch.bfloat16)
    kept = []

    def call() -> None:
        for network in (*holder.layers, holder.plain):
            network(torch.ones(1, 2))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), mixed(holder, lambda: plugin, lambda out: kept.append(out.dtype) or out):
        call()
    assert kept == [torch.bfloat16, torch.bfloat16]
    assert "forward" not in holder.layers[0].__dict__
    assert holder.layers[1].forward is own


def test_a_network_with_two_names_is_one_network():
    class Holder(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Linear(2, 2)
            self.layers = nn.ModuleList([self.first, nn.Linear(2, 2)])

    holder, kept = Holder(), []
    plugin = torch.autocast("cpu", dtype=torch.bfloat16)
    with mixed(holder, lambda: plugin, lambda out: kept.append(out.dtype) or out.float()):
        assert holder.first(torch.ones(1, 2)).dtype == torch.float32
    assert kept == [torch.bfloat16]
    assert all("forward" not in layer.__dict__ for layer in holder.layers)


def test_float16_scrubs_nothing():
    with pytest.raises(OptionError, match="nonfinite='scrub' does not go with precision='16': float16 overflows"):
        Settings(nonfinite="scrub", precision="16")


def test_averages_count_the_steps_that_were_taken(toy, data):
    settings = Settings(device="cpu", precision="16", batch_size=8, ema=0.5)
    engine, method = Engine(settings), toy()
    engine._scaler._init_scale = 2.0**127  # so that the first gradients overflow
    loop = Loop(method, data, make_runners(method, method.phases(), None, {}), engine, settings)
    before = {name: value.clone() for name, value in loop.averages.state().items()}
    loop.run(1, lambda: None)
    assert not any(report.stepped for report in loop.reports.values())
    assert all(torch.equal(before[name], value) for name, value in loop.averages.state().items())
    engine._scaler.update(1.0)
    loop.run(2, lambda: None)
    assert loop.reports["networks"].stepped
    assert any(not torch.equal(before[name], value) for name, value in loop.averages.state().items())


@pytest.mark.parametrize(
    ("accelerator", "reason"),
    [("cpu", "this CPU has no bf16 arithmetic"), ("mps", "bf16 is not known to be fast on 'mps'")],
)
def test_fast_without_bf16_is_float32_and_says_why(monkeypatch, accelerator, reason):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    with pytest.warns(TrimkitWarning, match=f"fast trains in float32, not bf16: {reason}"):
        assert resolved(Settings(fast=True), accelerator) == "32"
    assert resolved(Settings(fast=True, precision="64"), accelerator) == "64"


@pytest.mark.parametrize(("flags", "expected"), [((True, False), None), ((False, True), None)])
def test_bf16_needs_one_of_two_units(monkeypatch, flags, expected):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: flags[0])
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: flags[1])
    assert why_no_bf16("cpu") is expected
    assert resolved(Settings(fast=True), "cpu") == "bf16"


@pytest.mark.parametrize(("has", "expected"), [(True, None), (False, "this GPU has no bf16 arithmetic")])
def test_a_gpu_must_have_bf16_in_hardware(monkeypatch, has, expected):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: has and not including_emulation)
    assert why_no_bf16("cuda") == expected


def test_fast_runs_lay_weights_out_and_fuse_adam(toy, data, monkeypatch):
    monkeypatch.setattr(module, "why_no_bf16", lambda accelerator: None)
    method = toy()
    method.extra = nn.Conv2d(3, 4, 3)
    made = []
    adam = torch.optim.Adam.__init__
    monkeypatch.setattr(torch.optim.Adam, "__init__", lambda self, *a, **k: (made.append(self), adam(self, *a, **k))[1])
    run = train(method, data, fast=True, **OPTIONS)
    assert method.extra.weight.is_contiguous(memory_format=torch.channels_last)
    assert all(group["fused"] for optimiser in made for group in optimiser.param_groups)
    assert math.isfinite(run.results["train"]["recon"])


def test_only_adam_is_fused():
    layer = nn.Linear(1, 1)
    sgd = torch.optim.SGD(layer.parameters(), lr=0.1)
    quicken(layer, [sgd])
    assert not sgd.param_groups[0]["fused"]
