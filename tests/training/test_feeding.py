"""The batch of each step: the same for any number of workers, shared out evenly, and without any state."""

from __future__ import annotations

import pickle

import pytest
import torch

from trimkit.data import Dataset, Samples
from trimkit.errors import DataError
from trimkit.training import Settings
from trimkit.training.feeding import Feeder, make_batch, placed, split

SETTINGS = Settings(batch_size=8, seed=3)


@pytest.fixture
def numbers():
    n = torch.arange(20)
    return Dataset("numbers", n[:, None].float(), n, classes=tuple(map(str, range(20))), aux=n[:, None].float())


def rows(batch):
    return batch.x[:, 0].int().tolist()


def test_a_batch_is_a_function_of_its_step(numbers):
    feeder = Feeder(numbers, SETTINGS)
    forwards = [rows(feeder[step]) for step in range(5)]
    assert [rows(feeder[step]) for step in reversed(range(5))] == forwards[::-1]
    assert rows(Feeder(numbers, SETTINGS)[3]) == forwards[3]
    assert sorted(forwards[0] + forwards[1]) != list(range(20))  # whole batches only: 16 of 20
    assert len(set(forwards[0] + forwards[1])) == 16
    assert forwards[:2] != forwards[2:4]


@pytest.mark.parametrize("accumulate", [1, 2])
def test_processes_share_each_turn_in_order(numbers, accumulate):
    settings = Settings(batch_size=8, seed=3, accumulate=accumulate)
    whole = rows(Feeder(numbers, SETTINGS)[1])
    shares = [rows(Feeder(numbers, settings, rank=rank, processes=2)[1]) for rank in range(2)]
    size = 8 // accumulate // 2
    joined = [row for turn in range(accumulate) for share in shares for row in share[turn * size : (turn + 1) * size]]
    assert joined == whole


def test_two_draws_are_independent_orders(numbers):
    feeder = Feeder(numbers, SETTINGS, draws=2)
    first, second = feeder[0], feeder[0].other
    assert rows(first) == rows(Feeder(numbers, SETTINGS)[0])
    assert rows(first) != rows(second)
    assert second.other is None
    assert rows(second) == second.y.tolist() == second.aux[:, 0].int().tolist()


def test_workers_read_the_same_batches_and_draw_nothing_global(numbers):
    feeder = Feeder(numbers, Settings(batch_size=8, seed=3, workers=2), draws=2)
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    read = list(feeder.stream(1, 6))
    assert torch.equal(torch.rand(1), expected)
    assert [(rows(b), rows(b.other)) for b in read] == [(rows(feeder[s]), rows(feeder[s].other)) for s in range(1, 6)]
    assert torch.equal(read[0].aux, feeder[1].aux)


class Unreadable(Samples):
    """Samples of which one cannot be read."""

    shape, fingerprint = torch.Size((20, 1)), "unreadable"

    def make(self, numbers):
        if 12 in numbers:
            raise DataError("cannot read the picture 12.png: truncated; mend it or take it out")
        return torch.zeros(len(numbers), 1)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_refusal_while_reading_arrives_as_it_is(workers):
    feeder = Feeder(Dataset("pictures", Unreadable()), Settings(batch_size=10, workers=workers))
    with pytest.raises(DataError) as caught:
        list(feeder.stream(0, 2))
    assert str(caught.value) == "cannot read the picture 12.png: truncated; mend it or take it out"


def test_workers_may_be_started_by_pickle(numbers):
    feeder = pickle.loads(pickle.dumps(Feeder(numbers, SETTINGS)))
    assert rows(feeder[2]) == rows(Feeder(numbers, SETTINGS)[2])


def test_turns_are_the_batch_in_pieces(numbers):
    batch = Feeder(numbers, SETTINGS, draws=2)[0]
    assert split(batch, 1) == [batch]
    turns = split(batch, 4)
    for name in ("x", "y", "aux"):
        assert torch.equal(torch.cat([getattr(turn, name) for turn in turns]), getattr(batch, name))
    assert torch.equal(torch.cat([turn.other.y for turn in turns]), batch.other.y)
    bare = split(make_batch(Dataset("x", torch.ones(4, 1)), torch.arange(4)), 2)
    assert [(len(turn), turn.y, turn.aux, turn.other) for turn in bare] == [(2, None, None, None)] * 2


def test_everything_in_a_batch_is_placed(numbers):
    batch = placed(Feeder(numbers, SETTINGS, draws=2)[0], lambda tensor: tensor + 1)
    raw = Feeder(numbers, SETTINGS, draws=2)[0]
    for name in ("x", "y", "aux"):
        assert torch.equal(getattr(batch, name), getattr(raw, name) + 1)
        assert torch.equal(getattr(batch.other, name), getattr(raw.other, name) + 1)
