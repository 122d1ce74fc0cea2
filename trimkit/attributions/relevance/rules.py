"""How a change Δ = x − x₀ goes through each operation: exactly, and as a linear map of the changes of its inputs.

The sum of the input's multipliers times its change is then the change of the output, whatever the network (the
summation-to-delta property of DeepLIFT, Shrikumar et al. 2017). For a zero reference the rules are those of layer-wise
relevance propagation for transformers (AttnLRP, Achtibat et al. 2024, arXiv:2402.05602) where these are exact:

- linear maps act on the change; biases and constants drop out, so they absorb nothing;
- an activation passes Δy/Δx (for a zero reference y/x: relevance goes through as it is), near Δx = 0 its derivative;
- a product gives half to each factor: Δ(ab) = b̄ Δa + ā Δb with means over point and reference;
- a norm c · r divides by what it divides by at the point, Δ(c r) = r Δc + c₀ Δr, so r counts only where c₀ ≠ 0; also
  where it is written out, with r a reciprocal root (the RMSNorm of Llama and T5);
- the maximum of a window is shared by its largest entries at the point and at the reference;
- recurrent layers go step by step, with gates that pass and signals that carry (`relevance.recurrent`);
- softmax is e · 1/Σe, written out. AttnLRP expands it to first order and leaves the rest to nobody; here it is shared.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from trimkit.attributions import recurrent
from trimkit.attributions.carrier import Call, Rule, refuse
from trimkit.attributions.contextual import rules as contextual
from trimkit.attributions.relevance.pooling import max_pool, maximum
from trimkit.attributions.relevance.recurrent import SignalTakesAll
from trimkit.attributions.relevance.twin import METHOD, PLAIN, RULES, Twin


def linear(call: Call) -> Any:
    """A linear map."""
    return _join(call.totals(), _references(call), call.on([twin.change for twin in _twins(call)]))


def multilinear(call: Call) -> Any:
    """Linear in each factor; of two twins each gets half of what both make."""
    if len(_twins(call)) == 1:
        return linear(call)
    if len(_twins(call)) != 2:
        refuse(call.name, "a product of more than two tensors that depend on the input has no rule", METHOD)
    first, second = _twins(call)
    at_first, at_second = first.middle, second.middle
    if first.divides != second.divides:  # a norm, written out
        at_first, at_second = (part.total if part.divides else part.reference for part in (first, second))
    change = call.on([first.change, at_second]) + call.on([at_first, second.change])
    return _join(call.totals(), _references(call), change)


def quotient(call: Call) -> Any:
    """A product with the reciprocal of the divisor."""
    if call.kwargs.get("rounding_mode"):
        refuse(call.name, "the quotient is rounded", METHOD)
    dividend, divisor = call.args[0], call.argument(1, "other")
    return linear(call) if not isinstance(divisor, Twin) else dividend * divisor.reciprocal()


def quotient_from(call: Call) -> Any:
    """A constant divided by a twin."""
    inverse = call.args[0].reciprocal()
    result = call.args[1] * inverse
    result.divides = inverse.divides
    return result


def weighted(call: Call) -> Twin:
    """Linear layers and convolutions ``(input, weight, bias, ...)``."""
    (twin,) = _twins(call)
    if call.args[0] is not twin:
        refuse(call.name, "its weights depend on the input", METHOD)
    positional = len(call.args) > 2
    without = call.changed((*call.args[:2], None, *call.args[3:])) if positional else call.changed(bias=None)
    return Twin(call.totals(), _references(call), without.on([twin.change]))


def affine(call: Call) -> Twin:
    """A linear map and a constant, which is what the map makes of zeros; −∞ (a mask) is no change."""
    (twin,) = _twins(call)
    constant = call.on([torch.zeros_like(twin.total)])
    moved = call.on([twin.change])
    hidden = torch.isinf(constant)
    change = moved.masked_fill(hidden, 0) - constant.masked_fill(hidden, 0)
    return Twin(call.totals(), _references(call), change)


def batch_norm(call: Call) -> Twin:
    """Affine in eval mode."""
    if call.argument(5, "training", False):
        refuse(call.name, "in training its statistics are the batch's; call model.eval() first", METHOD)
    return affine(call)


def add(call: Call) -> Twin:
    """A sum; constants are no change. ``alpha`` multiplies the second."""
    return _combined(call, 1.0)


def subtract(call: Call) -> Twin:
    """A difference."""
    return _combined(call, -1.0)


def subtract_from(call: Call) -> Twin:
    """The second minus the first."""
    return add(Call(torch.add, "add", (-call.args[0], call.argument(1, "other")), {}))


def assemble(call: Call) -> Twin:
    """Several tensors beside each other (cat, stack), or one of two (where)."""
    if isinstance(call.args[0], Twin) or (call.name == "where" and len(call.args) < 3):
        refuse(call.name, "what is chosen depends on the input", METHOD)
    like = _twins(call)[0]
    if call.name == "where":
        condition, *values = call.args
        return linear(call.changed((condition, *(_lift(value, like) for value in values))))
    return linear(call.changed(([_lift(value, like) for value in call.args[0]], *call.args[1:])))


def activation(call: Call) -> Twin:
    """A function of each entry: the slope of its chord."""
    if len(_twins(call)) > 1:
        refuse(call.name, "a parameter of the activation depends on the input", METHOD)
    (twin,) = _twins(call)
    if twin.total.is_complex():
        return _modulus(call, twin)
    result = _through(twin, lambda x: call.on([x]))
    result.divides = call.name == "rsqrt" or (call.name == "reciprocal" and twin.is_root)
    result.is_root = call.name == "sqrt"
    return result


def _modulus(call: Call, twin: Any) -> Any:
    """|z| = √(a² + b²)."""
    if call.name != "abs":
        refuse(call.name, "of complex numbers only abs has a rule", METHOD)
    return torch.view_as_real(twin).square().sum(dim=-1).sqrt()


def softmax(call: Call) -> Twin:
    """e^z / Σ e^z; entries at −∞ stay there."""
    e, _, _ = _exponentials(call)
    shares = e * e.sum(dim=call.argument(1, "dim"), keepdim=True).reciprocal()
    assert isinstance(shares, Twin)
    return shares


def log_softmax(call: Call) -> Twin:
    """z − log Σ e^z; entries at −∞ stay there."""
    e, finite, hidden = _exponentials(call)
    logs: Any = finite - e.sum(dim=call.argument(1, "dim"), keepdim=True).log()
    total, reference = (part.masked_fill(hidden, -torch.inf) for part in (logs.total, logs.reference))
    return Twin(total, reference, logs.change.masked_fill(hidden, 0))


def logsumexp(call: Call) -> Any:
    """log Σ e^z."""
    axis, keep = call.argument(1, "dim"), call.argument(2, "keepdim", False)
    e, _, _ = _exponentials(call)
    (twin,) = _twins(call)
    top = _top(twin, axis)
    return e.sum(dim=axis, keepdim=keep).log() + (top if keep else top.squeeze(axis))


def _exponentials(call: Call) -> tuple[Any, Any, Tensor]:
    """e^(z − top), z − top, and where z is −∞ (both are 0 there)."""
    (twin,) = _twins(call)
    top, hidden = _top(twin, call.argument(1, "dim")), torch.isneginf(twin.total)
    finite = Twin(*(part.masked_fill(hidden, 0) for part in (twin.total - top, twin.reference - top, twin.change)))
    e = _through(finite, torch.exp)
    return Twin(*(part.masked_fill(hidden, 0) for part in (e.total, e.reference, e.change))), finite, hidden


def _top(twin: Twin, axis: int) -> Tensor:
    return torch.maximum(twin.total.amax(axis, True), twin.reference.amax(axis, True)).detach()


def layer_norm(call: Call) -> Twin:
    """Centred, and divided by the deviation."""
    twin, shape = call.args[0], tuple(call.argument(1, "normalized_shape"))
    axes = tuple(range(-len(shape), 0))
    centred = twin - twin.mean(dim=axes, keepdim=True)
    scaled = _normed(centred, axes, call.argument(4, "eps", 1e-5))
    return _scaled(scaled, call.argument(2, "weight"), call.argument(3, "bias"))


def rms_norm(call: Call) -> Twin:
    """Divided by the root of the mean square."""
    twin, shape = call.args[0], tuple(call.argument(1, "normalized_shape"))
    eps = call.argument(3, "eps")
    eps = torch.finfo(twin.total.dtype).eps if eps is None else eps
    return _scaled(_normed(twin, tuple(range(-len(shape), 0)), eps), call.argument(2, "weight"), None)


def group_norm(call: Call) -> Twin:
    """As `layer_norm`, over groups of channels."""
    twin, groups = call.args[0], call.argument(1, "num_groups")
    shape = twin.total.shape
    cut = twin.reshape(shape[0], groups, -1)
    scaled = _normed(cut - cut.mean(dim=-1, keepdim=True), (-1,), call.argument(4, "eps", 1e-5)).reshape(shape)
    ones = [1] * (len(shape) - 2)
    weight, bias = (
        w if w is None else w.reshape(-1, *ones) for w in (call.argument(2, "weight"), call.argument(3, "bias"))
    )
    return _scaled(scaled, weight, bias)


def recurrent_layer(call: Call) -> Any:
    """LSTM, GRU and RNN, step by step."""
    return recurrent.recurrent(call, SignalTakesAll())


def zeros(call: Call) -> Any:
    """Zeros like a twin, into which what depends on the input may be written."""
    total = call.totals()
    if not total.is_floating_point():
        return total
    twin = _lift(total, total)
    twin.constant = True
    return twin


def aggregate(call: Call) -> Twin:
    """Rows of a source added to those of a tensor: messages of edges to nodes."""
    first, axis, index, source, *rest = call.args
    like = call.pairs[0]
    return linear(call.changed((_lift(first, like), axis, index, _lift(source, like), *rest)))


def detach(call: Call) -> Twin:
    """What a model keeps gradients from changes with its input all the same."""
    (twin,) = _twins(call)
    return Twin(call.totals(), _references(call), twin.change)


def dropout(call: Call) -> Any:
    """The identity, in eval mode."""
    if call.argument(2, "training", True):
        refuse(call.name, "it is in training mode; call model.eval() first", METHOD)
    return call.args[0]


def _normed(twin: Any, axes: tuple[int, ...], eps: float) -> Twin:
    """c · r with r = (mean c² + eps)^−½; Δr/Δv = −1 / (√v √v₀ (√v + √v₀))."""
    square = twin.square().mean(dim=axes, keepdim=True) + eps
    root, root0 = square.total.sqrt(), square.reference.sqrt()
    change = -square.change / (root * root0 * (root + root0))
    return Twin(twin.total / root, twin.reference / root0, twin.change / root + twin.reference * change)


def _scaled(twin: Any, weight: Tensor | None, bias: Tensor | None) -> Twin:
    twin = twin if weight is None else twin * weight
    return twin if bias is None else twin + bias


def _through(twin: Twin, function: Callable[[Tensor], Tensor]) -> Twin:
    """A function of each entry: its chord, or its derivative where both ends are too near to each other for one.

    Near is meant in proportion to the ends too: 1/√x between 1e-6 and 1e-4 is no straight line.
    """
    y, y0 = function(twin.total), function(twin.reference)
    gap = twin.total - twin.reference
    little = torch.finfo(gap.dtype).eps ** (1 / 3)
    near_x = gap.abs() <= little * _larger(twin.total, twin.reference).clamp(max=1)
    near = near_x | ((gap.abs() <= little) & ((y - y0).abs() <= little * _larger(y, y0)))
    chord = (y - y0) / gap.masked_fill(near, 1)
    slope = torch.where(near, _derivative(function, twin.middle), chord) if bool(near.any()) else chord
    return Twin(y, y0, twin.change * slope)


def _larger(a: Tensor, b: Tensor) -> Tensor:
    return torch.maximum(a.detach().abs(), b.detach().abs())


def _derivative(function: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    with torch.enable_grad():
        at = at if at.requires_grad else at.detach().requires_grad_()
        (slope,) = torch.autograd.grad(function(at).sum(), at, create_graph=True)
    return slope


def _combined(call: Call, sign: float) -> Twin:
    first, second = call.args[0], call.argument(1, "other")
    shape = call.totals()
    factor = sign * call.kwargs.get("alpha", 1)
    parts = [factor_ * x.change for factor_, x in ((1.0, first), (factor, second)) if isinstance(x, Twin)]
    return Twin(shape, _references(call), sum(parts[1:], parts[0]).expand(shape.shape))


def _twins(call: Call) -> list[Twin]:
    return [pair for pair in call.pairs if isinstance(pair, Twin)]


def _references(call: Call) -> Any:
    return call.on([twin.reference for twin in _twins(call)])


def _lift(value: Any, like: Any) -> Twin:
    if isinstance(value, Twin):
        return value
    total = torch.as_tensor(value, dtype=like.dtype, device=like.device)
    return Twin(total, total, torch.zeros_like(total))


def _join(totals: Any, references: Any, changes: Any) -> Any:
    if isinstance(totals, Tensor):
        return Twin(totals, references, changes)
    return type(totals)(map(Twin, totals, references, changes))


_names = contextual._NAMES
_SAME: dict[Rule, tuple[Rule, ...]] = {
    contextual.plain: (contextual.plain,),
    linear: (contextual.linear,),
    multilinear: (contextual.multilinear,),
    quotient: (contextual.quotient,),
    weighted: (contextual.weighted,),
    affine: (contextual.affine,),
    batch_norm: (contextual.batch_norm,),
    layer_norm: (contextual.layer_norm,),
    group_norm: (contextual.group_norm,),
    rms_norm: (contextual.rms_norm,),
    softmax: (contextual.softmax,),
    recurrent_layer: (contextual.recurrent_layer,),
    recurrent.packed: (recurrent.packed,),
    zeros: (contextual.zeros,),
    aggregate: (contextual.aggregate,),
    contextual.composite: (contextual.composite,),
    add: (contextual.add,),
    subtract: (contextual.subtract,),
    subtract_from: (contextual.subtract_from,),
    assemble: (contextual.assemble,),
    activation: (contextual.activation, contextual.offset_activation, contextual.power),
    dropout: (contextual.dropout,),
}
RULES.update(
    {name: rule for rule, theirs in _SAME.items() for each in theirs for name in _names[each].split()}
    | {"log_softmax": log_softmax, "logsumexp": logsumexp, "detach": detach}
    | dict.fromkeys(("norm", "linalg_vector_norm", "linalg_norm", "var", "std"), contextual.composite)
    | dict.fromkeys(_names[contextual.max_pool].split(), max_pool)
    | dict.fromkeys(_names[contextual.maximum].split(), maximum)
    | dict.fromkeys(["rsqrt", "sqrt", "reciprocal", "log", "log2", "log10", "log1p", "logit", "lgamma"], activation)
    | dict.fromkeys(("__rdiv__", "__rtruediv__"), quotient_from)
)
PLAIN.update(dict.fromkeys(_names[contextual.plain].split(), contextual.plain))
