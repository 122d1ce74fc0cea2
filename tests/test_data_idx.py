"""MNIST's files: what was written comes back, and damage is named."""

from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest
import torch

from trimkit.data import load
from trimkit.data.idx import read_idx
from trimkit.errors import DataError, OptionError


def idx(values: np.ndarray) -> bytes:
    """The format as published: http://yann.lecun.com/exdb/mnist."""
    return struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape) + values.astype(np.uint8).tobytes()


PICTURES = np.arange(5 * 4 * 3).reshape(5, 4, 3) % 256
LABELS = np.array([3, 1, 4, 1, 5])


@pytest.fixture
def folder(tmp_path):
    for start, rows in (("train", slice(0, 3)), ("t10k", slice(3, 5))):
        (tmp_path / f"{start}-images-idx3-ubyte").write_bytes(idx(PICTURES[rows]))
        (tmp_path / f"{start}-labels-idx1-ubyte").write_bytes(idx(LABELS[rows]))
    return tmp_path


@pytest.mark.parametrize(("split", "rows"), [("train", slice(0, 3)), ("test", slice(3, 5))])
def test_a_folder_of_mnists_files_is_a_dataset(folder, split, rows):
    data = load(str(folder), split)
    torch.testing.assert_close(data.x[:], torch.tensor(PICTURES[rows, None] / 255, dtype=torch.float32))
    assert data.y.tolist() == LABELS[rows].tolist()
    assert data.shape == (1, 4, 3)
    assert data.split == split


@pytest.mark.parametrize("name", ["train-images.idx3-ubyte", "train-images-idx3-ubyte.gz"])
def test_names_with_a_dot_and_gzipped_files_are_known_too(folder, name):
    plain = folder / "train-images-idx3-ubyte"
    content = plain.read_bytes()
    plain.unlink()
    (folder / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    torch.testing.assert_close(load(str(folder)).x[:] * 255, torch.tensor(PICTURES[:3, None], dtype=torch.float32))


def test_values_of_any_number_of_axes(tmp_path):
    values = np.arange(120).reshape(2, 3, 4, 5)
    (tmp_path / "values").write_bytes(idx(values))
    assert torch.equal(read_idx(tmp_path / "values"), torch.tensor(values, dtype=torch.uint8))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("train-images-idx3-ubyte", idx(PICTURES[:3])[:-1], r"expected \(3, 4, 3\) values behind its head, got 35"),
        ("train-images-idx3-ubyte", b"\x89PNG", "begins 00 00 08, got 89 50 4e"),
        ("train-images-idx3-ubyte", b"", "begins 00 00 08, got "),
        ("train-images-idx3-ubyte", idx(LABELS), "expected images with 3 axes, got shape"),
        ("train-labels-idx1-ubyte", idx(LABELS), "expected a label for each picture, got 3 and 5"),
    ],
)
def test_damage_is_named(folder, name, content, message):
    (folder / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        load(str(folder))


def test_a_damaged_gzip_file_is_named(folder):
    (folder / "train-images-idx3-ubyte").unlink()
    (folder / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(PICTURES[:3]))[:-9])
    with pytest.raises(DataError, match=r"cannot read .*train-images-idx3-ubyte\.gz"):
        load(str(folder))


def test_a_missing_file_another_split_and_options_are_refused(folder):
    (folder / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match=r"expected train-labels-idx1-ubyte, or the same as \.gz"):
        load(str(folder))
    with pytest.raises(DataError, match="expected split 'train' or 'test', got 'all'"):
        load(str(folder), "all")
    with pytest.raises(OptionError, match="MNIST's files takes no options, got size"):
        load(f"{folder}:size=8", "test")
