"""Scores that are computed again in the backward pass, piece by piece, instead of keeping every piece's graph.

For scores A and a penalty Ω, ∂Ω(A)/∂θ = ∂⟨A, v⟩/∂θ with v = ∂Ω/∂A held fixed. The first pass computes A without graph,
the penalty gives v, and the second pass differentiates ⟨A_k, v⟩ for one piece A_k at a time: the gradient is exact, and
the memory is that of one piece.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from trimkit.attributions.base import Probe
from trimkit.coefficients import tree
from trimkit.coefficients.tree import Tree
from trimkit.errors import AttributionError
from trimkit.predictor.graph import missing_second_derivative
from trimkit.predictor.kernels import math_attention

Piece: TypeAlias = Callable[[Probe, Tree], Tree]
"""(probe, explained point) → a summand of its scores; called twice, it must give the same."""


def sum_of_pieces(pieces: Sequence[Piece], probe: Probe) -> Tree:
    """Σ_k piece_k at the probe's point, whose backward computes each piece anew.

    Args:
        pieces: summands of the scores.
        probe: its point and the parameters behind its output receive the gradient.
    Returns:
        Real leaves like the point, differentiable once.
    """
    arguments = [*tree.leaves(probe.point), *probe.parameters()]
    return tree.rebuild(probe.point, _SumOfPieces.apply(pieces, probe, *arguments))


class _SumOfPieces(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, pieces: Sequence[Piece], probe: Probe, *arguments: Tensor) -> tuple[Tensor, ...]:
        """The sum, without a graph."""
        ctx.pieces, ctx.probe = pieces, probe
        ctx.conditions = _Conditions.now(probe, arguments[0].device)
        ctx.save_for_backward(*arguments)  # autograd then refuses a backward after the weights were stepped
        with torch.enable_grad():
            plain = probe.without_graph()
            scores = (tree.map_leaves(Tensor.detach, piece(plain, plain.point)) for piece in pieces)
            total = reduce(lambda sum_, more: tree.add([sum_, more]), scores)  # never all pieces at once
        return tuple(tree.leaves(total))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of ⟨sum, cotangents⟩ for point and parameters, from each piece anew."""
        with ctx.conditions.restored(ctx.probe):
            total = reduce(_sums, (_piece_gradients(ctx, piece, cotangents) for piece in ctx.pieces))
        return (None, None, *total)


def _piece_gradients(ctx: Any, piece: Piece, cotangents: Sequence[Tensor]) -> list[Tensor | None]:
    """One gradient for each saved tensor, None where it is not needed."""
    saved, needed = ctx.saved_tensors, ctx.needs_input_grad[2:]
    count = len(cotangents)
    inputs = [*(leaf.detach().requires_grad_() for leaf in saved[:count]), *saved[count:]]
    wanted = [leaf for leaf, need in zip(inputs, needed, strict=True) if need]
    gradients = iter(_vector_jacobian(piece, ctx.probe, inputs[:count], cotangents, wanted))
    return [next(gradients) if need else None for need in needed]


def _sums(total: list[Tensor | None], more: list[Tensor | None]) -> list[Tensor | None]:
    """Sums of gradients, None where there is none; as they come, since those of all pieces are as many models."""
    return [b if a is None else a if b is None else a + b for a, b in zip(total, more, strict=True)]


def _vector_jacobian(
    piece: Piece, probe: Probe, point: list[Tensor], cotangents: Sequence[Tensor], inputs: list[Tensor]
) -> Sequence[Tensor | None]:
    """Gradients of ⟨piece(point), cotangents⟩ for the inputs; None where it does not depend on one."""
    with torch.enable_grad():
        scores = tree.leaves(piece(probe, tree.rebuild(probe.point, point)))
        value = torch.stack([(v * a).sum() for v, a in zip(cotangents, scores, strict=True)]).sum()
    closure = not isinstance(probe.model, nn.Module)  # may hold weights whose own graph the next piece needs again
    try:
        with math_attention():
            return torch.autograd.grad(value, inputs, allow_unused=True, retain_graph=closure)
    except (RuntimeError, NotImplementedError) as error:
        broken = missing_second_derivative(value)
        if broken is None:
            raise
        raise AttributionError(f"these scores cannot be trained through: {broken}") from error


@dataclass(frozen=True)
class _Conditions:
    """What a second evaluation must find as the first did: random numbers, autocast, train or eval mode."""

    device: torch.device
    host: Tensor
    accelerator: Tensor | None
    autocast: tuple[bool, torch.dtype]
    modes: tuple[bool, ...]

    @classmethod
    def now(cls, probe: Probe, device: torch.device) -> _Conditions:
        """Those of this moment."""
        accelerator = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
        autocast = (torch.is_autocast_enabled(device.type), torch.get_autocast_dtype(device.type))
        return cls(device, torch.get_rng_state(), accelerator, autocast, _modes(probe))

    @contextmanager
    def restored(self, probe: Probe) -> Iterator[None]:
        """Within it they are as they were; a model in another mode than then is refused."""
        if _modes(probe) != self.modes:
            raise AttributionError(
                "the model was switched between train and eval mode before the backward pass, which computes the "
                "scores anew; call backward first, or use integrated_gradients with memory='graph'"
            )
        enabled, dtype = self.autocast
        with (
            torch.random.fork_rng(devices=[] if self.accelerator is None else [self.device]),
            torch.autocast(self.device.type, dtype=dtype, enabled=enabled),
        ):
            torch.set_rng_state(self.host)
            if self.accelerator is not None:
                torch.cuda.set_rng_state(self.accelerator, self.device)
            yield


def _modes(probe: Probe) -> tuple[bool, ...]:
    model = probe.model
    return tuple(module.training for module in model.modules()) if isinstance(model, nn.Module) else ()
