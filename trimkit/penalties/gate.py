"""Hard-concrete gates (Louizos et al. 2018): a count of what is kept, with a gradient."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from trimkit.coefficients import tree
from trimkit.coefficients.tree import Tree
from trimkit.errors import OptionError, ShapeError
from trimkit.penalties.base import alive, expand, scale_invariant
from trimkit.penalties.sampling import uniform
from trimkit.registry.options import real_number

TEMPERATURE = 2 / 3  # β of Louizos et al. 2018, section 4
STRETCH = (-0.1, 1.1)  # (γ, ζ), the same
_SHIFT = TEMPERATURE * math.log(-STRETCH[0] / STRETCH[1])


def open_probability(location: Tensor) -> Tensor:
    """P(gate ≠ 0) = sigmoid(log α − β log(−γ/ζ)) for locations log α of any shape (Louizos et al. 2018, eq. 12).

    >>> 0.8 < open_probability(torch.tensor(0.0)).item() < 0.9
    True
    """
    return torch.sigmoid(location - _SHIFT)


@scale_invariant
def l0_gate(scores: Tree, *, threshold: float = 0.1) -> Tensor:
    """A smooth number of coefficients that matter: expected open hard-concrete gates, located at the scores' size.

    Σ_j P(gate_j ≠ 0) for log α_j = log(|a_j| / (threshold · mean |a|)), which is Σ_j |a_j| / (|a_j| + c) with
    c = threshold · mean |a| · (−γ/ζ)^β. A pure function of scores, as every penalty; gates that are themselves learned
    are the module `Gate`, whose `Gate.expected_l0` is the same sum over its own locations. Invariant to scale. A dead
    row (all scores 0) counts n, which is never sparse, and has no gradient.

    Args:
        scores: real leaves (N, ...), n a sample.
        threshold: the size, in units of the row's mean magnitude, below which a score should not count; > 0.
    Returns:
        (N,) values in (0, n].
    Raises:
        OptionError: threshold ≤ 0.
    """
    real_number("l0_gate", above=True, threshold=threshold)
    a = tree.rows(scores).abs()
    live = alive(a)
    safe = torch.where(live[:, None], a, torch.ones_like(a))
    safe = safe / safe.detach().amax(1, keepdim=True)
    half = threshold * math.exp(_SHIFT) * safe.mean(1, keepdim=True)
    return torch.where(live, (safe / (safe + half)).sum(1), torch.full_like(a[:, 0], a.shape[1]))


class Gate(nn.Module):
    """Learned gates on coefficients: s → z ⊙ s with z in [0, 1], many of them exactly 0 or 1 (Louizos et al. 2018).

    Put it between a transform and its inverse, and add ``weight * gate.expected_l0()`` to the loss:

        x_kept = transform.inverse(gate(transform(x)), x.shape[1:])
        loss = cross_entropy(model(x_kept), y) + 0.01 * gate.expected_l0()

    In training each sample draws its own gates; in eval mode they are the clipped median, without noise.

    Args:
        like: a tree of tensors with the shape of ONE sample's coefficients, or a shape that broadcasts to it, such as
            (bands, 1, 1, 1) for one gate a band; only the shapes are used.
        open: initial probability that a gate is not 0, in (0, 1).
    Raises:
        OptionError: open out of range.

    Attributes:
        locations: log α, one parameter a leaf.
    """

    def __init__(self, like: Tree, open: float = 0.9) -> None:
        super().__init__()
        if not 0 < open < 1:
            raise OptionError(f"Gate: expected open in (0, 1), got {open}")
        start = math.log(open / (1 - open)) + _SHIFT
        self.locations = nn.ParameterList(torch.full(leaf.shape, start) for leaf in tree.leaves(like))

    def forward(self, s: Tree, generator: torch.Generator | None = None) -> Tree:
        """Gated coefficients.

        Args:
            s: real or complex leaves (N, ...).
            generator: source of randomness in training; None for torch's own.
        Returns:
            Leaves like s.
        Raises:
            ShapeError: coefficients of another structure or shape.
        """
        leaves = tree.leaves(s)
        if len(leaves) != len(self.locations):
            raise ShapeError(f"Gate: expected {len(self.locations)} leaves of coefficients, got {len(leaves)}")
        return tree.rebuild(s, [self._gated(*pair, generator) for pair in zip(leaves, self.locations, strict=True)])

    def expected_l0(self) -> Tensor:
        """Expected number of open gates, a scalar with gradient: Σ P(z ≠ 0)."""
        return torch.stack([open_probability(location).sum() for location in self.locations]).sum()

    def values(self) -> list[Tensor]:
        """The gates without noise, one tensor in [0, 1] a leaf: sigmoid(log α), stretched and clipped."""
        return [_stretched(torch.sigmoid(location)) for location in self.locations]

    def _gated(self, leaf: Tensor, location: Any, generator: torch.Generator | None) -> Tensor:
        expand("Gate: the gates", location, leaf.detach()[0].real)
        if not self.training:
            return leaf * _stretched(torch.sigmoid(location))
        u = uniform((len(leaf), *location.shape), location, generator)
        u = u.clamp(torch.finfo(u.dtype).tiny, 1 - torch.finfo(u.dtype).eps)
        noisy = torch.sigmoid((u.logit() + location) / TEMPERATURE)
        return leaf * _stretched(noisy)


def _stretched(z: Tensor) -> Tensor:
    low, high = STRETCH
    return (low + (high - low) * z).clamp(0, 1)
