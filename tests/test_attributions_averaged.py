"""Expected gradients, GradientShap, SmoothGrad, ablations and gradients of losses: Captum, closed forms, draws."""

import captum.attr
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, log_softmax

import trimkit
from trimkit.attributions import (
    ExpectedGradients,
    FeatureAblation,
    GradientOfLoss,
    GradientShap,
    IntegratedGradients,
    Occlusion,
    Saliency,
    SmoothGrad,
)
from trimkit.coefficients.groups import Groups
from trimkit.errors import AttributionError, OptionError, ShapeError

torch.manual_seed(0)
MODEL = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Tanh(), nn.Flatten(), nn.Linear(48, 3)).double()
X = torch.randn(4, 1, 6, 6, dtype=torch.float64)
Y = torch.tensor([0, 2, 1, 1])
REFERENCES = torch.randn(5, 1, 6, 6, dtype=torch.float64)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


class TestFromReferences:
    def test_expected_gradients_approach_the_mean_of_integrated_gradients(self):
        exact = torch.stack([IntegratedGradients(16)(MODEL, X, target=Y, baseline=r[None]) for r in REFERENCES]).mean(0)
        found = ExpectedGradients(4000)(MODEL, X, target=Y, baseline=REFERENCES)
        assert (found - exact).norm() < 0.05 * exact.norm()

    def test_one_reference_and_a_linear_model_leave_nothing_to_chance(self):
        weight = torch.randn(36, 3, dtype=torch.float64)
        found = ExpectedGradients(2)(lambda x: x.flatten(1) @ weight, X, target=1, baseline=REFERENCES[:1])
        expected = (X - REFERENCES[:1]).flatten(1) * weight[:, 1]
        assert torch.allclose(found.flatten(1), expected)

    def test_numbers_are_references_too(self):
        zero = ExpectedGradients(3)(MODEL, X, target=Y, baseline=0.0)
        assert torch.equal(zero, ExpectedGradients(3)(MODEL, X, target=Y, baseline=torch.zeros_like(X[:1])))

    def test_without_references_the_batch_serves(self):
        found = ExpectedGradients(8)(MODEL, X, target=Y)
        assert torch.equal(found, ExpectedGradients(8)(MODEL, X, target=Y, baseline=X))
        with pytest.raises(AttributionError, match="a batch of one holds none"):
            ExpectedGradients()(MODEL, X[:1], target=0)

    def test_gradient_shap_without_noise_is_expected_gradients(self):
        options = {"target": Y, "baseline": REFERENCES}
        one = GradientShap(6, noise=0.0)(MODEL, X, generator=seeded(3), **options)
        assert torch.equal(one, ExpectedGradients(6)(MODEL, X, generator=seeded(3), **options))

    def test_references_of_another_shape_are_refused(self):
        with pytest.raises(ShapeError, match=r"references \(R, 1, 6, 6\)"):
            ExpectedGradients()(MODEL, X, target=Y, baseline=torch.zeros(2, 5))

    def test_training_steps_draw_anew_and_repeat_with_the_seed(self):
        def values(seed):
            penalty = trimkit.TrimPenalty("l1", attribution="expected_gradients", seed=seed)
            return [float(penalty(MODEL, X, target=Y)[1].detach()) for _ in range(3)]

        assert values(0) == values(0)
        assert len(set(values(0))) == 3
        assert values(0) != values(1)


class TestSmoothGrad:
    def test_without_noise_it_is_saliency(self):
        assert torch.allclose(SmoothGrad(3, noise=0.0)(MODEL, X, target=Y), Saliency()(MODEL, X, target=Y))

    def test_on_a_quadratic_the_noise_averages_out(self):
        found = SmoothGrad(20_000, noise=0.5, absolute=False)(lambda x: (x**2).sum(1), torch.tensor([[1.0, -3.0]]))
        assert torch.allclose(found, torch.tensor([[2.0, -6.0]]), atol=0.05)

    def test_noise_is_complex_where_coefficients_are(self):
        seen = []

        def model(s):
            seen.append(s.detach())
            return s.abs().square().sum(1)

        SmoothGrad(500, noise=0.3)(model, torch.tensor([[1 + 1j, 2 - 1j, 0j]]))
        spread = seen[0] - seen[0].mean(0)
        assert torch.allclose(spread.real.std(), spread.imag.std(), rtol=0.2)

    def test_constant_rows_have_a_gradient(self):
        x = torch.ones(2, 3, requires_grad=True)
        SmoothGrad()(lambda x: x.sin().sum(1), x, create_graph=True).sum().backward()
        assert torch.isfinite(x.grad).all()


class TestAblation:
    def test_single_coefficients_are_captums_feature_ablation(self):
        expected = captum.attr.FeatureAblation(MODEL).attribute(X, target=Y)
        assert torch.allclose(FeatureAblation()(MODEL, X, target=Y), expected)

    def test_a_groups_scores_sum_to_its_effect(self):
        groups = Groups(("top", "bottom"), torch.arange(6)[:, None].expand(1, 6, 6) // 3, "half")
        scores = FeatureAblation(groups)(MODEL, X, target=Y, baseline=0.5)
        top = X.clone()
        top[:, :, :3] = 0.5
        effect = (MODEL(X) - MODEL(top)).gather(1, Y[:, None])[:, 0].detach()
        assert torch.allclose(groups.sums(scores)[:, 0], effect)
        assert torch.equal(scores[:, :, 0], scores[:, :, 1])

    def test_under_trim_the_transforms_bands_are_removed(self):
        trim = trimkit.Trim(MODEL, "fft", "feature_ablation")
        result = trim(X, Y)
        groups = trim.transform.groups((1, 6, 6))
        without = torch.where(groups.mask(groups.names[2]).expand(1, 6, 4), 0, result.coefficients)
        effect = (MODEL(X) - MODEL(trim.transform.inverse(without, (1, 6, 6)))).gather(1, Y[:, None])[:, 0].detach()
        assert torch.allclose(groups.sums(result.scores)[:, 2], effect)

    def test_chunks_change_nothing(self):
        whole = FeatureAblation(chunk=36)(MODEL, X, target=Y)
        assert torch.allclose(FeatureAblation(chunk=5)(MODEL, X, target=Y), whole)

    def test_windows_that_do_not_overlap_are_captums_occlusion(self):
        expected = captum.attr.Occlusion(MODEL).attribute(X, (1, 3, 3), strides=(1, 3, 3), target=Y)
        found = Occlusion((3, 3), stride=3)(MODEL, X, target=Y)
        assert torch.allclose(9 * found, expected.double(), atol=1e-6)

    def test_every_coefficient_is_covered_also_where_the_stride_does_not_fit(self):
        scores = Occlusion(4, stride=3)(lambda x: x.sum(1), torch.ones(1, 9, dtype=torch.float64))
        assert torch.allclose(scores, torch.ones(1, 9, dtype=torch.float64))  # each window of 4 has effect 4

    def test_trees_are_refused_by_windows(self):
        with pytest.raises(ShapeError, match="feature_ablation takes trees"):
            Occlusion(2)(lambda s: s[0].sum(1), [X.flatten(1), X.flatten(1)])


class TestGradientOfLoss:
    def test_it_is_the_gradient_of_the_summed_log_probabilities(self):
        x = X.clone().requires_grad_()
        (expected,) = torch.autograd.grad(log_softmax(MODEL(x), 1).sum(), x)
        assert torch.allclose(GradientOfLoss()(MODEL, X), expected)

    @pytest.mark.parametrize("target", [Y, 1])
    def test_or_of_the_cross_entropy(self, target):
        x = X.clone().requires_grad_()
        labels = target if isinstance(target, torch.Tensor) else torch.full((4,), target)
        (expected,) = torch.autograd.grad(cross_entropy(MODEL(x), labels, reduction="sum"), x)
        assert torch.allclose(GradientOfLoss("cross_entropy")(MODEL, X, target=target), expected)


@pytest.mark.parametrize(
    "make",
    [
        lambda: ExpectedGradients(0),
        lambda: SmoothGrad(noise=-1.0),
        lambda: GradientShap(noise=float("nan")),
        lambda: FeatureAblation(chunk=0),
        lambda: Occlusion(0),
        lambda: Occlusion((2, 2), stride=(1,)),
        lambda: GradientOfLoss("mse"),
    ],
)
def test_options_out_of_range_are_refused(make):
    with pytest.raises(OptionError, match="expected"):
        make()
