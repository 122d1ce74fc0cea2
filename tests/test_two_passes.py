"""Integrated gradients whose chunks are computed again in the backward pass."""

import pytest
import torch
from torch import nn

from trimkit.attributions import IntegratedGradients
from trimkit.errors import AttributionError


def network(activation=nn.Tanh):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), activation(), nn.Flatten(), nn.Linear(64, 8), activation(), nn.Linear(8, 3)
    ).double()


MODEL, Y = network(), torch.tensor([0, 2, 1, 1])
X = torch.randn(4, 1, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


class TestTwoPasses:
    """Integrated gradients whose chunks are computed again in the backward pass."""

    def gradients(self, model, memory, x=X, penalty=lambda scores: scores.abs().sum()):
        x = x.clone().requires_grad_()
        attribution = IntegratedGradients(12, chunk=5, memory=memory)
        found = attribution.explain(model, x, target=Y, create_graph=True)
        loss = penalty(found.scores) + found.output.square().sum()
        return torch.autograd.grad(loss, [x, *model.parameters()], allow_unused=True)

    @pytest.mark.parametrize("activation", [nn.Tanh, nn.ReLU, nn.Softplus])
    def test_the_gradient_is_that_of_the_whole_graph(self, activation):
        model = network(activation)
        for one, two in zip(self.gradients(model, "graph"), self.gradients(model, "two_pass"), strict=True):
            assert torch.allclose(one, two, atol=1e-12)

    def test_dropout_falls_alike_in_both_passes(self):
        model = nn.Sequential(nn.Flatten(), nn.Linear(36, 8), nn.Dropout(0.5), nn.Tanh(), nn.Linear(8, 3)).double()
        attribution = IntegratedGradients(6, chunk=2, memory="two_pass")
        weight = model[1].weight

        def value():
            torch.manual_seed(5)
            return attribution(model, X, target=Y, create_graph=True).square().sum()

        direction = torch.randn_like(weight)
        analytic = (torch.autograd.grad(value(), weight)[0] * direction).sum()
        moved = []
        for sign in (1, -1):
            with torch.no_grad():
                weight.add_(sign * 1e-6 * direction)
            moved.append(value().detach())
            with torch.no_grad():
                weight.sub_(sign * 1e-6 * direction)
        assert torch.allclose(analytic, (moved[0] - moved[1]) / 2e-6, rtol=1e-5)

    def test_parameters_that_only_path_points_use_get_their_gradient(self):
        class Everything(nn.Module):
            def __init__(self):
                super().__init__()
                torch.manual_seed(0)
                self.near, self.far = nn.Linear(4, 1).double(), nn.Linear(4, 1).double()

            def forward(self, x):
                return torch.where(x.norm(dim=1, keepdim=True) < 1, self.near(x).sin(), self.far(x).sin())

        class OnlyWhatIsUsed(Everything):
            def forward(self, x):
                inside = x.norm(dim=1) < 1
                out = torch.zeros(len(x), 1, dtype=x.dtype)
                for layer, rows in ((self.near, inside), (self.far, ~inside)):
                    if rows.any():
                        out = out.masked_scatter(rows[:, None], layer(x[rows]).sin())
                return out

        x = torch.ones(2, 4, dtype=torch.float64)
        models = {"graph": Everything(), "two_pass": OnlyWhatIsUsed()}
        for memory, model in models.items():
            scores = IntegratedGradients(8, chunk=2, memory=memory)(model, x, create_graph=True)
            scores.square().sum().backward()
        assert models["graph"].near.weight.grad.abs().sum() > 0
        for name in ("near", "far"):
            one, two = (getattr(model, name).weight.grad for model in models.values())
            assert torch.allclose(one, two)

    def test_weights_computed_outside_the_model_are_reached(self):
        theta = torch.randn(36, 3, dtype=torch.float64, requires_grad=True)

        def gradient(memory):
            weight = theta.tanh()

            def model(x):
                return (x.flatten(1) @ weight).sin()

            attribution = IntegratedGradients(6, chunk=2, memory=memory)
            found = attribution.explain(model, X, target=Y, create_graph=True)
            return torch.autograd.grad(found.scores.square().sum() + found.output.sum(), theta)[0]

        assert torch.allclose(gradient("two_pass"), gradient("graph"))

    def test_a_change_of_mode_before_the_backward_is_refused(self):
        model = nn.Sequential(nn.Flatten(), nn.Linear(36, 8), nn.Dropout(0.5), nn.Linear(8, 3)).double().eval()
        scores = IntegratedGradients(4, chunk=2)(model, X, target=Y, create_graph=True)
        model.train()
        with pytest.raises(AttributionError, match="switched between train and eval mode"):
            scores.sum().backward()

    def test_the_second_pass_runs_under_the_autocast_of_the_first(self):
        model = network().float()
        seen = []
        model[0].register_forward_hook(lambda module, args, output: seen.append(output.dtype))
        with torch.autocast("cpu", torch.bfloat16):
            scores = IntegratedGradients(4, chunk=2)(model, X.float(), target=Y, create_graph=True)
        first = len(seen)
        scores.sum().backward()
        assert set(seen[first:]) == {torch.bfloat16}

    def test_batch_normalisation_in_train_mode_keeps_the_graph(self):
        model = nn.Sequential(nn.Flatten(), nn.Linear(36, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 3)).double()
        scores = IntegratedGradients(4, chunk=2)(model, X, target=Y, create_graph=True)
        before = int(model[2].num_batches_tracked)
        scores.sum().backward()
        assert int(model[2].num_batches_tracked) == before
        with pytest.raises(AttributionError, match="would count the batch again; use memory='graph'"):
            IntegratedGradients(4, chunk=2, memory="two_pass")(model, X, target=Y, create_graph=True)

    def test_an_operation_without_second_derivative_is_named_in_the_backward(self):
        centres = torch.randn(3, 36, requires_grad=True)

        def model(x):
            return torch.cdist(x.flatten(1), centres)

        scores = IntegratedGradients(4, chunk=2)(model, X.float(), target=1, create_graph=True)
        with pytest.raises(AttributionError, match=r"torch\.cdist is not twice differentiable"):
            scores.sum().backward()

    def test_stepping_the_weights_before_the_backward_is_refused(self):
        model = network()
        scores = IntegratedGradients(4, chunk=2, memory="two_pass")(model, X, target=Y, create_graph=True)
        with torch.no_grad():
            model[0].weight.mul_(2)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            scores.sum().backward()

    def test_it_is_what_auto_chooses_for_several_chunks(self):
        for steps, name in ((12, "_SumOfPiecesBackward"), (5, "MulBackward0")):
            scores = IntegratedGradients(steps, chunk=5)(MODEL, X, target=Y, create_graph=True)
            assert scores.grad_fn.name() == name

    def test_attention_is_recomputed_by_its_twice_differentiable_kernel(self):
        torch.manual_seed(0)
        layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)

        def model(x):
            return layer(x).mean(1)

        scores = IntegratedGradients(4, chunk=2, memory="two_pass")(
            model, torch.randn(2, 5, 8), target=1, create_graph=True
        )
        scores.square().sum().backward()
        assert layer.self_attn.in_proj_weight.grad.abs().sum() > 0
