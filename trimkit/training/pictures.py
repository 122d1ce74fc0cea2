"""Pictures of a trained method: reconstructions, latent traversals, KL of each latent."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from trimkit.methods import Method

CELL = 64
"""Smallest side of a drawn sample, in pixels."""

GAP = 2
LABEL = 84
"""Width of the column of labels."""

STEPS = 9
"""Columns of a traversal."""

REACH = 2.5
"""Ends of a traversal, in standard deviations of the latent over the data."""


def draw_sample(sample: Tensor) -> Image.Image:
    """One sample as a small picture.

    Args:
        sample: (C, H, W) in [0, 1] as an image (three channels as RGB, else their mean); anything else as a curve over
            its last axis, scaled to its range.
    """
    sample = sample.detach().cpu().float()
    if sample.ndim != 3:
        return _draw_curve(sample.reshape(-1, sample.shape[-1]))
    pixels = sample if sample.shape[0] == 3 else sample.mean(0, keepdim=True)
    scale = max(1, -(-CELL // min(pixels.shape[1:])))
    values = (pixels.clamp(0, 1) * 255).round().byte()
    values = values.repeat_interleave(scale, 1).repeat_interleave(scale, 2)
    array = values.permute(1, 2, 0).numpy() if len(values) == 3 else values[0].numpy()
    return Image.fromarray(array).convert("RGB")


def _draw_curve(rows: Tensor) -> Image.Image:
    picture = Image.new("RGB", (CELL, CELL), "white")
    pen = ImageDraw.Draw(picture)
    low, high = rows.min(), rows.max()
    heights = (1 - (rows - low) / (high - low).clamp_min(1e-12)) * (CELL - 5) + 2
    across = torch.linspace(2, CELL - 3, rows.shape[1])
    for row in heights:
        points = [(float(a), float(h)) for a, h in zip(across, row, strict=True)]
        pen.line(points * 2 if len(points) == 1 else points, fill="black")
    return picture


def draw_grid(rows: Sequence[Tensor], labels: Sequence[str]) -> Image.Image:
    """Samples in rows, each row with a label on its left.

    Args:
        rows: one (n, *shape) tensor a row.
        labels: one a row.
    """
    cells = [[draw_sample(sample) for sample in row] for row in rows]
    width, height = cells[0][0].size
    across = max(map(len, cells))
    size = (LABEL + across * (width + GAP), len(cells) * (height + GAP))
    picture = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(picture)
    for r, (row, label) in enumerate(zip(cells, labels, strict=True)):
        top = r * (height + GAP)
        pen.multiline_text((6, top + height // 2 - 12), label, fill="black", font_size=12)
        for c, cell in enumerate(row):
            picture.paste(cell, (LABEL + c * (width + GAP), top))
    return picture


def reconstruction_grid(x: Tensor, x_hat: Tensor) -> Image.Image:
    """Originals above their reconstructions, (N, *shape) each."""
    return draw_grid([x, x_hat], ["original", "rebuilt"])


@torch.no_grad()
def traversal_grid(method: Method, x: Tensor, kl: Sequence[float] | None = None, most: int = 12) -> Image.Image:
    """What each latent does: a row a latent, from −2.5 to 2.5 standard deviations about its mean over the data.

    All other latents stay at the code of the sample that is nearest to the mean code.

    Args:
        method: whose first space is a vector that can be encoded to and decoded.
        x: (N, *shape) data for the spread of each latent; N ≥ 2.
        kl: of each latent in nats, to order and label the rows; by default they are in the space's own order.
        most: rows at most.
    """
    posterior = method.encode(x)
    generator = torch.Generator(x.device).manual_seed(0)
    draws = posterior.rsample(generator)
    centre, spread = draws.mean(0), draws.std(0)
    order = sorted(range(len(centre)), key=lambda d: -kl[d]) if kl else list(range(len(centre)))
    names = method.space().groups.names
    distance = ((posterior.mean - centre) / spread.clamp_min(1e-12)).square().sum(1)
    typical = posterior.mean[distance.argmin()]
    rows, labels = [], []
    for d in order[:most]:
        codes = typical.repeat(STEPS, 1)
        codes[:, d] = centre[d] + spread[d] * torch.linspace(-REACH, REACH, STEPS, device=x.device)
        rows.append(method.decode(codes))
        labels.append(f"{names[d]}\n{kl[d]:.2f} nats" if kl else names[d])
    return draw_grid(rows, labels)


def draw_kl(kl: Sequence[float], names: Sequence[str], path: Path) -> None:
    """A bar a latent, in nats, in the space's own order, written as PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1.5 + 0.45 * len(kl), 3), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.bar(range(len(kl)), kl, color="#3b6ea5")
    axes.set_xticks(range(len(kl)), names)
    axes.set_ylabel("KL (nats)")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=100)
