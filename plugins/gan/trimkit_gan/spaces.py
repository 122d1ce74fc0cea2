"""The latent spaces of style-based generators, from z to s, and how their codes are laid out.

    z ──mapping──▶ w ──once a layer──▶ w+ ──affine maps──▶ s ──synthesis──▶ image

Every space determines those to its right, none those to its left. Codes of s are the styles of all taps side by side in
one vector, since penalties, audits and safetensors take one tensor, and `Groups` say which entry belongs to which tap.
See docs/decisions/0005-style-spaces.md.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from trimkit.coefficients.groups import Groups
from trimkit.methods import LatentSpace
from trimkit_gan.synthesis import Synthesis


def style_spaces(
    synthesis: Synthesis, z_dim: int, w_dim: int, reason: str, conditional: bool = False
) -> list[LatentSpace]:
    """The four spaces, w first: the one that is explained unless another is named.

    Args:
        synthesis: gives layers and taps.
        z_dim: entries of z.
        w_dim: entries of w.
        reason: why data cannot be encoded to any of them.
        conditional: decoding z needs u; w and what follows from it have it in them.
    """

    def space(name: str, shape: tuple[int, ...], layout: Groups | None = None) -> LatentSpace:
        """One of them; z alone has a prior, and is decoded beside u."""
        noise = name == "z"
        return LatentSpace(
            name,
            shape,
            layout,
            can_encode=False,
            decoding_needs_aux=noise and conditional,
            gaussian=noise,
            reason=reason,
        )

    return [
        space("w", (w_dim,)),
        space("z", (z_dim,)),
        space("w+", (synthesis.num_ws, w_dim), layer_groups(synthesis, w_dim)),
        space("s", (sum(sizes(synthesis)),), style_groups(synthesis)),
    ]


def sizes(synthesis: Synthesis) -> list[int]:
    """Entries of each tap's style."""
    return [tap.size for tap in synthesis.taps]


def join(styles: Sequence[Tensor]) -> Tensor:
    """Styles side by side: (N, size of the tap) each → (N, S)."""
    return torch.cat(list(styles), dim=1)


def split(s: Tensor, synthesis: Synthesis) -> list[Tensor]:
    """The inverse of `join`: (N, S) → (N, size of the tap) each."""
    return list(s.split(sizes(synthesis), dim=1))


def style_groups(synthesis: Synthesis) -> Groups:
    """One group a tap, ``8px conv1`` and so on, from coarse to fine."""
    count = torch.tensor(sizes(synthesis))
    labels = torch.arange(len(count)).repeat_interleave(count)
    return Groups(tuple(tap.name for tap in synthesis.taps), labels, "layer, from coarse to fine")


def scale_groups(synthesis: Synthesis) -> Groups:
    """One group of s a resolution, ``4px``, ``8px`` and so on."""
    scales = [tap.resolution.bit_length() - 3 for tap in synthesis.taps]
    labels = torch.tensor(scales).repeat_interleave(torch.tensor(sizes(synthesis)))
    names = tuple(f"{4 * 2**level}px" for level in range(max(scales) + 1))
    return Groups(names, labels, "scale, from coarse to fine")


def layer_groups(synthesis: Synthesis, w_dim: int) -> Groups:
    """One group of w+ a layer, named by the convolution that it drives, the last by its map to image channels."""
    maps_last = sorted(synthesis.taps, key=lambda tap: tap.to_rgb)
    names = tuple(next(t.name for t in maps_last if t.w_index == n) for n in range(synthesis.num_ws))
    labels = torch.arange(synthesis.num_ws)[:, None].expand(-1, w_dim)
    return Groups(names, labels, "layer, from coarse to fine")
