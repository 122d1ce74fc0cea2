"""Pictures have the rows and columns that they should."""

from __future__ import annotations

import torch
from trimkit_gan.pictures import edit_grid, mixing_grid, truncation_grid
from trimkit_gan.stylegan import StyleGAN2

from trimkit.training.pictures import GAP, LABEL


def test_grids():
    method = StyleGAN2((3, 8, 8), z_dim=6, w_dim=6, mapping_layers=1, channel_max=6).eval()
    generator = torch.Generator().manual_seed(0)
    s = method.codes(method.draw_z(1, generator), "z")["s"].detach()
    grids = {
        (5, 5): mixing_grid(method, generator, sources=4, cutoffs=(1, 2)),
        (3, 2): truncation_grid(method, generator, samples=3, psi=(1.0, 0.0)),
        (5, 3): edit_grid(method, s, [0, 7, 12]),
    }
    for (columns, rows), picture in grids.items():
        assert picture.size == (LABEL + columns * (64 + GAP), rows * (64 + GAP))
