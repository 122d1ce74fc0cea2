"""Attributions from gradients, differentiable again: saliency, input × gradient, integrated gradients."""

from __future__ import annotations

from functools import cache, partial
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from trimkit.attributions.base import Attribution, Probe
from trimkit.attributions.recompute import sum_of_pieces
from trimkit.attributions.tracking import track
from trimkit.coefficients import tree
from trimkit.coefficients.baseline import Baseline, difference, product
from trimkit.coefficients.tree import Tree
from trimkit.errors import AttributionError
from trimkit.predictor.guards import why_not_again
from trimkit.registry.options import one_of, real_number, whole_number
from trimkit.targets import Target, label_log_probability, log_probabilities

ROWS = 64
"""Rows of one forward that suit caches and memory; more is no faster, and keeps more of the graph."""

FIRST_STEPS, MOST_STEPS = 32, 512
"""Quadrature nodes to begin with, and the most that are tried."""

Memory: TypeAlias = Literal["auto", "graph", "two_pass"]


class Saliency(Attribution):
    """|∂f/∂s|, Simonyan et al. 2013; for complex coefficients the modulus of ∂f/∂Re + i ∂f/∂Im.

    In a half spectrum, a stored bin that stands for two has twice the gradient of one that stands for itself: compare
    band means (`Groups.means`), which divide by the multiplicity, not single bins at zero or Nyquist.

    Args:
        absolute: False keeps the sign of real gradients, as adaptive wavelet distillation does (Ha et al. 2021).
    """

    gradient_like: ClassVar[bool] = True

    def __init__(self, absolute: bool = True) -> None:
        self.absolute = absolute

    def attribute(self, probe: Probe, s: Tree, baseline: Tree, generator: torch.Generator | None) -> Tree:
        """One gradient at s; the baseline plays no part."""
        return tree.map_leaves(lambda g: g.abs() if self.absolute or g.is_complex() else g, probe.gradient())


class InputXGradient(Attribution):
    """(s − s₀) · ∂f/∂s, Shrikumar et al. 2016; for complex coefficients Re(conj(g)·(s − s₀)).

    Sums to f(s) − f(s₀) only where f is linear between the two. A penalty on it gives no gradient to the biases of
    piecewise linear (ReLU) networks, since they do not enter ∂f/∂s.
    """

    def resolve_baseline(self, baseline: Baseline, s: Tree) -> Any:
        """s₀, or None for zeros, which nothing needs to be taken off for."""
        return None if baseline is None else super().resolve_baseline(baseline, s)

    def attribute(self, probe: Probe, s: Tree, baseline: Tree, generator: torch.Generator | None) -> Tree:
        """One gradient at s."""
        return product(probe.gradient(), difference(s, baseline))


class GradientOfLoss(Attribution):
    """∂ℓ/∂s with its sign (its modulus where s is complex): what "right for the right reasons" penalises.

    Args:
        loss: "log_probabilities": Σ_c log p_c over all classes and positions, whatever the target (Ross et al. 2017,
            eq. 1). "cross_entropy": −log p_y for the target y: an int, labels (N,), or 0 and 1 (N, K) of labels that
            do not exclude one another. One logit is binary: its classes are 0 and 1, with p₁ = σ(z).
    """

    gradient_like: ClassVar[bool] = True

    def __init__(self, loss: Literal["log_probabilities", "cross_entropy"] = "log_probabilities") -> None:
        one_of("gradient_of_loss", ("log_probabilities", "cross_entropy"), loss=loss)
        self.loss = loss

    def values(self, output: Any, target: Target) -> Tensor:
        """Σ log p, or the cross-entropy of the target."""
        return log_probabilities(output) if self.loss == "log_probabilities" else -label_log_probability(output, target)

    def attribute(self, probe: Probe, s: Tree, baseline: Tree, generator: torch.Generator | None) -> Tree:
        """One gradient at s; for complex coefficients its modulus."""
        gradient = probe.gradient(partial(self.values, target=probe.target))
        return tree.map_leaves(lambda g: g.abs() if g.is_complex() else g, gradient)


class IntegratedGradients(Attribution):
    """(s − s₀) · ∫₀¹ ∂f/∂s(s₀ + α(s − s₀)) dα, Sundararajan et al. 2017, by Gauss–Legendre quadrature.

    The scores of a sample sum to f(s) − f(s₀) up to the quadrature error, which is exact for polynomials of degree
    2 · n_steps − 1 along the path and small for smooth networks; kinks (ReLU) need more steps.

    To train through it, either the graphs of all path points are kept ("graph"), or each chunk is computed again in the
    backward pass ("two_pass"): the same gradient with the memory of one chunk, and faster where the graph is large. The
    second calls the model during backward, so models that must not be called again keep their graph
    (DistributedDataParallel, batch normalisation in train mode).

    Args:
        n_steps: quadrature nodes, at least 1. By default 32 to begin with, which `trimkit.Trim` doubles up to 512 for
            samples whose scores miss the change of the output by more than the tolerance; training keeps 32.
        chunk: path points a sample in one forward; by default as many as make about 64 rows.
        memory: "graph", "two_pass", or "auto": two passes where there is more than one chunk and the model allows it.
        tolerance: share of a sample's change that its scores may miss, of which `trimkit.Trim` else warns; None: any.
    """

    complete: ClassVar[bool] = True

    def __init__(
        self,
        n_steps: int | None = None,
        chunk: int | None = None,
        memory: Memory = "auto",
        tolerance: float | None = 0.01,
    ) -> None:
        steps = FIRST_STEPS if n_steps is None else n_steps
        whole_number("integrated_gradients", n_steps=steps, chunk=1 if chunk is None else chunk)
        real_number("integrated_gradients", tolerance=0.0 if tolerance is None else tolerance)
        one_of("integrated_gradients", ("auto", "graph", "two_pass"), memory=memory)
        self.n_steps = steps
        self.most_steps = MOST_STEPS if n_steps is None else n_steps
        self.tolerance = tolerance
        self.chunk = chunk
        self.memory = memory

    def attribute(self, probe: Probe, s: Tree, baseline: Tree, generator: torch.Generator | None) -> Tree:
        """Mean gradient on the straight path, chunk by chunk, times the difference."""
        nodes, weights = gauss_legendre(self.n_steps)
        chunk = self.chunk or max(1, ROWS // probe.samples)
        slices = [slice(start, start + chunk) for start in range(0, self.n_steps, chunk)]
        pieces = [partial(_path_piece, baseline, nodes[part], weights[part]) for part in slices]
        if probe.create_graph and self._in_two_passes(probe, len(pieces)):
            return sum_of_pieces(pieces, probe)
        return tree.add([piece(probe, s) for piece in pieces])

    def _in_two_passes(self, probe: Probe, pieces: int) -> bool:
        if self.memory == "graph" or (self.memory == "auto" and pieces == 1):
            return False
        reason = why_not_again(probe.model)
        if reason and self.memory == "two_pass":
            raise AttributionError(f"integrated_gradients: memory='two_pass' is refused: {reason}; use memory='graph'")
        return not reason


def _path_piece(baseline: Tree, nodes: Tensor, weights: Tensor, probe: Probe, s: Tree) -> Tree:
    """The contribution of some quadrature nodes: (s − s₀) · Σ_j w_j ∂f/∂s(s₀ + α_j(s − s₀))."""
    step = difference(s, baseline)
    copies = len(nodes)

    def path(base: Tensor, change: Tensor) -> Tensor:  # (copies · N, ...)
        return (base + _column(nodes, change) * change).flatten(0, 1)

    def mean(gradient: Tensor) -> Tensor:  # (copies · N, ...) → (N, ...)
        steps = gradient.unflatten(0, (copies, probe.samples))
        return (_column(weights, steps[0]) * steps).sum(0)

    points = track(tree.map_leaves(path, baseline, step), keep_graph=probe.create_graph)
    return product(tree.map_leaves(mean, probe.gradients(points, copies)), step)


@cache
def gauss_legendre(n: int) -> tuple[Tensor, Tensor]:
    """Nodes and weights of Gauss–Legendre quadrature on [0, 1], two (n,) tensors of float64; the weights sum to 1."""
    nodes, weights = np.polynomial.legendre.leggauss(n)
    return torch.from_numpy((nodes + 1) / 2), torch.from_numpy(weights / 2)


def _column(values: Tensor, like: Tensor) -> Tensor:
    """(k,) → (k, 1, …) with the real type and device of a leaf (N, ...), to multiply its k copies."""
    return values.to(like.device, like.real.dtype).reshape(-1, *[1] * like.ndim)
