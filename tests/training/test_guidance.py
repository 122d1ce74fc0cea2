"""What a frozen predictor adds to a method's loss."""

from __future__ import annotations

import copy
import json
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

import trimkit
from trimkit.attributions import IntegratedGradients
from trimkit.errors import (
    CheckpointError,
    DataError,
    ModelError,
    OptionError,
    PenaltyError,
    TrimkitWarning,
    UnknownNameError,
)
from trimkit.methods import Batch, LatentSpace, Phase, StepResult
from trimkit.penalties import l1
from trimkit.predictor import state_hash
from trimkit.training import Settings, TrimTerm, train
from trimkit.training.engine import Engine
from trimkit.training.guidance import Guidance, check_weights, described, make_guidance
from trimkit.training.runner import PhaseRunner, Position

START = Position(0, 0, 0)
QUICK = {"steps": 3, "batch_size": 8}


@pytest.mark.parametrize(
    ("text", "penalty", "space", "weight", "name"),
    [
        ("l1", "l1", None, 1.0, "l1"),
        ("l1:0.1", "l1", None, "0.1", "l1"),
        ("l1@z", "l1", "z", 1.0, "l1@z"),
        ("l1@z:0.1", "l1", "z", "0.1", "l1@z"),
        ("hoyer@w+:linear(0, 1, 500)", "hoyer", "w+", "linear(0, 1, 500)", "hoyer@w+"),
        ("acme-trim:l2@z:2", "acme-trim:l2", "z", "2", "acme-trim:l2@z"),
    ],
)
def test_terms_as_they_are_typed(text, penalty, space, weight, name):
    term = TrimTerm.parse(text, target=3)
    assert (term.penalty, term.space, term.weight, term.target, term.name) == (penalty, space, weight, 3, name)


@pytest.mark.parametrize("text", ["", "@z", "l1@", "l1@z:", "l1:", ":1"])
def test_malformed_terms(text):
    with pytest.raises(OptionError, match=r"expected PENALTY\[@SPACE\]\[:WEIGHT\], such as l1@z:0.1, got"):
        TrimTerm.parse(text)


@pytest.mark.parametrize("weight", ["much", "linear(0, 1)", "linear(0, 1, x)", "square(0, 1, 2)", "linear(0, 1, 0)"])
def test_malformed_weights(weight):
    with pytest.raises(OptionError, match="expected"):
        TrimTerm.parse(f"l1@z:{weight}")


def test_terms_of_functions_and_pairs_have_names():
    assert TrimTerm(l1, "z").name == "l1@z"
    assert TrimTerm(("l1", {}), "z").name == "l1@z"


@pytest.fixture
def guide(toy, predictor):
    """A toy method and its guidance."""

    def build(*trims, prediction="kl", f=None):
        method = toy()
        return method, make_guidance(method, method.phases(), f or predictor, prediction, trims)

    return build


@pytest.fixture
def batch(data):
    return Batch(data.x[:8], data.y[:8])


def test_the_terms_are_those_of_the_public_parts(guide, batch):
    method, guidance = guide(TrimTerm("l1", "z", target="label"))
    method.eval()
    x_hat = method.decode(method.encode(batch.x).mean)
    terms = guidance.terms(batch, x_hat, torch.Generator())
    f = guidance.predictor
    expected = trimkit.PredictionLoss(f, "kl").per_sample(x_hat, batch.x)
    torch.testing.assert_close(terms["prediction"].values, expected)
    result = trimkit.Trim(f, method.as_transform("z"), "input_x_gradient")(batch.x, target=batch.y)
    torch.testing.assert_close(terms["l1@z"].values.detach(), l1(result.scores))
    assert terms["l1@z"].values.shape == (8,)


@pytest.mark.parametrize("prediction", ["kl", "mse", "label"])
def test_the_prediction_loss_alone_trains_encoder_and_decoder(guide, data, prediction):
    method, _ = guide()
    before = copy.deepcopy(method)
    f = nn.Linear(6, 2)
    with pytest.warns(TrimkitWarning, match="the reconstruction weighs 0"):
        train(
            method,
            data,
            predictor=f,
            prediction=prediction,
            weights={"recon": 0, "kl": 0, "fooled": 0},
            **QUICK,
        )
    for part in ("encoder", "decoder"):
        pairs = zip(getattr(before, part).parameters(), getattr(method, part).parameters(), strict=True)
        assert all(not torch.equal(a, b) for a, b in pairs)


def test_the_prediction_loss_brings_the_predictions_together(toy, data):
    f = nn.Linear(6, 2)
    f.weight.data = torch.tensor([[2.0, -2.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 2.0, 0.0, 0.0, 0.0]])
    options = {"predictor": f, "steps": 80, "batch_size": 20, "weights": {"prediction": 0.0}}
    alone = train(toy(), data, **options)
    guided = train(toy(), data, **{**options, "weights": {"prediction": 20.0}})
    assert guided.results["train"]["prediction"] < 0.5 * alone.results["train"]["prediction"]
    assert guided.results["train"]["predictor"]["agreement"] >= alone.results["train"]["predictor"]["agreement"]


def test_a_trim_term_lowers_its_penalty(toy, data, predictor):
    options = {"predictor": predictor, "steps": 60, "batch_size": 20}
    alone = train(toy(), data, trim=["l1@z:0"], **options)
    trimmed = train(toy(), data, trim=["l1@z:3"], **options)
    assert trimmed.results["train"]["l1@z"] < 0.7 * alone.results["train"]["l1@z"]


def test_a_term_of_weight_zero_changes_nothing(toy, data, predictor, same):
    runs = [
        train(toy(), data, predictor=predictor, weights={"prediction": 0.0}, trim=trims, **QUICK)
        for trims in ([], ["l1@z:0"])
    ]
    assert same(*[dict(run.method.state_dict()) for run in runs])


def test_the_predictor_is_as_it_was(toy, data, predictor):
    predictor.train()
    before = state_hash(predictor)
    train(toy(), data, predictor=predictor, trim=["l1@z:1"], **QUICK)
    assert state_hash(predictor) == before
    assert predictor.training
    assert all(p.requires_grad and p.grad is None for p in predictor.parameters())


def test_a_predictor_that_changes_during_the_run_is_found(guide, data, monkeypatch):
    from trimkit.errors import FrozenError
    from trimkit.training.session import Plan, Session

    method, guidance = guide()
    plan = Plan(method, data, None, Settings(**QUICK), None, False, {})
    session = Session(plan, method.phases(), guidance)
    guidance.predictor.inner[0].weight.data.add_(1.0)  # which no version counter sees
    with pytest.raises(FrozenError, match="the frozen predictor changed"):
        session.run()


def test_no_checkpoint_is_written_with_a_predictor_that_changed(guide, data, tmp_path, monkeypatch):
    from trimkit.errors import FrozenError
    from trimkit.training.loop import Loop
    from trimkit.training.run_folder import RunFolder
    from trimkit.training.session import Plan, Session

    method, guidance = guide()
    settings = Settings(steps=6, batch_size=8, checkpoint_every=2)
    plan = Plan(method, data, None, settings, RunFolder(tmp_path / "run"), False, {})
    session = Session(plan, method.phases(), guidance)
    advance = Loop._advance

    def disturbed(loop: Loop, batch) -> None:
        if loop.step == 3:
            guidance.predictor.inner[0].weight.data.add_(1.0)
        advance(loop, batch)

    monkeypatch.setattr(Loop, "_advance", disturbed)
    with pytest.raises(FrozenError):
        session.run()
    assert session.loop.step == 4
    names = {path.name for path in (tmp_path / "run.partial" / "checkpoints").glob("*.pt")}
    assert names == {"step-00000000.pt", "step-00000002.pt"}


@pytest.mark.parametrize(("target", "column"), [("predicted", None), ("label", "y"), (1, 1)])
def test_targets(guide, batch, target, column):
    method, guidance = guide(TrimTerm("l1", "z", target=target))
    method.eval()
    found = guidance.terms(batch, batch.x, torch.Generator())["l1@z"].values
    f = guidance.predictor
    wanted = {"y": batch.y, None: f(batch.x).argmax(1)}.get(column, column)
    result = trimkit.Trim(f, method.as_transform("z"), "input_x_gradient")(batch.x, target=wanted)
    torch.testing.assert_close(found.detach(), l1(result.scores))


def test_the_only_output_of_a_regressor_is_explained(guide, batch):
    method, guidance = guide(TrimTerm("l1", "z"), prediction="mse", f=nn.Linear(6, 1))
    method.eval()
    found = guidance.terms(batch, batch.x, torch.Generator())["l1@z"].values
    result = trimkit.Trim(guidance.predictor, method.as_transform("z"), "input_x_gradient")(batch.x, target=0)
    torch.testing.assert_close(found.detach(), l1(result.scores))


def test_a_loss_brings_its_own_predictor(toy):
    method = toy()
    loss = trimkit.PredictionLoss(nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 2)), "features", layers=("0",))
    guidance = make_guidance(method, method.phases(), None, loss, [])
    assert guidance is not None
    assert guidance.prediction.layers == ("0",)
    assert guidance.predictor is not loss.predictor
    assert guidance.predictor.sha256 == loss.predictor.sha256


def test_no_predictor_no_guidance(toy):
    method = toy()
    assert make_guidance(method, method.phases(), None, "kl", []) is None
    with pytest.raises(OptionError, match=r"TRIM term 'l1@z' explains a predictor; give one \(--predictor"):
        make_guidance(method, method.phases(), None, "kl", [TrimTerm("l1", "z")])


def test_a_term_given_twice(guide):
    with pytest.raises(OptionError, match="a TRIM term is given twice"):
        guide(TrimTerm("l1", "z"), TrimTerm("l1", "z", 2.0))


def test_terms_that_cannot_be_built(guide):
    with pytest.raises(UnknownNameError, match="no latent space 'q'"):
        guide(TrimTerm("l1", "q"))
    with pytest.raises(UnknownNameError, match="There is no penalty 'l11'"):
        guide(TrimTerm("l11", "z"))


def test_one_phase_must_train_the_decoder(toy, predictor):
    method = toy()
    with pytest.raises(OptionError, match="Toy has 0 phases that train its decoder"):
        make_guidance(method, method.phases()[1:], predictor, "kl", [])


def test_a_predictor_of_other_data(toy, data):
    with pytest.raises(ModelError, match=r"the predictor does not take data of shape \(6,\) a sample: mat1 and mat2"):
        train(toy(), data, predictor=nn.Linear(5, 2), **QUICK)


def test_a_predictor_without_one_output_a_sample(toy, data):
    class Sum(nn.Module):
        def forward(self, x):
            return x.sum()

    with pytest.raises(ModelError, match=r"expected one output a sample, \(8, ...\), from the predictor, got \(\)"):
        train(toy(), data, predictor=Sum(), **QUICK)


def test_a_predictor_of_too_few_classes(toy, data):
    three = trimkit.data.Dataset(
        "three", data.x, data.y.clone().index_fill(0, torch.tensor([30]), 2), classes=("a", "b", "c")
    )
    train(toy(), three, predictor=nn.Linear(6, 2), **QUICK)
    with pytest.raises(ModelError, match="the predictor has 2 classes, and the data 3"):
        train(toy(), three, predictor=nn.Linear(6, 2), prediction="label", **QUICK)


@pytest.mark.parametrize("options", [{"prediction": "label"}, {"trim": ["l1@z"], "target": "label"}])
def test_labels_are_needed_only_where_they_are_used(toy, data, predictor, options):
    train(toy(), data.x, predictor=predictor, **QUICK)
    with pytest.raises(DataError, match="by 'label' needs labelled data"):
        train(toy(), data.x, predictor=predictor, **options, **QUICK)


def test_a_penalty_that_would_train_nothing_is_refused_before_any_work(toy_class, data, predictor, tmp_path):
    class Detached(toy_class):
        def encode(self, x, aux=None, space=None):
            posterior = super().encode(x)
            return type(posterior)(posterior.mean.detach(), posterior.log_variance)

        def decode(self, z, space=None):
            return super().decode(z) if not z.requires_grad else z.repeat(1, 2)

    with pytest.raises(PenaltyError, match=r"would be zero|has no graph|nothing"):
        train(Detached(), data, predictor=predictor, trim=["l1@z:1"], folder=tmp_path / "run", **QUICK)
    assert not list(tmp_path.iterdir())


def test_weights_of_unknown_terms(toy, guide):
    method = toy()
    with pytest.raises(OptionError, match=r"no term is named 'recom'\. Did you mean 'recon'"):
        check_weights(method.phases(), None, {"recom": 1.0})
    with pytest.raises(OptionError, match=r"no term is named 'prediction'\. There is no predictor"):
        check_weights(method.phases(), None, {"prediction": 1.0})


@pytest.mark.parametrize("weights", [{"recon": 0.0}, {"recon": "0"}])
def test_something_must_train_the_decoder(toy, guide, weights):
    method, guidance = guide()
    with pytest.raises(OptionError, match="only a prediction loss trains the decoder: give a predictor"):
        check_weights(method.phases(), None, weights)
    with pytest.raises(OptionError, match="only a prediction loss trains the decoder"):
        check_weights(method.phases(), guidance, {**weights, "prediction": 0.0})


def test_a_decoder_phase_without_reconstruction(guide, batch):
    method, guidance = guide()
    bare = Phase("bare", list(method.parameters()), lambda *_: StepResult({}), {"recon": 1.0}, trains_decoder=True)
    runner = PhaseRunner(bare, method, bare.weights, guidance)
    with pytest.raises(trimkit.TrimkitError, match="returns no reconstruction"):
        runner.terms(batch, Engine(Settings(device="cpu")), START)


def test_spaces_without_decoder_are_refused(toy_class, predictor):
    class Closed(toy_class):
        def latent_spaces(self):
            return [LatentSpace("z", (3,), can_decode=False, reason="it only encodes")]

    method = Closed()
    with pytest.raises(trimkit.TrimkitError, match=r"cannot be decoded \(it only encodes\)"):
        Guidance(predictor, "kl", [TrimTerm("l1", "z")], method, method.phases()[0])


class Steep:
    """A penalty with a setting."""

    def __init__(self, power: float) -> None:
        self.power = power
        self._cache = {}
        self.me = self

    def __call__(self, scores):
        return scores.abs().pow(self.power).flatten(1).sum(1)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Steep(1.0), Steep(2.0)),
        (partial(l1, scale=1.0), partial(l1, scale=2.0)),
        (("l1", {"mask": torch.ones(3)}), ("l1", {"mask": torch.zeros(3)})),
        (trimkit.create("attribution", "integrated_gradients", n_steps=4), IntegratedGradients(n_steps=8)),
        (nn.Linear(1, 1), nn.Linear(1, 1)),
        (np.ones(3), np.zeros(3)),
        ("l1", "hoyer"),
    ],
)
def test_parts_with_other_options_are_others(one, other):
    assert described(one) != described(other)
    assert described(one) == described(copy.deepcopy(one))
    assert json.loads(json.dumps(described(one))) == described(one)


def test_a_run_is_not_gone_on_with_under_other_objectives(toy, data, tmp_path):
    f = nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 2))

    def run(layer, n_steps, steps, **more):
        term = TrimTerm("l1", "z", attribution=IntegratedGradients(n_steps=n_steps))
        loss = trimkit.PredictionLoss(f, "features", layers=(layer,))
        shared = {"predictor": f, "folder": tmp_path / "run", "batch_size": 8}
        train(toy(), data, prediction=loss, trim=[term], steps=steps, **shared, **more)

    run("0", 2, 1)
    with pytest.raises(CheckpointError, match=r"layers was \['0'\], is \['2'\]"):
        run("2", 2, 2, resume=True)
    with pytest.raises(CheckpointError, match=r"attribution\.n_steps was 2, is 3"):
        run("0", 3, 2, resume=True)
    run("0", 2, 2, resume=True)
