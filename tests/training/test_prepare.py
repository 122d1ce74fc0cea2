"""What a method takes from all data before its first step, and reconstructions that depend on the predictor."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

import trimkit
from trimkit.data import Dataset
from trimkit.methods import Batch, Delta, LatentSpace, Method, Phase, StepResult, Term, adam
from trimkit.training import session, train

QUICK = {"steps": 3, "batch_size": 8}


class Shrunken(Method):
    """Codes are the data less their mean; the decoder, a factor for each value, starts at a random number."""

    def __init__(self, shape=(6,)) -> None:
        super().__init__(shape)
        self.factors = nn.Parameter(torch.ones(6))
        self.register_buffer("mean", torch.zeros(6))
        self.calls: list[tuple] = []
        self.means: list[float] = []

    def latent_spaces(self):
        return [LatentSpace("z", (6,))]

    def encode(self, x, aux=None, space=None):
        return Delta(x - self.mean)

    def decode(self, z, space=None):
        return z * self.factors + self.mean

    def prepare(self, x, aux, generator) -> None:
        self.calls.append((x, aux, self.training))
        self.mean.copy_(x.mean(0))
        self.factors.data.copy_(torch.rand(6, generator=generator))

    def phases(self):
        return [Phase("decoder", [self.factors], self.loss, {"recon": 1.0}, adam(0.1), trains_decoder=True, ema=0.5)]

    def loss(self, batch, generator, step) -> StepResult:
        self.means.append(float(self.mean.sum()))
        x_hat = self.decode(self.encode(batch.x).mean)
        return StepResult({"recon": Term((x_hat - batch.x).square().sum(1))}, x_hat)


def test_a_method_sees_all_data_once_in_eval_mode_before_any_of_its_losses(data):
    method = Shrunken()
    aux = torch.arange(40.0)
    train(method, replace(data, aux=aux), **QUICK)
    ((x, seen, training),) = method.calls
    assert torch.equal(x, data.x)
    assert torch.equal(seen, aux)
    assert not training
    assert set(method.means) == {float(data.x.mean(0).sum())}  # the rehearsal's too


def test_what_it_draws_depends_on_the_seed_of_the_run_alone(data):
    def start(seed: int, caller: int) -> torch.Tensor:
        torch.manual_seed(caller)
        method = Shrunken()
        run = trimkit.train(method, data, steps=1, batch_size=8, seed=seed, weights={"recon": 1e-30})
        assert run.method is method
        return method.factors.detach().round(decimals=3)

    assert torch.equal(start(0, 1), start(0, 2))
    assert not torch.equal(start(0, 1), start(1, 1))


def test_averages_start_from_what_it_writes(data):
    method = Shrunken()
    train(method, data, steps=1, batch_size=8)
    moved = method.factors.detach() - _started(data)
    assert float(moved.abs().max()) <= 0.091  # nine tenths of Adam's first step of 0.1, not of the way from 1


def _started(data) -> torch.Tensor:
    from trimkit.training.engine import Engine
    from trimkit.training.settings import Settings

    method = Shrunken()
    method.prepare(data.x, None, Engine(Settings()).generator("prepare"))
    return method.factors.detach()


def test_a_resumed_run_goes_on_from_the_checkpoint_and_not_from_the_data(data, tmp_path, same):
    def run(name: str, steps: int, resume: bool = False) -> dict:
        method = Shrunken()
        train(method, data, steps=steps, batch_size=8, folder=tmp_path / name, resume=resume)
        (newest,) = sorted((tmp_path / name / "checkpoints").glob("*.pt"))[-1:]
        return {"checkpoint": torch.load(newest, weights_only=True), "method": dict(method.state_dict())}

    whole = run("whole", 8)
    run("parts", 5)
    parts = run("parts", 8, resume=True)
    assert same(whole, parts)


def test_large_data_are_seen_in_part(data, monkeypatch):
    monkeypatch.setattr(session, "HELD", 10)
    method = Shrunken()
    train(method, data, **QUICK)
    ((x, _, _),) = method.calls
    assert len(x) == 10
    assert all(any(torch.equal(row, of) for of in data.x) for row in x)


def test_data_are_not_gathered_for_methods_that_need_none(toy, data, monkeypatch):
    def refuse(x):
        raise AssertionError("all data were asked for")

    monkeypatch.setattr(session, "in_memory", refuse)
    train(toy(), data, **QUICK)
    with pytest.raises(AssertionError, match="all data were asked for"):
        train(Shrunken(), data, **QUICK)


def test_data_that_cannot_be_prepared_leave_no_folder(data, tmp_path):
    class Refusing(Shrunken):
        def prepare(self, x, aux, generator) -> None:
            raise trimkit.errors.DataError("no")

    with pytest.raises(trimkit.errors.DataError, match="no"):
        train(Refusing(), data, folder=tmp_path / "run", **QUICK)
    assert not list(tmp_path.iterdir())


class Asking(Shrunken):
    """Its reconstruction keeps the half of each code that the predictor's first output weighs most."""

    def loss(self, batch, generator, step) -> StepResult:
        result = super().loss(batch, generator, step)
        return replace(result, reconstruction=lambda f: self.kept(batch, f))

    def kept(self, batch: Batch, f: nn.Module) -> torch.Tensor:
        self.calls.append((f, self.training, torch.is_grad_enabled()))
        weights = torch.autograd.functional.jacobian(lambda x: f(x)[:, 0].sum(), batch.x)
        z = self.encode(batch.x).mean
        return self.decode(z * (weights.abs() >= weights.abs().median(1, keepdim=True).values))


@pytest.fixture
def guided(predictor):
    from trimkit.training.guidance import make_guidance

    method = Asking().eval()
    return method, make_guidance(method, method.phases(), predictor, "kl", [])


def test_the_prediction_loss_is_taken_on_what_the_function_gives(guided, data):
    method, guidance = guided
    batch = Batch(data.x[:8])
    result = method.loss(batch, torch.Generator(), 0)
    found = guidance.terms(batch, result.reconstruction, torch.Generator())["prediction"].values
    ((f, training, grad),) = method.calls
    assert f is guidance.predictor
    assert (training, grad) == (False, True)
    x_hat = method.kept(batch, guidance.predictor)
    assert int((x_hat == 0).sum()) > 0
    torch.testing.assert_close(found, trimkit.PredictionLoss(f, "kl").per_sample(x_hat, batch.x))
    found.sum().backward()
    assert float(method.factors.grad.abs().max()) > 0


def test_the_function_is_called_where_there_is_a_predictor_only(data, predictor):
    method = Asking()
    train(method, data, **QUICK)
    assert len(method.calls) == 1  # prepare
    train(method, data, predictor=predictor, **QUICK)
    steps, evaluated, rehearsed = 3, 5, 1
    assert len(method.calls) == 2 + steps + evaluated + rehearsed
    assert {training for f, training, _ in method.calls if isinstance(f, nn.Module)} == {False}


def test_it_is_refused_in_no_other_place_than_a_tensor(guided, data):
    _, guidance = guided
    wrong = Dataset("short", data.x[:8])
    with pytest.raises(trimkit.errors.ShapeError, match="expected originals for"):
        guidance.terms(Batch(wrong.x), lambda f: wrong.x[:5], torch.Generator())
