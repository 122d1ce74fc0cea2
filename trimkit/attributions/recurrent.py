"""Recurrent layers written out cell by cell, for attributions that say how each step of a cell carries what they carry.

The conventions are torch's: gates lie one after the other in the weights (LSTM i, f, g, o; GRU r, z, n), and h' of a
GRU is (1 − z) n + z h.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NoReturn, Protocol, TypeAlias

import torch
from torch import Tensor

from trimkit.attributions.carrier import Call, Carrier, refuse

State: TypeAlias = tuple[Any, ...]
"""What a cell hands to its next step: (h,), or (h, c) of an LSTM."""

Weights: TypeAlias = Sequence[Any]
"""Of input and state, (gates · width, in) and (gates · width, width), and the biases, (gates · width,) each or None."""


class Steps(Protocol):
    """How an attribution carries its tensors through the steps of a cell; a value is whatever it likes."""

    def lift(self, value: Any, like: Any) -> Any:
        """A constant as what the attribution carries."""

    def linear(self, x: Any, weight: Tensor, bias: Tensor | None) -> Any:
        """A carried tensor, through a linear map → a value."""

    def add(self, first: Any, second: Any) -> Any:
        """The sum of two values."""

    def activate(self, function: Callable[[Tensor], Tensor], value: Any) -> Any:
        """A function of each entry of a value."""

    def gate(self, gate: Any, signal: Any) -> Any:
        """Gate · signal, of two values."""

    def expose(self, gate: Any, signal: Any) -> Any:
        """The output gate of an LSTM · its signal."""

    def rest(self, gate: Any) -> Any:
        """1 − gate."""

    def read(self, state: Any) -> Any:
        """A carried tensor as a value."""

    def write(self, value: Any) -> Any:
        """A value as a carried tensor."""


def lstm_cell(steps: Steps, x: Any, state: State, weights: Weights) -> State:
    """c' = σ(f) c + σ(i) tanh(g), h' = σ(o) tanh(c')."""
    i, f, g, o = (steps.add(*both) for both in _projected(steps, x, state[0], weights, 4))
    i, f, o = (steps.activate(torch.sigmoid, gate) for gate in (i, f, o))
    kept = steps.gate(f, steps.read(state[1]))
    c = steps.write(steps.add(kept, steps.gate(i, steps.activate(torch.tanh, g))))
    return steps.write(steps.expose(o, steps.activate(torch.tanh, steps.read(c)))), c


def gru_cell(steps: Steps, x: Any, state: State, weights: Weights) -> State:
    """n = tanh(W x + r (U h)), h' = (1 − z) n + z h."""
    r, z, (new, old) = _projected(steps, x, state[0], weights, 3)
    r, z = (steps.activate(torch.sigmoid, steps.add(*gate)) for gate in (r, z))
    n = steps.activate(torch.tanh, steps.add(new, steps.gate(r, old)))
    return (steps.write(steps.add(steps.gate(steps.rest(z), n), steps.gate(z, steps.read(state[0])))),)


def tanh_cell(steps: Steps, x: Any, state: State, weights: Weights) -> State:
    """h' = tanh(W x + U h)."""
    ((new, old),) = _projected(steps, x, state[0], weights, 1)
    return (steps.write(steps.activate(torch.tanh, steps.add(new, old))),)


def relu_cell(steps: Steps, x: Any, state: State, weights: Weights) -> State:
    """h' = relu(W x + U h)."""
    ((new, old),) = _projected(steps, x, state[0], weights, 1)
    return (steps.write(steps.activate(torch.relu, steps.add(new, old))),)


CELLS = {"lstm": lstm_cell, "gru": gru_cell, "rnn_tanh": tanh_cell, "rnn_relu": relu_cell}


def recurrent(call: Call, steps: Steps) -> Any:
    """What torch's lstm, gru and rnn give, and their cells of one step.

    Args:
        call: of a layer, (data, states, weights, biased, layers, dropout, training, bidirectional, batch_first), or of
            a cell, (x, state, weights of the input, of the state, their biases).
        steps: how to carry.
    Returns:
        As torch: the sequence of states and the last ones of each layer; or the state.
    Raises:
        AttributionError: proj_size, packed sequences, dropout in training.
    """
    like = call.pairs[0]
    if call.name.endswith("_cell"):
        x, state, *weights = call.args
        states = state if isinstance(state, tuple) else (state,)
        lifted = tuple(steps.lift(part, like) for part in states)
        new = CELLS[call.name.removesuffix("_cell")](steps, steps.lift(x, like), lifted, weights)
        return new if isinstance(state, tuple) else new[0]
    if not isinstance(call.args[3], bool):
        packed(call)
    return _layers(call, steps, like)


def packed(call: Call) -> NoReturn:
    """Refuse to pack."""
    reason = "a packed sequence has no rule; pad it, and mask what is read from it"
    refuse(call.name, reason, type(call.pairs[0]).method)


def _layers(call: Call, steps: Steps, like: Carrier) -> Any:
    x, states, flat, biased, count, dropout, training, both, batch_first = call.args
    if dropout and training and count > 1:
        refuse(call.name, "it is in training mode, with dropout; call model.eval() first", type(like).method)
    each, directions = 4 if biased else 2, 1 + bool(both)
    if len(flat) != each * count * directions:
        refuse(call.name, "proj_size has no rule", type(like).method)
    weights = [(*flat[k : k + each], None, None)[:4] for k in range(0, len(flat), each)]
    states = states if isinstance(states, tuple | list) else (states,)
    first = [tuple(steps.lift(part[k], like) for part in states) for k in range(len(weights))]
    x, last = steps.lift(x.transpose(0, 1) if batch_first else x, like), []
    for layer in range(count):
        here = range(layer * directions, (layer + 1) * directions)
        ends = [_pass(steps, CELLS[call.name], x, first[k], weights[k], backwards=k % directions == 1) for k in here]
        last += [state for _, state in ends]
        x = torch.cat([sequence for sequence, _ in ends], -1) if both else ends[0][0]
    return x.transpose(0, 1) if batch_first else x, *(torch.stack(part) for part in map(list, zip(*last, strict=True)))


def _pass(
    steps: Steps, cell: Callable[..., State], x: Any, state: State, weights: Weights, *, backwards: bool
) -> tuple[Any, State]:
    """One layer in one direction: all its h, (T, N, width), and its last state."""
    order = range(len(x) - 1, -1, -1) if backwards else range(len(x))
    made = []
    for t in order:
        state = cell(steps, x[t], state, weights)
        made.append(state[0])
    return torch.stack(made[::-1] if backwards else made), state


def _projected(steps: Steps, x: Any, h: Any, weights: Weights, gates: int) -> list[tuple[Any, Any]]:
    """For each gate, what the input and what the state make of it."""

    def each(weight: Any) -> Any:
        return [None] * gates if weight is None else weight.chunk(gates)

    columns = zip(*map(each, weights), strict=True)
    return [(steps.linear(x, of_x, bias_x), steps.linear(h, of_h, bias_h)) for of_x, of_h, bias_x, bias_h in columns]
