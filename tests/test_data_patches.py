"""Patches: where they come from, and that no pixel is in both splits."""

from __future__ import annotations

import socket

import pytest
import torch
from sklearn.datasets import load_sample_image

from trimkit.data import load, patches
from trimkit.data.patches import TILE, _tiles
from trimkit.errors import DataError, OptionError


def test_tiles_are_grey_squares_of_the_two_photographs():
    tiles = _tiles()
    assert tiles.shape == (120, TILE, TILE)
    for name in ("china.jpg", "flower.jpg"):
        corner = load_sample_image(name)[:TILE, :TILE] @ [0.299, 0.587, 0.114] / 255
        assert (tiles - torch.from_numpy(corner)).abs().amax((1, 2)).min() < 1e-12


def test_patches_are_squares_of_neighbouring_pixels_without_their_mean(monkeypatch):
    """Of tiles that are ramps, every patch is the same ramp."""
    along = torch.arange(float(TILE), dtype=torch.float64) / (TILE * TILE)
    monkeypatch.setattr(patches, "_tiles", lambda: (along[:, None] * TILE + along).expand(120, TILE, TILE))
    for size in (2, 7, 16, TILE):
        ramp = along[:size, None] * TILE + along[:size]
        x = load(f"patches:size={size},n=30").x
        assert torch.allclose(x.double(), (ramp - ramp.mean()).expand(27, 1, size, size), atol=1e-7)


def test_the_patches_of_photographs():
    data = load("patches:n=2000")
    assert data.shape == (1, 16, 16)
    assert data.x.mean((1, 2, 3)).abs().max() < 1e-6
    assert 0.5 < float(data.x.abs().max()) < 1
    neighbours = torch.corrcoef(torch.stack([data.x[..., :-1].flatten(), data.x[..., 1:].flatten()]))[0, 1]
    assert neighbours > 0.5  # photographs, not noise


def test_no_tile_is_in_both_splits():
    """Patches as large as their tiles: each of them is one of the 108 or one of the 12."""
    tiles = _tiles() - _tiles().mean((1, 2), keepdim=True)
    for split, expected in (("train", range(108)), ("test", range(108, 120))):
        x = load(f"patches:size={TILE},n=400", split).x[:, 0].double()
        nearest = torch.cdist(x.flatten(1), tiles.flatten(1)).argmin(1)
        assert set(nearest.tolist()) <= set(expected)


def test_splits_and_seeds():
    train, test, every = (load("patches:size=4,n=101", split) for split in ("train", "test", "all"))
    assert (len(train), len(test), len(every)) == (90, 11, 101)
    assert torch.equal(every.x, torch.cat([train.x, test.x]))
    assert load("patches:size=4,n=101").sha256 == train.sha256
    assert load("patches:size=4,n=101,seed=1").sha256 != train.sha256
    assert torch.linalg.matrix_rank(load("patches:size=4,n=400").x.flatten(1).double(), rtol=1e-4) == 15


def test_nothing_is_downloaded(monkeypatch):
    monkeypatch.setattr(socket, "socket", lambda *_, **__: pytest.fail("a socket was opened"))
    _tiles.cache_clear()
    assert len(load("patches:n=10")) == 9


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"size": 1}, "size as a whole number ≥ 2, got 1"),
        ({"size": 65}, "size ≤ 64, the tiles that patches lie within, got 65"),
        ({"n": 9}, "n as a whole number ≥ 10, got 9"),
    ],
)
def test_what_does_not_fit_says_what_would(options, says):
    with pytest.raises(OptionError, match=says):
        patches.patches(**options)
    with pytest.raises(DataError, match="'train', 'test' or 'all', got 'valid'"):
        patches.patches("valid", n=10)
