"""A process that stalls or refuses is named by the others, and nobody waits for ever."""

from __future__ import annotations

import time

import pytest
import torch

import trimkit
from trimkit.errors import TrimkitError
from trimkit.training import train
from trimkit.training.loop import Loop

from ..two_processes import Results, run_on_two


def work(rank: int, results: Results, folder: str) -> None:
    torch.manual_seed(0)
    advance = Loop._advance

    def stall(loop: Loop, batch) -> None:
        until = time.monotonic() + 60
        while rank == 1 and loop.step == 2 and 0 not in results and time.monotonic() < until:
            time.sleep(0.05)  # until the other has given up
        advance(loop, batch)

    def attempt(**options) -> str:
        method = trimkit.create("method", "vae", shape=(6,), latent_dim=2, network="mlp")
        settings = {"batch_size": 8, "device": "cpu", "folder": f"{folder}/run", **options}
        try:
            train(method, torch.rand(24, 6, generator=torch.Generator().manual_seed(0)), **settings)
        except TrimkitError as error:
            return f"{type(error).__name__}: {error}"
        return "trained"

    found = [attempt(steps=2), attempt(steps=4, seed=1, resume=True)]
    Loop._advance = stall  # type: ignore[method-assign]
    found.append(attempt(steps=4, resume=True, timeout_minutes=0.1))
    results[rank] = found


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """What each of two processes was told: of a run, of a resumption that is refused, and of a stall."""
    return run_on_two(work, str(tmp_path_factory.mktemp("stalled")))


def test_what_the_first_process_refuses_is_refused_by_all_in_its_words(ranks):
    assert ranks[0][0] == ranks[1][0] == "trained"
    assert "seed was 0, is 1" in ranks[0][1]
    assert ranks[0][1].removeprefix("CheckpointError: ") == ranks[1][1].removeprefix("RelayedError: ")


def test_the_process_that_is_late_is_named_with_its_step(ranks):
    assert ranks[0][2].startswith("RelayedError: process 1 has stalled or failed in step 2; the others wait")
    assert "at most 0.1 minutes (timeout_minutes)" in ranks[0][2]
