"""TRIM itself: exactness, the fixed residual, one forward, and refusals."""

import copy

import pytest
import torch
from torch import nn

import trimkit
from trimkit.coefficients import tree
from trimkit.coefficients.groups import Groups
from trimkit.errors import DataError, ModelError, ShapeError, TrimkitWarning
from trimkit.predictor.composed import Composed
from trimkit.transforms import Transform

from .trim_cases import TRANSFORMS, X, Y, network


class Lossy(Transform):
    """Keeps the mean of each column: a coarse space with a large residual."""

    exact = False

    def forward(self, x):
        return x.mean(-2)

    def inverse(self, s, size=None):
        return s[..., None, :].expand(-1, *size)

    def groups(self, size):
        return Groups(("all",), torch.zeros(size[0], size[2], dtype=torch.long), "column")


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
        path = next(x for x in seen if len(x) == 12).unflatten(0, (3, 4))
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


def test_a_composed_function_takes_copies_of_the_batch():
    composed = Composed(lambda x: x.flatten(1).sum(1), Lossy(), X, keep_graph=False)
    twice = composed(tree.concatenate([composed.s, composed.s]))
    assert torch.allclose(twice, torch.cat([X, X]).flatten(1).sum(1), atol=1e-5)


class Viewing(torch.nn.Module):
    """Asks for contiguous data, as .view does."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(192, 3)

    def forward(self, x):
        return self.layer(x.view(len(x), -1))


@pytest.mark.parametrize("transform", ["color", "fft", "wavelet", "laplacian_pyramid"])
def test_the_model_sees_data_that_lie_in_memory_as_the_callers_do(transform):
    model, x = Viewing().eval(), torch.rand(2, 3, 8, 8)
    assert torch.allclose(trimkit.Trim(model, transform)(x, 0).output, model(x), atol=1e-5)


@pytest.mark.parametrize("transform", ["fft", "dct", "frequency_bands", "wavelet"])
def test_a_model_in_half_precision_is_explained_in_a_space_of_full_precision(transform):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3)).eval()
    x = torch.rand(2, 1, 8, 8).bfloat16()
    half = trimkit.Trim(copy.deepcopy(model).bfloat16(), transform, "input_x_gradient")(x, 0)
    full = trimkit.Trim(model, transform, "input_x_gradient")(x.float(), 0)
    assert half.output.dtype == torch.bfloat16
    for one, other in zip(tree.leaves(half.scores), tree.leaves(full.scores), strict=True):
        assert one.dtype == torch.float32
        assert torch.allclose(one, other, atol=0.02)
