"""What a method derives from its trained networks: once, after the last step, and anew when a run goes on."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from trimkit.data import Dataset, Samples
from trimkit.errors import DataError
from trimkit.methods import Batch, Delta, LatentSpace, Method, Phase, StepResult, Term, adam
from trimkit.training import session, train

QUICK = {"steps": 3, "batch_size": 8}


class Centred(Method):
    """A linear encoder whose codes are centred when the training ends."""

    def __init__(self, shape=(6,)) -> None:
        super().__init__(shape)
        self.encoder = nn.Linear(6, 2)
        self.register_buffer("mean", torch.zeros(2))
        self.calls: list[tuple] = []

    def latent_spaces(self):
        return [LatentSpace("h", (2,), can_decode=False, reason="it is one-way")]

    def encode(self, x, aux=None, space=None):
        return Delta(self.encoder(x) - self.mean)

    @torch.no_grad()
    def finish(self, x: Tensor, aux: Tensor | None = None) -> None:
        self.calls.append((x, aux, self.training, self.encoder.weight.clone()))
        self.mean.copy_(self.encoder(x).mean(0))

    def phases(self):
        return [Phase("encoder", list(self.encoder.parameters()), self.loss, {"size": 1.0}, adam(0.1), ema=0.5)]

    def loss(self, batch: Batch, generator: torch.Generator, step: int) -> StepResult:
        return StepResult({"size": Term(self.encoder(batch.x).square().sum(1))})

    def check_aux(self, aux: Tensor | None) -> None:
        if aux is not None and aux.ndim > 1:
            raise DataError("expected one number a sample")


def make(seed: int = 0) -> Centred:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Centred()


def test_it_is_called_once_in_eval_mode_with_the_final_averaged_weights(data):
    method, aux = make(), torch.arange(40.0)
    assert method.train().training
    train(method, replace(data, aux=aux), **QUICK)
    ((x, seen, training, weight),) = method.calls
    assert torch.equal(x, data.x)
    assert torch.equal(seen, aux)
    assert not training
    assert method.training  # as before the run
    assert torch.equal(weight, method.encoder.weight)
    torch.testing.assert_close(method.encode(data.x).mean.mean(0), torch.zeros(2), atol=1e-5, rtol=0.0)


def test_what_it_writes_is_saved_and_the_first_phases_terms_are_told(data, tmp_path):
    run = train(make(), data, folder=tmp_path / "run", **QUICK)
    stored = load_file(tmp_path / "run" / "model.safetensors")
    assert torch.equal(stored["mean"], run.method.mean)
    assert float(run.method.mean.abs().max()) > 0
    assert run.results["train"]["size"] > 0


def test_a_run_that_goes_on_starts_from_the_state_before_it(data, tmp_path, same):
    def newest(folder):
        return torch.load(sorted((folder / "checkpoints").glob("*.pt"))[-1], weights_only=True)

    whole = train(make(), data, folder=tmp_path / "whole", steps=6, batch_size=8)
    train(make(), data, folder=tmp_path / "parts", steps=3, batch_size=8)
    assert float(newest(tmp_path / "parts")["networks"]["mean"].abs().max()) == 0
    parts = train(make(9), data, folder=tmp_path / "parts", steps=6, batch_size=8, resume=True)
    assert same(newest(tmp_path / "whole"), newest(tmp_path / "parts"))
    assert torch.equal(whole.method.mean, parts.method.mean)


def test_it_sees_no_more_than_can_be_held(data, monkeypatch):
    method = make()
    monkeypatch.setattr(session, "HELD", 10)
    train(method, replace(data, aux=torch.arange(40.0)), **QUICK)
    x, aux = method.calls[0][:2]
    assert len(x) == 10
    assert torch.equal(x, data.x[aux.long()])  # the same rows of both


def test_samples_that_are_made_when_asked_for_are_made_for_it(monkeypatch):
    class Counting(Samples):
        @property
        def shape(self):
            return torch.Size((40, 6))

        @property
        def fingerprint(self) -> str:
            return "counting"

        def make(self, numbers: Tensor) -> Tensor:
            return numbers[:, None].float().expand(-1, 6) / 40

    method = make()
    monkeypatch.setattr(session, "MOST_BYTES", 5 * 4 * 6)
    train(method, Dataset("counted", Counting()), **QUICK)
    assert method.calls[0][0].shape == (5, 6)


def test_auxiliary_variables_are_checked_before_any_work(data):
    method = make()
    before = method.encoder.weight.clone()
    with pytest.raises(DataError, match="expected one number a sample"):
        train(method, replace(data, aux=torch.zeros(40, 2)), **QUICK)
    with pytest.raises(DataError, match="expected one number a sample"):
        train(method, data, test=replace(data, aux=torch.zeros(40, 2)), **QUICK)
    assert torch.equal(method.encoder.weight, before)
    assert not method.calls
