"""Datasets: those that are registered, what is known of samples, and what does not fit."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from trimkit.data import Dataset, Samples, arrays, dataset_of, few, load
from trimkit.data.base import part_of
from trimkit.data.shortcut import SHORTCUT_BIN, digits_shortcut, planted_mask
from trimkit.errors import DataError
from trimkit.registry import available

X = torch.rand(6, 1, 4, 4)
Y = torch.tensor([0, 1, 2, 0, 1, 2])
U = torch.arange(6.0)
UNBOUNDED = {"mixture", "nonstationary", "tcl", "imca", "patches"}
"""Datasets whose values lie outside [0, 1]."""
FACTORS = torch.tensor([[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]])


@pytest.mark.parametrize("name", sorted(set(available("datasets")) - {"activations", "folder"}))
@pytest.mark.parametrize("split", ["train", "test"])
def test_every_registered_dataset_is_what_its_spec_says(name, split):
    data, spec = load(name, split), available("datasets")[name]
    assert data.shape == spec.shape
    assert len(data.classes) == spec.classes
    assert data.split == split
    x = few(data.x)
    assert bool(((x >= 0) & (x <= 1)).all()) == (name not in UNBOUNDED)
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


def test_all_that_is_known_of_samples_is_kept_and_hashed():
    data = dataset_of("mine", X, Y, aux=U.double(), factors=FACTORS.double(), factor_names=["a", "b"])
    assert data.aux.dtype == torch.float32
    assert data.factors.dtype == torch.int64
    assert data.factor_sizes == (2, 3)
    part = data.select(torch.tensor([5, 1]))
    assert part.y.tolist() == [2, 1]
    assert part.aux.tolist() == [5, 1]
    assert part.factors.tolist() == [[1, 2], [0, 1]]
    assert part.factor_names == ("a", "b")
    assert data.take(2).factors.tolist() == [[0, 0], [0, 1]]
    assert data.take(2).factor_sizes == (1, 2)
    assert dataset_of("mine", X).factor_sizes == ()
    assert dataset_of("mine", X, factors=FACTORS).factor_names == ("factor 0", "factor 1")
    hashes = {
        given.sha256
        for given in (
            data,
            part,
            dataset_of("mine", X, Y),
            dataset_of("mine", X, Y, aux=U),
            dataset_of("mine", X, Y, aux=U + 1),
            dataset_of("mine", X, Y, factors=FACTORS, factor_names=["a", "b"]),
            dataset_of("mine", X, Y, factors=FACTORS, factor_names=["b", "a"]),
            dataset_of("mine", X, Y, factors=FACTORS.flip(0), factor_names=["a", "b"]),
        )
    }
    assert len(hashes) == 8
    with pytest.raises(DataError, match="is empty"):
        data.select(torch.tensor([], dtype=torch.int64))


def test_true_sources_are_kept_and_hashed_and_change_no_other_hash():
    sources = torch.randn(6, 3, dtype=torch.float64)
    data = dataset_of("mine", X, Y, sources=sources)
    assert torch.equal(data.sources, sources.float())
    assert torch.equal(data.select(torch.tensor([5, 1])).sources, sources[[5, 1]].float())
    assert torch.equal(data.take(2).sources, sources[:2].float())
    assert data.some(4).sources.shape == (4, 3)
    hashes = {d.sha256 for d in (data, dataset_of("mine", X, Y), dataset_of("mine", X, Y, sources=sources + 1))}
    assert len(hashes) == 3
    x, y, factors = torch.arange(24.0).reshape(6, 1, 2, 2), torch.arange(6) % 3, torch.arange(12).reshape(6, 2)
    before = "98504c9c16babd46797c8b1bbd47b8591daab1b81e9f225c38eaaaab94fc4b27"  # of versions that knew no sources
    assert dataset_of("mine", x, y, aux=torch.arange(6), factors=factors).sha256 == before


def test_integral_auxiliary_variables_are_int64():
    for dtype in (torch.int32, torch.uint8, torch.bool):
        assert dataset_of("mine", X, aux=Y.to(dtype)).aux.dtype == torch.int64
    assert dataset_of("mine", X, aux=U.half()).aux.dtype == torch.float32


@pytest.mark.parametrize("n", [10, 11, 99, 1000])
def test_a_tenth_of_each_group_is_for_testing(n):
    groups = torch.arange(n) % 3
    whole = dataset_of("mine", torch.arange(float(n))[:, None], split="all")
    train, test = (part_of(whole, split, groups).x[:, 0].long() for split in ("train", "test"))
    assert sorted([*train.tolist(), *test.tolist()]) == list(range(n))
    held = torch.bincount(groups[test], minlength=3)
    assert int(held.sum()) == n // 10
    assert ((held - torch.bincount(groups) / 10).abs() < 1).all()
    assert n < 99 or not torch.equal(train, train.sort().values)
    assert torch.equal(part_of(whole, "all", groups).x, whole.x)


def test_bytes_are_scaled_and_integral_labels_converted():
    data = dataset_of("mine", np.full((2, 3), 255, np.uint8), np.array([0.0, 1.0]))
    assert data.x.tolist() == [[1.0] * 3] * 2
    assert data.y.dtype == torch.int64


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: dataset_of("mine", X[:0]), "'mine' is empty"),
        (lambda: dataset_of("mine", torch.where(X > 0.5, torch.nan, X)), "of 6 samples hold NaN or infinity"),
        (lambda: dataset_of("mine", X, Y[:3]), r"int64 \(6,\), got torch.int64 \(3,\)"),
        (lambda: dataset_of("mine", X, Y - 1), "in 0 … 1, one for each class, got -1 … 1"),
        (lambda: dataset_of("mine", X, Y + 0.5j), "with imaginary parts"),
        (lambda: dataset_of("mine", X, torch.full((6, 2), -3)), "labels y from 0, or -100 where there is none, got -3"),
        (lambda: dataset_of("mine", X, Y * torch.inf), "class labels 0, 1, …, got torch.float32 with NaN or infinity"),
        (lambda: dataset_of("mine", X, Y * 10**12), "class labels 0, 1, … below 1048576, got 2000000000000"),
        (lambda: dataset_of("mine", X.to(torch.complex64)), "expected real x, got torch.complex64"),
        (lambda: dataset_of("mine", torch.ones(3)), r"got torch.float32 \(3,\)"),
        (lambda: dataset_of("mine", X, aux=U[:4]), r"aux \(6, \.\.\.\), got \(4,\)"),
        (lambda: dataset_of("mine", X, aux=torch.tensor(1.0)), r"aux \(6, \.\.\.\), got \(\)"),
        (lambda: dataset_of("mine", X, aux=U.log()), "aux of 1 of 6 samples holds NaN or infinity, the first is numb"),
        (lambda: dataset_of("mine", X, aux=U.cfloat()), "expected real aux, got torch.complex64"),
        (lambda: dataset_of("mine", X, sources=U), r"sources as float32 \(6, k\), k ≥ 1, got torch.float32 \(6,\)"),
        (lambda: dataset_of("mine", X, sources=U[:4, None]), r"float32 \(6, k\), k ≥ 1, got torch.float32 \(4, 1\)"),
        (lambda: dataset_of("mine", X, sources=X[:, 0, 0, :0]), r"k ≥ 1, got torch.float32 \(6, 0\)"),
        (lambda: Dataset("mine", X, sources=U.double()[:, None]), r"got torch.float64 \(6, 1\)"),
        (lambda: dataset_of("mine", X, sources=U[:, None].log()), "sources of 1 of 6 samples holds NaN or infinity"),
        (lambda: dataset_of("mine", X, factors=FACTORS[:4]), "factors of 6 samples, got those of 4"),
        (lambda: dataset_of("mine", X, factors=FACTORS - 1), "from 0, got -1"),
        (lambda: dataset_of("mine", X, factors=FACTORS + 0.5), "as integers from 0, got torch.float32 with fractions"),
        (
            lambda: dataset_of("mine", X, factors=torch.where(FACTORS > 0, torch.inf, 0.0)),
            "integers from 0, got torch.float32 with NaN or infinity",
        ),
        (lambda: dataset_of("mine", X, factors=FACTORS * 10**12), "factors below 1048576, got 2000000000000; number"),
        (lambda: dataset_of("mine", X, factors=FACTORS[:, 0]), r"integers \(N, K\), N and K ≥ 1, got torch.int64 \(6,"),
        (
            lambda: dataset_of("mine", X, factors=FACTORS, factor_names=["a"]),
            r"2 different names of factors, got \('a',",
        ),
        (lambda: dataset_of("mine", X, factors=FACTORS, factor_names=["a", "a"]), "2 different names"),
        (lambda: dataset_of("mine", X, factor_names=["a", "b"]), "factor_names without factors"),
        (lambda: Dataset("mine", X.half()), "expected x as float32 or float64"),
        (lambda: load("digits", "validation"), "'train' or 'test', got 'validation'"),
        (lambda: load("missing.npz"), "missing.npz does not exist"),
        (
            lambda: load("no_such_module:data"),
            "there is no module 'no_such_module', neither installed nor in the working",
        ),
        (lambda: load("os:getcwd"), "expected a Dataset, x, or \\(x, y\\) from the function, got str"),
        (lambda: load("os:sep"), "expected a function of yours"),
        (lambda: load(""), "expected the data: a dataset's name"),
        (lambda: digits_shortcut("train", "labels"), "'label', 'random' or 'none'"),
        (lambda: digits_shortcut("train", amplitude=0.5), "an amplitude in"),
    ],
)
def test_what_does_not_fit_says_what_would(make, says):
    with pytest.raises(DataError, match=says):
        make()


def test_many_bytes_stay_bytes_until_they_are_asked_for(monkeypatch):
    values = torch.arange(24, dtype=torch.uint8).reshape(6, 4)
    eager = dataset_of("mine", values)
    monkeypatch.setattr(arrays, "MOST_FLOATS", 95)
    lazy = dataset_of("mine", values, Y)
    assert isinstance(lazy.x, Samples)
    assert torch.equal(lazy.x[:], eager.x)
    monkeypatch.setattr(arrays, "MOST_FLOATS", 96)
    assert isinstance(dataset_of("mine", values).x, torch.Tensor)
