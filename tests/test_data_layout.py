"""Pictures in another layout are recognised, and reordered where the user says which it is."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from trimkit.data import load
from trimkit.errors import DataError, OptionError

RNG = np.random.default_rng(0)
COLOURS = RNG.integers(0, 255, (5, 32, 24, 3), dtype=np.uint8)
GREY = RNG.integers(0, 255, (5, 28, 28), dtype=np.uint8)


@pytest.fixture
def save(tmp_path):
    def write(x: np.ndarray) -> str:
        np.savez(tmp_path / "a.npz", x=x)
        return str(tmp_path / "a.npz")

    return write


@pytest.mark.parametrize("x", [COLOURS, COLOURS.astype("f4") / 255])
def test_channels_that_come_last(save, x):
    path = save(x)
    with pytest.raises(DataError, match=r"\(5, 32, 24, 3\) looks like pictures whose channels come last; add"):
        load(path)
    expected = torch.as_tensor(COLOURS).permute(0, 3, 1, 2) / 255
    torch.testing.assert_close(load(f"{path}:layout=nhwc").x, expected)
    assert load(f"{path}:layout=nchw").shape == (32, 24, 3)


@pytest.mark.parametrize("x", [GREY, GREY.astype("f8") / 255])
def test_grey_pictures_without_channels(save, x):
    path = save(x)
    with pytest.raises(DataError, match=r"\(5, 28, 28\) looks like grey pictures .* add layout=nhw .*layout=ncl"):
        load(path)
    assert load(f"{path}:layout=nhw").shape == (1, 28, 28)
    assert load(f"{path}:layout=ncl").shape == (28, 28)


@pytest.mark.parametrize("shape", [(5, 3, 32, 32), (5, 1, 8, 3), (5, 8, 100), (5, 8, 8), (5, 40), (5, 4, 4, 4)])
def test_other_arrays_are_as_they_are(save, shape):
    assert load(save(np.zeros(shape, "f4"))).shape == shape[1:]


def test_a_layout_that_does_not_fit(save):
    path = save(GREY)
    with pytest.raises(OptionError, match="expected layout as one of nchw, nhwc, nhw, ncl, got 'chw'"):
        load(f"{path}:layout=chw")
    with pytest.raises(DataError, match="expected 4 axes for layout=nhwc"):
        load(f"{path}:layout=nhwc")
    with pytest.raises(OptionError, match="takes no options, got size; it takes layout alone"):
        load(f"{path}:size=3")
