"""The plugin's parts keep the promises that trimkit asks of every plugin."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from pathlib import Path

import torch

import trimkit
from trimkit.testing import Example, conformance

STYLED = {"z_dim": 8, "w_dim": 8, "mapping_layers": 2, "channel_base": 64, "channel_max": 8, "mixing": 0.9}
PICTURES = [(1, 8, 8)]
CLASSED = {"conditional": True, "segments": 2}


@functools.cache
def trained_run() -> str:
    """The folder of a run of a small generator."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    root = folder / "run"
    x = torch.rand(16, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    method = trimkit.create("method", "stylegan2", shape=(1, 8, 8), **STYLED)
    trimkit.train(method, x, folder=root, steps=1, batch_size=8, evaluated=8, device="cpu")
    return str(root)


EXAMPLES = {
    "infogan": Example({"noise_dim": 4, "categories": (3,)}, PICTURES),
    "alae": [
        Example({"w_dim": 8, "mapping_layers": 2}, PICTURES),
        Example({"w_dim": 8, "mapping_layers": 2, "r1_interval": 2, **CLASSED}, PICTURES),
    ],
    "stylegan": [
        Example({**STYLED, "grow_steps": 4}, PICTURES),
        Example({**STYLED, "grow_steps": 0, **CLASSED}, PICTURES),
    ],
    "stylegan2": [
        Example({**STYLED, "r1_interval": 2, "path_weight": 2.0, "path_interval": 3}, PICTURES),
        Example({**STYLED, "r1_interval": 2, "path_weight": 2.0, "path_interval": 3, **CLASSED}, PICTURES),
    ],
    "projection": Example(lambda: {"run": trained_run(), "steps": 2}, PICTURES),
}
BY_OPTIMISATION = "codes are found by optimisation, which has no gradient"
EXPECTED_FAILURES = {
    "transform-projection-first_derivatives": BY_OPTIMISATION,
    "transform-projection-second_derivatives": BY_OPTIMISATION,
    "transform-projection-dtypes": "codes have the number type of the generator's weights",
}

test_promises = conformance("gan", examples=EXAMPLES, expected_failures=EXPECTED_FAILURES)
