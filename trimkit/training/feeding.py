"""Which samples a step sees: a function of seed, epoch and batch, read here or by workers that read ahead."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from trimkit.data import Dataset
from trimkit.errors import TrimkitError
from trimkit.methods import Batch
from trimkit.storage.signals import ENDING
from trimkit.training.engine import derived_generator
from trimkit.training.settings import Settings


def epoch_order(n: int, seed: int, epoch: int, purpose: str = "order") -> Tensor:
    """The order in which an epoch visits n samples: a permutation, (n,) on the CPU; one for each purpose."""
    generator = derived_generator(torch.device("cpu"), seed, purpose, epoch)
    return torch.randperm(n, generator=generator)


def make_batch(data: Dataset, index: Tensor, place: Callable[[Any], Any] = lambda tensor: tensor) -> Batch:
    """Samples by their numbers.

    Args:
        data: of N samples.
        index: (n,) numbers.
        place: tensor → tensor on a device.
    """
    y, aux = (None if part is None else place(part[index]) for part in (data.y, data.aux))
    return Batch(place(data.x[index]), y, aux)


def placed(batch: Batch, place: Callable[[Any], Any]) -> Batch:
    """A batch with all that is in it on a device."""
    y, aux = (None if part is None else place(part) for part in (batch.y, batch.aux))
    other = None if batch.other is None else placed(batch.other, place)
    return replace(batch, x=place(batch.x), y=y, aux=aux, other=other)


def split(batch: Batch, turns: int) -> list[Batch]:
    """The turns in which a batch is worked through, each of as many rows."""
    if turns == 1:
        return [batch]
    rest = [[None] * turns if part is None else part.chunk(turns) for part in (batch.y, batch.aux)]
    others = [None] * turns if batch.other is None else split(batch.other, turns)
    return [Batch(*parts) for parts in zip(batch.x.chunk(turns), *rest, others, strict=True)]


class Feeder:
    """The batch of each step, indexed by the step: on the CPU, this process's rows, the turns one after another.

    Each epoch visits the samples in an order of its own; the second batch of phases with two draws comes from another
    order, so that the two are independent. Nothing here has a state, so nothing is lost when a run stops.

    Args:
        data: all samples.
        settings: of the run.
        draws: batches a step, 1 or 2.
        rank: of this process.
        processes: that share each batch.
    """

    def __init__(self, data: Dataset, settings: Settings, draws: int = 1, rank: int = 0, processes: int = 1) -> None:
        self._data = data
        self._settings = settings
        self._draws = draws
        self._rank = rank
        self._processes = processes
        self._orders: dict[str, tuple[int, Tensor]] = {}

    def __getitem__(self, step: int) -> Batch:
        batch = make_batch(self._data, self._index(step, "order"))
        if self._draws == 1:
            return batch
        return replace(batch, other=make_batch(self._data, self._index(step, "second order")))

    def stream(self, first: int, total: int) -> Iterable[Batch]:
        """The batches of steps first … total − 1, read ahead by workers where there are any."""
        steps = range(first, total)
        if not self._settings.workers:
            return map(self.__getitem__, steps)
        generator = torch.Generator()  # else the loader draws its workers' seeds from torch's own
        options = {"num_workers": self._settings.workers, "collate_fn": _as_is, "generator": generator}
        options |= {"worker_init_fn": _leave_signals_to_the_run}
        read = DataLoader(_Caught(self), batch_size=None, sampler=steps, **options)  # type: ignore[arg-type]  # no len
        return map(_raised, read)

    def _index(self, step: int, purpose: str) -> Tensor:
        """Numbers of this process's samples, (n,): a consecutive share of each turn's."""
        epoch, batch = divmod(step, self._settings.batches(len(self._data)))
        size = self._settings.size(len(self._data))
        whole = self._order(epoch, purpose)[batch * size : (batch + 1) * size]
        return whole.reshape(self._settings.accumulate, self._processes, -1)[:, self._rank].reshape(-1)

    def _order(self, epoch: int, purpose: str) -> Tensor:
        if self._orders.get(purpose, (None,))[0] != epoch:
            self._orders[purpose] = (epoch, epoch_order(len(self._data), self._settings.seed, epoch, purpose))
        return self._orders[purpose][1]


class _Caught:
    """A feeder whose refusals are handed over as what they are: a loader would make a page of traceback of them."""

    def __init__(self, feeder: Feeder) -> None:
        self._feeder = feeder

    def __getitem__(self, step: int) -> Batch | TrimkitError:
        try:
            return self._feeder[step]
        except TrimkitError as error:
            return error


def _raised(read: Batch | TrimkitError) -> Batch:
    if isinstance(read, TrimkitError):
        raise read
    return read


def _as_is(read: Batch | TrimkitError) -> Batch | TrimkitError:
    return read


def _leave_signals_to_the_run(_: int) -> None:
    """A signal to the whole group must not take away the readers of the step that is still to be finished."""
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)
