"""Arrays in .npy files that are read when asked for, and audits that do not read them whole."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from torch import nn

import trimkit
from trimkit.data import Dataset, arrays, load
from trimkit.data.npy import NpySamples
from trimkit.errors import DataError


def saved(tmp_path, array, name="x.npy"):
    np.save(tmp_path / name, array)
    return tmp_path / name


def test_rows_are_those_of_the_array(tmp_path):
    array = np.random.default_rng(0).normal(size=(50, 2, 3))
    samples = NpySamples(saved(tmp_path, array))
    numbers = torch.tensor([7, 3, 3, 49])
    assert torch.equal(samples[numbers], torch.from_numpy(array[numbers.numpy()]).float())
    assert samples[:0].shape == (0, 2, 3)
    again = pickle.loads(pickle.dumps(samples))
    assert torch.equal(again[:], samples[:])


def test_bytes_are_divided(tmp_path):
    samples = NpySamples(saved(tmp_path, np.array([[0, 255]], np.uint8)))
    assert samples[0].tolist() == [0.0, 1.0]


def test_fingerprints_tell_files_apart_and_not_their_places(tmp_path):
    array = np.arange(60.0).reshape(20, 3)
    one, copy = (NpySamples(saved(tmp_path, array, name)) for name in ("a.npy", "b.npy"))
    assert one.fingerprint == copy.fingerprint
    assert one.fingerprint != NpySamples(saved(tmp_path, array + 1, "c.npy")).fingerprint
    assert one.fingerprint != NpySamples(saved(tmp_path, array.astype(np.float32), "d.npy")).fingerprint


@pytest.mark.parametrize("array", [np.zeros(3), np.zeros((0, 2)), np.array([["a", "b"]])])
def test_what_holds_no_samples_is_refused(tmp_path, array):
    with pytest.raises(DataError, match="expected an array"):
        NpySamples(saved(tmp_path, array))
    with pytest.raises(DataError, match=r"expected a \.npy file"):
        NpySamples(tmp_path / "none.npy")


def test_values_that_are_not_finite_are_refused_when_they_are_read(tmp_path):
    samples = NpySamples(saved(tmp_path, np.array([[1.0], [np.nan]])))
    assert samples[:1].item() == 1.0
    with pytest.raises(DataError, match="holds NaN or infinity in the samples from 1 on"):
        samples[1:]


def test_large_files_are_not_read_when_they_are_loaded(tmp_path, monkeypatch):
    path = saved(tmp_path, np.random.default_rng(0).normal(size=(40, 3)))
    assert isinstance(load(str(path)).x, torch.Tensor)
    monkeypatch.setattr(arrays, "MOST_FLOATS", 100)
    data = load(str(path))
    assert isinstance(data.x, NpySamples)
    assert data.name == "x"


class Watched(NpySamples):
    """Remembers which samples were read."""

    def __init__(self, path):
        super().__init__(path)
        self.read = set()

    def make(self, numbers):
        self.read.update(numbers.tolist())
        return super().make(numbers)


def test_a_shard_reads_its_own_samples_and_those_that_all_look_at(tmp_path):
    rng = np.random.default_rng(0)
    samples = Watched(saved(tmp_path, rng.normal(size=(20_000, 4)).astype(np.float32)))
    model = nn.Linear(4, 2).eval()
    options = {"samples": None, "checks": ["completeness", "reconstruction"], "batch_size": 100}
    shard = trimkit.audit(model, Dataset("scans", samples), shard=(3, 50), **options)
    assert shard.part.tally.n == 400
    own = {i for start in (200, 5200, 10_200, 15_200) for i in range(start, start + 100)}
    assert own <= samples.read
    assert len(samples.read) <= 400 + 1024 + 4096  # own, the first, and those to which a space is fitted


def test_loaders_are_audited_like_their_tensors():
    x = torch.randn(90, 6, generator=torch.Generator().manual_seed(0))
    y = torch.arange(90) % 3
    model = nn.Linear(6, 3).eval()
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=16)
    options = {"samples": None, "checks": ["completeness", "reconstruction"]}
    one, two, three = (trimkit.audit(model, d, **options) for d in ((x, y), loader, ((x[i], y[i]) for i in range(90))))
    assert one.verdicts == two.verdicts == three.verdicts
    assert two.performance == one.performance
