"""Adaptive wavelet distillation: learn a wavelet in which a trained predictor's attributions are sparse.

Ha et al. 2021 (2107.09145). For coefficients s = T_h(x) of a wavelet with low-pass filter h, and a frozen predictor f,

    L(h) = ‖x − T⁻¹(s)‖² + wavelet constraints(h) + λ ‖s‖₁ + γ ‖∇_s f(T⁻¹(s) + r)‖₁,   r = x − T⁻¹(s), detached,

averaged over samples; both L1 norms are divided by the number of scales, J + 1, as in the published code. With the
residual r the predictor is always evaluated at x itself. So ∇_s f = J_{T⁻¹}ᵀ ∇f(x), where ∇f(x) does not change while h
is learned: it is computed once for the whole data set, and a step costs the same for any predictor. That is the exact
gradient for networks that are linear around x, as with ReLU. For smooth ones autograd would add a term with the second
derivative of f times the change of T⁻¹(s) + r with h; but this sum is x, whatever h is, and the term is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap

from trimkit.coefficients import tree
from trimkit.errors import OptionError, ShapeError, TrainingError
from trimkit.registry.options import whole_number
from trimkit.targets import Target, select
from trimkit.transforms.adaptive_wavelet import AdaptiveWavelet
from trimkit.transforms.filterbank import FilterBank


@dataclass(frozen=True)
class AwdWeights:
    """Weights of the terms of `awd_terms`.

    Attributes:
        coefficients: λ, of the L1 norm of coefficients; Ha et al. search 1e-5 … 1e-4.
        scores: γ, of the L1 norm of attributions; Ha et al. search 0 and 1e-5 … 50, each from the last one's filter.
        constraints: of each term of `AdaptiveWavelet.constraint_losses`.
    """

    coefficients: float = 1e-5
    scores: float = 0.1
    constraints: float = 1.0

    def total(self, terms: dict[str, Tensor]) -> Tensor:
        """The loss: the reconstruction's weight is 1."""
        weights = {"reconstruction": 1.0, "coefficients": self.coefficients, "scores": self.scores}
        return torch.stack([weights.get(name, self.constraints) * term for name, term in terms.items()]).sum()


def input_gradients(model: Callable[[Tensor], Any], x: Tensor, target: Target = None, *, batch: int = 1024) -> Tensor:
    """∇f at every sample: all that distillation needs to know of a frozen predictor.

    Args:
        model: f, in eval mode; its samples must not mix.
        x: (N, ...) data.
        target: which number of the output is explained, see `trimkit.targets.Target`; the same for all samples.
        batch: samples at a time.
    Returns:
        Like x, detached.
    """
    gradients = []
    for part in x.detach().split(batch):
        part = part.clone().requires_grad_()
        gradients.append(torch.autograd.grad(select(model(part), target).sum(), part)[0])
    return torch.cat(gradients)


def awd_terms(transform: AdaptiveWavelet, x: Tensor, gradients: Tensor) -> dict[str, Tensor]:
    """The named, unweighted terms of the loss, differentiable with respect to the filter.

    Args:
        transform: in training.
        x: (N, ...) data.
        gradients: ∇f(x), like x.
    Returns:
        Scalars: ``reconstruction`` mean over samples of the squared error; ``coefficients`` and ``scores`` L1 norms,
        mean over samples, divided by the number of scales; and the transform's constraint losses.
    Raises:
        ShapeError: gradients of another shape than x.
    """
    bank, _ = transform.banks(x)
    both, sizes = _analysed(transform, x, gradients, bank)
    s: Any = tree.map_leaves(lambda leaf: leaf[: len(x)], both)
    reconstruction = (x - transform.synthesise(s, bank)).square().sum() / len(x)
    return {"reconstruction": reconstruction, **sizes, **transform.constraint_losses()}


def _analysed(
    transform: AdaptiveWavelet, x: Tensor, gradients: Tensor, bank: FilterBank
) -> tuple[list[Any], dict[str, Tensor]]:
    """Coefficients of x and of ∇f, rows of one above those of the other, and the two L1 terms."""
    if gradients.shape != x.shape:
        raise ShapeError(f"expected one gradient a datum, of shape {tuple(x.shape)}, got {tuple(gradients.shape)}")
    both = transform.analyse(torch.cat([x, gradients]), bank)  # T⁻¹ is the adjoint of T: ∇_s f is the transform of ∇f
    coefficients, scores = (tree.rows(both).abs().sum(1) / len(both)).chunk(2)
    return both, {"coefficients": coefficients.mean(), "scores": scores.mean()}


def distill(
    transform: AdaptiveWavelet,
    x: Tensor,
    gradients: Tensor,
    weights: AwdWeights = AwdWeights(),
    *,
    steps: int = 1500,
    batch: int = 100,
    learning_rate: float = 1e-3,
    generator: torch.Generator | None = None,
) -> dict[str, float]:
    """Fit the filter in place, with Adam.

    Args:
        transform: where to start; for a series of weights, what the last call left.
        x: (N, ...) data.
        gradients: ∇f(x), like x, from `input_gradients`.
        weights: of the terms.
        steps: number of minibatch steps, at least 1.
        batch: samples a step, at most N.
        learning_rate: of Adam; the published example's 0.1 diverges.
        generator: source of the order of samples.
    Returns:
        The terms of the last step.
    Raises:
        ShapeError: gradients of another shape than x.
        TrainingError: the loss is not finite.
    """
    optimiser = torch.optim.Adam(transform.parameters(), learning_rate, fused=True)
    terms: dict[str, Tensor] = {}
    for _ in range(steps):
        chosen = torch.randint(len(x), (min(batch, len(x)),), generator=generator)
        terms = awd_terms(transform, x[chosen], gradients[chosen])
        optimiser.zero_grad()
        weights.total(terms).backward()
        optimiser.step()
    last = {name: float(term.detach()) for name, term in terms.items()}
    if not all(map(_finite, last.values())):
        raise TrainingError(f"distillation diverged: {last}; lower learning_rate or the weight of scores")
    return last


def search(
    transform: AdaptiveWavelet,
    x: Tensor,
    gradients: Tensor,
    weights: AwdWeights = AwdWeights(),
    *,
    starts: int = 1024,
    steps: int = 150,
    batch: int = 8,
    learning_rate: float = 0.1,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Fit many lattices side by side from random angles, and keep the one of the smallest loss in place.

    The L1 norm of attributions has a narrow minimum at the wavelet that is looked for, and many others: from another
    wavelet `distill` ends in the nearest. All starts see the same samples, with Adam and a rate that falls to zero.
    What is kept fits these samples; `distill` then fits it to all data.

    Args:
        transform: a lattice, ``AdaptiveWavelet(…, lattice=True)``; it says how long the filter is, and is the first
            start.
        x: (N, ...) data.
        gradients: ∇f(x), like x, from `input_gradients`.
        weights: of the terms.
        starts: how many, at least 1; one in a hundred or fewer ends in the best minimum of filters of ten taps or more.
        steps: of each, at least 1.
        batch: samples that all steps see, at most N.
        learning_rate: of Adam at the start, in radians.
        generator: source of the angles and of the choice of samples.
    Returns:
        (starts,) losses at the end, in the order of the starts.
    Raises:
        OptionError: no lattice.
        ShapeError: gradients of another shape than x.
        TrainingError: no start ends with a finite loss.
    """
    whole_number("search", starts=starts, steps=steps, batch=batch)
    if not transform.lattice:
        raise OptionError("expected a lattice, whose angles can be drawn; give AdaptiveWavelet(…, lattice=True)")
    rows = torch.randint(len(x), (min(batch, len(x)),), generator=generator).to(x.device)
    loss = _Loss(transform, x[rows], gradients[rows], weights)
    losses_of = vmap(grad_and_value(lambda raw: functional_call(loss, {"transform.raw": raw}, ())), chunk_size=_AT_ONCE)
    raw = torch.pi * (torch.rand(starts, len(transform.raw), generator=generator).to(transform.raw) - 0.5)
    raw[0] = transform.raw.detach()
    optimiser = torch.optim.Adam([raw], learning_rate)
    rate = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.0, steps)
    for _ in range(steps):
        raw.grad, _ = losses_of(raw)
        optimiser.step()
        rate.step()
    losses = losses_of(raw)[1].nan_to_num(torch.inf)
    if not bool(losses.isfinite().any()):
        raise TrainingError("no start of the search ends with a finite loss; lower learning_rate, or look at x")
    transform.raw.data.copy_(raw[losses.argmin()])
    return losses


_AT_ONCE = 128
"""Filters in one pass of `search`: as many matrices of each level are in memory."""


class _Loss(nn.Module):
    """The loss of a lattice on a few samples; its other terms are zero, whatever the angles."""

    def __init__(self, transform: AdaptiveWavelet, x: Tensor, gradients: Tensor, weights: AwdWeights) -> None:
        super().__init__()
        self.transform, self.x, self.gradients, self.weights = transform, x, gradients, weights

    def forward(self) -> Tensor:
        """A scalar."""
        _, terms = _analysed(self.transform, self.x, self.gradients, self.transform.banks(self.x)[0])
        return self.weights.total(terms)


def _finite(value: float) -> bool:
    return abs(value) < float("inf")
