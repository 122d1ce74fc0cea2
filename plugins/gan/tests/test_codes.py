"""InfoGAN's codes: their prior, their layout, and Q against torch.distributions."""

from __future__ import annotations

import math

import pytest
import torch
from torch import distributions
from trimkit_gan.codes import LEAST_LOG_VARIANCE, CodeLayout, CodePosterior, batch_information

from trimkit.errors import OptionError

from .draws import generator

LAYOUT = CodeLayout((3, 2), 2)


def outputs(n: int = 7, layout: CodeLayout = LAYOUT) -> torch.Tensor:
    return torch.randn(n, layout.outputs, generator=generator(), dtype=torch.float64)


def test_sizes_names_and_groups():
    assert (LAYOUT.size, LAYOUT.outputs) == (7, 9)
    assert LAYOUT.names == ("category 0", "category 1", "continuous 0", "continuous 1")
    assert LAYOUT.groups().labels.tolist() == [0, 0, 0, 1, 1, 2, 3]
    with_noise = LAYOUT.groups(noise=2)
    assert with_noise.names[0] == "noise"
    assert with_noise.labels.tolist() == [0, 0, 1, 1, 1, 2, 2, 3, 4]


def test_draws_follow_the_prior():
    c = LAYOUT.draw(torch.empty(20000, 1, dtype=torch.float64), generator())
    (first, second), values = LAYOUT.split(c)
    for hot, size in ((first, 3), (second, 2)):
        assert torch.equal(hot.sum(1), torch.ones(20000, dtype=torch.float64))
        assert set(hot.unique().tolist()) == {0, 1}
        torch.testing.assert_close(hot.mean(0), torch.full((size,), 1 / size, dtype=torch.float64), atol=0.02, rtol=0)
    assert values.abs().max() <= 1
    levels = torch.linspace(0.05, 0.95, 19, dtype=torch.float64)
    for column in values.T:  # quantiles of U(−1, 1)
        torch.testing.assert_close(column.quantile(levels), 2 * levels - 1, atol=0.03, rtol=0)
    assert torch.corrcoef(c[:, [0, 3, 5, 6]].T).fill_diagonal_(0).abs().max() < 0.03


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_draws_keep_type_and_depend_on_the_generator_alone(dtype):
    like = torch.empty(50, 4, dtype=dtype)
    first = LAYOUT.draw(like, generator(3))
    assert first.dtype == dtype
    assert torch.equal(first, LAYOUT.draw(like, generator(3)))
    assert not torch.equal(first, LAYOUT.draw(like, generator(4)))
    assert LAYOUT.draw(like[:0], generator()).shape == (0, 7)


def test_the_entropies_of_the_prior():
    expected = [math.log(3), math.log(2), math.log(2), math.log(2)]  # the width of U(−1, 1) is 2
    assert LAYOUT.entropies().tolist() == pytest.approx(expected)


def test_log_q_is_that_of_torch_distributions():
    raw = outputs()
    q = CodePosterior.of(raw, LAYOUT)
    c = LAYOUT.draw(raw, generator(1))
    sigma = (0.5 * (LEAST_LOG_VARIANCE + torch.log1p((raw[:, 7:] - LEAST_LOG_VARIANCE).exp()))).exp()
    expected = torch.stack(
        [
            distributions.OneHotCategorical(logits=raw[:, :3]).log_prob(c[:, :3]),
            distributions.OneHotCategorical(logits=raw[:, 3:5]).log_prob(c[:, 3:5]),
            *distributions.Normal(raw[:, 5:7], sigma).log_prob(c[:, 5:]).T,
        ],
        dim=1,
    )
    torch.testing.assert_close(q.log_prob_per_code(c), expected)
    torch.testing.assert_close(q.log_prob(c), expected.sum(1))


def test_the_mean_is_probabilities_and_centres():
    raw = outputs()
    mean = CodePosterior.of(raw, LAYOUT).mean
    expected = torch.cat([raw[:, :3].softmax(1), raw[:, 3:5].softmax(1), raw[:, 5:7]], dim=1)
    torch.testing.assert_close(mean, expected)


def test_draws_of_q_have_its_frequencies_and_its_gradient():
    raw = outputs(1).expand(20000, -1).clone().requires_grad_()
    q = CodePosterior.of(raw, LAYOUT)
    c = q.rsample(generator(2))
    hot, values = LAYOUT.split(c.detach())
    torch.testing.assert_close(hot[0].sum(1), torch.ones(20000, dtype=torch.float64))
    torch.testing.assert_close(hot[0].mean(0), raw[0, :3].softmax(0).detach(), atol=0.015, rtol=0)
    torch.testing.assert_close(values.mean(0), raw[0, 5:7].detach(), atol=0.05, rtol=0)
    torch.testing.assert_close(values.std(0), (0.5 * q.log_variance[0]).exp().detach(), atol=0.05, rtol=0)
    weights = torch.randn(3, generator=generator(), dtype=torch.float64)
    (straight,) = torch.autograd.grad((c[:, :3] @ weights).sum(), raw, retain_graph=True)
    (soft,) = torch.autograd.grad((q.log_probabilities[0].exp() @ weights).sum(), raw)
    torch.testing.assert_close(straight, soft)


def test_a_code_that_is_recovered_exactly_has_a_finite_likelihood():
    layout = CodeLayout((), 1)
    q = CodePosterior.of(torch.tensor([[0.5, -1e4]], dtype=torch.float64), layout)
    highest = 0.5 * (-LEAST_LOG_VARIANCE - math.log(2 * math.pi))
    assert float(q.log_prob(torch.tensor([[0.5]], dtype=torch.float64))) == pytest.approx(highest)


def test_codes_of_one_kind_only():
    for layout in (CodeLayout((4,), 0), CodeLayout((), 3)):
        q = CodePosterior.of(outputs(5, layout), layout)
        c = layout.draw(torch.empty(5, 1), generator())
        assert q.mean.shape == q.rsample(generator()).shape == c.shape
        assert q.log_prob_per_code(c.double()).shape == (5, len(layout.names))


@pytest.mark.parametrize(
    ("categories", "continuous", "message"),
    [
        ((1,), 0, "at least 2 values each"),
        ((), 0, "InfoGAN needs a code"),
        ((3,), -1, "expected continuous ≥ 0, got -1"),
    ],
)
def test_layouts_without_sense_are_refused(categories, continuous, message):
    with pytest.raises(OptionError, match=message):
        CodeLayout(categories, continuous)


def test_what_a_category_tells_of_the_samples_is_the_information_of_the_joint_distribution():
    p = torch.rand(40, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    p = p / p.sum(1, keepdim=True)
    joint = p / 40
    expected = (joint * (joint / (joint.sum(0) * joint.sum(1, keepdim=True))).log()).sum()
    torch.testing.assert_close(batch_information(p.log()), expected)


@pytest.mark.parametrize(("rows", "expected"), [(torch.eye(4), math.log(4)), (torch.ones(4, 4) / 4, 0.0)])
def test_categories_tell_all_or_nothing_of_the_samples(rows, expected):
    log_p = rows.double().clamp_min(1e-300).log()
    assert batch_information(log_p).item() == pytest.approx(expected, abs=1e-12)
