"""Between drawn codes of a method that is fitted, and has buffers alone."""

from __future__ import annotations

import numpy as np
import torch

import trimkit
from trimkit.cli import main
from trimkit.methods import load_method


def test_the_way_between_drawn_components_is_straight(tmp_path):
    x = torch.rand(200, 4, generator=torch.Generator().manual_seed(0))
    trimkit.train(trimkit.create("method", "fastica", shape=(4,)), x, folder=tmp_path / "run")
    assert main(["interpolate", str(tmp_path / "run"), "--pairs", "2", "--frames", "3", "--seed", "5"]) == 0
    method = load_method(tmp_path / "run")
    drawn = method.sample_codes(4, torch.Generator().manual_seed(5))
    with np.load(tmp_path / "run" / "interpolation.npz") as written:
        codes, data = (torch.as_tensor(written[name]) for name in ("codes", "x"))
    middle = (drawn[::2] + drawn[1::2]) / 2
    torch.testing.assert_close(codes.view(2, 3, 4), torch.stack([drawn[::2], middle, drawn[1::2]], 1))
    torch.testing.assert_close(data, method.decode(codes))
