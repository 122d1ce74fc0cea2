"""Models that once met an error of torch's: they work, or the message says what to do."""

import warnings

import captum.attr
import pytest
import torch
from torch import nn

import trimkit
from trimkit.coefficients.groups import Groups
from trimkit.errors import AttributionError, OptionError, ShapeError, TrimkitError


@pytest.fixture
def x():
    return torch.randn(4, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def seeded(make):
    torch.manual_seed(0)
    return make().double().eval()


def deep():
    return nn.Sequential(
        nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4), nn.Sigmoid(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3)
    )


@pytest.mark.parametrize("at", [1, 2, 4])
@pytest.mark.parametrize("name", ["DeepLift", "GuidedBackprop"])
def test_captums_layer_rules_work_at_a_layer_above_activations(x, at, name):
    model = seeded(deep)
    got = trimkit.Trim(model, "identity", f"captum:{name}", at=str(at))(x, 1).scores
    h = model[: at + 1](x).detach()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = getattr(captum.attr, name)(model[at + 1 :]).attribute(h.requires_grad_(), target=1)
    torch.testing.assert_close(got, expected.detach())


def test_a_layer_that_runs_below_and_above_is_no_layer_below(x):
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.last = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 3)
            self.activation = nn.Tanh()

        def forward(self, x):
            return self.last(self.activation(self.second(self.activation(self.first(x)))))

    model = seeded(Shared)
    with pytest.raises(AttributionError):
        trimkit.Trim(model, "identity", "captum:DeepLift", at="second")(x, 1)


class Experts(nn.Module):
    """Sends each row to one of its experts."""

    def __init__(self):
        super().__init__()
        self.gate, self.experts = (
            nn.Linear(6, 2),
            nn.ModuleList(nn.Sequential(nn.Linear(6, 3), nn.Tanh()) for _ in "ab"),
        )

    def forward(self, x):
        chosen, output = self.gate(x).argmax(1), x.new_zeros(len(x), 3)
        for number, expert in enumerate(self.experts):
            rows = chosen == number
            output[rows] = expert(x[rows])
        return output


def test_deeplift_of_routed_rows_is_refused_and_nothing_stays_on_the_layers(x):
    model = seeded(Experts)
    with torch.no_grad():  # three rows and all references go to the first expert, which gets an odd number
        model.gate.weight.copy_(torch.eye(2, 6) * torch.tensor([[1.0], [0.0]]))
        model.gate.bias.copy_(torch.tensor([0.1, 0.0]))
        x[:, 0] = torch.tensor([1.0, 1.0, 1.0, -1.0])
    before = [set(vars(module)) for module in model.modules()]
    with pytest.raises(AttributionError, match="different experts"):
        trimkit.Trim(model, "identity", "captum:DeepLift")(x, 1)
    assert [set(vars(module)) for module in model.modules()] == before


def test_routed_rows_have_the_scores_of_their_experts(x):
    model = seeded(Experts)
    chosen = model.gate(x).argmax(1)
    scores = trimkit.Trim(model, "identity", "input_x_gradient")(x, 1).scores
    for row, number in enumerate(chosen):
        expert = model.experts[number]
        slope = 1 - expert(x[row])[1] ** 2
        torch.testing.assert_close(scores[row], (x[row] * slope * expert[0].weight[1]).detach())


class Force(nn.Module):
    """The gradient of an energy, as models of molecules compute it."""

    def __init__(self):
        super().__init__()
        self.energy = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 1))

    def forward(self, x):
        if not x.requires_grad:
            x = x.clone().requires_grad_()
        return torch.autograd.grad(self.energy(x).sum(), x, create_graph=True)[0]

    def by_hand(self, x):
        first, _, last = self.energy
        return (last.weight * (1 - first(x).tanh() ** 2)) @ first.weight


@pytest.mark.parametrize(
    "attribution", ["input_x_gradient", ("integrated_gradients", {"n_steps": 8}), "feature_ablation", "smoothgrad"]
)
def test_a_model_may_differentiate_inside_itself(x, attribution):
    model = seeded(Force)
    one, other = (trimkit.Trim(f, "identity", attribution)(x, 1).scores for f in (model, model.by_hand))
    torch.testing.assert_close(one, other)


def test_a_penalty_on_a_model_that_differentiates_inside_itself_trains_it(x):
    gradients = []
    for use in (lambda model: model, lambda model: model.by_hand):
        model = seeded(Force)
        penalty = trimkit.TrimPenalty("l1", parameters=model.parameters())
        penalty(use(model), x, 1)[1].backward()
        gradients.append(model.energy[0].weight.grad)
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("name", ["feature_ablation", "captum:FeatureAblation", "contextual_decomposition"])
def test_each_coefficient_can_be_a_group(x, name):
    single = Groups(tuple("abcdef"), torch.arange(6), "column")
    model = seeded(deep)
    one, other = (
        trimkit.Trim(model, "identity", (name, {"groups": groups}))(x, 1).scores for groups in ("coefficients", single)
    )
    torch.testing.assert_close(one, other)


@pytest.mark.parametrize("name", ["feature_ablation", "captum:FeatureAblation", "contextual_decomposition"])
def test_groups_of_an_unknown_word_are_refused(name):
    with pytest.raises(OptionError, match="coefficients"):
        trimkit.create("attribution", name, groups="coefficient")


@pytest.mark.parametrize("match", ["mse", "kl"])
def test_a_prediction_loss_takes_a_predictor_that_differentiates_inside_itself(x, match):
    values, gradients = [], []
    model = seeded(Force)
    for predictor in (model, ByHand(model)):
        x_hat = (x + 0.1).requires_grad_()
        value = trimkit.PredictionLoss(predictor, match=match)(x_hat, x)
        value.backward()
        values.append(value)
        gradients.append(x_hat.grad)
    torch.testing.assert_close(*values)
    torch.testing.assert_close(*gradients)


class ByHand(nn.Module):
    """The same forces, without a gradient inside."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model.by_hand(x)


class Around(nn.Module):
    """A perceptron and a function of its output."""

    def __init__(self, function):
        super().__init__()
        self.body, self.function = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)), function

    def forward(self, x):
        return self.function(self.body(x))


GRADIENTS = ("input_x_gradient", "captum:GradientShap", "captum:GuidedBackprop", "captum:DeepLift", "gradient_of_loss")


@pytest.mark.parametrize(
    "attribution", ["integrated_gradients", "feature_ablation", "captum:ShapleyValues", *GRADIENTS]
)
@pytest.mark.parametrize("function", [torch.fft.fft, lambda y: y > 0])
def test_outputs_that_are_no_real_numbers_are_refused(x, function, attribution):
    with pytest.raises(ShapeError, match=r"expected (real numbers|logits)"):
        trimkit.Trim(seeded(lambda: Around(function)), "identity", attribution)(x, 1)


@pytest.mark.parametrize("attribution", GRADIENTS)
def test_gradients_of_numbers_of_classes_are_refused(x, attribution):
    with pytest.raises(TrimkitError, match=r"detach|logits|differentiable"):
        trimkit.Trim(seeded(lambda: Around(lambda y: y.argmax(1))), "identity", attribution)(x)


@pytest.mark.parametrize("loss", ["log_probabilities", "cross_entropy"])
def test_the_gradient_of_a_loss_finds_the_logits_of_an_output_with_parts(x, loss):
    one, other = (
        trimkit.Trim(seeded(lambda f=f: Around(f)), "identity", ("gradient_of_loss", {"loss": loss}))(x, 1).scores
        for f in (lambda y: {"logits": y, "cache": None}, lambda y: y)
    )
    torch.testing.assert_close(one, other)


@pytest.mark.parametrize("output", [lambda y: None, lambda y: y.detach().numpy()])
def test_the_gradient_of_a_loss_of_no_logits_is_refused(x, output):
    with pytest.raises(ShapeError, match="expected logits"):
        trimkit.Trim(seeded(lambda: Around(output)), "identity", "gradient_of_loss")(x)


@pytest.mark.filterwarnings("ignore::trimkit.TrimkitWarning")
def test_a_model_that_draws_in_eval_mode_leaves_the_global_state_every_time(x):
    model = seeded(lambda: Around(nn.functional.dropout))
    before = torch.get_rng_state()
    for attribution in ("saliency", "input_x_gradient", "integrated_gradients", "feature_ablation", "saliency"):
        trimkit.Trim(model, "identity", attribution)(x, 1)
        assert torch.equal(torch.get_rng_state(), before)


def test_what_fails_within_captum_is_refused_by_its_name(x):
    class Mapped(Around):
        def forward(self, x):
            return torch.func.vmap(self.body)(x)

    with pytest.raises(AttributionError, match="captum:LRP refuses this model"):
        trimkit.Trim(seeded(lambda: Mapped(None)), "identity", "captum:LRP")(x, 1)
