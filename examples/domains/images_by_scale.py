"""At which scale does a classifier look? Levels of a wavelet transform of made pictures, in cycles a millimetre.

Round or long: a blob of about ten pixels, anywhere, of either form. Two networks of one form learn it: from plain
pictures, and from pictures where long blobs come with a fine checkerboard, a trace of another scanner. Integrated
gradients of wavelet coefficients are asked for the coarse scales, where the blobs are.
"""

from __future__ import annotations

import itertools

import torch
from _domain import arguments, chart, judge, shares, train, write_page
from torch import Tensor, nn

import trimkit
from trimkit.coefficients.groups import Groups
from trimkit.transforms import Wavelet

SIDE, RATE = 32, 10.0
"""Pixels along a side, and pixels a millimetre."""


def pictures(n: int, trace: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Pictures (n, 1, 32, 32); 1 for long blobs."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(2, (n,), generator=generator)
    centre = 10 + 12 * torch.rand(n, 2, 1, 1, generator=generator)
    rows, columns = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    wide = (4.0 + 3.0 * y)[:, None, None]
    blob = torch.exp(-(((rows - centre[:, 0]) / (28 / wide)) ** 2) - ((columns - centre[:, 1]) / wide) ** 2)
    board = (-1.0) ** (rows + columns)
    x = blob + 0.2 * torch.randn(n, SIDE, SIDE, generator=generator) + trace * y[:, None, None] * board
    return x[:, None], y


def looker() -> nn.Module:
    """A small convolutional network."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 5, 2, 2), nn.ReLU(), nn.Conv2d(8, 16, 5, 2, 2), nn.ReLU(), nn.Flatten(), nn.Linear(1024, 2)
    )


def by_level(groups: Groups, sums: Tensor, levels: int) -> tuple[Groups, Tensor]:
    """Sums of a level's three directions: names by cycles a millimetre, coarse to fine."""
    edges = [0.0, *(RATE / 2 ** (j + 1) for j in range(levels, -1, -1))]
    spans = tuple(itertools.pairwise(edges))
    names = tuple(f"{low:.3g}–{high:.3g} cycles/mm" for low, high in spans)
    columns = [sums[:, :1], *(sums[:, 1 + 3 * i : 4 + 3 * i].sum(1, keepdim=True) for i in range(levels))]
    return Groups(names, torch.arange(len(names)), "scale (cycles/mm)", spans=spans), torch.cat(columns, 1)


def main() -> None:
    """Train, explain, judge, and write the page."""
    options = arguments(__doc__)
    space = Wavelet("db2", 3)
    parts = []
    for kind, trace in (("plain pictures", 0.0), ("pictures of two scanners", 0.3)):
        torch.manual_seed(0)
        x, y = pictures(options.samples, trace)
        model = train(looker(), x, y, epochs=12 if not options.small else 25)
        scores = trimkit.Trim(model, space)(x[:100][y[:100] == 1], 1).scores
        whole = space.groups((1, SIDE, SIDE))
        groups, sums = by_level(whole, whole.sums(scores), 3)
        values = shares(sums)
        line = judge(kind, values, groups.names, groups.names[:2], "scales below 1.25 cycles/mm")
        parts.append((line, chart(values, groups)))
    write_page(options.out / "images_by_scale.html", "Which scale decides?", parts)


if __name__ == "__main__":
    main()
