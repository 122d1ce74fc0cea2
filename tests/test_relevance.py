"""Layer-wise relevance: exact sums through attention, closed forms, and gradients that train."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import trimkit
from trimkit.attributions.relevance import LayerwiseRelevance
from trimkit.errors import AttributionError

torch.manual_seed(0)
IDS = torch.randint(0, 20, (3, 5))
PADDING = torch.zeros(3, 5, dtype=torch.bool)
PADDING[0, 3:] = True
X = torch.randn(3, 4, 6, 6, dtype=torch.float64)


class Encoder(nn.Module):
    """torch's own layers with attention, residual streams, LayerNorm and GELU."""

    def __init__(self, norm_first):
        super().__init__()
        torch.manual_seed(0)
        layer = nn.TransformerEncoderLayer(8, 2, 16, activation="gelu", batch_first=True, norm_first=norm_first)
        self.embedding, self.positions = nn.Embedding(20, 8), nn.Parameter(torch.randn(5, 8) / 10)
        self.encoder, self.head = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Linear(8, 3)
        self.double().eval()

    def forward(self, ids, padding=None):
        h = self.encoder(self.embedding(ids) + self.positions, src_key_padding_mask=padding)
        return self.head(h.mean(1))


class OwnNorm(nn.Module):
    """RMSNorm written by hand, as decoders have it."""

    def forward(self, x):
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-5)


class Decoder(nn.Module):
    """Causal attention, RMSNorm, a gated SiLU."""

    def __init__(self, norm):
        super().__init__()
        torch.manual_seed(0)
        self.embedding, self.norms = nn.Embedding(20, 8), nn.ModuleList([norm(), nn.LayerNorm(8)])
        self.qkv, self.out = nn.Linear(8, 24), nn.Linear(8, 8)
        self.gate, self.up, self.down, self.head = (nn.Linear(*size) for size in ((8, 16), (8, 16), (16, 8), (8, 20)))
        self.double().eval()

    def forward(self, ids, padding=None):
        h = self.embedding(ids)
        q, k, v = (part.unflatten(-1, (2, 4)).transpose(1, 2) for part in self.qkv(self.norms[0](h)).chunk(3, -1))
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        h = h + self.out(mixed.transpose(1, 2).flatten(2))
        z = self.norms[1](h)
        h += self.down(F.silu(self.gate(z)) * self.up(z))
        return self.head(h)[:, -1]


NETWORKS = {
    "encoder, norm last": lambda: Encoder(False),
    "encoder, norm first": lambda: Encoder(True),
    "decoder": lambda: Decoder(lambda: nn.RMSNorm(8)),
    "decoder, norm by hand": lambda: Decoder(OwnNorm),
}
every = pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)


@every
@pytest.mark.parametrize("baseline", [None, 0.1, lambda inputs: torch.full((8,), 0.3)])
def test_scores_of_tokens_sum_to_the_change_of_the_output(make, baseline):
    result = trimkit.Trim(make(), "identity", "layerwise_relevance", at="embedding")(
        {"ids": IDS, "padding": PADDING}, 1, baseline=baseline
    )
    assert result.scores.shape == (3, 5, 8)
    assert float(result.gap.abs().max()) < 1e-10
    assert float(result.change.abs().min()) > 1e-3


@every
def test_it_can_be_trained_through(make):
    check = trimkit.check_attribution(
        "layerwise_relevance", make(), {"ids": IDS, "padding": PADDING}, at="embedding", target=1
    )
    assert check.ok, check.message


@every
@pytest.mark.parametrize("rule", ["alone", "shapley"])
def test_contextual_decomposition_is_complete_and_trainable_there_too(make, rule):
    model = make()
    method = ("contextual_decomposition", {"groups": "coefficients", "rule": rule})
    result = trimkit.Trim(model, "identity", method, at="embedding")({"ids": IDS}, 1)  # verifies its sums to 1e-5
    assert result.scores.shape == (3, 5, 8)
    check = trimkit.check_attribution(method, model, {"ids": IDS}, at="embedding", target=1, tolerance=1e-2)
    assert check.ok, check.message


class First(Encoder):
    """Reads the first token only."""

    def forward(self, ids, padding=None):
        return self.head(self.encoder(self.embedding(ids) + self.positions, src_key_padding_mask=padding)[:, 0])


def test_tokens_that_a_mask_hides_have_no_relevance():
    trim = trimkit.Trim(First(True), "identity", "layerwise_relevance", at="embedding")
    scores = trim({"ids": IDS, "padding": PADDING}, 1).scores
    assert torch.equal(scores[0, 3:], torch.zeros(2, 8, dtype=scores.dtype))
    assert float(scores[1:].abs().sum(2).min()) > 0


def test_a_rectified_network_without_biases_gets_input_times_gradient():
    net = nn.Sequential(nn.Linear(6, 9, bias=False), nn.ReLU(), nn.Linear(9, 3, bias=False)).double()
    x = X[:, 0, 0]
    expected = trimkit.Trim(net, "identity", "input_x_gradient")(x, 1).scores
    assert torch.allclose(trimkit.Trim(net, "identity", "layerwise_relevance")(x, 1).scores, expected)


def test_activations_follow_the_rescale_rule_of_deeplift():
    net = nn.Sequential(nn.Conv2d(4, 3, 3), nn.Tanh(), nn.Flatten(), nn.Linear(48, 7), nn.Sigmoid(), nn.Linear(7, 3))
    net = net.double()
    base = torch.randn(4, 6, 6, dtype=torch.float64)
    scores = [
        trimkit.Trim(net, "fft", name)(X, 1, baseline=trimkit.create("transform", "fft")(base[None])).scores
        for name in ("layerwise_relevance", "captum:DeepLift")
    ]
    assert torch.allclose(*scores, atol=1e-8)


def test_a_product_is_shared_by_halves_and_attention_by_its_parts():
    x = X[:, :2, 0]
    scores = LayerwiseRelevance()(lambda s: (s[:, 0] * s[:, 1]).sum(1), x)
    assert torch.allclose(scores, (x[:, :1] * x[:, 1:]).expand_as(x) / 2)
    values = LayerwiseRelevance()(lambda s: (s.softmax(-1) * torch.arange(6.0)).sum((1, 2)), x)
    uniform = 2 * torch.arange(6.0).mean()
    assert torch.allclose(values.sum((1, 2)), (x.softmax(-1) * torch.arange(6.0)).sum((1, 2)) - uniform)


OPERATIONS = {
    "conv1d": lambda x: F.conv1d(x.flatten(2), torch.ones(2, 4, 3, dtype=x.dtype), torch.ones(2, dtype=x.dtype)),
    "batch_norm": nn.BatchNorm2d(4).double().eval(),
    "group_norm": nn.GroupNorm(2, 4).double(),
    "layer_norm": nn.LayerNorm(6).double(),
    "rms_norm": nn.RMSNorm(6).double(),
    "softmax": nn.Softmax(-1),
    "masked softmax": lambda x: x.masked_fill(torch.eye(6, dtype=torch.bool), -torch.inf).softmax(-1),
    "quotient": lambda x: x / (2 + x.square().sum(-1, keepdim=True)),
    "reciprocal": lambda x: 1 / (3 + x.exp()),
    "cat": lambda x: torch.cat([x, x**2, torch.ones(3, 1, 6, 6, dtype=x.dtype)], 1),
    "where": lambda x: torch.where(torch.eye(6, dtype=torch.bool), x, 2.0).tanh(),
    "pad": nn.ConstantPad2d(1, 3.0),
    "alpha": lambda x: torch.add(x, x.sigmoid(), alpha=2) - torch.sub(x, 1, alpha=3),
    "rsub": lambda x: 1 - F.gelu(x),
    "einsum": lambda x: torch.einsum("nchw,nkhw->nckw", x, x.tanh()),
    "in place": lambda x: F.relu_(x.clone()).mul_(2).add_(1),
    "attention": lambda x: F.scaled_dot_product_attention(x, x, x, is_causal=True),
    "max pool": nn.MaxPool2d(2),
    "overlapping max pool": nn.MaxPool2d(3, stride=1, padding=1),
    "adaptive max pool": nn.AdaptiveMaxPool2d(2),
    "max of an axis": lambda x: x.max(dim=2).values,
    "amax": lambda x: x.amax(-1, keepdim=True),
    "log softmax": lambda x: F.log_softmax(x, dim=2),
    "logsumexp": lambda x: x.logsumexp(2),
    "instance norm": F.instance_norm,
    "normalize": lambda x: F.normalize(x, dim=2),
    "divided by its norm": lambda x: x / x.norm(dim=3, keepdim=True),
    "cosine similarity": lambda x: F.cosine_similarity(x, x.tanh(), dim=3),
    "fft": lambda x: torch.fft.irfft2(torch.fft.rfft2(x)).abs(),
}


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_each_operation_passes_all_of_the_change(operation):
    weights = torch.randn(operation(X).shape[1:], dtype=X.dtype, generator=torch.Generator().manual_seed(1))
    base = torch.randn(4, 6, 6, dtype=X.dtype)

    def f(x):
        return (operation(x) * weights).flatten(1).sum(1)

    scores = LayerwiseRelevance()(f, X, baseline=base)
    assert torch.allclose(scores.flatten(1).sum(1), f(X) - f(base.expand_as(X)), atol=1e-9)


REFUSED = {
    "'cummax'": lambda x: x.cummax(2).values,
    "'cumprod'": lambda x: x.cumprod(1),
    "'batch_norm' in BatchNorm2d: in training": nn.BatchNorm2d(4).double(),
    "'dropout' in Dropout: it is in training": nn.Dropout(),
    "'einsum': a product of more than two": lambda x: torch.einsum("nchw,nchw,nchw->nc", x, x, x),
}


@pytest.mark.parametrize(("says", "function"), REFUSED.items(), ids=REFUSED)
def test_an_operation_without_a_rule_is_refused_by_name(says, function):
    with pytest.raises(AttributionError, match=rf"layerwise relevance cannot go through {says}"):
        LayerwiseRelevance()(lambda x: function(x).flatten(1).sum(1), X)


def test_a_norm_that_is_not_euclidean_is_refused():
    with pytest.raises(AttributionError, match="only the Euclidean norm"):
        LayerwiseRelevance()(lambda x: F.normalize(x, p=1.0).flatten(1).sum(1), X)


def test_what_is_written_into_a_view_is_noticed():
    def model(x):
        h = x.clone()
        h.flatten(1)[:, :3].mul_(2)
        return h.flatten(1).sum(1)

    with pytest.raises(AttributionError, match="does not add up"):
        LayerwiseRelevance()(model, X)


def test_a_space_that_bends_is_refused():
    pictures = torch.rand(2, 3, 8, 8, dtype=torch.float64)
    net = nn.Sequential(nn.Flatten(), nn.Linear(192, 2)).double()
    with pytest.raises(AttributionError, match="inverse is affine"):
        trimkit.Trim(net, ("color", {"space": "hsv"}), "layerwise_relevance")(pictures, 1)
    assert trimkit.Trim(net, "wavelet", "layerwise_relevance")(pictures, 1).gap.abs().max() < 1e-9


def test_near_the_reference_the_slope_is_the_derivative():
    x = torch.full((1, 6), 1e-9, dtype=torch.float64)
    scores = LayerwiseRelevance()(lambda s: torch.tanh(s).sum(1), x)
    assert torch.allclose(scores, x, rtol=1e-6)


class WrittenOut(nn.Module):
    """RMSNorm as language models have it: by hand, in single precision, the weight last."""

    def __init__(self, width, root=torch.rsqrt, cast=torch.float64):
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(0.5, 1.5, width, dtype=torch.float64))
        self.root, self.cast = root, cast

    def forward(self, h):
        h = h.to(self.cast)
        return self.weight * (h * self.root(h.pow(2).mean(-1, keepdim=True) + 1e-6)).to(torch.float64)


@pytest.mark.parametrize("root", [torch.rsqrt, lambda v: 1 / v.sqrt(), lambda v: v.sqrt().reciprocal()])
def test_a_norm_written_out_is_a_norm(root):
    norm, last = nn.RMSNorm(6, eps=1e-6).double(), nn.Linear(6, 3).double()
    norm.weight.data = torch.linspace(0.5, 1.5, 6, dtype=torch.float64)
    x = torch.randn(4, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    explain = trimkit.create("attribution", "layerwise_relevance")
    expected = explain(nn.Sequential(norm, last), x, target=1)
    torch.testing.assert_close(explain(nn.Sequential(WrittenOut(6, root), last), x, target=1), expected)


@pytest.mark.parametrize("scale", [0.01, 0.02, 1.0, 100.0])
def test_a_norm_in_single_precision_adds_up_at_any_scale(scale):
    x = scale * torch.randn(4, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    model = nn.Sequential(WrittenOut(6, cast=torch.float32), nn.Linear(6, 3).double())
    result = trimkit.Trim(model, "identity", "layerwise_relevance")(x, 1)
    torch.testing.assert_close(result.scores.sum(1), result.change, atol=1e-6, rtol=1e-6)


def test_the_maximum_is_shared_as_by_shapley():
    x, base = torch.tensor([[[3.0, 1.0, -1.0]]]), torch.tensor([[[0.0, 2.0, 0.5]]])
    scores = LayerwiseRelevance()(lambda x: F.max_pool1d(x, 3).flatten(1), x, baseline=base)
    first = ((3 - 2) + (3 - 1)) / 2  # max(3, 2) − max(0, 2), and max(3, 1) − max(0, 1)
    torch.testing.assert_close(scores, torch.tensor([[[first, 1 - first, 0.0]]]))
