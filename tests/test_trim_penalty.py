"""Penalties on attributions: their gradient, one forward, and refusals."""

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import trimkit
from trimkit.coefficients import tree
from trimkit.coefficients.groups import Groups
from trimkit.errors import AttributionError, ModelError, PenaltyError, TrimkitWarning
from trimkit.penalties import hoyer
from trimkit.targets import log_probabilities
from trimkit.transforms import Transform

from .trim_cases import TRANSFORMS, X, Y, network


class Rescaled(Transform):
    """A learnable transform: one gain."""

    norm_constrained = True  # it is not, but what is tested here is who trains it

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(2.0))

    def forward(self, x):
        return x * self.gain

    def inverse(self, s, size=None):
        return s / self.gain

    def groups(self, size):
        return Groups(("all",), torch.zeros(size, dtype=torch.long), "position")


class TestTrimPenalty:
    @pytest.mark.parametrize("transform", TRANSFORMS)
    @pytest.mark.parametrize("attribution", ["saliency", "input_x_gradient", "integrated_gradients"])
    def test_its_gradient_is_that_of_a_hand_written_penalty(self, transform, attribution):
        model = network(nn.Softplus).double()
        x = X.double()
        penalty = trimkit.TrimPenalty("l1", transform=transform, attribution=attribution)
        _, value = penalty(model, x, target=Y)
        ours = torch.autograd.grad(value, model.parameters(), allow_unused=True)

        space, method = penalty.transform, penalty.attribution
        scores = method(lambda s: model(space.inverse(s, x.shape[1:])), space(x), target=Y, create_graph=True)
        byhand = torch.autograd.grad(tree.rows(scores).abs().sum(1).mean(), model.parameters(), allow_unused=True)
        for a, b in zip(ours, byhand, strict=True):
            assert (a is None) == (b is None)
            assert a is None or torch.allclose(a, b, atol=1e-10)

    def test_output_and_penalty_come_from_one_forward(self):
        model, calls = network(), []
        model.register_forward_hook(lambda module, args, output: calls.append(len(args[0])))
        output, value = trimkit.TrimPenalty("l1", transform="fft")(model, X, target=Y)
        assert calls == [4]
        assert torch.allclose(output, model(X), atol=1e-6)
        (cross_entropy(output, Y) + 0.1 * value).backward()
        assert all(p.grad is not None for p in model.parameters())

    def test_training_with_it_lowers_it(self):
        model, penalty = network(), trimkit.TrimPenalty("l1", transform="fft")
        optimiser = torch.optim.Adam(model.parameters(), 1e-2)
        values = []
        for _ in range(30):
            _, value = penalty(model, X, target=Y)
            values.append(value.item())
            optimiser.zero_grad()
            value.backward()
            optimiser.step()
        assert values[-1] < 0.3 * values[0]

    def test_measures_are_maximised(self):
        model = network()
        result = trimkit.Trim(model, "dct", "input_x_gradient")(X, Y)
        for choice in ("hoyer", hoyer, ("hoyer", {})):
            penalty = trimkit.TrimPenalty(choice, transform="dct")
            _, value = penalty(model, X, target=Y)
            assert torch.allclose(value, 1 - hoyer(result.scores).mean(), atol=1e-6)

    def test_masks_by_group_name_use_the_transforms_groups(self):
        model = network()
        by_name = trimkit.TrimPenalty(("masked", {"mask": ["dc"]}), transform="fft", attribution="saliency")
        mask = torch.zeros(7, 5)
        mask[0, 0] = 1
        by_mask = trimkit.TrimPenalty(("masked", {"mask": mask}), transform="fft", attribution="saliency")
        values = [p(model, X, target=log_probabilities)[1] for p in (by_name, by_mask)]
        assert torch.equal(*values)

    def test_its_report_counts_dead_rows_and_reach(self):
        class Gate(nn.Module):
            def __init__(self):
                super().__init__()
                self.linear = nn.Linear(56, 3)

            def forward(self, x):
                return self.linear(x.flatten(1)) * (x.flatten(1)[:, :1] > 0)

        penalty = trimkit.TrimPenalty("hoyer")
        x = X.clone()
        x[:3, 0, 0, 0] = -1.0
        x[3, 0, 0, 0] = 1.0
        penalty(Gate(), x, target=0)
        assert int(penalty.last.dead) == 3
        assert penalty.last.values[:3].tolist() == [1.0, 1.0, 1.0]  # dead is never super-sparse
        assert penalty.last.reached == 1

    def test_a_learnable_transform_is_trained_by_the_penalty_and_not_by_the_task(self):
        model, space = network(), Rescaled()
        penalty = trimkit.TrimPenalty("l1", transform=space, attribution="saliency")
        output, value = penalty(model, X, target=Y)
        assert torch.allclose(output, model(X))
        assert (
            torch.autograd.grad(cross_entropy(output, Y), space.gain, allow_unused=True, retain_graph=True)[0] is None
        )
        assert float(torch.autograd.grad(value, space.gain)[0]) != 0

    def test_a_penalty_that_reaches_nothing_says_why(self):
        frozen = network().requires_grad_(False)
        with pytest.raises(PenaltyError, match="every parameter it is meant for is frozen"):
            trimkit.TrimPenalty("l1")(frozen, X, target=Y)
        other = nn.Linear(3, 3)
        with pytest.raises(PenaltyError, match="reaches none of the 2 parameters it is meant for"):
            trimkit.TrimPenalty("l1", parameters=other.parameters())(network(), X, target=Y)

        class Constant(nn.Module):
            def __init__(self):
                super().__init__()
                self.bias = nn.Parameter(torch.zeros(1))

            def forward(self, x):
                return x.flatten(1).sum(1) + self.bias

        with pytest.raises(PenaltyError, match=r"would train nothing|reaches none"):
            trimkit.TrimPenalty("l1")(Constant(), X)

    def test_a_penalty_without_second_derivative_names_the_remedy(self):
        class Distances(nn.Module):
            def __init__(self):
                super().__init__()
                self.centres = nn.Parameter(torch.randn(3, 56))

            def forward(self, x):
                return torch.cdist(x.flatten(1), self.centres)

        with pytest.raises(PenaltyError, match=r"torch.cdist is not twice differentiable; write it out"):
            trimkit.TrimPenalty("l1")(Distances(), X, target=Y)

    def test_custom_functions_are_warned_of(self):
        class Double(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                return 2 * x

            @staticmethod
            def backward(ctx, gradient):
                return 2 * gradient

        class Doubling(nn.Module):
            def forward(self, x):
                return Double.apply(x)

        model = nn.Sequential(nn.Flatten(), nn.Linear(56, 4), nn.Tanh(), Doubling(), nn.Linear(4, 3))
        with pytest.warns(TrimkitWarning, match=r"custom autograd Functions \(Double\).*check_attribution"):
            trimkit.TrimPenalty("l1")(model, X, target=Y)
        two_passes = ("integrated_gradients", {"n_steps": 4, "chunk": 2, "memory": "two_pass"})
        trimkit.TrimPenalty("l1", attribution=two_passes)(network(), X, target=Y)  # trimkit's own is no stranger

    def test_penalties_must_give_one_value_a_sample(self):
        with pytest.raises(PenaltyError, match=r"one value a sample, \(4,\), from the penalty, got \(\)"):
            trimkit.TrimPenalty(lambda scores: scores.sum())(network(), X, target=Y)

    def test_attributions_that_cannot_be_trained_through_are_refused_at_construction(self):
        class Blind(trimkit.Attribution):
            differentiable = False

            def attribute(self, probe, s, baseline, generator):
                return s

        with pytest.raises(AttributionError, match="Blind cannot be trained through"):
            trimkit.TrimPenalty("l1", attribution=Blind())

    def test_batch_normalisation_in_train_mode_is_warned_of_once(self):
        model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(56), nn.Linear(56, 3))
        penalty = trimkit.TrimPenalty("l1")
        with pytest.warns(TrimkitWarning, match="batch normalisation in train mode"):
            penalty(model, X, target=Y)
        penalty(model, X, target=Y)  # warnings are errors here

    def test_batch_statistics_are_updated_once_as_in_a_plain_step(self):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(56), nn.Linear(56, 3))
        with pytest.warns(TrimkitWarning):
            trimkit.TrimPenalty("l1")(model, X, target=Y)
        assert int(model[1].num_batches_tracked) == 1

    def test_wrappers_with_silently_wrong_second_derivatives_are_refused(self):
        class DistributedDataParallel(nn.Module):
            def __init__(self, module):
                super().__init__()
                self.module, self.static_graph = module, True

        class FullyShardedDataParallel(nn.Module):
            pass

        with pytest.raises(ModelError, match="static_graph=True"):
            trimkit.TrimPenalty("l1")(DistributedDataParallel(network()), X, target=Y)
        with pytest.raises(ModelError, match="FSDP"):
            trimkit.TrimPenalty("l1")(FullyShardedDataParallel(), X, target=Y)

    @pytest.mark.filterwarnings("ignore::trimkit.errors.TrimkitWarning")
    @pytest.mark.parametrize("attribution", ["input_x_gradient", "integrated_gradients", "expected_gradients"])
    def test_the_tasks_output_does_not_mix_with_path_points(self, attribution):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(56, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 3))
        output, _ = trimkit.TrimPenalty("l1", attribution=attribution)(model, X, target=Y)
        assert torch.allclose(output, model(X), atol=1e-6)

    def test_dropout_is_warned_of_where_a_model_is_explained_and_not_where_it_is_trained(self):
        model = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(56, 3)).train()
        trimkit.TrimPenalty("l1")(model, X, target=Y)
        with pytest.warns(TrimkitWarning, match=r"dropout in train mode.*model\.eval"):
            trimkit.Trim(nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(56, 3)).train())(X, Y)

    def test_buffers_that_a_model_replaces_are_put_back(self):
        class Counting(nn.Module):
            def __init__(self):
                super().__init__()
                self.register_buffer("calls", torch.zeros(()))
                self.linear = nn.Linear(56, 3)

            def forward(self, x):
                self.calls = self.calls + 1
                return self.linear(x.flatten(1))

        model = Counting()
        trimkit.Trim(model, "fft")(X, Y)
        assert float(model.calls) == 0

    def test_a_model_frozen_after_its_first_step_is_noticed(self):
        model, penalty = network(), trimkit.TrimPenalty("l1", attribution="saliency")
        penalty(model, X, target=Y)
        model.requires_grad_(False)
        with pytest.raises(PenaltyError, match="every parameter it is meant for is frozen"):
            penalty(model, X, target=Y)

    def test_a_distributed_model_keeps_its_graph_instead_of_being_called_in_backward(self):
        class DistributedDataParallel(nn.Module):
            def __init__(self, module):
                super().__init__()
                self.module = module

            def forward(self, x):
                calls.append(len(x))
                return self.module(x)

        calls = []
        wrapped = DistributedDataParallel(network())
        options = {"n_steps": 6, "chunk": 2}
        penalty = trimkit.TrimPenalty("l1", attribution=("integrated_gradients", options))
        _, value = penalty(wrapped, X, target=Y)
        before = len(calls)
        value.backward()
        assert len(calls) == before
        explicit = ("integrated_gradients", {**options, "memory": "two_pass"})
        with pytest.raises(AttributionError, match="cannot be called during the backward pass; use memory='graph'"):
            trimkit.TrimPenalty("l1", attribution=explicit)(wrapped, X, target=Y)

    @pytest.mark.parametrize("transform", ["dct", "fft", "wavelet"])
    def test_transforms_keep_their_precision_under_autocast(self, transform):
        model = network()
        with torch.autocast("cpu", torch.bfloat16):
            residual = trimkit.Trim(model, transform, "saliency")(X, Y).residual
            trimkit.TrimPenalty("l1", transform=transform)(model, X, target=Y)[1].backward()
        assert residual.abs().max() < 1e-5

    @pytest.mark.parametrize(
        ("penalty", "says"),
        [(None, "got NoneType"), (lambda scores: 3.0, "got float"), (torch.sum, r"got \(\)")],
    )
    def test_what_is_no_penalty_is_refused(self, penalty, says):
        with pytest.raises(PenaltyError, match=says):
            trimkit.TrimPenalty(penalty)(network(), X, target=Y)

    def test_inference_mode_is_no_place_to_train(self):
        with torch.inference_mode(), pytest.raises(PenaltyError, match="inference_mode"):
            trimkit.TrimPenalty("l1")(network(), X, target=Y)

    def test_autocast_of_the_user_is_left_alone(self):
        model = network()
        with torch.autocast("cpu", torch.bfloat16):
            output, value = trimkit.TrimPenalty("l1", transform="fft")(model, X, target=Y)
        assert output.dtype == torch.bfloat16
        assert value.dtype == torch.float32
        value.backward()
        assert torch.isfinite(model[0].weight.grad).all()


class Positions(nn.Module):
    """Adds the embedding of positions, whose numbers are a buffer, as transformers have it."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("numbers", torch.arange(6))
        self.embedding, self.head = nn.Embedding(6, 4), nn.Linear(24, 3)

    def forward(self, x):
        return self.head((x.unflatten(1, (6, 4)) * self.embedding(self.numbers)).tanh().flatten(1))


def test_buffers_that_stay_as_they_are_are_not_written_to():
    torch.manual_seed(0)
    model = Positions().train()
    penalty = trimkit.TrimPenalty("l1", attribution=("integrated_gradients", {"n_steps": 3, "memory": "graph"}))
    logits, value = penalty(model, torch.randn(5, 24), target=torch.tensor([0, 1, 2, 0, 1]))
    (logits.square().mean() + value).backward()
    assert all(p.grad.abs().sum() > 0 for p in model.parameters())
