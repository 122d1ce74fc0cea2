"""How a pair (relevant, irrelevant) goes through each operation: the rules of contextual decomposition.

Murdoch et al. 2018 (1801.05453, section 3.2) and Singh et al. 2019 (1806.05337, section 3.1), with β the relevant and γ
the irrelevant part, β + γ the plain result:

- linear maps act on both; a bias, or any other constant that is added, is shared in proportion to |β| and |γ|;
- an activation g gives β' = g(β) − g(0) (rule "alone", Singh et al.), or, with the order in which β comes last,
  β' = ½ [g(β) − g(0) + g(β + γ) − g(γ)] (rule "shapley", Murdoch et al.); γ' = g(β + γ) − β', so that what g makes of
  nothing is nobody's, hence irrelevant;
- max pooling takes both from where the sum has its maximum;
- layer and group norm centre both, and divide both by the deviation of the sum;
- a product of two gives β' = ½ [β_a (β_b + γ_b) + (β_a + γ_a) β_b]: what both parts make together is shared equally;
- softmax is an activation of a whole row, where −∞ (a mask) stays;
- attention is written out into these; 1/√ of a norm's mean square is a constant, as the deviation of layer norm is;
- recurrent layers go step by step, see `trimkit.attributions.contextual.recurrent`;
- dropout is the identity in eval mode.

"Nothing relevant" stays nothing under each of them.
"""

from __future__ import annotations

from functools import reduce
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from trimkit.attributions import attention, norms, recurrent, written
from trimkit.attributions.carrier import Call, Rule, refuse
from trimkit.attributions.contextual.norms import group_norm, layer_norm, rms_norm
from trimkit.attributions.contextual.pair import RULES, SHAPLEY, Pair, add_constant, lift, on_groups, relevants
from trimkit.attributions.contextual.recurrent import Published


def plain(call: Call) -> Any:
    """What asks for shape or kind is answered by the total."""
    return call.totals()


def linear(call: Call) -> Any:
    """A linear map of one pair, or of several that stay apart (none is multiplied by another)."""
    return _join(call.totals(), relevants(call))


def multilinear(call: Call) -> Any:
    """Linear in each factor; of two that depend on the input (attention, gates), each gets half of what both make."""
    if len(call.pairs) == 1:
        return linear(call)
    if len(call.pairs) != 2:
        refuse(call.name, "a product of more than two tensors that depend on the input has no rule")
    first, second = call.pairs
    left = on_groups(lambda part: call.on([part, second.total]), first.relevant)
    right = on_groups(lambda part: call.on([first.total, part]), second.relevant)
    return Pair(call.totals(), (left + right) / 2)


def softmax(call: Call) -> Pair:
    """Shares of a row, an activation of all its entries together; entries that a mask has set to −∞ stay there."""
    (pair,) = call.pairs
    hidden = torch.isneginf(pair.total)

    def shares(values: Tensor) -> Tensor:
        return call.on([values.masked_fill(hidden, -torch.inf)])

    total, nothing = call.totals(), shares(torch.zeros_like(pair.total))
    alone = on_groups(lambda part: shares(part) - nothing, pair.relevant)
    if SHAPLEY.get():
        last = on_groups(lambda part: total - shares(pair.total.masked_fill(hidden, 0) - part), pair.relevant)
        alone = (alone + last) / 2
    return Pair(total, alone)


def unshared(call: Call) -> Tensor:
    """What divides a norm belongs to nobody."""
    return call.totals()


def composite(call: Call) -> Any:
    """Attention and norms, written out."""
    written_out = (getattr(module, call.name, None) for module in (norms, attention, written))
    function: Any = next(filter(None, written_out))
    return function(*call.args, **{name: value for name, value in call.kwargs.items() if name != "out"})


def quotient(call: Call) -> Any:
    """Linear in the dividend; the divisor must be a constant."""
    if len(call.pairs) != 1 or not isinstance(call.args[0], Pair) or call.kwargs.get("rounding_mode"):
        refuse(call.name, "the divisor depends on the input, or the quotient is rounded")
    return linear(call)


def weighted(call: Call) -> Pair:
    """Linear layers and convolutions ``(input, weight, bias, ...)``: the map without its bias, then the bias."""
    bias = call.argument(2, "bias")
    weight = call.argument(1, "weight")
    if isinstance(weight, Pair) or isinstance(bias, Pair):
        refuse(call.name, "its weights depend on the input")
    if bias is None:
        return linear(call)
    positional = len(call.args) > 2
    without = call.changed((*call.args[:2], None, *call.args[3:])) if positional else call.changed(bias=None)
    return add_constant(linear(without), bias.reshape(-1, *[1] * (weight.ndim - 2)))


def affine(call: Call) -> Pair:
    """A linear map and a constant, which is what the map makes of zeros."""
    (pair,) = call.pairs
    constant = call.on([torch.zeros_like(pair.total)])
    if bool(torch.isneginf(constant).any()):  # a mask before softmax
        return Pair(call.totals(), on_groups(lambda part: part.masked_fill(torch.isneginf(constant), 0), pair.relevant))
    moved = on_groups(lambda part: call.on([part]) - constant, pair.relevant)
    return add_constant(Pair(call.totals() - constant, moved), constant)


def batch_norm(call: Call) -> Pair:
    """Affine in eval mode; in training the samples of a batch influence each other."""
    if call.argument(5, "training", False):
        refuse(call.name, "in training its statistics are the batch's; call model.eval() first")
    return affine(call)


def add(call: Call) -> Pair:
    """A sum of two pairs, or of a pair and a constant; ``alpha`` multiplies the second."""
    first, second = call.args[0], call.argument(1, "other")
    alpha = call.kwargs.get("alpha", 1)
    return _sum(first, second if alpha == 1 else second * alpha)


def subtract(call: Call) -> Pair:
    """As `add`, with the second negated."""
    second = call.argument(1, "other")
    return _sum(call.args[0], second * -call.kwargs.get("alpha", 1))


def subtract_from(call: Call) -> Pair:
    """The second minus the first."""
    return _sum(call.argument(1, "other"), -call.args[0])


def assemble(call: Call) -> Pair:
    """Several tensors beside each other (cat, stack), or one of two (where); constants among them are irrelevant."""
    if isinstance(call.args[0], Pair) or (call.name == "where" and len(call.args) < 3):
        refuse(call.name, "what is chosen depends on the input")
    like = call.pairs[0]
    if call.name == "where":
        condition, *values = call.args
        return linear(call.changed((condition, *(lift(value, like) for value in values))))
    return linear(call.changed(([lift(value, like) for value in call.args[0]], *call.args[1:])))


def activation(call: Call) -> Pair:
    """A function g of each entry with g(0) = 0: the relevant part is g of it, or its Shapley value."""
    if len(call.pairs) > 1:
        refuse(call.name, "a parameter of the activation depends on the input")
    alone = linear(call)
    return _averaged(call, alone) if SHAPLEY.get() else alone


def offset_activation(call: Call) -> Pair:
    """A function g of each entry with g(0) ≠ 0."""
    if len(call.pairs) > 1:
        refuse(call.name, "a parameter of the activation depends on the input")
    whole = linear(call)
    alone = Pair(whole.total, whole.relevant - call.on([torch.zeros_like(call.pairs[0].total)]))
    return _averaged(call, alone) if SHAPLEY.get() else alone


def power(call: Call) -> Pair:
    """A positive, constant exponent."""
    exponent = call.argument(1, "exponent")
    if not isinstance(exponent, int | float) or exponent <= 0 or not isinstance(call.args[0], Pair):
        refuse(call.name, "only positive, constant exponents have a value at zero")
    return activation(call)


def recurrent_layer(call: Call) -> Any:
    """LSTM, GRU and RNN, step by step."""
    return recurrent.recurrent(call, Published())


def zeros(call: Call) -> Any:
    """Zeros like a pair, into which what depends on the input may be written."""
    total = call.totals()
    if not total.is_floating_point():
        return total
    pair = lift(total, call.pairs[0])
    pair.constant = True
    return pair


def aggregate(call: Call) -> Pair:
    """Rows of a source added to those of a tensor: messages of edges to nodes."""
    first, axis, index, source, *rest = call.args
    like = call.pairs[0]
    return linear(call.changed((lift(first, like), axis, index, lift(source, like), *rest)))


def dropout(call: Call) -> Any:
    """The identity, in eval mode."""
    if call.argument(2, "training", True):
        refuse(call.name, "it is in training mode; call model.eval() first")
    return call.args[0]


def max_pool(call: Call) -> Any:
    """Both parts from where the sum has its maximum."""
    (pair,) = call.pairs
    axes = int(call.name[-2])  # max_pool1d, max_pool2d, max_pool3d
    indexed = Call(getattr(F, call.name), call.name, call.args, {**call.kwargs, "return_indices": True})
    total, places = indexed.totals()
    flat = places.flatten(-axes)
    parts = on_groups(lambda part: part.flatten(-axes).gather(-1, flat).reshape(places.shape), pair.relevant)
    return Pair(total, parts)


def maximum(call: Call) -> Any:
    """The maximum along one axis, or several, one after the other; both parts from where the sum has it."""
    if not isinstance(axis := call.argument(1, "dim"), int):
        return maximum_over(call)
    pair, keep = call.args[0], call.argument(2, "keepdim", False)
    places = pair.total.argmax(axis, keepdim=True)

    def chosen(values: Tensor) -> Tensor:
        largest = values.gather(axis, places)
        return largest if keep else largest.squeeze(axis)

    values = Pair(chosen(pair.total), on_groups(chosen, pair.relevant))
    if call.name == "amax":
        return values
    return torch.return_types.max((values, places if keep else places.squeeze(axis)))


def maximum_over(call: Call) -> Any:
    """The maximum along several axes, or of two tensors."""
    axes, other = call.argument(1, "dim"), call.kwargs.get("other")
    if call.name == "max" and isinstance(given := axes if other is None else other, Tensor):
        return written.maximum(call.args[0], given)
    if not axes or call.name == "max":
        refuse(
            call.name,
            "only the maximum along one axis, or several, given by dim=, has a rule",
            type(call.pairs[0]).method,
        )
    kept = reduce(lambda values, axis: values.amax(axis, True), axes, call.args[0])
    return kept if call.argument(2, "keepdim", False) else kept.squeeze(axes)


def _averaged(call: Call, alone: Pair) -> Pair:
    """½ [what β gives alone + what it adds to γ]."""
    (pair,) = call.pairs
    last = on_groups(lambda part: alone.total - call.on([pair.total - part]), pair.relevant)
    return Pair(alone.total, (alone.relevant + last) / 2)


def _sum(first: Any, second: Any) -> Pair:
    if not isinstance(first, Pair):
        first, second = second, first
    if not isinstance(second, Pair):
        return add_constant(first, second)
    return Pair(first.total + second.total, on_groups(torch.add, first.relevant, second.relevant))


def _join(totals: Any, relevants: Any) -> Any:
    if isinstance(totals, Tensor):
        return Pair(totals, relevants)
    return type(totals)(map(Pair, totals, relevants))


_NAMES: dict[Rule, str] = {
    plain: (
        ".shape .dtype .device .ndim .layout .is_cuda .is_sparse .is_nested .is_quantized .is_mkldnn .is_meta "
        ".requires_grad .grad_fn size dim numel nelement stride __len__ is_complex is_floating_point is_contiguous "
        "ones_like full_like new_ones new_full new_tensor"
    ),
    linear: (
        "reshape reshape_as view view_as flatten unflatten ravel permute transpose swapaxes swapdims movedim t .T .mT "
        "squeeze unsqueeze expand expand_as broadcast_to repeat repeat_interleave tile chunk split tensor_split unbind "
        "narrow select index_select gather take_along_dim __getitem__ flip fliplr flipud roll diff mean sum cumsum "
        "diagonal diag_embed tril triu clone contiguous to type_as float double detach neg positive real imag .real "
        ".imag conj view_as_real view_as_complex adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d "
        "avg_pool1d avg_pool2d avg_pool3d interpolate pixel_shuffle pixel_unshuffle unfold fold fft_fft fft_ifft "
        "fft_rfft fft_irfft fft_fft2 fft_ifft2 fft_rfft2 fft_irfft2 fft_fftn fft_ifftn fft_rfftn fft_irfftn"
    ),
    multilinear: "mul multiply matmul __rmatmul__ mm bmm mv einsum tensordot",
    quotient: "div divide true_divide",
    weighted: "linear conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d",
    affine: "pad masked_fill index_fill",
    batch_norm: "batch_norm",
    layer_norm: "layer_norm",
    group_norm: "group_norm",
    softmax: "softmax",
    rms_norm: "rms_norm",
    unshared: "rsqrt std var",
    recurrent_layer: "lstm gru rnn_tanh rnn_relu lstm_cell gru_cell rnn_tanh_cell rnn_relu_cell",
    recurrent.packed: "_pack_padded_sequence",
    zeros: "zeros_like new_zeros",
    aggregate: "index_add scatter_add",
    composite: (
        "scaled_dot_product_attention multi_head_attention_forward normalize cosine_similarity instance_norm glu "
        "softmin maximum minimum min amin addmm addmv baddbmm addcmul lerp"
    ),
    add: "add",
    subtract: "sub subtract",
    subtract_from: "rsub __rsub__",
    assemble: "cat concat concatenate stack hstack vstack where",
    activation: (
        "relu relu6 leaky_relu prelu elu selu celu gelu silu mish hardswish tanh tanhshrink softsign softshrink "
        "hardshrink abs square sin sinh tan atan erf expm1"
    ),
    offset_activation: (
        "sigmoid hardsigmoid softplus log_sigmoid hardtanh exp exp2 cos cosh erfc clamp clip "
        "clamp_min clamp_max threshold _threshold"
    ),
    power: "pow",
    dropout: "dropout dropout1d dropout2d dropout3d alpha_dropout",
    max_pool: "max_pool1d max_pool2d max_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d",
    maximum: "max amax",
}

RULES.update({name: rule for rule, names in _NAMES.items() for name in names.split()})
