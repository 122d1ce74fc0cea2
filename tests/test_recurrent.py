"""Relevance and contextual decomposition through recurrent layers and through sums over edges of a graph."""

import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import trimkit
from trimkit.attributions.contextual import decompose
from trimkit.attributions.relevance import LayerwiseRelevance
from trimkit.errors import AttributionError

from .draws import data

X = data(3, 5, 4)
"""Three series of five steps."""

BASE = data(3, 5, 4, seed=2)


def made(kind, *sizes, **options):
    torch.manual_seed(0)
    return getattr(nn, kind)(*sizes, **options).double().eval()


class Series(nn.Module):
    """The last state of a recurrent layer → two numbers."""

    def __init__(self, kind, **options):
        super().__init__()
        self.layer = made(kind, 4, 3, batch_first=True, **options)
        self.head = nn.Linear(3 * (2 if options.get("bidirectional") else 1), 2).double()

    def forward(self, x):
        return self.head(self.layer(x)[0][:, -1])


KINDS = {
    "lstm": lambda: Series("LSTM"),
    "lstm, two layers both ways": lambda: Series("LSTM", num_layers=2, bidirectional=True),
    "lstm without biases": lambda: Series("LSTM", bias=False),
    "gru": lambda: Series("GRU"),
    "gru, two layers both ways": lambda: Series("GRU", num_layers=2, bidirectional=True, dropout=0.5).eval(),
    "rnn": lambda: Series("RNN", num_layers=2),
    "rnn, relu": lambda: Series("RNN", nonlinearity="relu"),
}


def attribution(method):
    name, options = method
    return trimkit.create("attribution", name, **options)


every = pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)


@every
@pytest.mark.parametrize("baseline", [None, BASE], ids=["zeros", "series"])
def test_relevance_sums_to_the_change_of_the_output(make, baseline):
    result = trimkit.Trim(make(), "identity", "layerwise_relevance")(X, 1, baseline=baseline)
    assert float(result.gap.abs().max()) < 1e-12
    assert float(result.change.abs().min()) > 1e-4


METHODS = {
    "relevance": ("layerwise_relevance", {}),
    "decomposition": ("contextual_decomposition", {"groups": "coefficients"}),
    "decomposition, shapley": ("contextual_decomposition", {"groups": "coefficients", "rule": "shapley"}),
}


@every
@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_finite_differences_agree_with_training_through_it(make, method):
    check = trimkit.check_attribution(method, make(), X, target=1)
    assert check.ok, check.message


@every
@pytest.mark.parametrize("rule", ["alone", "shapley"])
def test_parts_sum_to_what_the_layer_gives_and_nothing_stays_nothing(make, rule):
    model = make()
    found = decompose(model, X, torch.stack([X * (BASE > 0), torch.zeros_like(X)]), rule)
    assert torch.allclose(found.total, model(X), atol=1e-12)
    assert torch.allclose(found.relevant[1], torch.zeros(3, 2, dtype=X.dtype), atol=1e-12)
    assert float(found.relevant[0].detach().abs().max()) > 1e-3


def gates(layer):
    """(weights of x, of h, biases of x, of h), each by the four gates of an LSTM."""
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    return (list(getattr(layer, name).detach().chunk(4)) for name in names)


def three(rel, irr, bias, g):
    """The published linearisation of g(β + γ + b): the mean over orders of β and γ, with the bias first."""
    both, beta, gamma, nothing = g(rel + irr + bias), g(rel + bias), g(irr + bias), g(bias)
    return (beta - nothing + both - gamma) / 2, (gamma - nothing + both - beta) / 2, nothing


def times(first, second):
    """β of a product is what relevant parts make with each other and with biases; all else is γ."""
    rel = first[0] * second[0] + first[0] * second[2] + first[2] * second[0]
    return rel, sum(first) * sum(second) - rel


def test_an_lstm_is_decomposed_as_published():
    layer = made("LSTM", 4, 3, batch_first=True)
    wx, wh, bx, bh = gates(layer)
    inside = torch.zeros_like(X)
    inside[:, 1:3] = X[:, 1:3]
    h = c = (torch.zeros(3, 3, dtype=X.dtype), torch.zeros(3, 3, dtype=X.dtype))
    for t in range(5):
        i, f, g, o = (
            three(inside[:, t] @ a.T + h[0] @ b.T, (X - inside)[:, t] @ a.T + h[1] @ b.T, p + q, activation)
            for a, b, p, q, activation in zip(
                wx, wh, bx, bh, (torch.sigmoid, torch.sigmoid, torch.tanh, torch.sigmoid), strict=True
            )
        )
        c = tuple(new + kept for new, kept in zip(times(i, g), times(f, (*c, 0.0)), strict=True))
        h = tuple(sum(o) * part for part in three(*c, torch.zeros(3, dtype=X.dtype), torch.tanh)[:2])
    found = decompose(lambda x: layer(x)[0][:, -1], X, inside[None], "shapley")
    assert torch.allclose(found.relevant[0], h[0], atol=1e-12)
    assert torch.allclose(found.irrelevant[0], h[1], atol=1e-12)


def test_without_biases_all_relevance_of_an_lstm_goes_to_signals():
    """Arras et al. 2017: gates are constants, and an activation passes its output over its input."""
    layer = made("LSTM", 4, 3, bias=False, batch_first=True)
    wx, wh, *_ = (list(part) for part in (layer.weight_ih_l0.chunk(4), layer.weight_hh_l0.chunk(4)))
    x = X.clone().requires_grad_()
    h = c = torch.zeros(3, 3, dtype=X.dtype)
    for t in range(5):
        i, f, g, o = (x[:, t] @ a.T + h @ b.T for a, b in zip(wx, wh, strict=True))
        c = f.sigmoid().detach() * c + i.sigmoid().detach() * g * (g.tanh() / g).detach()
        h = o.sigmoid().detach() * c * (c.tanh() / c).detach()
    (gradient,) = torch.autograd.grad(h[:, 1].sum(), x)
    scores = LayerwiseRelevance()(lambda s: layer(s)[0][:, -1], X, target=1)
    assert torch.allclose(scores, gradient * X, atol=1e-10)


def test_changes_go_through_an_lstm_as_written_by_hand():
    layer = made("LSTM", 4, 3, batch_first=True)
    wx, wh, bx, bh = gates(layer)
    scores = LayerwiseRelevance()(lambda s: layer(s)[0][:, -1], X, target=1, baseline=BASE)

    def run(x):
        h = c = torch.zeros(3, 3, dtype=X.dtype)
        kept = []
        for t in range(5):
            raw = [x[:, t] @ a.T + h @ b.T + p + q for a, b, p, q in zip(wx, wh, bx, bh, strict=True)]
            i, f, g, o = raw[0].sigmoid(), raw[1].sigmoid(), raw[2].tanh(), raw[3].sigmoid()
            before, c = c, f * c + i * g
            h = o * c.tanh()
            kept.append((raw, (i, f, g, o), before, c))
        return kept

    point, reference = run(X), run(BASE)
    for step, entry in itertools.product((0, 3), (0, 2)):  # the change of one entry alone, carried forward
        dx = torch.zeros_like(X)
        dx[:, step, entry] = (X - BASE)[:, step, entry]
        dh = dc = torch.zeros(3, 3, dtype=X.dtype)
        for t in range(5):
            (raw, (i, f, g, o), _, c), (raw0, (i0, f0, g0, o0), c0_before, c0) = point[t], reference[t]
            di, df, dg, do = (
                (dx[:, t] @ a.T + dh @ b.T) * (y - y0) / (r - r0)
                for a, b, y, y0, r, r0 in zip(wx, wh, (i, f, g, o), (i0, f0, g0, o0), raw, raw0, strict=True)
            )
            dc = f * dc + c0_before * df + i * dg + g0 * di
            dh = o * dc * (c.tanh() - c0.tanh()) / (c - c0) + c0.tanh() * do
        assert torch.allclose(scores[:, step, entry], dh[:, 1], atol=1e-10)


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_a_loop_over_cells_is_the_layer(kind):
    layer, cell = made(kind, 4, 3, batch_first=True), made(f"{kind}Cell", 4, 3)
    cell.load_state_dict({name.removesuffix("_l0"): weight for name, weight in layer.state_dict().items()})

    def loop(x):
        state = None
        for t in range(5):
            state = cell(x[:, t], state)
        return state[0] if isinstance(state, tuple) else state

    for method in (LayerwiseRelevance(), trimkit.create("attribution", "contextual_decomposition")):
        expected = method(lambda x: layer(x)[0][:, -1], X, target=1)
        assert torch.allclose(method(loop, X, target=1), expected, atol=1e-12)


def test_given_states_and_the_last_ones_are_carried_too():
    layer, states = made("LSTM", 4, 3, 2), (data(2, 5, 3, seed=4), data(2, 5, 3, seed=5))

    def last(x):
        return torch.cat([part.transpose(0, 1).flatten(1) for part in layer(x, states)[1]], 1)

    x = data(5, 3, 4, seed=6)
    scores = LayerwiseRelevance()(lambda x: last(x.transpose(0, 1)).sum(1), x)
    change = (last(x.transpose(0, 1)) - last(torch.zeros(3, 5, 4, dtype=X.dtype))).sum(1)
    assert torch.allclose(scores.sum((1, 2)), change, atol=1e-12)


REFUSED = {
    "'lstm' in LSTM: proj_size has no rule": lambda x: made("LSTM", 4, 3, proj_size=2, batch_first=True)(x)[0],
    "'_pack_padded_sequence': a packed sequence": lambda x: (
        made("GRU", 4, 3)(nn.utils.rnn.pack_padded_sequence(x, [5, 4, 2], batch_first=True))[0].data
    ),
    "'gru' in GRU: it is in training mode, with dropout": lambda x: made("GRU", 4, 3, 2, dropout=0.5).train()(x)[0],
}


@pytest.mark.parametrize(("says", "function"), REFUSED.items(), ids=range(len(REFUSED)))
@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_what_has_no_rule_is_refused_by_name(says, function, method):
    with pytest.raises(AttributionError) as caught:
        attribution(method)(lambda x: function(x).flatten(1).sum(1), X)
    assert says in str(caught.value)


EDGES = torch.tensor([[0, 1, 2, 3, 0, 2], [1, 2, 0, 1, 3, 3]])
NODES = data(4, 3, seed=7)


def with_index_add(h):
    return torch.zeros_like(h).index_add(0, EDGES[1], h[EDGES[0]])


def in_place(h):
    total = h.new_zeros(4, 3)
    total.scatter_add_(0, EDGES[1][:, None].expand(-1, 3), h[EDGES[0]])
    return total


def of_a_plain_tensor(h):
    return torch.zeros(4, 3, dtype=torch.float64).index_add(0, EDGES[1], h[EDGES[0]])


def by_mean(h):
    degree = h.new_zeros(4)
    degree.index_add_(0, EDGES[1], torch.ones(6, dtype=h.dtype))
    degree /= 2
    return in_place(h) / (2 * degree.clamp(min=1.0))[:, None]


@pytest.mark.parametrize("spread", [with_index_add, in_place, of_a_plain_tensor, by_mean])
@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_messages_along_edges_are_a_product_with_the_matrix_of_the_graph(spread, method):
    adjacency = torch.zeros(4, 4, dtype=torch.float64)
    adjacency.index_put_((EDGES[1], EDGES[0]), torch.ones(6, dtype=torch.float64), accumulate=True)
    if spread is by_mean:
        adjacency = adjacency / (adjacency.sum(1, keepdim=True) / 2).clamp(min=1.0) / 2
    first, second = made("Linear", 3, 3), made("Linear", 3, 2)

    def network(pass_on):
        return lambda x: second(pass_on(F.relu(first(pass_on(x)))))

    found, expected = (
        attribution(method)(network(pass_on), NODES, target=1) for pass_on in (spread, lambda h: adjacency @ h)
    )
    assert torch.allclose(found, expected, atol=1e-12)


def test_zeros_that_nothing_was_written_into_are_constants():
    def network(x):
        empty = torch.zeros_like(x)
        return (x / (1 + empty.sum()) + empty + torch.zeros_like(x, dtype=torch.bool)).sum(1)

    assert torch.allclose(LayerwiseRelevance()(network, NODES), NODES)


def test_a_constant_output_is_no_result_of_the_input():
    with pytest.raises(AttributionError, match="lost track"):
        LayerwiseRelevance()(lambda x: torch.zeros_like(x).sum(1), NODES)
