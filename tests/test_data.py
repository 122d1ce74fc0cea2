import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from sklearn.datasets import load_digits

import trimkit
from trimkit.data import Dataset, dataset_of, load
from trimkit.data.shortcut import SHORTCUT_BIN, digits_shortcut, planted_mask
from trimkit.errors import DataError, TrimkitWarning, UnknownNameError
from trimkit.registry import available

X = torch.rand(6, 1, 4, 4)
Y = torch.tensor([0, 1, 2, 0, 1, 2])


@pytest.mark.parametrize("name", sorted(available("datasets")))
@pytest.mark.parametrize("split", ["train", "test"])
def test_every_registered_dataset_is_what_its_spec_says(name, split):
    data, spec = load(name, split), available("datasets")[name]
    assert data.shape == spec.shape
    assert len(data.classes) == spec.classes
    assert data.split == split
    assert data.x.min() >= 0
    assert data.x.max() <= 1
    assert load(name, split).sha256 == data.sha256


def test_the_digits_are_scikit_learns_and_no_sample_is_in_both_splits():
    train, test = load("digits", "train"), load("digits", "test")
    assert (len(train), len(test)) == (1200, 597)
    both = torch.cat([train.x, test.x])
    assert len(torch.unique(both.flatten(1), dim=0)) == len(torch.unique(torch.tensor(load_digits().data), dim=0))
    assert sum(test.class_counts.values()) == 597
    assert float(both.mean()) == pytest.approx(load_digits().data.mean() / 16, rel=1e-3)


def test_the_shortcut_lies_at_one_bin_and_tells_the_label_in_training_alone():
    train, test = digits_shortcut("train"), digits_shortcut("test")
    for data, informative in ((train, True), (test, False)):
        plain = digits_shortcut(data.split, "none")
        added = torch.fft.rfft2(data.x - plain.x)
        away = added.clone()
        away[..., SHORTCUT_BIN[0], SHORTCUT_BIN[1]] = 0
        assert away.abs().max() < 1e-4
        height = added[:, 0, SHORTCUT_BIN[0], SHORTCUT_BIN[1]].real
        correlation = torch.corrcoef(torch.stack([height, data.y.float()]))[0, 1]
        assert (correlation > 0.999) == informative
        assert informative or abs(correlation) < 0.1
    assert planted_mask(16).sum() == 1


def test_taking_and_counting():
    data = dataset_of("mine", X, Y)
    assert len(data.take(4)) == 4
    assert len(data.take(99)) == 6
    assert data.take(4).y.tolist() == [0, 1, 2, 0]
    assert data.class_counts == {"0": 2, "1": 2, "2": 2}
    assert dataset_of("mine", X).class_counts == {}
    assert data.sha256 != dataset_of("mine", X).sha256
    with pytest.raises(DataError, match="≥ 1, got 0"):
        data.take(0)


def test_bytes_are_scaled_and_integral_labels_converted():
    data = dataset_of("mine", np.full((2, 3), 255, np.uint8), np.array([0.0, 1.0]))
    assert data.x.tolist() == [[1.0] * 3] * 2
    assert data.y.dtype == torch.int64


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


def test_functions_of_the_user_are_called(tmp_path, monkeypatch):
    (tmp_path / "user_data_module.py").write_text(
        "import torch\n"
        "def both(split):\n    n = 3 if split == 'test' else 5\n    return torch.ones(n, 2), torch.zeros(n)\n"
        "def alone():\n    return torch.ones(4, 2)\n"
    )
    monkeypatch.chdir(tmp_path)
    assert len(load("user_data_module:both", "test")) == 3
    assert len(load("user_data_module:alone")) == 4


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: dataset_of("mine", X[:0]), "'mine' is empty"),
        (lambda: dataset_of("mine", torch.where(X > 0.5, torch.nan, X)), "of 6 samples hold NaN or infinity"),
        (lambda: dataset_of("mine", X, Y[:3]), r"int64 \(6,\), got torch.int64 \(3,\)"),
        (lambda: dataset_of("mine", X, Y - 1), "in 0 … 1, one for each class, got -1 … 1"),
        (lambda: dataset_of("mine", X, Y + 0.5), "with fractions"),
        (lambda: dataset_of("mine", torch.ones(3)), r"got torch.float32 \(3,\)"),
        (lambda: Dataset("mine", X.double()), "expected x as float32"),
        (lambda: load("digits", "validation"), "'train' or 'test', got 'validation'"),
        (lambda: load("missing.npz"), "missing.npz does not exist"),
        (lambda: load("no_such_module:data"), "cannot be imported"),
        (lambda: digits_shortcut("train", "labels"), "'label', 'random' or 'none'"),
        (lambda: digits_shortcut("train", amplitude=0.5), "an amplitude in"),
    ],
)
def test_what_does_not_fit_says_what_would(make, says):
    with pytest.raises(DataError, match=says):
        make()


def test_measured_values_in_a_file_are_left_out(tmp_path):
    for name, y in (("fractions", Y + 0.5), ("negative", -Y.float())):
        torch.save({"x": X, "y": y}, tmp_path / f"{name}.pt")
        with pytest.warns(TrimkitWarning, match="not class labels, so it is left out"):
            assert load(str(tmp_path / f"{name}.pt")).y is None
    torch.save({"x": X, "y": Y.float()}, tmp_path / "whole.pt")
    assert torch.equal(load(str(tmp_path / "whole.pt")).y, Y)


def test_folders_and_damaged_files_never_lead_to_pickle(tmp_path):
    with pytest.raises(DataError, match=r"is a folder; expected a file in it, one of \.npz"):
        load(str(tmp_path))
    (tmp_path / "junk.npz").write_text("junk")
    with pytest.raises(DataError, match="without pickled objects") as caught:
        load(str(tmp_path / "junk.npz"))
    assert "allow_pickle" not in str(caught.value)


def test_pickled_arrays_and_wrong_files_are_refused(tmp_path):
    np.savez(tmp_path / "evil.npz", x=np.array([{"a": 1}], dtype=object))
    (tmp_path / "text.npz").write_text("not an archive")
    np.savez(tmp_path / "other.npz", z=np.ones(3))
    for name, says in (("evil", "without pickled objects"), ("text", "cannot read"), ("other", r"got \['z'\]")):
        with pytest.raises(DataError, match=says):
            load(str(tmp_path / f"{name}.npz"))


def test_an_unknown_name_offers_the_nearest():
    with pytest.raises(UnknownNameError, match="digits"):
        load("digit")
    assert trimkit.data.load("digits").name == "digits"
