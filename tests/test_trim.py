"""TRIM itself: exactness, the fixed residual, one forward, and refusals."""

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import trimkit
from trimkit import tree
from trimkit.errors import AttributionError, DataError, ModelError, PenaltyError, ShapeError, TrimkitWarning
from trimkit.groups import Groups
from trimkit.penalties import hoyer
from trimkit.registry import available
from trimkit.targets import log_probabilities
from trimkit.transforms import Transform
from trimkit.trim import Composed

ELSEWHERE = ("color", "compose", "stft")  # take other data than these pictures; see test_transforms.py
READY = [name for name, spec in available("transforms").items() if spec.exact and not spec.needs_fit]
TRANSFORMS = [name for name in READY if name not in ELSEWHERE]


def network(activation=nn.Tanh, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, 4, 3), activation(), nn.Flatten(), nn.Linear(4 * 5 * 6, 3))


X = torch.randn(4, 1, 7, 8, generator=torch.Generator().manual_seed(1))
Y = torch.tensor([0, 2, 1, 1])


class Lossy(Transform):
    """Keeps the mean of each column: a coarse space with a large residual."""

    exact = False

    def forward(self, x):
        return x.mean(-2)

    def inverse(self, s, size=None):
        return s[..., None, :].expand(-1, *size)

    def groups(self, size):
        return Groups(("all",), torch.zeros(size[0], size[2], dtype=torch.long), "column")


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


class TestTrim:
    @pytest.mark.parametrize("transform", [*TRANSFORMS, Lossy()], ids=str)
    def test_the_composed_output_is_the_models(self, transform):
        model = network()
        result = trimkit.Trim(model, transform)(X, Y)
        assert torch.allclose(result.output, model(X), atol=1e-6)
        assert (result.residual.abs().max() > 0.1) == isinstance(transform, Lossy)

    @pytest.mark.parametrize("transform", [*TRANSFORMS, Lossy()], ids=str)
    def test_integrated_gradients_are_complete_against_the_baseline_with_residual(self, transform):
        model = network().double()
        trim = trimkit.Trim(model, transform, ("integrated_gradients", {"n_steps": 48}))
        result = trim(X.double(), Y)
        assert result.gap.abs().max() < 1e-9
        without = trim.transform.inverse(tree.map_leaves(torch.zeros_like, result.coefficients), X.shape[1:])
        expected = (model(X.double()) - model(without + result.residual)).gather(1, Y[:, None])[:, 0]
        assert torch.allclose(result.change, expected.detach(), atol=1e-12)

    def test_the_residual_stays_fixed_along_the_path(self):
        """The published code recomputes it at each step, which pulls every point back to x."""
        seen = []

        def model(x):
            seen.append(x.detach())
            return x.flatten(1).sum(1)

        trimkit.Trim(model, Lossy(), ("integrated_gradients", {"n_steps": 3, "chunk": 3}))(X)
        path = seen[0].unflatten(0, (4, 4))[1:]
        assert (path - X).abs().amax((1, 2, 3, 4)).min() > 0.01
        distances = (path[1:] - path[:-1]).abs().sum((1, 2, 3, 4))
        assert torch.allclose(distances[0], distances[1], rtol=1e-4)

    def test_in_the_identity_space_it_is_the_plain_attribution(self):
        model = network()
        expected = trimkit.create("attribution", "input_x_gradient")(model, X, target=Y)
        assert torch.equal(trimkit.Trim(model, "identity", "input_x_gradient")(X, Y).scores, expected)

    def test_only_complete_attributions_report_a_gap(self):
        assert trimkit.Trim(network(), "fft", "saliency")(X, Y).gap is None
        assert trimkit.Trim(network(), "fft", "integrated_gradients")(X, Y).gap.shape == (4,)

    def test_names_options_and_objects_are_taken(self):
        trim = trimkit.Trim(network(), ("frequency_bands", {"bands": 2}), trimkit.create("attribution", "saliency"))
        assert trim(X, 1).scores.shape == (4, 3, 1, 7, 8)

    def test_nothing_of_the_callers_changes_also_when_the_model_fails(self):
        model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(56), nn.Dropout(0.5), nn.Linear(56, 3)).train()
        before = {name: value.clone() for name, value in model.state_dict().items()}
        x = X.clone()
        torch.manual_seed(3)
        expected = torch.rand(2)
        torch.manual_seed(3)
        with pytest.warns(TrimkitWarning, match="batch normalisation in train mode"):
            trimkit.Trim(model, "fft")(x, Y)
        assert torch.equal(torch.rand(2), expected)
        model[3].register_forward_hook(lambda *_: (_ for _ in ()).throw(RuntimeError("boom")))
        with pytest.raises(RuntimeError, match="boom"):
            trimkit.Trim(model, "fft")(x, Y)
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
        assert model.training
        assert not x.requires_grad
        assert torch.equal(x, X)
        assert all(p.grad is None for p in model.parameters())

    def test_create_graph_trains_through_the_scores(self):
        model = network()
        trimkit.Trim(model, "fft", "saliency")(X, Y, create_graph=True).scores.sum().backward()
        assert model[0].weight.grad.abs().sum() > 0

    @pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # torch's own compiler
    def test_compiled_models_are_run_eagerly(self):
        model = network()
        compiled = torch.compile(model, backend="aot_eager")
        compiled(X)
        expected = trimkit.Trim(model, "fft", "saliency")(X, Y).scores
        assert torch.equal(trimkit.Trim(compiled, "fft", "saliency")(X, Y).scores, expected)
        trimkit.TrimPenalty("l1")(compiled, X, target=Y)[1].backward()
        assert model[0].weight.grad.abs().sum() > 0

    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
    def test_the_datas_dtype_is_kept(self, dtype):
        model = network().to(dtype)
        result = trimkit.Trim(model, "identity", "integrated_gradients")(X.to(dtype), Y)
        assert result.scores.dtype == dtype
        assert torch.isfinite(result.scores).all()

    def test_one_sample_is_enough(self):
        assert trimkit.Trim(network(), "fft")(X[:1], 0).scores.shape == (1, 1, 7, 5)

    @pytest.mark.parametrize(
        ("x", "kind", "says"),
        [
            (X[:0], ShapeError, "at least one sample"),
            (X.long(), ShapeError, r"got torch.int64; convert it as in training"),
            (X.numpy(), ShapeError, "got ndarray"),
            (X.to(torch.complex64), ShapeError, "expected floating"),
            (torch.where(X > 0, torch.nan, X), DataError, "NaN or infinity"),
            (torch.tensor(1.0), ShapeError, "got ()"),
        ],
    )
    def test_bad_input_is_refused_before_work(self, x, kind, says):
        def never(x):
            raise AssertionError("the model was called")

        with pytest.raises(kind, match=says):
            trimkit.Trim(never, "fft")(x, 0)

    def test_what_is_no_model_is_refused(self):
        with pytest.raises(ModelError, match="callable model, got str"):
            trimkit.Trim("resnet")


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


def test_a_composed_function_takes_copies_of_the_batch():
    composed = Composed(lambda x: x.flatten(1).sum(1), Lossy(), X, keep_graph=False)
    twice = composed(tree.concatenate([composed.s, composed.s]))
    assert torch.allclose(twice, torch.cat([X, X]).flatten(1).sum(1), atol=1e-5)
