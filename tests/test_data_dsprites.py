"""The file of dSprites, which is known by its arrays."""

import numpy as np
import pytest
import torch

from trimkit.data import Samples, load
from trimkit.errors import DataError


@pytest.fixture
def dsprites_file(tmp_path):
    """The layout of dSprites: a constant colour first, pickled metadata that must not be read."""

    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("the metadata was unpickled",))

    axes = [np.arange(n) for n in (1, 3, 2, 2, 2, 2)]
    classes = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 6).astype(np.int64)
    images = np.random.default_rng(0).integers(0, 2, (len(classes), 64, 64)).astype(np.uint8)
    values = classes.astype(np.float64)
    metadata = np.array({"latents_names": ("color",), "trap": Trap()}, dtype=object)
    path = tmp_path / "dsprites.npz"
    np.savez_compressed(path, metadata=metadata, imgs=images, latents_classes=classes, latents_values=values)
    return path, images, classes


def test_the_file_of_dsprites_is_known_by_its_arrays(dsprites_file):
    path, images, classes = dsprites_file
    data = load(str(path))
    assert data.shape == (1, 64, 64)
    assert data.factor_names == ("shape", "scale", "orientation", "x", "y")
    assert data.factor_sizes == (3, 2, 2, 2, 2)
    assert np.array_equal(data.factors.numpy(), classes[:, 1:])
    assert data.classes == ("square", "ellipse", "heart")
    assert np.array_equal(data.y.numpy(), classes[:, 1])
    assert isinstance(data.x, Samples)
    rows = torch.tensor([7, 0, 7])
    assert np.array_equal(data.x[rows].numpy(), images[rows.numpy()][:, None].astype(np.float32))
    test = load(str(path), "test")
    assert test.sha256 == data.sha256
    assert test.x._values.data_ptr() == data.x._values.data_ptr()  # 3 GB of the real file, once
    np.savez(path, imgs=1 - images, latents_classes=classes)
    assert np.array_equal(load(str(path)).x[0][0].numpy(), 1.0 - images[0])


def test_a_subset_and_other_layouts_of_dsprites(tmp_path, dsprites_file):
    _, images, classes = dsprites_file
    hearts = classes[:, 1] == 2
    np.savez(tmp_path / "hearts.npz", imgs=images[hearts] * 255, latents_classes=classes[hearts])
    data = load(str(tmp_path / "hearts.npz"))
    assert data.factor_names == ("scale", "orientation", "x", "y")
    assert data.y is None
    assert float(data.x[:].max()) == 1
    np.savez(tmp_path / "one.npz", imgs=images[:1], latents_classes=classes[:1])
    assert load(str(tmp_path / "one.npz")).factors is None
    np.savez(tmp_path / "four.npz", imgs=images, latents_classes=classes[:, 2:])
    assert load(str(tmp_path / "four.npz")).factor_names == ("factor 0", "factor 1", "factor 2", "factor 3")
    np.savez(tmp_path / "float.npz", imgs=images.astype(np.float32), latents_classes=classes)
    np.savez(tmp_path / "short.npz", imgs=images, latents_classes=classes[:-1])
    for name, says in (("float", "imgs uint8"), ("short", r"latents_classes \(48, K\), got \(47, 6\)")):
        with pytest.raises(DataError, match=says):
            load(str(tmp_path / f"{name}.npz"))
