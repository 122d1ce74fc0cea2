"""trimkit's own parts keep the promises that it asks of every plugin."""

from __future__ import annotations

import atexit
import functools
import math
import shutil
import tempfile
from pathlib import Path

import torch
from torch import nn

import trimkit
from trimkit.coefficients.groups import Groups
from trimkit.testing import Example, conformance

PICTURES = [(3, 4, 6)]
SIGNALS = [(2, 6), (7,)]
THIRDS = Groups(("left", "middle", "right"), torch.arange(6) // 2, "feature")
RING = torch.eye(8).roll(1, 0)
MASK = torch.tensor([1.0, 0.0, 0.0, 1.0, 0.0, 0.0])


def passing_folder() -> Path:
    """A folder that is gone when the tests end."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    return folder


@functools.cache
def folder_of_pictures() -> Path:
    """Twenty grey pictures of two classes."""
    from PIL import Image

    root = passing_folder()
    values = torch.randint(256, (20, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    for number, value in enumerate(values):
        (root / "ab"[number % 2]).mkdir(exist_ok=True)
        Image.fromarray(value.numpy()).save(root / "ab"[number % 2] / f"{number}.png")
    return root


@functools.cache
def trained_run() -> str:
    """The folder of a run of principal components."""
    root = passing_folder() / "run"
    x = torch.randn(60, 8, generator=torch.Generator().manual_seed(0))
    trimkit.train(trimkit.create("method", "fastica", shape=(8,)), x, folder=root)
    return str(root)


def with_convolution(size: tuple[int, ...]) -> nn.Module:
    """A network with the layer that class activation maps need, and the activation that guided rules need."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        flat = 4 * math.prod(n - 2 for n in size[-2:])
        return nn.Sequential(nn.Conv2d(size[0], 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(flat, 3))


EXAMPLES = {
    "color": [Example({"space": space}, sizes=PICTURES, data=torch.sigmoid) for space in ("ycbcr", "lab", "hsv")],
    "compose": [
        Example({"of": ["color", ("wavelet", {"levels": 1})]}, sizes=PICTURES, data=torch.sigmoid),
        Example({"of": [("color", {"space": "lab"}), "fft"]}, sizes=PICTURES, data=torch.sigmoid),
    ],
    "adaptive_wavelet": [Example(), Example({"wavelet": "db2", "lattice": True})],
    "channels_x_bands": Example(sizes=[(2, 6), (1, 5)]),
    "cqt": [Example(), Example({"bins": 1})],
    "each": [Example({"of": "dct"}), Example({"of": "dct", "axes": 1}, sizes=[(4, 3), (5,)])],
    "graph_fourier": Example({"adjacency": RING + RING.T}, sizes=[(8,), (2, 8)]),
    "mel": Example({"mels": 3, "n_fft": 16}, SIGNALS),
    "superpixels": [Example(options, sizes=[(1, 4, 4), (3, 5, 4)]) for options in ({}, {"each": True})],
    "wavelet_packet": [Example({"levels": 1}), Example({"wavelet": "haar"})],
    "dct": [Example({"dims": 1}), Example()],
    "dictionary": Example({"matrix": torch.randn(3, 8, dtype=torch.float64)}, sizes=[(8,), (2, 4)]),
    "laplacian_pyramid": [Example(), Example({"levels": 1}), Example({"dims": 1})],
    "latent": Example(lambda: {"run": trained_run()}, sizes=[(8,)]),
    "nmf": Example({"components": 3, "iterations": 4000}, data=torch.sigmoid),
    "pca": [Example({"components": 3}), Example()],
    "stft": [Example({"n_fft": 4, "hop": 1}, SIGNALS), Example({"n_fft": 8, "hop": 3, "window": "hamming"}, SIGNALS)],
    "wavelet": [
        Example(),
        Example({"wavelet": "bior2.2", "levels": 1}),
        Example({"wavelet": "db5", "levels": 2}),
        Example({"wavelet": "haar", "dims": 1}),
    ],
    "captum:ShapleyValues": Example({"groups": THIRDS}, sizes=[(6,)]),
    "captum:GuidedGradCam": Example({"layer": "1"}, sizes=[(1, 6, 6)], model=with_convolution),
    "captum:GuidedBackprop": Example(sizes=[(1, 6, 6)], model=with_convolution),
    "captum:Deconvolution": Example(sizes=[(1, 6, 6)], model=with_convolution),
    "captum:Lime": Example({"n_samples": 40}),
    "captum:KernelShap": Example({"n_samples": 40}),
    "masked": Example({"mask": MASK}, sizes=[(6,)]),
    "contrast": Example({"mask": MASK}, sizes=[(6,)]),
    "agreement": Example({"reference": torch.tensor([1.0, 2.0, 0.0, -1.0])}, sizes=[(4,)]),
    "activations": Example({"model": "trimkit.demo:digit_classifier", "at": "4"}),
    "folder": Example(lambda: {"path": str(folder_of_pictures()), "size": 8}),
}
test_promises = conformance("trimkit", examples=EXAMPLES)
