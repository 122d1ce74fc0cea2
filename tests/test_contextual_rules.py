"""Every rule of contextual decomposition, against the operation itself and against what defines a rule."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from trimkit.attributions.contextual import decompose, rules
from trimkit.attributions.contextual.pair import Pair
from trimkit.errors import AttributionError

from .contextual_operations import CURVED, FLAT, LINEAR, MASK, MATRIX, OFFSET, Block, X
from .draws import data


def prepared(function):
    torch.manual_seed(3)
    for parameter in function.parameters() if isinstance(function, nn.Module) else ():
        nn.init.normal_(parameter)
    for buffer in function.buffers() if isinstance(function, nn.Module) else ():
        if buffer.is_floating_point():
            nn.init.uniform_(buffer, 0.5, 2.0)
    return function.double() if isinstance(function, nn.Module) else function


def every(table):
    return pytest.mark.parametrize("function", table.values(), ids=table)


PARTS = torch.stack([X * (data(8, 8, seed=7) > 0), data(2, 4, 8, 8, seed=8), torch.zeros_like(X), X])
"""A part of the input, a part that has nothing to do with it, nothing, and all."""


@every({**LINEAR, **CURVED, **OFFSET})
def test_the_parts_sum_to_what_the_operation_gives_and_groups_do_not_meet(function):
    function = prepared(function)
    expected = function(X.clone())
    found = decompose(function, X.clone(), PARTS)
    assert torch.allclose(found.total, expected)
    assert found.relevant.shape == (4, *expected.shape)
    assert torch.allclose(found.relevant + found.irrelevant, expected.expand(4, *expected.shape))
    for group in range(4):
        alone = decompose(function, X.clone(), PARTS[group : group + 1])
        assert torch.allclose(alone.relevant[0], found.relevant[group])


@every({**LINEAR, **CURVED, **OFFSET})
def test_nothing_relevant_stays_nothing(function):
    found = decompose(prepared(function), X.clone(), PARTS)
    assert torch.allclose(found.relevant[2], torch.zeros_like(found.total), atol=1e-12)


@every({**LINEAR, **CURVED})
def test_all_that_is_relevant_stays_all(function):
    found = decompose(prepared(function), X.clone(), PARTS)
    assert torch.allclose(found.relevant[3], found.total)


@every(LINEAR)
def test_a_linear_operation_acts_on_each_part(function):
    found = decompose(prepared(function), X.clone(), PARTS[:2])
    if function is not LINEAR["view_as_complex"]:  # ends in a modulus
        assert torch.allclose(found.relevant[1], prepared(function)(PARTS[1].clone()))


def test_every_rule_is_tried_here():
    tried = {name.split()[0].removesuffix("_") for name in {**LINEAR, **CURVED, **OFFSET}}
    tried |= {"__rsub__", "__getitem__", "__rmatmul__", "_pack_padded_sequence"}
    assert set(rules.RULES) - set(rules._NAMES[rules.plain].split()) <= tried


def test_a_bias_is_shared_in_proportion_to_the_magnitudes():
    layer = nn.Linear(2, 1).double()
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, -3.0]]))
        layer.bias.fill_(8.0)
    x = torch.tensor([[2.0, 2.0]], dtype=torch.float64)  # parts 2 and −6 share 8 as 1 : 3
    found = decompose(layer, x, torch.tensor([[[2.0, 0.0]]], dtype=torch.float64))
    assert found.relevant.item() == pytest.approx(2 + 2)
    assert found.irrelevant.item() == pytest.approx(-6 + 6)


def test_the_bias_of_a_layer_and_a_constant_that_is_added_are_the_same():
    layer = nn.Linear(8, 5).double()
    fused = decompose(layer, X, PARTS).relevant
    assert torch.allclose(decompose(lambda x: x @ layer.weight.T + layer.bias, X, PARTS).relevant, fused)


def test_an_activation_that_makes_something_of_nothing_leaves_it_irrelevant():
    found = decompose(torch.sigmoid, X, PARTS)
    assert torch.allclose(found.relevant[0], PARTS[0].sigmoid() - 0.5)


def test_layer_norm_divides_the_parts_by_the_deviation_of_the_sum():
    found = decompose(nn.LayerNorm(8, elementwise_affine=False).double(), X, PARTS)
    centred = PARTS[0] - PARTS[0].mean(-1, keepdim=True)
    assert torch.allclose(found.relevant[0], centred / (X.var(-1, correction=0, keepdim=True) + 1e-5).sqrt())


REFUSED = {
    "added or fixed keys": Block(add_zero_attn=True).double().eval(),
    "dropout in train mode": Block(dropout=0.5).double().train(),
    "'lstm' in layer '0' (LSTM)": nn.Sequential(nn.LSTM(64, 4, proj_size=2).double()),
    "'einsum': a product of more than two": lambda x: torch.einsum("nct,nct,nct->nct", x, x, x),
    "'div': the divisor": lambda x: x / x.sum(),
    "'__rdiv__'": lambda x: 1 / x,
    "'pow': only positive": lambda x: x**-1,
    "'linear': its weights": lambda x: F.linear(MATRIX, x[0]),
    "'clamp': a parameter": lambda x: x.clamp(min=x.mean()),
    "'max': only the maximum along one axis": lambda x: x.max(),
    "'where': what is chosen": lambda x: x.where(MASK, 0.0),
    "'dropout' in Dropout: it is in training mode": nn.Dropout(),
    "'batch_norm' in BatchNorm1d: in training": nn.BatchNorm1d(4).double(),
    "'max_pool2d_with_indices'": lambda x: F.max_pool2d(x, 2, return_indices=True),
    "'gt'": lambda x: x * (x > 0),
    "'item'": lambda x: x * x.sum().item(),
    "'numpy'": lambda x: x.numpy(),
    "'__setitem__'": lambda x: x.__setitem__(0, 1.0),
    "'copy_'": lambda x: x.copy_(FLAT),
    "'add_': it writes into a tensor that does not": lambda x: torch.zeros(2, 4, 64, dtype=torch.float64).add_(x),
    "'sigmoid'": lambda x: torch.sigmoid(x, out=torch.empty(2)),
}


@pytest.mark.parametrize(("says", "function"), REFUSED.items(), ids=range(len(REFUSED)))
def test_an_operation_without_a_rule_is_refused_by_name(says, function):
    with pytest.raises(AttributionError) as caught:
        decompose(function, FLAT.clone(), FLAT[None])
    assert says in str(caught.value)


def test_what_reaches_a_pair_beneath_torchs_functions_is_refused():
    scripted = torch.ops.aten.relu.default
    with pytest.raises(AttributionError, match=r"'relu\.default'"):
        decompose(scripted, X, X[None])


def test_a_pair_says_what_it_is():
    assert repr(Pair(X, PARTS)) == "Pair(shape=(2, 4, 8, 8), groups=4)"


@pytest.mark.parametrize("g", [torch.tanh, F.relu, F.gelu, torch.sigmoid, lambda x: x**3])
def test_the_shapley_rule_averages_over_both_orders_and_sums_exactly(g):
    total, part = data(2, 5), data(3, 2, 5, seed=7)
    parts = decompose(g, total, part, rule="shapley")
    nothing = g(torch.zeros_like(total))
    assert torch.allclose(parts.relevant, (g(part) - nothing + g(total) - g(total - part)) / 2)
    assert torch.allclose(parts.relevant + parts.irrelevant, g(total).expand(3, 2, 5))
    assert torch.allclose(decompose(g, total, 0 * part, rule="shapley").relevant, torch.zeros_like(part))
    whole = decompose(g, total, total[None], rule="shapley").relevant[0]
    assert torch.allclose(whole, g(total) - nothing)
    assert torch.allclose(decompose(g, total, part).relevant, g(part) - nothing)  # the default is left as it was


@pytest.mark.parametrize("options", [{}, {"key_padding_mask": torch.eye(2, 4, dtype=torch.bool)}])
@pytest.mark.parametrize("separate", [False, True])
def test_attention_written_out_is_torchs(options, separate):
    block = Block(**({"kdim": 64, "vdim": 64} if separate else {})).double().eval().masked(**options)
    if separate:
        block.attention._qkv_same_embed_dim = False
        for name in ("q", "k", "v"):
            weight = nn.Parameter(data(64, 64, seed=6))
            block.attention.register_parameter(f"{name}_proj_weight", weight)
    assert torch.allclose(decompose(block, FLAT, FLAT[None]).total, block(FLAT), atol=1e-12)


def test_a_product_is_shared_equally_by_what_both_parts_make_together():
    a, b = data(3, 4, seed=1), data(3, 4, seed=2)
    part_a, part_b = data(1, 3, 4, seed=3), data(1, 3, 4, seed=4)
    found = decompose(lambda pair: pair[0] * pair[1], torch.stack([a, b]), torch.stack([part_a, part_b], 1))
    rest_a, rest_b = a - part_a[0], b - part_b[0]
    expected = part_a[0] * part_b[0] + (part_a[0] * rest_b + rest_a * part_b[0]) / 2
    assert torch.allclose(found.relevant[0], expected)
