"""Rows that are not samples: measured, evaluated in whole batches, or given a rule."""

import pytest
import torch
from numpy.polynomial.legendre import leggauss
from torch import nn

import trimkit
from trimkit.errors import AttributionError, OptionError, PenaltyError, TrimkitWarning

torch.manual_seed(0)
X = torch.randn(4, 6, dtype=torch.float64)
JOINED = "joins the rows of a batch"


class Spread(nn.Module):
    """A minibatch's standard deviation beside each row, as discriminators have it."""

    def forward(self, x):
        return torch.cat([x, x.std(0, keepdim=True).mean().expand(len(x), 1)], 1)


class Graph(nn.Module):
    """Squares of neighbours, over edges that the model holds or gets."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 1).double()

    def forward(self, x, edge_index, edge_weight=None):
        messages = x[edge_index[0]][:, :1] ** 2 * (1 if edge_weight is None else edge_weight[:, None])
        return torch.zeros(len(x), 1, dtype=x.dtype).index_add(0, edge_index[1], messages) + self.linear(x)


class Held(nn.Module):
    def __init__(self, edges):
        super().__init__()
        self.graph, self.edges = Graph(), edges

    def forward(self, x):
        return self.graph(x, self.edges)


class Stored(nn.Module):
    """A state for a batch of four."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 2).double()
        self.register_buffer("state", torch.linspace(-1, 1, 24, dtype=torch.float64).reshape(4, 6))

    def forward(self, x):
        return self.linear(torch.tanh(x + self.state))


def whole_batch_gradients(model, x, nodes=32):
    """Integrated gradients of the batch as one point."""
    total = torch.zeros_like(x)
    for node, weight in zip(*leggauss(nodes), strict=True):
        point = ((node + 1) / 2 * x).requires_grad_()
        total += weight / 2 * torch.autograd.grad(model(point).sum(), point)[0] * x
    return total


def mixing(kind):
    torch.manual_seed(1)
    layers = {
        "normalised": (nn.Linear(6, 5), nn.BatchNorm1d(5, track_running_stats=False), nn.Tanh(), nn.Linear(5, 1)),
        "spread": (nn.Linear(6, 5), Spread(), nn.Tanh(), nn.Linear(6, 1)),
    }[kind]
    return nn.Sequential(*layers).double().eval()


@pytest.mark.parametrize("kind", ["normalised", "spread"])
@pytest.mark.parametrize("rows", [None, "batch"])
def test_a_model_that_mixes_its_batch_is_integrated_with_the_whole_batch(kind, rows):
    model = mixing(kind)
    trim = trimkit.Trim(model, rows=rows)
    if rows is None:
        with pytest.warns(TrimkitWarning, match=JOINED):
            result = trim(X)
    else:
        result = trim(X)
    assert torch.equal(result.output, model(X))
    assert torch.allclose(result.scores, whole_batch_gradients(model, X), atol=1e-10)
    change = (model(X) - model(torch.zeros_like(X))).sum()
    assert torch.allclose(result.gap * 4, result.scores.sum() - change, atol=1e-8)


@pytest.mark.parametrize("kind", ["normalised", "spread"])
@pytest.mark.filterwarnings("ignore::trimkit.errors.TrimkitWarning")
def test_the_task_gets_the_logits_of_the_model_alone_in_train_mode(kind):
    model = mixing(kind).train()
    penalty = trimkit.TrimPenalty("l1", attribution=("integrated_gradients", {"n_steps": 4}))
    output, value = penalty(model, X)
    assert torch.equal(output, model(X))
    assert value.requires_grad


def test_dropout_in_train_mode_is_no_joining_and_keeps_the_logits_of_the_model_alone():
    model = nn.Sequential(nn.Linear(6, 64), nn.Dropout(0.5), nn.Tanh(), nn.Linear(64, 1)).double().train()
    penalty = trimkit.TrimPenalty("l1", attribution=("integrated_gradients", {"n_steps": 4}))
    torch.manual_seed(3)
    expected = model(X)
    torch.manual_seed(3)
    output, _ = penalty(model, X)
    assert torch.equal(output, expected)


@pytest.mark.parametrize("attribution", ["integrated_gradients", "captum:IntegratedGradients", "feature_ablation"])
def test_edges_that_a_model_holds_are_noticed(attribution):
    edges = torch.tensor([[0, 1, 2, 3], [1, 2, 3, 0]])
    model = Held(edges)
    with pytest.warns(TrimkitWarning, match=JOINED):
        scores = trimkit.Trim(model, "identity", attribution)(X).scores
    if attribution == "feature_ablation":
        assert torch.allclose(scores[:, 0], model(X)[:, 0] - model(X.index_fill(1, torch.tensor(0), 0.0))[:, 0])
    else:
        right = X * model.graph.linear.weight
        right[:, 0] += X[:, 0] ** 2
        assert torch.allclose(scores, right, atol=1e-4)


@pytest.mark.parametrize(
    "attribution", ["integrated_gradients", "smoothgrad", "captum:GradientShap", "captum:KernelShap"]
)
def test_a_rule_for_edges_gives_what_one_call_a_point_gives(attribution):
    model, keys = Graph(), lambda: torch.Generator().manual_seed(0)
    inputs = {"x": X, "edge_index": torch.tensor([[0, 1, 2, 3, 3], [1, 2, 3, 0, 1]]), "edge_weight": torch.rand(5)}
    ruled = trimkit.Trim(model, "identity", attribution, at="x", rows={"edge_index": "graph", "edge_weight": "edge"})
    whole = trimkit.Trim(lambda x: model(**{**inputs, "x": x}), "identity", attribution, rows="batch")
    expected = whole(X, generator=keys()).scores
    assert torch.allclose(ruled(inputs, generator=keys()).scores, expected, atol=1e-8)


def test_an_unknown_rule_or_input_is_refused():
    with pytest.raises(OptionError, match="'edge_index': 'graph'"):
        trimkit.Trim(Graph(), at="x", rows={"edge_index": "nodes"})
    with pytest.raises(OptionError, match="no input 'edges'"):
        trimkit.Trim(Graph(), at="x", rows={"edges": "graph"})({"x": X, "edge_index": torch.zeros(2, 3)})


@pytest.mark.parametrize(
    "attribution",
    [
        "integrated_gradients",
        "feature_ablation",
        ("smoothgrad", {"noise": 0.0, "absolute": False}),
        "captum:IntegratedGradients",
    ],
)
def test_a_model_for_one_batch_size_is_explained(attribution):
    model = Stored()
    with pytest.warns(TrimkitWarning, match="does not take 8 rows"):
        scores = trimkit.Trim(model, "identity", attribution)(X, 0).scores
    w, moved = model.linear.weight[0], (X + model.state).tanh() - model.state.tanh()
    slope = 1 - (X + model.state).tanh() ** 2
    assert torch.allclose(scores, w * (slope if attribution[0] == "smoothgrad" else moved), atol=1e-4)


def test_deeplift_refuses_a_model_for_one_batch_size():
    trim = trimkit.Trim(Stored(), "identity", "captum:DeepLift", rows="batch")
    with pytest.raises(AttributionError, match="use integrated_gradients"):
        trim(X, 0)


@pytest.mark.parametrize(
    ("attribution", "options"),
    [
        ("captum:DeepLiftShap", {"baseline": torch.zeros(2, 6, dtype=torch.float64)}),
        (("captum:GradientShap", {"stdevs": 0.0}), {"baseline": torch.zeros(2, 6, dtype=torch.float64)}),
        (("captum:NoiseTunnel", {"stdevs": 1e-9, "method": "InputXGradient"}), {}),
        ("captum:KernelShap", {}),
        ("captum:FeatureAblation", {}),
    ],
)
@pytest.mark.parametrize("closure", [True, False])
def test_what_belongs_to_a_sample_stays_with_it(attribution, options, closure):
    condition = torch.rand(4, 6, dtype=torch.float64)

    class Closure(nn.Module):
        def forward(self, x):
            return (x * condition.repeat(len(x) // 4, 1)).sum(1)

    class Given(nn.Module):
        def forward(self, x, condition):
            return (x * condition).sum(1)

    trim = trimkit.Trim(Closure() if closure else Given(), "identity", attribution, at=None if closure else 0)
    scores = trim(X if closure else (X, condition), **options).scores
    assert torch.allclose(scores, X * condition, atol=1e-5)


def test_a_function_is_trained_where_its_parameters_are_named():
    network = nn.Linear(6, 3).double()
    with pytest.raises(PenaltyError, match=r"parameters=network\.parameters\(\)"):
        trimkit.TrimPenalty("l1")(lambda x: network(x).tanh(), X, target=0)
    _, value = trimkit.TrimPenalty("l1", parameters=network.parameters())(lambda x: network(x).tanh(), X, target=0)
    value.backward()
    assert float(network.weight.grad.abs().max()) > 0


@pytest.mark.parametrize("kind", ["loss and logits", "a number", "nothing", "a list"])
@pytest.mark.parametrize(
    "attribution",
    ["integrated_gradients", "smoothgrad", "expected_gradients", "captum:IntegratedGradients", "captum:KernelShap"],
)
def test_an_output_may_be_more_than_logits(kind, attribution):
    linear = nn.Linear(6, 3).double()

    def model(x):
        logits = linear(x).tanh()
        beside = {"loss and logits": logits.mean(), "a number": 3, "nothing": None, "a list": [logits, "text"]}[kind]
        return {"logits": logits, "beside": beside}

    keys = [torch.Generator().manual_seed(0) for _ in range(2)]
    result = trimkit.Trim(model, "identity", attribution)(X, lambda out: out["logits"][:, 1], generator=keys[0])
    plain = trimkit.Trim(lambda x: linear(x).tanh(), "identity", attribution)(X, 1, generator=keys[1])
    assert torch.allclose(result.scores, plain.scores, atol=1e-8)
    assert torch.equal(result.output["logits"], linear(X).tanh())


@pytest.mark.parametrize("number", [0.5, torch.tensor(0.5)])
@pytest.mark.parametrize(
    "attribution", ["integrated_gradients", "expected_gradients", "captum:GradientShap", "captum:DeepLift"]
)
def test_any_number_is_a_baseline(number, attribution):
    linear = nn.Linear(6, 1).double()
    keys = [torch.Generator().manual_seed(0) for _ in range(2)]
    options = {"stdevs": 0.0} if "Shap" in attribution else {}
    trim = trimkit.Trim(linear, "identity", (attribution, options))
    scores = trim(X, baseline=number, generator=keys[0]).scores
    assert torch.allclose(scores, (X - 0.5) * linear.weight, atol=1e-6)


def test_a_baseline_may_be_computed_from_the_inputs():
    linear = nn.Linear(6, 1).double()
    scores = trimkit.Trim(linear, "dct")(X, baseline=lambda x: x.mean(1, keepdim=True).expand_as(x)).scores
    reference = X.mean(1, keepdim=True).expand_as(X)
    assert torch.allclose(scores.sum(1), (linear(X) - linear(reference))[:, 0])


def test_attention_that_is_checkpointed_is_trained_through():
    class Attention(nn.Module):
        def __init__(self, again):
            super().__init__()
            torch.manual_seed(0)
            self.qkv, self.head, self.again = nn.Linear(8, 24), nn.Linear(40, 3), again
            self.double()

        def core(self, x):
            q, k, v = (part[:, None] for part in self.qkv(x).chunk(3, -1))
            return nn.functional.scaled_dot_product_attention(q, k, v)[:, 0]

        def forward(self, x):
            core = torch.utils.checkpoint.checkpoint(self.core, x, use_reentrant=False) if self.again else self.core(x)
            return self.head(core.flatten(1))

    x = torch.randn(3, 5, 8, dtype=torch.float64)
    for attribution in ("input_x_gradient", "integrated_gradients"):
        gradients = []
        for again in (False, True):
            model = Attention(again)
            output, value = trimkit.TrimPenalty("l1", attribution=attribution)(model, x, target=0)
            (output.square().mean() + value).backward()
            gradients.append(model.qkv.weight.grad)
        assert torch.allclose(*gradients, atol=1e-12)
