"""Two spellings of one function have one decomposition: by name or by place, as a module, a function or written out."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import trimkit
from trimkit.errors import AttributionError

BOTH = ("layerwise_relevance", "contextual_decomposition")
WEIGHT = torch.randn(4, 6, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
KERNEL = torch.randn(3, 2, 2, 2, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
PLACES = torch.tensor([0, 1, 0, 1, 2, 2])


def zeros(h):
    return h.new_zeros(len(h), 3)


def squares(h):
    return (h - h.mean(1, keepdim=True)).square()


SPELLINGS = {
    "add by name": (lambda h: torch.add(input=h, other=2.0), lambda h: h + 2.0),
    "cat by name": (lambda h: torch.cat(tensors=[h, 2 * h], axis=1), lambda h: torch.cat([h, 2 * h], 1)),
    "linear by name": (
        lambda h: F.linear(input=h, weight=WEIGHT, bias=WEIGHT[:, 0]),
        lambda h: F.linear(h, WEIGHT, WEIGHT[:, 0]),
    ),
    "conv2d by name": (
        lambda h: F.conv2d(input=h.view(-1, 2, 3, 1).expand(-1, -1, 3, 3), weight=KERNEL, bias=KERNEL[:, 0, 0, 0]),
        lambda h: F.conv2d(h.view(-1, 2, 3, 1).expand(-1, -1, 3, 3), KERNEL, KERNEL[:, 0, 0, 0]),
    ),
    "scatter_add by name": (
        lambda h: zeros(h).scatter_add_(dim=1, index=PLACES.expand(len(h), 6), src=h),
        lambda h: zeros(h).scatter_add(1, PLACES.expand(len(h), 6), h),
    ),
    "index_add by name": (
        lambda h: zeros(h).index_add(dim=1, index=PLACES, source=h),
        lambda h: zeros(h).index_add(1, PLACES, h),
    ),
    "where by name": (
        lambda h: torch.where(condition=WEIGHT[0] > 0, input=h, other=3 * h),
        lambda h: torch.where(WEIGHT[0] > 0, h, 3 * h),
    ),
    "numpy's axis": (lambda h: h.view(-1, 2, 3).amax(axis=2, keepdims=True), lambda h: h.view(-1, 2, 3).amax(2, True)),
    "clip": (lambda h: h.clip(-0.5, 0.5), lambda h: h.clamp(-0.5, 0.5)),
    "clip in place": (lambda h: h.clone().clip_(-0.5, 0.5), lambda h: h.clamp(-0.5, 0.5)),
    "concatenate": (lambda h: torch.concatenate([h, h], 1), lambda h: torch.cat([h, h], 1)),
    "swapdims": (lambda h: h.view(-1, 2, 3).swapdims(1, 2), lambda h: h.view(-1, 2, 3).transpose(1, 2)),
    "glu": (F.glu, lambda h: h[:, :3] * torch.sigmoid(h[:, 3:])),
    "softmin": (lambda h: F.softmin(h, dim=1), lambda h: (-h).softmax(1)),
    "minimum": (lambda h: torch.minimum(h, WEIGHT[:1]), lambda h: WEIGHT[:1] - (WEIGHT[:1] - h).relu()),
    "maximum of two": (lambda h: torch.max(h[:, :3], h[:, 3:]), lambda h: h[:, 3:] + (h[:, :3] - h[:, 3:]).relu()),
    "maximum of a constant": (lambda h: torch.maximum(torch.zeros_like(WEIGHT[:1]), h), lambda h: h.relu()),
    "min along an axis": (lambda h: h.view(-1, 2, 3).min(2).values, lambda h: -(-h).view(-1, 2, 3).max(2).values),
    "amin": (lambda h: h.view(-1, 2, 3).amin(2), lambda h: -(-h).view(-1, 2, 3).amax(2)),
    "amax over two axes": (lambda h: h.view(-1, 2, 3, 1).amax((2, 3)), lambda h: h.view(-1, 2, 3).amax(2)),
    "addmm": (lambda h: torch.addmm(WEIGHT[:, 0], h, WEIGHT.T, alpha=2), lambda h: 2 * (h @ WEIGHT.T) + WEIGHT[:, 0]),
    "addcmul": (lambda h: torch.addcmul(h, h, WEIGHT[:1], value=2), lambda h: h + 2 * (h * WEIGHT[:1])),
    "lerp": (lambda h: torch.lerp(h, WEIGHT[:1], 0.3), lambda h: h + 0.3 * (WEIGHT[:1] - h)),
    "exp2": (torch.exp2, lambda h: torch.exp(h * torch.log(torch.tensor(2.0, dtype=torch.float64)))),
    "sinh": (torch.sinh, lambda h: torch.sinh(input=h)),
}

RELEVANCE_ONLY = {
    "var": (lambda h: h.var(1, keepdim=True), lambda h: squares(h).sum(1, keepdim=True) / 5),
    "std": (
        lambda h: h.std(dim=1, unbiased=False, keepdim=True),
        lambda h: squares(h).mean(1, keepdim=True).sqrt(),
    ),
    "the modulus of a spectrum": (
        lambda h: torch.fft.rfft(h).abs(),
        lambda h: torch.view_as_real(torch.fft.rfft(h)).square().sum(-1).sqrt(),
    ),
    "layer norm by hand": (
        lambda h: (h - h.mean(1, keepdim=True)) / (h.var(1, unbiased=False, keepdim=True) + 1e-5).sqrt(),
        lambda h: (h - h.mean(1, keepdim=True)) / (squares(h).mean(1, keepdim=True) + 1e-5).sqrt(),
    ),
    "log2": (
        lambda h: torch.log2(h.square() + 1),
        lambda h: torch.log(h.square() + 1) / torch.log(WEIGHT.new_tensor(2)),
    ),
}


class Around(nn.Module):
    """A linear layer, a function, and another linear layer."""

    def __init__(self, function):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.function = nn.Linear(5, 6).double(), function
        width = function(self.first(torch.zeros(2, 5).double())).flatten(1).shape[1]
        self.last = nn.Linear(width, 3).double()

    def forward(self, x):
        return self.last(self.function(self.first(x)).flatten(1))


@pytest.fixture
def x():
    return torch.randn(4, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def scores(model, x, attribution, **options):
    return trimkit.Trim(model.eval(), "identity", attribution, **options)(x, 1).scores


def change(model, x):
    return (model(x) - model(torch.zeros_like(x)))[:, 1].detach()


@pytest.mark.parametrize("attribution", BOTH)
@pytest.mark.parametrize("name", SPELLINGS)
def test_two_spellings_have_the_same_scores(x, name, attribution):
    one, other = map(Around, SPELLINGS[name])
    torch.testing.assert_close(one(x), other(x))
    torch.testing.assert_close(scores(one, x, attribution), scores(other, x, attribution))


@pytest.mark.parametrize("name", RELEVANCE_ONLY)
def test_two_spellings_have_the_same_relevance(x, name):
    one, other = map(Around, RELEVANCE_ONLY[name])
    torch.testing.assert_close(scores(one, x, BOTH[0]), scores(other, x, BOTH[0]))


@pytest.mark.parametrize("name", SPELLINGS | RELEVANCE_ONLY)
def test_relevance_sums_to_the_change_of_the_output(x, name):
    model = Around((SPELLINGS | RELEVANCE_ONLY)[name][0])
    torch.testing.assert_close(scores(model, x, BOTH[0]).sum(1), change(model, x))


def test_a_deviation_belongs_to_nobody_in_contextual_decomposition_however_it_is_written(x):
    by_hand = Around(RELEVANCE_ONLY["layer norm by hand"][0])
    named = Around(lambda h: F.layer_norm(h, (6,)))
    torch.testing.assert_close(scores(by_hand, x, BOTH[1]), scores(named, x, BOTH[1]))


class Weighed(nn.Module):
    """What attention looks at, and not what it makes of it."""

    def __init__(self, average):
        super().__init__()
        torch.manual_seed(0)
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.last, self.average = nn.Linear(4, 3), average

    def forward(self, x):
        weights = self.attention(x, x, x, average_attn_weights=self.average)[1]
        return self.last(((weights if self.average else weights[:, 0]) @ x).mean(1))

    def by_hand(self, x):
        projected = F.linear(x, self.attention.in_proj_weight, self.attention.in_proj_bias)
        heads = (part.unflatten(2, (2, 2)).transpose(1, 2) for part in projected.chunk(3, -1)[:2])
        query, key = heads
        weights = (query @ key.transpose(-2, -1) * 2**-0.5).softmax(-1)
        return self.last(((weights.mean(1) if self.average else weights[:, 0]) @ x).mean(1))


@pytest.mark.parametrize("average", [True, False])
@pytest.mark.parametrize("attribution", BOTH)
def test_the_weights_of_attention_have_parts_too(attribution, average):
    x = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    model = Weighed(average).double().eval()
    torch.testing.assert_close(model(x), model.by_hand(x))
    written = trimkit.Trim(model.by_hand, "identity", attribution)(x, 1).scores
    torch.testing.assert_close(scores(model, x, attribution), written)
    if attribution == BOTH[0]:
        torch.testing.assert_close(written.flatten(1).sum(1), change(model, x))


@pytest.mark.parametrize("attribution", BOTH)
@pytest.mark.parametrize("function", [lambda h: h.sum().item() * h, lambda h: torch.fft.rfft(h).angle()])
def test_what_has_no_rule_is_refused_in_our_words(x, function, attribution):
    with pytest.raises(AttributionError, match="integrated_gradients"):
        scores(Around(function), x, attribution)


@pytest.mark.parametrize("attribution", BOTH)
def test_an_error_of_the_model_on_carriers_is_refused_in_our_words(x, attribution):
    class Peculiar(nn.Module):
        def forward(self, x):
            if type(x) is not torch.Tensor:
                raise TypeError("expected a torch.Tensor and nothing else")
            return x

    with pytest.raises(AttributionError, match=r"nothing else.*integrated_gradients"):
        scores(nn.Sequential(Peculiar(), nn.Linear(5, 3)).double(), x, attribution)


def test_relevance_is_not_read_at_places_that_depend_on_the_point(x):
    """The largest entry of a row at the point is not that at the reference, and a constant index would hide it."""
    model = Around(lambda h: torch.cat([h.gather(1, h.max(1, keepdim=True).indices), h], 1))
    with pytest.raises(AttributionError, match="'gather'"):
        scores(model, x, BOTH[0])
    assert scores(model, x, BOTH[1]).isfinite().all()
