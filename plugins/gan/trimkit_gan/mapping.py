"""z → w: the mapping network, the running mean of w, truncation towards it, and style mixing."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import Tensor, nn

from trimkit.errors import OptionError
from trimkit.methods import gather
from trimkit_gan.layers import ROOT_TWO, EqualisedLinear, pixel_norm, rectify

W_DECAY = 0.995
"""Of the running mean of w (StyleGAN2's published configuration)."""


class Mapping(nn.Module):
    """w = MLP(z / rms(z)), all layers rectified (Karras et al. 2019, section 2).

    A conditional one takes [z / rms(z), e / rms(e)], with e = E c a linear map of what it sees of u (Karras et al.
    2020, arXiv:2006.06676).

    Args:
        z_dim: entries of z.
        w_dim: entries of w, of e, and of the hidden layers.
        depth: layers, at least 1.
        multiplier: m of the layers, see `EqualisedLinear`; weights that were saved with another one are converted.
        condition_size: entries of c; 0 for none.
    Raises:
        OptionError: a size below 1.

    Attributes:
        z_dim: as given.
        w_dim: as given.
        w_mean: (w_dim,) running mean of w over training; a saved buffer.
        multiplier: m, a scalar; a saved buffer.
    """

    w_mean: Tensor
    multiplier: Tensor

    def __init__(
        self, z_dim: int, w_dim: int, depth: int = 8, multiplier: float = 0.01, condition_size: int = 0
    ) -> None:
        super().__init__()
        if not all(isinstance(size, int) and size >= 1 for size in (z_dim, w_dim, depth)):
            raise OptionError(
                f"expected z_dim, w_dim and mapping_layers ≥ 1, whole numbers, got {z_dim}, {w_dim}, {depth}"
            )
        self.z_dim, self.w_dim = z_dim, w_dim
        self.embedding = EqualisedLinear(condition_size, w_dim) if condition_size else None
        sizes = [z_dim + (w_dim if condition_size else 0), *[w_dim] * depth]
        self.layers = nn.ModuleList(
            EqualisedLinear(n, m, multiplier=multiplier, gain=ROOT_TWO) for n, m in itertools.pairwise(sizes)
        )
        self.register_buffer("w_mean", torch.zeros(w_dim))
        self.register_buffer("multiplier", torch.tensor(float(multiplier)))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """As every module, with layers of the same outputs: they hold their weights divided by m."""
        ours = self.multiplier.cpu()
        ratio = state_dict.get(f"{prefix}multiplier", ours).cpu() / ours
        state_dict[f"{prefix}multiplier"] = ours
        for name in (key for key in state_dict if key.startswith(f"{prefix}layers.")):
            state_dict[name] = state_dict[name] * ratio.to(state_dict[name])
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def forward(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        """(N, z_dim), and (N, condition_size) where conditional → (N, w_dim)."""
        w = pixel_norm(z)
        if self.embedding is not None:
            assert c is not None
            w = torch.cat([w, pixel_norm(self.embedding(c))], 1)
        for layer in self.layers:
            w = rectify(layer(w))
        return w

    @torch.no_grad()
    def track(self, w: Tensor) -> None:
        """Move the running mean towards the mean of (N, w_dim), by 1 − 0.995; the same on every process.

        Entries that are not finite leave it as it is, since the step that they are from may be skipped.
        """
        mean = gather(w.detach()).mean(0).to(self.w_mean)
        self.w_mean.lerp_(torch.where(mean.isfinite(), mean, self.w_mean), 1 - W_DECAY)


def truncate(ws: Tensor, mean: Tensor, psi: float, cutoff: int | None = None) -> Tensor:
    """w̄ + ψ (w − w̄): less variety, fewer failures (StyleGAN, appendix B).

    Args:
        ws: (N, L, D), one w a layer.
        mean: w̄, (D,).
        psi: 1 changes nothing, 0 gives the mean image.
        cutoff: how many layers, from the coarsest, are truncated; None for all.
    Returns:
        Like ws.
    """
    if psi == 1:
        return ws
    towards = torch.lerp(mean.to(ws), ws, psi)
    layers = torch.arange(ws.shape[1], device=ws.device) < (ws.shape[1] if cutoff is None else cutoff)
    return torch.where(layers[:, None], towards, ws)


def mix(ws: Tensor, other: Tensor, cutoff: int) -> Tensor:
    """The layers of ``ws`` before a cutoff, those of ``other`` from it on (StyleGAN, section 3.1).

    Args:
        ws: (N, L, D).
        other: (N, L, D).
        cutoff: 0 gives ``other``, L gives ``ws``.
    Returns:
        (N, L, D).
    """
    first = torch.arange(ws.shape[1], device=ws.device) < cutoff
    return torch.where(first[:, None], ws, other)


def draw_cutoff(layers: int, probability: float, generator: torch.Generator | None) -> int:
    """Where style mixing switches: 1 … layers − 1 with equal chances, or ``layers`` (nowhere).

    Args:
        layers: how many there are.
        probability: of a switch.
        generator: source of randomness; its device is where the two numbers are drawn.
    """
    device = torch.device("cpu") if generator is None else generator.device
    chance, where = torch.rand(2, generator=generator, device=device).tolist()
    return 1 + int(where * (layers - 1)) if chance < probability and layers > 1 else layers
