"""Data from files: arrays, tensors and what they must hold."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from trimkit.data import load
from trimkit.errors import DataError, TrimkitWarning

X = torch.rand(6, 1, 4, 4)
Y = torch.tensor([0, 1, 2, 0, 1, 2])
U = torch.arange(6.0)
FACTORS = torch.tensor([[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]])


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".pt"])
def test_files_are_read(tmp_path, suffix):
    path = tmp_path / f"mine{suffix}"
    arrays = {"x_train": X[:4], "y_train": Y[:4], "x_test": X[4:], "y_test": Y[4:]}
    if suffix == ".npz":
        np.savez(path, **{name: value.numpy() for name, value in arrays.items()})
    elif suffix == ".pt":
        torch.save(arrays, path)
    else:
        save_file({name: value.contiguous() for name, value in arrays.items()}, path)
    assert torch.equal(load(str(path), "train").x, X[:4])
    assert load(str(path), "test").y.tolist() == [1, 2]
    assert load(str(path), "test").name == "mine"


def test_a_single_tensor_is_x_for_both_splits(tmp_path):
    torch.save(X, tmp_path / "x.pt")
    assert len(load(str(tmp_path / "x.pt"), "test")) == 6


def test_measured_values_in_a_file_are_those_of_a_regression(tmp_path):
    for name, y in (("fractions", Y + 0.5), ("negative", -Y.float()), ("columns", torch.stack([Y, Y], 1).float())):
        torch.save({"x": X, "y": y}, tmp_path / f"{name}.pt")
        data = load(str(tmp_path / f"{name}.pt"))
        assert torch.equal(data.y, y)
        assert (data.classes, data.class_labels, data.class_counts) == ((), None, {})
    torch.save({"x": X, "y": torch.where(Y == 2, torch.inf, Y.float())}, tmp_path / "infinite.pt")
    with pytest.warns(TrimkitWarning, match="NaN or infinity, so it is left out"):
        assert load(str(tmp_path / "infinite.pt")).y is None
    torch.save({"x": X, "y": Y.float()}, tmp_path / "whole.pt")
    assert torch.equal(load(str(tmp_path / "whole.pt")).y, Y)


def test_a_folder_without_pictures_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"no pictures in .*; expected \.png"):
        load(str(tmp_path))


def test_pickled_arrays_and_wrong_files_are_refused(tmp_path):
    np.savez(tmp_path / "evil.npz", x=np.array([{"a": 1}], dtype=object))
    (tmp_path / "text.npz").write_text("not an archive")
    np.savez(tmp_path / "other.npz", z=np.ones(3))
    for name, says in (("evil", "without pickled objects"), ("text", "cannot read"), ("other", r"got \['z'\]")):
        with pytest.raises(DataError, match=says) as caught:
            load(str(tmp_path / f"{name}.npz"))
        assert "allow_pickle" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".pt"])
@pytest.mark.parametrize("aux", ["u", "aux"])
def test_auxiliary_variables_and_factors_come_with_files(tmp_path, suffix, aux):
    path = tmp_path / f"mine{suffix}"
    arrays = {"x": X, "y": Y, aux: U, "factors": FACTORS, "sources": -U[:, None]}
    if suffix == ".npz":
        np.savez(path, factor_names=["a", "b"], **{name: value.numpy() for name, value in arrays.items()})
    elif suffix == ".pt":
        torch.save({"factor_names": ["a", "b"], **arrays}, path)
    else:
        save_file(arrays, path)
    data = load(str(path))
    assert torch.equal(data.aux, U)
    assert torch.equal(data.factors, FACTORS)
    assert torch.equal(data.sources, -U[:, None])
    assert data.factor_names == (("factor 0", "factor 1") if suffix == ".safetensors" else ("a", "b"))


def test_each_split_has_its_own_variables(tmp_path):
    known = {"x": X, "u": U, "factors": FACTORS, "sources": X[:, 0, 0]}
    splits = {"train": slice(4), "test": slice(4, 6)}
    arrays = {f"{key}_{split}": value[rows].numpy() for key, value in known.items() for split, rows in splits.items()}
    np.savez(tmp_path / "mine.npz", **arrays)
    test = load(str(tmp_path / "mine.npz"), "test")
    assert test.aux.tolist() == [4, 5]
    assert test.factors.tolist() == [[1, 1], [1, 2]]
    assert torch.equal(test.sources, X[4:, 0, 0])


def test_arrays_of_another_byte_order_and_files_of_x_alone_are_read(tmp_path):
    rows = np.random.default_rng(0).random((6, 4)).astype(np.float32)
    np.savez(tmp_path / "big.npz", x=rows.astype(">f4"), y=np.arange(6).astype(">i8"))
    np.save(tmp_path / "alone.npy", rows)
    np.savetxt(tmp_path / "alone.csv", rows, delimiter=",")
    for name in ("big.npz", "alone.npy", "alone.csv"):
        assert torch.equal(load(str(tmp_path / name)).x, torch.as_tensor(rows))
    assert load(str(tmp_path / "big.npz")).y.tolist() == [*range(6)]


def test_labels_in_words_are_refused_for_what_they_are(tmp_path):
    np.savez(tmp_path / "words.npz", x=np.ones((3, 2)), y=np.array(["cat", "dog", "bird"]))
    with pytest.raises(DataError, match="'y' holds text, expected numbers; number classes 0, 1"):
        load(str(tmp_path / "words.npz"))


def test_floating_pixels_up_to_255_are_noticed(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 1, 8, 8))
    np.savez(tmp_path / "floats.npz", x=pixels.astype(np.float32))
    with pytest.warns(TrimkitWarning, match="up to 2[0-9]+, as pixels in 0 … 255 do; .* divide by 255"):
        load(str(tmp_path / "floats.npz"))
    np.savez(tmp_path / "bytes.npz", x=pixels.astype(np.uint8))
    assert load(str(tmp_path / "bytes.npz")).x.max() <= 1
