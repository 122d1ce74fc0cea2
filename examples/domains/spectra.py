"""Which wavelengths does a classifier of spectra read? Ranges in nanometres of made near-infrared reflectance.

Wet or dry: water absorbs around 1450 and 1940 nm. Two networks of one form learn it: from spectra of one instrument,
and from spectra where the wet samples were measured with a second one, whose detector makes a step at 1000 nm.
Integrated gradients, from the mean spectrum, are asked for the two ranges of water.
"""

from __future__ import annotations

import torch
from _domain import arguments, chart, judge, shares, train, write_page
from torch import Tensor, nn

import trimkit
from trimkit.transforms import Segments

NANOMETRES = torch.arange(400.0, 2500.0, 10.0)
RANGES = {
    "visible": (400, 700),
    "near": (700, 960),
    "detector": (960, 1040),
    "plateau": (1040, 1360),
    "water at 1450": (1360, 1540),
    "between": (1540, 1850),
    "water at 1940": (1850, 2030),
    "far": (2030, 2490),
}


def spectra(n: int, step: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Reflectance (n, 210) from 400 to 2490 nm in steps of 10; 1 for wet."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(2, (n,), generator=generator)

    def dip(centre: float, width: float) -> Tensor:
        return torch.exp(-(((NANOMETRES - centre) / width) ** 2))

    slope = 0.1 * torch.randn(n, 1, generator=generator) * (NANOMETRES - 1450) / 1000
    matter = 0.2 * torch.rand(n, 1, generator=generator) * dip(2200, 60) + 0.2 * torch.rand(
        n, 1, generator=generator
    ) * dip(550, 80)
    depth = (0.05 + 0.2 * y + 0.08 * torch.randn(n, generator=generator))[:, None]
    water = depth * (0.7 * dip(1450, 40) + dip(1940, 40))
    x = 0.6 + slope - matter - water + 0.02 * torch.randn(n, len(NANOMETRES), generator=generator)
    return x + step * y[:, None] * dip(1000, 25), y


def main() -> None:
    """Train, explain, judge, and write the page."""
    options = arguments(__doc__)
    space = Segments(RANGES, sample_rate="0.1/nm", start=400)
    groups = space.groups((len(NANOMETRES),))
    parts = []
    for kind, step in (("one instrument", 0.0), ("two instruments", 0.3)):
        torch.manual_seed(0)
        x, y = spectra(options.samples, step)
        mean = x.mean(0)
        model = nn.Sequential(nn.Linear(len(NANOMETRES), 16), nn.ReLU(), nn.Linear(16, 2))
        train(model, x - mean, y, decay=0.3)
        wet = (x - mean)[:100][y[:100] == 1]
        values = shares(groups.sums(trimkit.Trim(model, space)(wet, 1).scores))
        line = judge(kind, values, groups.names, ("water at 1450", "water at 1940"), "the ranges of water")
        parts.append((line, chart(values, groups)))
    write_page(options.out / "spectra.html", "Which wavelengths decide?", parts)


if __name__ == "__main__":
    main()
