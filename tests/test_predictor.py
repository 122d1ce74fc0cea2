"""Frozen means frozen; a prediction loss reaches the reconstruction and nothing else."""

import copy
import warnings

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from trimkit.errors import FrozenError, ModelError, OptionError, PenaltyError, ShapeError
from trimkit.predictor import FrozenPredictor, PredictionLoss, state_hash


def classifier():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Dropout(0.5), nn.Linear(5, 3))


class Host(nn.Module):
    """A model in training that owns a frozen predictor."""

    def __init__(self):
        super().__init__()
        self.decoder = nn.Linear(2, 6)
        self.predictor = FrozenPredictor(classifier())


X = torch.randn(8, 6, generator=torch.Generator().manual_seed(1))
LABELS = torch.arange(8) % 3


def test_training_around_it_changes_no_bit():
    host = Host().train()
    before = host.predictor.sha256
    optimiser = torch.optim.AdamW(host.parameters(), lr=0.1, weight_decay=0.5)
    for _ in range(3):
        cross_entropy(host.predictor(host.decoder(torch.randn(8, 2))), torch.zeros(8, dtype=torch.long)).backward()
        optimiser.step()
    host.predictor.verify()
    assert host.predictor.sha256 == before == state_hash(host.predictor.inner)
    assert all(p.grad is None for p in host.predictor.inner.parameters())


def test_a_parent_sees_neither_parameters_nor_state():
    host = Host()
    assert {name for name, _ in host.named_parameters()} == {"decoder.weight", "decoder.bias"}
    assert set(host.state_dict()) == {"decoder.weight", "decoder.bias"}
    assert not list(host.predictor.buffers())


def test_it_stays_in_eval_mode_and_the_callers_model_as_it_was():
    model = classifier().train()
    frozen = FrozenPredictor(model)
    frozen.train()
    nn.Sequential(frozen).train()
    assert not any(module.training for module in frozen.inner.modules())
    assert torch.equal(frozen(X), frozen(X))  # no dropout
    assert model.training
    assert all(p.requires_grad for p in model.parameters())


def test_gradients_reach_the_input():
    x = X.clone().requires_grad_()
    FrozenPredictor(classifier())(x).sum().backward()
    assert x.grad.abs().sum() > 0


def test_it_follows_its_parents_dtype():
    host = Host().double()
    assert host.predictor(X.double()).dtype == torch.float64
    host.predictor.verify()


def test_copies_are_frozen_too_and_equal():
    frozen = FrozenPredictor(classifier())
    again = copy.deepcopy(frozen)
    assert again.sha256 == frozen.sha256
    assert FrozenPredictor(frozen).sha256 == frozen.sha256
    assert torch.equal(again(X), frozen(X))


def test_a_change_in_place_is_found_at_the_next_call():
    frozen = FrozenPredictor(classifier())
    with torch.no_grad():
        frozen.inner[0].bias.add_(1.0)
    with pytest.raises(FrozenError, match="the frozen predictor changed"):
        frozen(X)


def test_a_change_behind_autograds_back_is_found_by_verify():
    frozen = FrozenPredictor(classifier())
    frozen.inner[0].bias.data.numpy()[0] += 1.0
    with pytest.raises(FrozenError):
        frozen.verify()


def test_touching_without_changing_is_forgiven():
    frozen = FrozenPredictor(classifier())
    with torch.no_grad():
        frozen.inner[0].bias.add_(0.0)
    assert frozen(X).shape == (8, 3)


@pytest.mark.parametrize("convert", [lambda f: f.double(), lambda f: f.to("cpu")], ids=["double", "nothing"])
def test_a_conversion_does_not_hide_a_change(convert):
    frozen = FrozenPredictor(classifier())
    frozen.inner[0].bias.data.numpy()[0] += 1.0
    with pytest.raises(FrozenError):
        convert(frozen).verify()
    with pytest.raises(FrozenError):
        frozen.verify()


def test_a_conversion_that_converts_nothing_hashes_nothing(monkeypatch):
    frozen = FrozenPredictor(classifier())
    hashes = []
    monkeypatch.setattr("trimkit.predictor.state.hash_of", lambda *_: hashes.append(1) or frozen.sha256)
    monkeypatch.setattr("trimkit.predictor.frozen.hash_of", lambda *_: hashes.append(1) or frozen.sha256)
    frozen.to("cpu").float()(X)
    assert not hashes
    frozen.double()
    assert len(hashes) == 2  # as it was, and as it is


@pytest.mark.parametrize("wake", [lambda f: f.inner.train(), lambda f: f.inner[3].train()], ids=["all", "dropout"])
def test_train_mode_set_by_hand_is_undone(wake):
    frozen = FrozenPredictor(classifier())
    expected = frozen(X)
    wake(frozen)
    assert torch.equal(frozen(X), expected)
    frozen.verify()  # batch normalisation took no new statistics


def test_asking_for_train_mode_wakes_nothing_and_undoes_what_was_woken():
    predictor = FrozenPredictor(nn.Sequential(nn.Linear(2, 2), nn.Dropout()))
    predictor.inner.train()
    assert predictor.train() is predictor
    assert not any(module.training for module in predictor.modules())
    assert not any(module.training for module in predictor.inner.modules())


def test_the_hash_sees_names_types_and_shapes():
    one, two = nn.Linear(2, 3), nn.Linear(2, 3)
    assert state_hash(one) != state_hash(two)
    two.load_state_dict(one.state_dict())
    assert state_hash(one) == state_hash(two) != state_hash(two.double())


def test_features_are_the_outputs_of_named_layers():
    frozen = FrozenPredictor(classifier())
    hidden, logits = frozen.features(X, ["2", "4"])
    assert torch.equal(logits, frozen(X))
    assert torch.equal(hidden, frozen.inner[:3](X))
    assert not any(module._forward_hooks for module in frozen.inner.modules())
    with pytest.raises(OptionError, match="no layer 'head'"):
        frozen.features(X, ["head"])


def test_what_is_no_module_is_refused():
    with pytest.raises(ModelError, match="got function"):
        FrozenPredictor(lambda x: x)


class Odd(nn.Module):
    """Has a layer that is never called, one that gives a tuple, one that is not batch first, and gives a dict."""

    def __init__(self):
        super().__init__()
        self.unused = nn.Linear(6, 3)
        self.lstm = nn.LSTM(6, 3, batch_first=True)
        self.late = nn.Flatten(0)

    def forward(self, x):
        return {"scores": self.late(self.lstm(x[:, None])[0])}


class TestPredictionLoss:
    f = FrozenPredictor(classifier())
    x_hat = torch.randn(8, 6, generator=torch.Generator().manual_seed(2))

    def test_kl_is_that_of_torch_distributions_with_the_original_first(self):
        p, q = (torch.distributions.Categorical(logits=self.f(x)) for x in (X, self.x_hat))
        expected = torch.distributions.kl_divergence(p, q)
        assert torch.allclose(PredictionLoss(self.f).per_sample(self.x_hat, X), expected, atol=1e-6)

    def test_mse_is_the_mean_square_of_the_outputs(self):
        expected = (self.f(self.x_hat) - self.f(X)).square().mean(1)
        assert torch.allclose(PredictionLoss(self.f, "mse").per_sample(self.x_hat, X), expected)

    def test_features_average_over_layers(self):
        layers = ["0", "4"]
        found = PredictionLoss(self.f, "features", layers).per_sample(self.x_hat, X)
        pairs = zip(self.f.features(self.x_hat, layers), self.f.features(X, layers), strict=True)
        assert torch.allclose(found, sum((a - b).square().mean(1) for a, b in pairs) / 2)

    def test_labels_are_cross_entropy_or_squared_error(self):
        y = torch.arange(8) % 3
        expected = cross_entropy(self.f(self.x_hat), y, reduction="none")
        assert torch.allclose(PredictionLoss(self.f, "label").per_sample(self.x_hat, y), expected)
        targets = torch.randn(8, 3)
        expected = (self.f(self.x_hat) - targets).square().mean(1)
        assert torch.allclose(PredictionLoss(self.f, "label").per_sample(self.x_hat, targets), expected)

    @pytest.mark.parametrize("match", ["kl", "mse"])
    def test_a_perfect_reconstruction_costs_nothing_and_others_send_gradient(self, match):
        loss = PredictionLoss(self.f, match)
        assert float(loss(X, X)) == pytest.approx(0, abs=1e-6)
        x_hat = self.x_hat.clone().requires_grad_()
        loss(x_hat, X).backward()
        assert x_hat.grad.abs().sum() > 0
        assert loss(x_hat, X).ndim == 0

    def test_the_original_gets_no_gradient(self):
        x = X.clone().requires_grad_()
        PredictionLoss(self.f)(self.x_hat.clone().requires_grad_(), x).backward()
        assert x.grad is None

    def test_a_plain_model_is_frozen(self):
        assert PredictionLoss(classifier()).predictor.sha256 == self.f.sha256

    @pytest.mark.parametrize(
        ("make", "kind", "says"),
        [
            (lambda f, x: PredictionLoss(f, "klx"), OptionError, "Did you mean 'kl'"),
            (lambda f, x: PredictionLoss(f, "features"), OptionError, "go together"),
            (lambda f, x: PredictionLoss(f, "kl", ["0"]), OptionError, "go together"),
            (lambda f, x: PredictionLoss(f)(x, x[:3]), ShapeError, "expected originals"),
            (lambda f, x: PredictionLoss(f, "label")(x, x[:, 0]), ShapeError, r"integer labels \(N,\)"),
            (lambda f, x: PredictionLoss(nn.Linear(6, 1))(x, x), ShapeError, "use match='mse'"),
            (
                lambda f, x: PredictionLoss(Odd(), "features", ["unused"])(x, x),
                OptionError,
                "not call its layer 'unused'",
            ),
            (lambda f, x: PredictionLoss(Odd(), "features", ["lstm"])(x, x), ShapeError, "layer 'lstm', got tuple"),
            (lambda f, x: PredictionLoss(Odd(), "features", ["late"])(x, x), ShapeError, "a layer is not batch first"),
            (lambda f, x: PredictionLoss(Odd())(x, x), ShapeError, "'kl' expected a tensor .* got dict; wrap it"),
            (
                lambda f, x: PredictionLoss(Odd(), "mse")(x, x),
                ShapeError,
                "'mse' expected a tensor .* got dict; wrap it",
            ),
            (
                lambda f, x: PredictionLoss(Odd(), "label")(x, LABELS),
                ShapeError,
                "'label' expected .* got dict; wrap it",
            ),
            (lambda f, x: PredictionLoss(f, "label")(x, LABELS - 100), ShapeError, r"0 … 2, got -100 … -98"),
            (lambda f, x: PredictionLoss(f, "label")(x, LABELS + 1), ShapeError, r"0 … 2, got 1 … 3"),
        ],
    )
    def test_what_does_not_fit_says_what_would(self, make, kind, says):
        with pytest.raises(kind, match=says):
            make(self.f, X)


def scripted():
    return torch.jit.script(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)))


def traced():
    return torch.jit.trace(nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2)).eval(), torch.ones(1, 4))


def weight_normed():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch advises parametrizations; shipped models use this
        return nn.Sequential(nn.utils.weight_norm(nn.Linear(4, 2)))


def parametrised():
    return nn.utils.parametrizations.weight_norm(nn.Linear(4, 2))


@pytest.mark.parametrize("build", [scripted, traced, weight_normed, parametrised])
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_scripts_and_reparametrised_modules_are_frozen_with_gradient_to_the_input(build):
    model = build()
    x = torch.randn(3, 4, requires_grad=True)
    predictor = FrozenPredictor(model)
    assert torch.equal(predictor(x), model(x))
    (gradient,) = torch.autograd.grad(predictor(x).sum(), x)
    assert gradient.abs().sum() > 0
    assert not any(p.requires_grad for p in predictor.inner.parameters())
    assert all(p.requires_grad for p in model.parameters())
    predictor.verify()
    if build is not traced:  # whose constants stay as they were traced
        predictor.double()
        predictor(x.double())
        predictor.verify()


def test_lazy_parameters_are_refused_with_the_way_out():
    lazy = nn.LazyLinear(2)
    with pytest.raises(ModelError, match=r"LazyLinear has lazy parameters without a shape; call it once on data"):
        FrozenPredictor(lazy)
    lazy(torch.ones(1, 4))
    assert FrozenPredictor(lazy)(torch.ones(1, 4)).shape == (1, 2)


class Counting(nn.Linear):
    def __init__(self):
        super().__init__(4, 2)
        self.calls = 0

    def get_extra_state(self):
        return {"calls": self.calls}

    def set_extra_state(self, state):
        self.calls = state["calls"]

    def forward(self, x):
        self.calls += 1
        return super().forward(x) * self.calls


class Holding(nn.Module):
    def __init__(self):
        super().__init__()
        self.scales = [torch.ones(1)]
        self.cache = None

    def forward(self, x):
        self.cache = x.detach() * self.scales[0]
        return x * self.scales[0]


def test_state_that_is_no_parameter_and_no_buffer_is_hashed():
    counting = FrozenPredictor(Counting())
    counting(torch.ones(1, 4))
    with pytest.raises(FrozenError, match="its forward changes its own state"):
        counting.verify()
    holding = FrozenPredictor(Holding())
    holding(torch.ones(1, 4))
    holding.verify()  # what a forward caches is no state
    holding.inner.scales[0].mul_(2)
    with pytest.raises(FrozenError, match="the frozen predictor changed"):
        holding.verify()


def test_a_parents_to_empty_is_refused():
    parent = nn.Module()
    parent.predictor = FrozenPredictor(nn.Linear(4, 2))
    with pytest.raises(FrozenError, match=r"weight has other values after the conversion; to_empty\(\)"):
        parent.to_empty(device="cpu")


class Cut(nn.Linear):
    def forward(self, x):
        return super().forward((x * 255).to(torch.uint8).to(x) / 255)


class Blind(nn.Linear):
    @torch.no_grad()
    def forward(self, x):
        return super().forward(x)


@pytest.mark.parametrize("match", ["kl", "mse", "label"])
@pytest.mark.parametrize("kind", [Cut, Blind])
def test_a_loss_that_would_train_nothing_is_refused(kind, match):
    x, decoder = torch.rand(4, 8), nn.Linear(8, 8)
    reference = torch.tensor([0, 1, 2, 0]) if match == "label" else x
    loss = PredictionLoss(kind(8, 3), match)
    with pytest.raises(PenaltyError, match="would train nothing: no gradient comes back"):
        loss(decoder(x), reference)
    assert loss(x, reference).ndim == 0  # without anything to train, it is a measure
    assert PredictionLoss(nn.Linear(8, 3), match)(decoder(x), reference).requires_grad
    assert PredictionLoss(nn.Linear(8, 3), match)(x.clone().requires_grad_(), reference).requires_grad
