"""Grey pictures and arrays of 16 bits, RGBA, and pictures that are not square."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from trimkit.data import Samples, arrays, as_dataset, dataset_of, load, pictures
from trimkit.data.npy import NpySamples
from trimkit.data.pictures import Pictures
from trimkit.errors import DataError, OptionError, TrimkitWarning

VALUES = np.random.default_rng(0).integers(0, 65536, (5, 1, 4, 6), dtype=np.uint16)
SHARES = torch.from_numpy(VALUES.astype(np.float32)) / 65535


@pytest.mark.parametrize("suffix", ["png", "tif", "tiff"])
@pytest.mark.parametrize("room", [True, False])
def test_grey_pictures_of_16_bits_keep_all_of_them(tmp_path, monkeypatch, suffix, room):
    if not room:
        monkeypatch.setattr(pictures, "MOST_BYTES", 1)
    for number, pixels in enumerate(VALUES):
        Image.fromarray(pixels[0]).save(tmp_path / f"{number}.{suffix}")
    data = load(str(tmp_path), "all")
    assert data.shape == (1, 4, 6)
    for _ in range(2):
        assert torch.equal(data.x[:], SHARES)


def test_the_byte_order_of_a_file_does_not_matter(tmp_path):
    Image.frombytes("I;16B", (6, 4), VALUES[0, 0].astype(">u2").tobytes()).save(tmp_path / "a.tif")
    with Image.open(tmp_path / "a.tif") as image:
        assert image.mode == "I;16B"
    assert torch.equal(load(str(tmp_path), "all").x[:], SHARES[:1])


def test_pictures_of_8_bits_beside_those_of_16_keep_their_shares(tmp_path):
    Image.fromarray(VALUES[0, 0]).save(tmp_path / "a.png")
    plain = (VALUES[1, 0] // 257).astype(np.uint8)
    Image.fromarray(plain).save(tmp_path / "b.png")
    Image.fromarray(np.stack([plain] * 3, -1)).save(tmp_path / "c.png")
    x = load(str(tmp_path), "all").x[:]
    assert x.shape == (3, 3, 4, 6)
    assert torch.equal(x[0], SHARES[0].expand(3, 4, 6))
    for picture in x[1:]:
        assert torch.equal(picture, (torch.from_numpy(plain).float() * 257 / 65535).expand(3, 4, 6))


def test_a_scaled_picture_of_16_bits_stays_between_its_values(tmp_path):
    Image.fromarray(np.full((8, 12), 40000, np.uint16)).save(tmp_path / "a.png")
    x = load(f"{tmp_path}:size=4", "all").x[:]
    assert x.shape == (1, 1, 4, 4)
    assert torch.equal(x, torch.full_like(x, 40000) / 65535)


def test_16_bits_among_pictures_that_were_read_as_8_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "LOOKED_AT", 1)
    Image.fromarray(np.zeros((4, 6), np.uint8)).save(tmp_path / "a.png")
    Image.fromarray(VALUES[0, 0]).save(tmp_path / "b.png")
    with pytest.raises(DataError, match=r"b\.png has 16 bits, but the pictures read before it have 8"):
        Pictures([tmp_path / "a.png", tmp_path / "b.png"])[1]


def test_depth_enters_the_hash(tmp_path):
    Image.fromarray(VALUES[0, 0]).save(tmp_path / "a.png")
    Image.fromarray(np.zeros((4, 6), np.uint8)).save(tmp_path / "b.png")
    files = [tmp_path / "a.png", tmp_path / "b.png"]
    assert Pictures(files[1:]).fingerprint != Pictures(files[1:], beside=files[:1]).fingerprint


@pytest.mark.parametrize("order", ["<", ">"])
def test_arrays_of_16_bits_are_shares_too(tmp_path, monkeypatch, order):
    np.savez(tmp_path / "a.npz", x=VALUES.astype(f"{order}u2"))
    np.save(tmp_path / "a.npy", VALUES.astype(f"{order}u2"))
    assert torch.equal(load(str(tmp_path / "a.npz")).x, SHARES)
    assert torch.equal(load(str(tmp_path / "a.npy")).x, SHARES)
    assert torch.equal(NpySamples(tmp_path / "a.npy")[:], SHARES)
    assert torch.equal(as_dataset(VALUES.astype(f"{order}u2")).x, SHARES)
    assert torch.equal(as_dataset(list(torch.from_numpy(VALUES))).x, SHARES)
    monkeypatch.setattr(arrays, "MOST_FLOATS", 1)
    lazy = as_dataset(VALUES).x
    assert isinstance(lazy, Samples)
    assert torch.equal(lazy[torch.tensor([3, 1])], SHARES[[3, 1]])


def test_labels_and_factors_may_be_unsigned():
    numbers = np.array([0, 1, 2, 1, 0], np.uint16)
    data = dataset_of("mine", VALUES, numbers, factors=numbers[:, None].astype(np.uint32), aux=numbers)
    for values in (data.y, data.factors[:, 0], data.aux):
        assert values.tolist() == [0, 1, 2, 1, 0]


def test_values_of_12_bits_are_named():
    with pytest.warns(TrimkitWarning, match="uint16 values up to 4095, which are divided by 65535, so up to 0.062"):
        dataset_of("camera", np.array([[0, 4095]], np.uint16))


def test_transparency_stays_where_it_is_asked_for(tmp_path):
    pixels = np.random.default_rng(1).integers(0, 256, (4, 6, 4), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    Image.fromarray(pixels[..., :3]).save(tmp_path / "b.png")
    Image.fromarray(VALUES[0, 0]).save(tmp_path / "c.png")
    x = load(f"{tmp_path}:channels=4", "all").x[:]
    assert x.shape == (3, 4, 4, 6)
    assert torch.allclose(x[0], torch.from_numpy(pixels).permute(2, 0, 1) / 255)
    assert torch.equal(x[1, 3], torch.ones(4, 6))
    assert torch.equal(x[2], torch.cat([SHARES[0].expand(3, 4, 6), torch.ones(1, 4, 6)]))


def test_pictures_may_be_brought_to_height_and_width(tmp_path):
    Image.new("L", (30, 20)).save(tmp_path / "a.png")
    Image.new("L", (50, 70)).save(tmp_path / "b.png")
    assert load(f"{tmp_path}:size=[8,12]", "all").shape == (1, 8, 12)
    for size in ("0", "[8]", "[8,0]", "[8,1.5]"):
        with pytest.raises(OptionError, match=r"expected size ≥ 1, got .*; it is a side or"):
            load(f"{tmp_path}:size={size}", "all")
