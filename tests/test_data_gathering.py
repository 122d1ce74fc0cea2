"""Datasets of PyTorch that are read when asked for, and what comes in forms that a stranger's code has."""

from __future__ import annotations

import pickle
from collections import namedtuple

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset
from torch.utils.data import Dataset as TorchDataset

import trimkit
from trimkit.data import Samples, arrays, as_dataset, items, load
from trimkit.errors import DataError, TrimkitWarning

X = torch.rand(300, 1, 4, 4, generator=torch.Generator().manual_seed(0))
Y = torch.arange(300) % 3


class Watched(TorchDataset):
    """Remembers which samples were read."""

    def __init__(self, x=X, y=Y):
        self.x, self.y, self.read = x, y, []

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index):
        self.read.append(index)
        return self.x[index], int(self.y[index])


class WithTargets(Watched):
    def __init__(self, targets):
        super().__init__()
        self.targets = targets


@pytest.fixture
def large(monkeypatch):
    """All data are too large to be read whole."""
    monkeypatch.setattr(arrays, "MOST_FLOATS", 1000)


def test_large_datasets_are_read_when_asked_for(large):
    source = Watched()
    data = as_dataset(source)
    assert isinstance(data.x, Samples)
    assert torch.equal(data.y, Y)
    source.read.clear()
    numbers = torch.tensor([7, 3, 3, 299])
    assert torch.equal(data.x[numbers], X[numbers])
    assert source.read == [7, 3, 3, 299]
    assert torch.equal(data.select(slice(10, 20)).x[:], X[10:20])
    assert torch.equal(pickle.loads(pickle.dumps(data.x))[:5], X[:5])


@pytest.mark.parametrize("targets", [Y, Y.tolist(), Y.numpy()])
def test_labels_that_a_dataset_keeps_beside_spare_a_pass(large, targets):
    source = WithTargets(targets)
    assert torch.equal(as_dataset(source).y, Y)
    assert len(set(source.read)) < 30


@pytest.mark.parametrize("targets", [(Y + 1) % 3, Y[:5], None, 3, list(map(str, Y.tolist()))])
def test_labels_beside_that_are_not_those_of_the_samples_are_not_taken(large, targets):
    assert torch.equal(as_dataset(WithTargets(targets)).y, Y)


def test_samples_without_labels_need_no_pass(large):
    class Alone(Watched):
        def __getitem__(self, index):
            return super().__getitem__(index)[0]

    source = Alone()
    data = as_dataset(source)
    assert data.y is None
    assert len(set(source.read)) < 30


def test_fingerprints_tell_data_apart(large):
    first, same, other = (as_dataset(Watched(x)) for x in (X, X.clone(), X + 1))
    assert first.sha256 == same.sha256 != other.sha256
    assert first.sha256 != as_dataset(Watched(X, 2 - Y)).sha256


def test_whole_numbers_are_shares_here_too(large):
    values = (X * 255).byte()
    assert torch.equal(as_dataset(Watched(values)).x[:], values.float() / 255)


@pytest.mark.parametrize(
    ("x", "says"),
    [
        ([*X[:299], X[0, :, :2]], r"samples of shape \(1, 4, 4\), as the first, got \(1, 2, 4\) in number 299"),
        ([*X[:299], X[0] * torch.nan], "got NaN or infinity in number 299"),
    ],
)
def test_a_sample_that_does_not_fit_is_named_when_it_is_read(large, x, says):
    class Uneven(Watched):
        def __len__(self):
            return 300

    data = trimkit.data.Dataset("some", as_dataset(Watched()).x)
    data.x._read = lambda number: x[number]
    with pytest.raises(DataError, match=says):
        data.x[:]


class Augmented(Watched):
    def __getitem__(self, index):
        return super().__getitem__(index)[0] + torch.rand(()), 0


def test_random_augmentation_is_said_or_refused(monkeypatch):
    with pytest.warns(TrimkitWarning, match="Augmented gives another sample each time .* augmentation acts once"):
        as_dataset(Augmented())
    monkeypatch.setattr(arrays, "MOST_FLOATS", 1000)
    with pytest.raises(DataError, match="too large to be read once and kept; leave out random augmentation"):
        as_dataset(Augmented())


def test_an_audit_and_an_evaluation_read_few_of_many(large, monkeypatch):
    monkeypatch.setattr(items, "MOST_HASHED", 5)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3)).eval()
    for work in (
        lambda data: trimkit.audit(model, data, samples=32, checks=["completeness"]),
        lambda data: trimkit.evaluate(model, data, samples=40),
    ):
        source = WithTargets(Y)
        assert work(source) is not None
        assert len(set(source.read)) < 150


def test_a_large_dataset_is_trained_on_like_its_tensors(large):
    def trained(data):
        torch.manual_seed(0)
        method = trimkit.create("method", "vae", shape=(1, 4, 4), network="mlp", latent_dim=2)
        trimkit.train(method, data, steps=3, batch_size=16)
        return torch.cat([p.flatten() for p in method.parameters()])

    assert torch.equal(trained(Watched()), trained((X, Y)))


Batch = namedtuple("Batch", ["image", "label", "weight"])


class Stream(IterableDataset):
    def __iter__(self):
        return iter(X[:20])


class Counted(Stream):
    def __len__(self) -> int:
        return 20


FORMS = {
    "stream that knows its length": Counted,
    "mapping of arrays": lambda: {"x": X[:20].numpy(), "y": Y[:20].numpy()},
    "named tuples of three": lambda: [Batch(x, y, 1.0) for x, y in zip(X[:20], Y[:20], strict=True)],
    "loader without batches": lambda: DataLoader(Watched(X[:20]), batch_size=None),
    "loader of a stream without batches": lambda: DataLoader(Stream(), batch_size=None),
    "sampler": lambda: DataLoader(Watched(X[:20]), batch_size=6, sampler=range(20)),
    "workers": lambda: DataLoader(Watched(X[:20]), batch_size=6, num_workers=1),
    "big-endian arrays": lambda: (X[:20].numpy().astype(">f8"), Y[:20].numpy().astype(">i4")),
    "arrays backwards": lambda: (X[:20].flip(0).numpy()[::-1], Y[:20].flip(0).numpy()[::-1]),
    "array in Fortran's order": lambda: np.asfortranarray(X[:20].numpy()),
    "lists": lambda: [(x.tolist(), int(y)) for x, y in zip(X[:20], Y[:20], strict=True)],
    "TensorDataset of three": lambda: TensorDataset(X[:20], Y[:20], X[:20]),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_samples(form):
    data = as_dataset(FORMS[form]())
    assert torch.equal(data.x, X[:20])
    assert data.y is None or torch.equal(data.y, Y[:20])


def test_a_memory_map_is_read_without_a_warning(tmp_path):
    np.save(tmp_path / "x.npy", X.numpy())
    assert torch.equal(as_dataset(np.load(tmp_path / "x.npy", mmap_mode="r")).x, X)


class Broken(Watched):
    def __getitem__(self, index):
        if index == 3:
            raise SystemExit(0)
        return super().__getitem__(index)


def stop():
    yield X[0]
    raise KeyError("gone")


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (lambda: Broken(), "Broken: sample number 3 cannot be made: SystemExit"),
        (stop, "generator cannot be made: KeyError: 'gone'"),
        (lambda: [{"image": X[0], "label": 1}], r"keys 'image', 'label' in number 0; rename them"),
        (lambda: {"image": X}, r"expected an array 'x' or 'x_train', got \['image'\]"),
        (lambda: DataLoader(Watched(X[:3]), batch_size=4, drop_last=True), "Watched is empty: expected samples"),
        (lambda: np.array(["a"]), "'x' holds text, expected numbers"),
        (lambda: np.array([{}, {}]), "'x' holds objects, expected numbers"),
        (lambda: np.zeros(3, [("a", "f4"), ("b", "i4")]), "'x' holds records, .* give the fields a, b as columns"),
        (lambda: np.array(["2024-01-05"], "M8[D]"), r"'x' holds datetime64\[D\], expected numbers"),
        (lambda: X.to(torch.complex64).numpy(), "expected real x, got torch.complex64"),
    ],
)
def test_what_cannot_be_used_is_named(source, says):
    with pytest.raises(DataError, match=says):
        as_dataset(source())


def test_functions_may_return_datasets_of_pytorch(tmp_path, monkeypatch):
    (tmp_path / "gathering_of_mine.py").write_text(
        "import torch\nfrom torch.utils.data import DataLoader, TensorDataset\n"
        "def pairs(split):\n    return TensorDataset(torch.ones(5, 2), torch.arange(5))\n"
        "def loader():\n    return DataLoader(pairs('train'), batch_size=2)\n"
    )
    monkeypatch.chdir(tmp_path)
    for name in ("pairs", "loader"):
        data = load(f"gathering_of_mine.py:{name}", "test")
        assert (len(data), data.split, data.y.tolist()) == (5, "test", [0, 1, 2, 3, 4])
