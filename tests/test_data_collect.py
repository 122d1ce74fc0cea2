"""Datasets from whatever form users have theirs in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, TensorDataset
from torch.utils.data import Dataset as TorchDataset

from trimkit.data import Dataset, as_dataset, gathering
from trimkit.errors import DataError

X = torch.rand(20, 1, 4, 4, generator=torch.Generator().manual_seed(0))
Y = torch.arange(20) % 3


class Pairs(TorchDataset):
    def __len__(self) -> int:
        return 20

    def __getitem__(self, index):
        return X[index], int(Y[index])


class Stream(IterableDataset):
    def __iter__(self):
        return iter(X)


FORMS = {
    "tensor": lambda: X,
    "array": lambda: X.numpy(),
    "tensor with gradient": lambda: X.clone().requires_grad_(),
    "pair": lambda: (X, Y),
    "pair of arrays": lambda: (X.numpy(), Y.numpy()),
    "TensorDataset": lambda: TensorDataset(X, Y),
    "TensorDataset of x": lambda: TensorDataset(X),
    "Dataset": Pairs,
    "IterableDataset": Stream,
    "DataLoader": lambda: DataLoader(Pairs(), batch_size=6),
    "DataLoader of a stream": lambda: DataLoader(Stream(), batch_size=6),
    "samples": lambda: list(X),
    "batches": lambda: (X[i : i + 6] for i in range(0, 20, 6)),
    "labelled batches": lambda: [(X[i : i + 6], Y[i : i + 6]) for i in range(0, 20, 6)],
    "mappings": lambda: [{"x": x, "y": y} for x, y in zip(X, Y, strict=True)],
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_samples(form):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    data = as_dataset(FORMS[form](), "train", shape=(1, 4, 4))
    assert torch.equal(torch.get_rng_state(), before)
    assert isinstance(data, Dataset)
    assert torch.equal(data.x, X)
    assert not data.x.requires_grad
    labelled = form not in ("tensor", "array", "tensor with gradient", "TensorDataset of x", "samples", "batches")
    labelled = labelled and "tream" not in form and form != "IterableDataset"
    assert (data.y is not None and torch.equal(data.y, Y)) == labelled


def test_names_and_paths(tmp_path):
    np.savez(tmp_path / "a.npz", x_train=X.numpy(), x_test=X[:5].numpy())
    assert torch.equal(as_dataset(Path(tmp_path / "a.npz")).x, X)
    assert len(as_dataset(str(tmp_path / "a.npz"), "test")) == 5


def test_double_precision_stays_where_it_is_asked_for(tmp_path):
    x = X.double() + 1e-12
    np.savez(tmp_path / "a.npz", x=x.numpy())
    assert as_dataset(x).x.dtype == torch.float32
    for source in (x, x.numpy(), list(x), tmp_path / "a.npz"):
        data = as_dataset(source, double=True)
        assert torch.equal(data.x, x)
    assert as_dataset(x, double=True).sha256 != as_dataset(x).sha256


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (3, "expected data as a tensor, array, .* got int"),
        ([], "list is empty: expected samples"),
        ([X[0], X[0, :, :2]], r"expected samples of shape \(1, 4, 4\), as the first, got \(1, 2, 4\) in number 1"),
        (["a", "b"], "expected x, .* got str in number 0"),
        ([(X[0], object())], "got tuple in number 0"),
    ],
)
def test_what_is_no_data(source, message):
    with pytest.raises(DataError, match=message):
        as_dataset(source)


def test_more_than_memory_is_to_hold(monkeypatch):
    monkeypatch.setattr(gathering, "MOST_BYTES", 100)
    for source in (Pairs(), DataLoader(Pairs(), batch_size=4), iter(X)):
        with pytest.raises(DataError, match=r"\w+ holds more than .* make a trimkit\.data\.Samples of it"):
            as_dataset(source)
