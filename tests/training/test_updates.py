"""Running averages of parameters against their closed form, and where they are used."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from trimkit.methods import Phase
from trimkit.training import train
from trimkit.training.updates import Averages, decay_at

OPTIONS = {"batch_size": 8, "log_every": 1, "device": "cpu"}


def update(averages: Averages, phases: list[str], step: int) -> None:
    for phase in phases:
        averages.mark_moved(phase)
    averages.update(step)


def phase(name: str, parameters, **more) -> Phase:
    return Phase(name, parameters, None, {}, **more)


@pytest.fixture
def module():
    return nn.ModuleDict({"a": nn.Linear(1, 1).double(), "b": nn.Linear(1, 1).double()})


def test_the_average_is_its_closed_form(module):
    a = module["a"].weight
    averages = Averages(module, [phase("a", [a], ema=0.9), phase("b", [module["b"].weight])])
    values = [float(a.detach())]
    for step in range(1, 6):
        with torch.no_grad():
            a.fill_(step**2)
        update(averages, ["a", "b"], 1000 + step)
        values.append(float(step**2))
    expected = 0.9**5 * values[0] + sum(0.1 * 0.9 ** (5 - i) * values[i] for i in range(1, 6))
    assert averages.state().keys() == {"a.weight"}
    assert float(averages.state()["a.weight"]) == pytest.approx(expected, rel=1e-14)


def test_a_young_average_forgets_its_first_values(module):
    assert [decay_at(0.9, step) for step in (0, 1, 8, 80, 81)] == [0.1, 2 / 11, 0.5, 0.9, 0.9]
    a = module["a"].weight
    averages = Averages(module, [phase("a", [a])], decay=0.999)
    first = float(a.detach())
    for step in range(20):
        with torch.no_grad():
            a.fill_(1.0)
        update(averages, ["a"], step)
    share = torch.tensor([(1 + t) / (10 + t) for t in range(20)], dtype=torch.float64).prod().item()
    assert share < 1e-6  # 0.98 of it would be left at a constant decay
    assert float(averages.state()["a.weight"]) == pytest.approx(share * first + 1 - share, rel=1e-12)


def test_averages_stand_in_for_a_while_and_also_after_an_exception(module):
    a = module["a"].weight
    averages = Averages(module, [phase("a", [a])], decay=0.5)
    first = a.detach().clone()
    with torch.no_grad():
        a.add_(1.0)
    raw = a.detach().clone()
    seen = []
    with pytest.raises(ZeroDivisionError), averages.applied():
        seen.append(torch.equal(a, first)) or 1 / 0
    assert seen == [True]
    assert torch.equal(a, raw)
    averages.apply()
    assert torch.equal(a, first)


def test_a_step_of_several_phases_is_averaged_once(module):
    parameters = [module["a"].weight]
    averages = Averages(module, [phase("a", parameters, ema=0.5), phase("r1", parameters, shares="a", ema=0.5)])
    first = float(parameters[0].detach())
    with torch.no_grad():
        parameters[0].fill_(8.0)
    update(averages, ["a", "r1"], 99)
    assert float(averages.state()["a.weight"]) == pytest.approx((first + 8) / 2, rel=1e-14)
    update(averages, [], 100)
    assert float(averages.state()["a.weight"]) == pytest.approx((first + 8) / 2, rel=1e-14)


def test_no_decay_no_average(module):
    assert not Averages(module, [phase("a", [module["a"].weight])])
    assert not Averages(module, [phase("a", [module["a"].weight], ema=0.9)], decay=0.0)
    assert Averages(module, [phase("a", [module["a"].weight], ema=0.9)])


def test_a_state_of_other_parameters_is_refused(module):
    averages = Averages(module, [phase("a", [module["a"].weight], ema=0.9)])
    with pytest.raises(ValueError, match=r"averages of \['b'\] do not fit"):
        averages.restore({"b": torch.zeros(1)})


def test_training_goes_on_with_raw_weights_and_saves_the_averages(toy, data, tmp_path):
    plain = toy()
    train(plain, data, steps=4, **OPTIONS)
    raw = {name: p.detach().clone() for name, p in plain.named_parameters()}
    method = toy()
    run = train(method, data, steps=4, ema=0.5, folder=tmp_path / "run", **OPTIONS)
    (path,) = (run.folder / "checkpoints").glob("step-00000004.pt")
    state = torch.load(path, weights_only=True)
    for name, value in raw.items():  # averaging changed nothing about the training
        assert torch.equal(state["networks"][name], value)
    saved = load_file(run.folder / "model.safetensors")
    for name, average in state["averages"].items():
        assert torch.equal(saved[name], average)
        assert torch.equal(dict(method.named_parameters())[name], average)
    assert any(not torch.equal(saved[name], value) for name, value in raw.items())
    rebuilt = method.eval().decode(method.encode(data.x).mean)
    error = (rebuilt - data.x).square().mean()
    assert run.results["train"]["squared_error"] == pytest.approx(error.item(), rel=1e-5)


def test_buffers_are_those_of_training(toy, data):
    method, plain = toy(), toy()
    train(method, data, steps=3, ema=0.9, **OPTIONS)
    train(plain, data, steps=3, **OPTIONS)
    buffers = dict(plain.named_buffers())
    assert all(torch.equal(buffer, buffers[name]) for name, buffer in method.named_buffers())
