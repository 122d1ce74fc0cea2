import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import trimkit
from trimkit.data import Dataset, Samples, dataset_of, few, in_memory, load, samples
from trimkit.data.samples import Bytes
from trimkit.errors import DataError


class Counted(Samples):
    """Sample i is (i, i²); every number that is made is noted."""

    fingerprint = "counted"

    def __init__(self, n=10, width=2, last=None):
        self.n, self.width, self.last, self.made = n, width, last, []

    @property
    def shape(self):
        return torch.Size((self.n, self.width))

    def make(self, numbers):
        self.made += numbers.tolist()
        found = torch.stack([numbers, numbers**2], 1).float()
        return found if self.last is None else torch.where(found == self.n - 1, self.last, found)


WHOLE = Counted().make(torch.arange(10))


@given(st.slices(10).filter(lambda part: (part.step or 1) > 0))
def test_slices_are_those_of_a_tensor(part):
    assert torch.equal(Counted()[part], WHOLE[part])


@given(st.lists(st.integers(-10, 9)))
def test_numbers_are_those_of_a_tensor(numbers):
    index = torch.tensor(numbers, dtype=torch.int64)
    assert torch.equal(Counted()[index], WHOLE[index])
    assert torch.equal(Counted().select(index)[:], WHOLE[index])


@given(st.lists(st.booleans(), min_size=10, max_size=10))
def test_masks_are_those_of_a_tensor(mask):
    assert torch.equal(Counted()[torch.tensor(mask)], WHOLE[torch.tensor(mask)])


def test_one_sample_has_no_batch_axis_and_iteration_ends():
    assert Counted()[3].tolist() == [3, 9]
    assert Counted()[-1].tolist() == [9, 81]
    assert len(list(Counted())) == 10
    assert Counted()[::-1].tolist() == WHOLE.flip(0).tolist()
    assert Counted()[torch.tensor([3], dtype=torch.uint8)].tolist() == [[3, 9]]


@pytest.mark.parametrize(
    ("index", "says"),
    [
        (10, "in -10 … 9, got 10 … 10"),
        (torch.tensor([0, -11]), "got -11 … 0"),
        (torch.tensor([True]), r"a mask \(10,\), got \(1,\)"),
        (torch.tensor([[0]]), r"got torch.int64 \(1, 1\)"),
        (torch.tensor([0.0]), "got torch.float32"),
        ([0], "got list"),
    ],
)
def test_other_indices_are_refused(index, says):
    with pytest.raises(IndexError, match=says):
        Counted()[index]


def test_a_selection_makes_nothing_until_asked_and_does_not_nest():
    data = Counted()
    part = data.select(slice(2, 8)).select(torch.tensor([5, 0, 0]))
    assert data.made == []
    assert part[:].tolist() == [[7, 49], [2, 4], [2, 4]]
    assert data.made == [7, 2, 2]
    assert part.fingerprint == data.select(torch.tensor([7, 2, 2])).fingerprint
    assert part.fingerprint != data.select(torch.tensor([2, 7, 2])).fingerprint
    assert part.ndim == 2


def test_a_dataset_makes_a_few_samples_for_its_checks_and_stays_lazy():
    x = Counted(n=1000)
    data = Dataset("mine", x, torch.arange(1000) % 2, classes=("a", "b"))
    assert 0 < len(x.made) <= 8
    part = data.take(3)
    assert isinstance(part.x, Samples)
    assert part.x[:].tolist() == [[0, 0], [1, 1], [2, 4]]
    assert part.y.tolist() == [0, 1, 0]
    assert (len(data), data.shape) == (1000, (2,))
    assert len({data.sha256, part.sha256, Dataset("mine", x).sha256}) == 3
    assert dataset_of("mine", x).sha256 == Dataset("mine", Counted(n=1000)).sha256


@pytest.mark.parametrize(
    ("x", "says"),
    [
        (Counted(n=0), "is empty"),
        (Counted(last=torch.nan), "hold NaN or infinity; clean"),
        (Counted(width=3), r"float32 \(3,\), and Counted makes torch.float32 \(2,\)"),
    ],
)
def test_samples_that_are_not_what_they_say_are_refused(x, says):
    with pytest.raises(DataError, match=says):
        Dataset("mine", x)


def test_few_are_all_of_a_tensor_and_some_others():
    assert few(WHOLE, 2) is WHOLE
    assert torch.equal(few(Counted()), WHOLE)
    seen = few(Counted(n=1000), 30)
    assert torch.equal(seen, few(Counted(n=1000), 30))
    assert 20 < len(seen) <= 30
    assert seen[:, 0].max() > 500


def test_what_does_not_fit_in_memory_says_how_many_would(monkeypatch):
    assert in_memory(WHOLE, most=1) is WHOLE
    assert torch.equal(in_memory(Counted(), most=80), WHOLE)
    with pytest.raises(DataError, match=r"all 10 samples of shape \(2,\) .*data.take\(n\), n ≤ 9"):
        in_memory(Counted(), most=79)
    monkeypatch.setattr(samples, "MOST_BYTES", 24)
    assert len(few(Counted(n=1000))) <= 3


def test_bytes_are_divided_when_asked_for():
    values = torch.tensor([[0, 51], [255, 1]], dtype=torch.uint8)
    assert Bytes(values)[:].tolist() == [[0, pytest.approx(0.2)], [1, pytest.approx(1 / 255)]]
    assert Bytes(values, 1)[1].tolist() == [255, 1]
    assert len({Bytes(values).fingerprint, Bytes(values, 1).fingerprint, Bytes(values.flip(0)).fingerprint}) == 3


def test_lazy_samples_are_audited_as_tensors_are():
    torch.manual_seed(0)
    values = torch.rand(90, 16).mul(255).byte()
    model = torch.nn.Sequential(torch.nn.Linear(16, 3)).eval()
    reports = [
        trimkit.audit(model, x, transform="pca", attributions="input_x_gradient", samples=24, checks=["reconstruction"])
        for x in (values.float() / 255, Bytes(values))
    ]
    eager, lazy = ([(v.check, v.status, v.estimate) for v in report.verdicts] for report in reports)
    assert eager == lazy


def test_what_was_understood_says_how_many_samples_were_looked_at():
    from trimkit.audit.examine import as_dataset, examine

    model = torch.nn.Sequential(torch.nn.Linear(2, 3)).eval()
    lines = dict(examine(model, as_dataset(Counted(n=5000))).lines)
    assert lines["data"].startswith("data: 5000 samples of 2, range")
    assert re.search(r", mean \S+ of 6[0-4] looked at$", lines["data"])
    assert dict(examine(model, as_dataset(WHOLE)).lines)["data"].endswith("mean 16.5")


def test_some_samples_stand_for_all():
    data = load("sprites", "all")
    some = data.some(600)
    assert len(some) == 600
    assert some.factors is not None
    counts = torch.bincount(some.factors[:, 0].long(), minlength=3)
    assert counts.min() > 150
    assert torch.equal(some.x[:3], data.some(600).x[:3])


def test_some_of_few_samples_are_all():
    data = load("digits", "train")
    assert torch.equal(data.some(5000).x, data.x)
    with pytest.raises(DataError, match="expected a number of samples ≥ 1, got 0"):
        data.some(0)
