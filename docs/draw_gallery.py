"""A page with a picture for every transform and method that is installed: ``python docs/draw_gallery.py [FILE]``.

A transform shows the coefficients of one sample, a method what a short training of it makes of a few. The trainings are
far too short for good pictures: they show what kind of thing each part gives. Nothing is downloaded.
"""

from __future__ import annotations

import base64
import io
import math
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

import trimkit
from trimkit.audit.pictures import coefficient_figure
from trimkit.coefficients import tree
from trimkit.data import Dataset
from trimkit.errors import TrimkitWarning
from trimkit.methods import Method
from trimkit.report import Figure, render, write_text
from trimkit.report.pictures import bar_figure, input_figure
from trimkit.report.sections import Gallery, Section
from trimkit.training.pictures import reconstruction_grid, sample_grid

PAGE = Path(__file__).parent / "_build" / "gallery.html"
SHOWN = 4
RATE = 512
RING = torch.eye(16).roll(1, 0) + torch.eye(16).roll(-1, 0)


def digits() -> Tensor:
    """400 digits, (400, 1, 16, 16)."""
    return trimkit.data.load("digits", "train").x[:400]


def colours() -> Tensor:
    """Eight coloured sprites, (8, 3, 64, 64)."""
    return trimkit.data.load("sprites-color", "train").x[torch.arange(8) * 4001]


def chirps() -> Tensor:
    """Eight signals of one second whose frequency rises, (8, 1, 512)."""
    t, start = torch.arange(RATE) / RATE, torch.arange(1, 9)[:, None]
    return torch.sin(2 * math.pi * (8 * start * t + 30 * t.square()))[:, None]


def ring() -> Tensor:
    """Eight signals on a ring of sixteen nodes, (8, 16)."""
    return torch.randn(8, 16, generator=torch.Generator().manual_seed(0)).cumsum(1)


TRANSFORMS: dict[str, tuple[Callable[[], Tensor], dict[str, Any]]] = {
    "color": (colours, {}),
    "compose": (colours, {"of": ["color", "wavelet"]}),
    "stft": (chirps, {}),
    "wavelet_packet": (chirps, {}),
    "mel": (chirps, {"sample_rate": RATE, "n_fft": 64, "mels": 8}),
    "cqt": (chirps, {}),
    "channels_x_bands": (lambda: torch.cat([chirps(), chirps().flip(0)], 1), {}),
    "graph_fourier": (ring, {"adjacency": RING}),
    "each": (colours, {"of": "pca", "axes": 1}),
    "nmf": (digits, {"components": 16}),
    "pca": (digits, {"components": 32}),
    "zca": (digits, {}),
    "dictionary": (digits, {"matrix": torch.randn(32, 256, generator=torch.Generator().manual_seed(0))}),
}
"""Name → its samples and options, where they are not digits and none."""

METHODS: dict[str, dict[str, Any]] = {
    "factor-vae": {"network": "mlp", "discriminator_width": 64},
    "beta-tcvae": {"network": "mlp", "dataset_size": 400},
    **{f"{n}vae": {"network": "mlp"} for n in ("", "beta-", "info-")},
    **{n: {"network": "mlp"} for n in ("beta-vae-b", "dip-vae-i", "dip-vae-ii", "wae-mmd")},
    **{n: {"components": 12} for n in ("fastica", "picard", "infomax", "trim-ica")},
}
"""Name → the options with which it is trained on digits."""

AUXILIARY = {"ivae": "nonstationary", "tcl": "tcl", "icebeem": "imca"}
"""Methods that need an auxiliary variable, and the data that have it."""

STEPS = {"stylegan": 12, "stylegan2": 12, "alae": 12, "infogan": 60}


@cache
def trained(name: str, folder: str | None = None) -> tuple[Method, Dataset]:
    """A method after a short training, and its data."""
    data = trimkit.data.load(AUXILIARY.get(name, "digits"), "train").take(400)
    options = dict(METHODS.get(name, {}))
    if name in AUXILIARY and data.aux is not None:
        options["segments"] = int(data.aux.max()) + 1
    method = trimkit.create("method", name, shape=data.shape, **options)
    settings: dict[str, Any] = {"device": "cpu", "seed": 0}
    if method.phases():
        settings |= {"steps": STEPS.get(name, 120), "batch_size": 32 if name not in STEPS else 8}
    trimkit.train(method, data, folder=folder, **settings)
    return method.eval(), data


def transform_figures(name: str) -> tuple[Figure, Figure]:
    """A sample, and its coefficients."""
    samples, options = TRANSFORMS.get(name, (digits, {}))
    if name in ("latent", "projection"):
        options = {"run": run_of({"latent": "vae", "projection": "stylegan2"}[name])}
        options |= {"steps": 20} if name == "projection" else {}
    x = samples()
    transform = trimkit.create("transform", name, **options).eval()
    transform.fit(x)
    with torch.no_grad():
        s = transform(x[:1])
    shown = tree.map_leaves(lambda leaf: leaf.abs() if leaf.is_complex() else leaf, s)
    drawn = coefficient_figure(transform, shown, tuple(x.shape[1:]))
    caption = f"{name}: {drawn.caption or 'the data themselves'}"
    return (
        input_figure(x[0], f"{name}: a sample", f"A sample for {name}."),
        Figure(caption, f"{name}. {drawn.alt}", drawn.uri, drawn.bars, drawn.line, drawn.aspect),
    )


@cache
def run_of(name: str) -> str:
    """The folder of a run of a method."""
    folder = str(Path(tempfile.mkdtemp()) / name)
    trained(name, folder)
    return folder


def method_figure(name: str) -> Figure:
    """Samples above what the method makes of them, or beside what it draws; codes where it gives no data."""
    method, data = trained(name)
    x, aux = data.x[:SHOWN], None if data.aux is None else data.aux[:SHOWN]
    space = next((s for s in method.latent_spaces() if s.can_encode and s.can_decode), None)
    with torch.no_grad():
        if space is not None:
            rebuilt = method.decode(method.encode(x, aux, space.name).mean, space.name)
            return picture_figure(reconstruction_grid(x, rebuilt), f"{name}: data, and what {space.name!r} keeps")
        encoding = next((s for s in method.latent_spaces() if s.can_encode), None)
        if name not in AUXILIARY:
            drawn = method.sample(2 * SHOWN, torch.Generator().manual_seed(0))
            return picture_figure(sample_grid(x, drawn), f"{name}: data, and two rows of samples")
        assert encoding is not None
        codes = method.encode(x, aux, encoding.name).mean[0]
    return bar_figure(codes.flatten().tolist(), f"{name}: the code of a sample", f"The code of a sample by {name}.")


def picture_figure(picture: Image.Image, caption: str) -> Figure:
    """A picture as a figure of a page."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    uri = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return Figure(caption, caption, uri, aspect=picture.width / picture.height)


def sections() -> Iterator[Section]:
    """The transforms, and the methods by their distribution."""
    spaces = tuple(f for name in trimkit.available("transforms") for f in transform_figures(name))
    yield Gallery("Transforms", "A sample, and its coefficients: magnitudes where they are complex.", spaces)
    methods = tuple(method_figure(name) for name in trimkit.available("methods"))
    yield Gallery("Methods", "What each makes of data after at most 120 steps, which is far too short.", methods)


def main(page: Path = PAGE) -> None:
    """Draw the page."""
    began = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TrimkitWarning)  # of trainings that are this short
        html = render("Gallery", "A picture for every transform and method.", list(sections()), brand="trimkit")
    page.parent.mkdir(parents=True, exist_ok=True)
    write_text(page, html)
    print(f"{page}: {len(html) / 1e6:.1f} MB in {time.process_time() - began:.0f} s of one core")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(*map(Path, sys.argv[1:2]))
