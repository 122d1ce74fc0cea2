"""Pictures of a trained method: reconstructions, latent traversals, KL of each latent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from trimkit.coefficients import tree
from trimkit.methods import Method

CELL = 64
"""Smallest side of a drawn sample, in pixels."""

GAP = 2
LABEL = 84
"""Width of the column of labels."""

LINE = 16
"""Height of a line of text above a cell."""

STEPS = 9
"""Columns of a traversal."""

FRAMES = 17
"""Steps of a traversal's film, one way."""

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


def sample_grid(x: Tensor, drawn: Tensor) -> Image.Image:
    """Data (N, *shape) above rows of as many generated samples, from (M, *shape)."""
    rows = drawn.split(max(1, len(x)))
    return draw_grid([x, *rows], ["data", *["drawn"] * len(rows)])


class Traversal(NamedTuple):
    """What each latent does to a sample.

    Attributes:
        rows: one a latent: (steps, *shape) samples, from −2.5 to 2.5 standard deviations about its mean over the data.
        labels: one a row.
    """

    rows: list[Tensor]
    labels: list[str]


@torch.no_grad()
def traverse(
    method: Method,
    x: Tensor,
    kl: Sequence[float] | None = None,
    steps: int = STEPS,
    most: int = 12,
    aux: Tensor | None = None,
) -> Traversal:
    """Move one latent at a time, with all others at the code of the sample that is nearest to the mean code.

    Args:
        method: whose first space is a vector that can be encoded to and decoded.
        x: (N, *shape) data for the spread of each latent; N ≥ 2.
        kl: of each latent in nats, to order and label the rows; by default they are in the space's own order.
        steps: samples a row.
        most: rows at most.
        aux: (N, ...) of the data, where the method needs them; that sample's is held.
    """
    posterior = method.encode(x, aux)
    generator = torch.Generator(x.device).manual_seed(0)
    draws = posterior.rsample(generator)
    centre, spread = draws.mean(0), draws.std(0)
    order = sorted(range(len(centre)), key=lambda d: -kl[d]) if kl else list(range(len(centre)))
    groups = method.space().groups
    names = [groups.names[label] for label in tree.leaves(groups.labels)[0].tolist()]
    distance = ((posterior.mean - centre) / spread.clamp_min(1e-12)).square().sum(1)
    nearest = distance.argmin()
    typical = posterior.mean[nearest]
    held = None if aux is None else aux[nearest].expand(steps, *aux.shape[1:])
    decode = partial(method.decode, aux=held) if method.space().decoding_needs_aux else method.decode
    traversal = Traversal([], [])
    for d in order[:most]:
        codes = typical.repeat(steps, 1)
        codes[:, d] = centre[d] + spread[d] * torch.linspace(-REACH, REACH, steps, device=x.device)
        traversal.rows.append(decode(codes))
        traversal.labels.append(f"{names[d]}\n{kl[d]:.2f} nats" if kl else names[d])
    return traversal


def traversal_grid(
    method: Method, x: Tensor, kl: Sequence[float] | None = None, most: int = 12, aux: Tensor | None = None
) -> Image.Image:
    """A row a latent, see `traverse`."""
    return draw_grid(*traverse(method, x, kl, most=most, aux=aux))


def save_traversal_film(
    method: Method, x: Tensor, path: Path, kl: Sequence[float] | None = None, aux: Tensor | None = None
) -> None:
    """All latents at once, each swept there and back in a cell of its own, written as GIF; see `traverse`."""
    traversal = traverse(method, x, kl, steps=FRAMES, aux=aux)
    columns = math.ceil(math.sqrt(len(traversal.rows)))
    frames = [
        draw_cells(
            [row[step] for row in traversal.rows], [label.replace("\n", ": ") for label in traversal.labels], columns
        )
        for step in range(FRAMES)
    ]
    save_film(frames + frames[-2:0:-1], path)


def draw_cells(samples: Sequence[Tensor], labels: Sequence[str], columns: int) -> Image.Image:
    """Samples in reading order, each with its label above.

    Args:
        samples: (*shape) each.
        labels: one a sample.
        columns: cells in a line.
    """
    cells = [draw_sample(sample) for sample in samples]
    width, height = max(cells[0].size[0], LABEL), cells[0].size[1] + LINE
    lines = math.ceil(len(cells) / columns)
    picture = Image.new("RGB", (columns * (width + GAP) - GAP, lines * (height + GAP) - GAP), "white")
    pen = ImageDraw.Draw(picture)
    for number, (cell, label) in enumerate(zip(cells, labels, strict=True)):
        line, column = divmod(number, columns)
        corner = (column * (width + GAP), line * (height + GAP))
        pen.text((corner[0] + 2, corner[1] + 1), label, fill="black", font_size=11)
        picture.paste(cell, (corner[0], corner[1] + LINE))
    return picture


def save_film(frames: Sequence[Image.Image], path: Path, milliseconds: int = 80) -> None:
    """Frames of one size as a GIF that repeats.

    Args:
        frames: at least one.
        path: of the file.
        milliseconds: that each frame stays.
    """
    first, *rest = (frame.quantize(64) for frame in frames)
    first.save(path, save_all=True, append_images=rest, duration=milliseconds, loop=0)


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
