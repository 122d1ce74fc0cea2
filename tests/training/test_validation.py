"""Evaluation in training: the best weights are the run's, it ends where nothing gets better, and users can look on."""

from __future__ import annotations

import json
import math

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from trimkit.errors import ModelError, OptionError
from trimkit.methods import Batch, Delta, LatentSpace, Method, Phase, StepResult, Term
from trimkit.training import Moment, train
from trimkit.training.validation import Validation

OPTIONS = {"batch_size": 40, "log_every": 100}


class Walker(Method):
    """One number that walks up by 1 a step; its loss on data is its distance from them."""

    def __init__(self, shape=(1,)) -> None:
        super().__init__(shape)
        self.place = nn.Parameter(torch.zeros(1))

    def latent_spaces(self):
        return [LatentSpace("z", (1,), can_decode=False, reason="it only walks")]

    def encode(self, x, aux=None, space=None):
        return Delta(x - self.place)

    def phases(self):
        one = lambda parameters: torch.optim.SGD(parameters, lr=1.0)  # noqa: E731
        return [Phase("walk", [self.place], self.loss, {"distance": 2.0, "drive": 1.0}, one)]

    def loss(self, batch: Batch, generator, step: int) -> StepResult:
        distance = (batch.x - self.place.detach()).abs().sum(1)
        return StepResult({"distance": Term(distance), "drive": Term(-self.place.expand(len(batch)))})


def at(place: float):
    return torch.full((40, 1), place)


def walk(steps: int, **more):
    return train(Walker(), at(0.0), steps=steps, **{**OPTIONS, "test": at(3.0), **more})


def test_the_best_weights_are_the_runs_and_the_last_are_beside_them(tmp_path):
    run = walk(8, evaluate_every=1, folder=tmp_path / "run")
    assert run.method.place.item() == 3.0
    assert run.results["best"] == {"step": 3, "loss": -3.0}  # 2 · 0 − 3
    assert load_file(tmp_path / "run" / "model.safetensors")["place"].item() == 3.0
    assert load_file(tmp_path / "run" / "last.safetensors")["place"].item() == 8.0
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in rows if row["phase"] == "evaluation"]
    assert losses == [2 * abs(3 - place) - place for place in range(1, 9)]


def test_it_ends_where_nothing_gets_better(tmp_path):
    run = walk(100, evaluate_every=2, patience=3, folder=tmp_path / "run")
    assert (run.steps, run.results["steps"], run.results["best"]["step"]) == (10, 10, 4)  # 2 and 4, then 6, 8, 10
    assert (tmp_path / "run" / "COMPLETE").read_text() == "10 steps\n"


def test_a_resumed_run_ends_where_an_uninterrupted_one_does(tmp_path):
    options = {"evaluate_every": 2, "patience": 3}
    whole = walk(100, folder=tmp_path / "whole", **options)
    walk(7, folder=tmp_path / "parts", **options)
    parts = walk(100, folder=tmp_path / "parts", resume=True, **options)
    assert parts.steps == whole.steps
    assert parts.results["best"] == whole.results["best"]
    assert parts.method.place.item() == whole.method.place.item()


def test_without_evaluations_the_last_weights_are_the_runs():
    assert walk(8).method.place.item() == 8.0


def test_evaluations_change_nothing_that_is_trained(toy, data, same):
    options = {"steps": 6, "batch_size": 8, "test": data.take(12)}
    weights = []
    for evaluate_every in (0, 6):
        method = toy()
        train(method, data, evaluate_every=evaluate_every, **options)
        weights.append(dict(method.state_dict()))
    assert same(*weights)


def test_the_users_functions_see_each_step_and_evaluation():
    steps, evaluations = [], []
    walk(
        4,
        evaluate_every=2,
        on_step=lambda moment: steps.append((moment.step, moment.method.place.item(), sorted(moment.reports))),
        on_evaluation=lambda moment: evaluations.append((moment.step, moment.evaluation["loss"])),
    )
    assert steps == [(n, float(n), ["walk"]) for n in (1, 2, 3, 4)]
    assert evaluations == [(2, 0.0), (4, -2.0)]


def test_the_user_may_end_a_run(tmp_path):
    def enough(moment: Moment) -> bool:
        return moment.step == 5

    run = walk(100, on_step=enough, folder=tmp_path / "run")
    assert run.steps == 5
    assert (tmp_path / "run" / "COMPLETE").read_text() == "5 steps\n"
    assert walk(100, evaluate_every=2, on_evaluation=lambda moment: True).steps == 2


def test_a_loss_that_is_not_finite_is_never_the_best():
    validation, method = Validation(patience=2), Walker()
    for step, loss in enumerate((math.nan, 1.0, math.inf, math.nan)):
        validation.judge(step, {"loss": loss}, method)
    assert validation.best == {"step": 1, "loss": 1.0}
    assert validation.exhausted


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patience": 3}, "patience counts evaluations: give evaluate_every too"),
        ({"evaluate_every": 2, "test": None}, "evaluate_every and on_evaluation need held-out data: give test"),
        ({"patience": 0, "evaluate_every": 2}, "expected patience ≥ 1, got 0"),
    ],
)
def test_what_does_not_fit(options, message):
    with pytest.raises(OptionError, match=message):
        walk(4, **options)


def test_a_run_begins_with_anothers_weights(tmp_path):
    walk(5, folder=tmp_path / "first")
    run = train(Walker(), at(1.0), steps=2, batch_size=10, init_from=tmp_path / "first", folder=tmp_path / "second")
    assert run.method.place.item() == 7.0
    more = train(Walker(), at(1.0), steps=4, batch_size=10, folder=tmp_path / "second", resume=True)
    assert more.method.place.item() == 9.0


def test_weights_of_other_networks_are_refused(toy, data, tmp_path):
    walk(2, folder=tmp_path / "walker")
    with pytest.raises(ModelError, match=r"the weights of .*walker do not fit Toy: "):
        train(toy(), data, steps=1, init_from=tmp_path / "walker", batch_size=8)
    with pytest.raises(ModelError, match="is not the folder of a complete run"):
        train(toy(), data, steps=1, init_from=tmp_path, batch_size=8)
