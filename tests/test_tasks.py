"""What is explained of outputs with labels that do not exclude one another, with positions, and of texts."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import logsigmoid

import trimkit
from trimkit.errors import ShapeError
from trimkit.targets import IGNORED, NextTokens, next_token, resolve_target, select, take_target

SOURCE = torch.Generator().manual_seed(0)
X = torch.randn(3, 2, 4, 5, generator=SOURCE)
TOKENS = torch.randn(3, 6, 4, generator=SOURCE)
PADDING = torch.arange(6) >= torch.tensor([6, 4, 3])[:, None]


class PerPixel(nn.Module):
    """Class maps that are linear in each pixel: z_k(p) = Σ_c w_kc x_c(p)."""

    def __init__(self, classes=3):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(classes, 2, generator=torch.Generator().manual_seed(1)))

    def forward(self, x):
        return torch.einsum("kc,nchw->nkhw", self.weight, x)


class PerToken(nn.Module):
    """Logits of tags that are linear in each token."""

    def __init__(self, tags=5):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(tags, 4, generator=torch.Generator().manual_seed(2)))

    def forward(self, tokens, attention_mask=None):
        return tokens @ self.weight.T


def labels_of(shape, classes, ignored=0.3):
    y = torch.randint(classes, shape, generator=torch.Generator().manual_seed(3))
    return y.masked_fill(torch.rand(shape, generator=torch.Generator().manual_seed(4)) < ignored, IGNORED)


@pytest.mark.parametrize("attribution", ["saliency", "integrated_gradients", "feature_ablation", "captum:DeepLift"])
@pytest.mark.parametrize("word", ["predicted", "label", 1])
def test_a_pixels_gradient_is_the_weight_of_its_class(attribution, word):
    model, y = PerPixel(), labels_of((3, 4, 5), 3)
    predicted = model(X).argmax(1)
    classes = {"predicted": predicted, "label": y, 1: torch.where(predicted == 1, 1, IGNORED)}[word]
    weights = torch.where(classes[..., None] == IGNORED, 0, model.weight.detach()[classes.clamp_min(0)]).movedim(-1, 1)
    choice = (attribution, {"absolute": False}) if attribution == "saliency" else attribution
    if attribution == "feature_ablation":
        choice = (attribution, {"chunk": 40})
    result = trimkit.Trim(model, attribution=choice)(X, y if word == "label" else word)
    if attribution == "feature_ablation":  # groups of pixels: their sums are kept
        assert torch.allclose(result.scores.sum((1, 2, 3)), (weights * X).sum((1, 2, 3)), atol=1e-4)
    else:
        expected = weights if attribution == "saliency" else weights * X
        assert torch.allclose(result.scores, expected, atol=1e-5)


def test_an_index_of_a_class_map_explains_one_pixel():
    model = PerPixel()
    scores = trimkit.Trim(model, attribution="input_x_gradient")(X, (2, 1, 3)).scores
    expected = torch.zeros_like(X)
    expected[:, :, 1, 3] = model.weight.detach()[2] * X[:, :, 1, 3]
    assert torch.allclose(scores, expected, atol=1e-6)


def test_one_logit_a_pixel_is_explained_where_it_is_positive_or_where_the_label_is_1():
    model = PerPixel(classes=1)
    z, y = model(X), labels_of((3, 4, 5), 2)
    assert torch.equal(select(z, resolve_target("predicted", z)), (z * (z > 0)).sum((1, 2, 3)))
    for form in (y, y[:, None]):
        assert torch.allclose(select(z, resolve_target(form, z)), (z[:, 0] * (y == 1)).sum((1, 2)))


def test_tags_are_explained_without_padding():
    model, y = PerToken(), labels_of((3, 6), 5)
    inputs = {"tokens": TOKENS, "attention_mask": (~PADDING).long()}
    trim = trimkit.Trim(model, attribution="input_x_gradient", at="tokens")
    weights = model.weight.detach()
    predicted = model(TOKENS).argmax(2)
    expected = (weights[predicted] * TOKENS).masked_fill(PADDING[..., None], 0)
    assert torch.allclose(trim(inputs, "predicted").scores, expected, atol=1e-6)
    of_labels = torch.where((y == IGNORED)[..., None] | PADDING[..., None], 0, weights[y.clamp_min(0)] * TOKENS)
    assert torch.allclose(trim(inputs, y).scores, of_labels, atol=1e-6)
    one = torch.zeros_like(TOKENS)
    one[:, 2] = weights[3] * TOKENS[:, 2]
    assert torch.allclose(trim(inputs, (2, 3)).scores, one, atol=1e-6)


def test_labels_that_do_not_exclude_one_another_are_summed():
    model = nn.Linear(8, 4)
    x, y = torch.randn(5, 8, generator=SOURCE), torch.randint(2, (5, 4), generator=SOURCE)
    expected = y.float() @ model.weight.detach() * x
    for form in (y, y.bool(), y.float()):
        assert torch.allclose(trimkit.Trim(model, attribution="input_x_gradient")(x, form).scores, expected, atol=1e-6)
    output, value = trimkit.TrimPenalty("l1", attribution="input_x_gradient")(model, x, target=y.float())
    assert torch.allclose(value, expected.abs().sum(1).mean(), rtol=1e-5)
    assert torch.equal(output, model(x))


@pytest.mark.parametrize(
    ("model", "x", "y"),
    [
        (PerPixel(), X, labels_of((3, 4, 5), 3)),
        (PerToken(), TOKENS, labels_of((3, 6), 5)),
        (PerToken(), TOKENS, NextTokens(labels_of((3, 6), 5))),
    ],
)
def test_a_penalty_gives_the_output_of_the_plain_model(model, x, y):
    output, value = trimkit.TrimPenalty("l1", attribution="input_x_gradient")(model, x, target=y)
    assert torch.equal(output, model(x))
    (gradient,) = torch.autograd.grad(value, model.weight)
    assert bool((gradient != 0).any())


def test_a_texts_own_tokens_are_explained_by_their_log_probability():
    model, labels = PerToken(tags=7), labels_of((3, 6), 7, ignored=0.2)
    log_p = model(TOKENS).log_softmax(-1)
    expected = torch.zeros(3)
    for n in range(3):
        for t in range(1, 6):
            if labels[n, t] != IGNORED:
                expected[n] += log_p[n, t - 1, labels[n, t]].detach()
    target = NextTokens(labels)
    assert torch.allclose(select(model(TOKENS), target), expected, atol=1e-5)
    assert torch.allclose(select(torch.cat([model(TOKENS)] * 2), target, copies=2), expected.repeat(2), atol=1e-5)
    result = trimkit.Trim(model)(TOKENS, target)
    assert bool((result.gap.abs() < 0.01 * result.change.abs() + 1e-4).all())
    assert torch.equal(take_target(target, torch.tensor([2, 0])).labels, labels[[2, 0]])


@pytest.mark.parametrize("left", [False, True])
def test_the_next_token_stands_at_the_last_that_is_no_padding(left):
    output = torch.randn(3, 6, 7, generator=SOURCE)
    padding = PADDING.flip(1) if left else PADDING
    target = next_token(output, padding)
    last = [5, 5, 5] if left else [5, 3, 2]
    assert (target != IGNORED).sum(1).tolist() == [1, 1, 1]
    assert select(output, target).tolist() == [float(output[n, t].max()) for n, t in enumerate(last)]


def test_the_cross_entropy_of_labels_that_do_not_exclude_one_another_is_that_of_their_sigmoids():
    model = nn.Linear(8, 4)
    x, y = torch.randn(5, 8, generator=SOURCE), torch.randint(2, (5, 4), generator=SOURCE)
    found = trimkit.Trim(model, attribution=("gradient_of_loss", {"loss": "cross_entropy"}))(x, y).scores
    tracked = x.clone().requires_grad_()
    loss = -torch.where(y == 1, logsigmoid(model(tracked)), logsigmoid(-model(tracked))).sum()
    assert torch.allclose(found, torch.autograd.grad(loss, tracked)[0], atol=1e-6)


@pytest.mark.parametrize("form", [lambda y: y, lambda y: y.float(), lambda y: y[:, None].float()])
def test_labels_of_one_logit_explain_it_and_its_cross_entropy(form):
    model = nn.Linear(8, 1)
    x, y = torch.randn(5, 8, generator=SOURCE), torch.tensor([0, 1, 1, 0, 1])
    scores = trimkit.Trim(model, attribution="input_x_gradient")(x, form(y)).scores
    assert torch.allclose(scores, model.weight.detach() * x)
    loss = trimkit.Trim(model, attribution=("gradient_of_loss", {"loss": "cross_entropy"}))(x, form(y)).scores
    p = model(x).detach().sigmoid()
    assert torch.allclose(loss, (p - y[:, None]) * model.weight.detach(), atol=1e-6)


def test_log_probabilities_are_summed_over_all_pixels():
    z = PerPixel()(X)
    assert torch.allclose(trimkit.targets.log_probabilities(z), z.log_softmax(1).sum((1, 2, 3)))


@pytest.mark.parametrize(
    ("model", "x", "target", "says"),
    [
        (
            nn.Linear(4, 3),
            TOKENS[:, 0],
            torch.rand(3, 3),
            r"0 and 1 as a target \(N, K\).* they are no choice of",
        ),
        (
            PerPixel(),
            X,
            labels_of((3, 5, 4), 3),
            r"expected classes \(3, 4, 5\) of an output \(3, 3, 4, 5\), got",
        ),
        (PerPixel(), X, torch.tensor([0, 1, 2]), r"tensor target \(N,\) needs an output \(N, K\).*classes \(N, T\) of"),
        (PerPixel(), X, 3, "target 3 is out of range: the output has 3 classes"),
        (PerPixel(), X, labels_of((3, 4, 5), 9, 0), r"targets in 0 … 2, got 0 … 8"),
        (PerToken(), TOKENS, None, r"name a class, 'predicted', a tensor of labels"),
    ],
)
def test_what_does_not_fit_names_the_way_out(model, x, target, says):
    for take in (trimkit.Trim(model), lambda x, target: trimkit.TrimPenalty("l1")(model, x, target)):
        with pytest.raises(ShapeError, match=says):
            take(x, target)
