"""Pictures of a style-based generator: style mixing, truncation, and what single styles do."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from PIL import Image

from trimkit.training.pictures import draw_grid
from trimkit_gan.generating import StyleSpaces
from trimkit_gan.mapping import mix, truncate


@torch.no_grad()
def mixing_grid(
    method: StyleSpaces, generator: torch.Generator, sources: int = 6, cutoffs: Sequence[int] = (2, 4)
) -> Image.Image:
    """Coarse styles of one image, fine styles of another (StyleGAN, figure 3).

    The first row holds the sources of fine styles. Each further row takes the coarse layers, up to its cutoff, from the
    sample on its left.

    Args:
        method: trained.
        generator: source of randomness.
        sources: columns.
        cutoffs: for each, two rows whose layers before it are of the row's own sample.
    """
    fine = method.synthesis.spread(method.draw_w(sources, generator))
    rows, labels = [torch.cat([torch.ones(1, *method.shape).to(fine), method.decode(fine, "w+")])], ["fine from"]
    for cutoff in cutoffs:
        for coarse in method.synthesis.spread(method.draw_w(2, generator)):
            mixed = mix(coarse.expand_as(fine), fine, cutoff)
            rows.append(method.decode(torch.cat([coarse[None], mixed]), "w+"))
            labels.append(f"coarse:\nlayers < {cutoff}")
    return draw_grid(rows, labels)


@torch.no_grad()
def truncation_grid(
    method: StyleSpaces, generator: torch.Generator, samples: int = 6, psi: Sequence[float] = (1.0, 0.7, 0.4, 0.0, -0.7)
) -> Image.Image:
    """The same samples at falling ψ: from all variety to the mean image, and to the opposite (StyleGAN, figure 8)."""
    ws = method.synthesis.spread(method.draw_w(samples, generator))
    rows = [method.decode(truncate(ws, method.mapping.w_mean, value), "w+") for value in psi]
    return draw_grid(rows, [f"psi {value:g}" for value in psi])


@torch.no_grad()
def edit_grid(
    method: StyleSpaces, s: torch.Tensor, channels: Sequence[int], reach: Sequence[float] = (-6, -3, 0, 3, 6)
) -> Image.Image:
    """What single style channels do to one sample: a row a channel, its style moved by steps of the row.

    Args:
        method: trained.
        s: (1, S) code of the sample.
        channels: entries of s.
        reach: what is added to the entry, where each layer's styles have a root mean square of 1.
    """
    groups = method.space("s").groups
    layer_of = groups.labels
    assert isinstance(layer_of, torch.Tensor)
    rows, labels = [], []
    for channel in channels:
        moved = s.repeat(len(reach), 1)
        moved[:, channel] += torch.tensor(reach).to(moved)
        rows.append(method.decode(moved, "s"))
        labels.append(f"{groups.names[int(layer_of[channel])]}\nentry {channel}")
    return draw_grid(rows, labels)
