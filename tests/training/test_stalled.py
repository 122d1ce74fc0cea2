"""A process that stalls or refuses is named by the others, and nobody waits for ever."""

from __future__ import annotations

import os
import socket
import time

import pytest
import torch
import torch.multiprocessing as mp

import trimkit
from trimkit.errors import TrimkitError
from trimkit.training import train
from trimkit.training.loop import Loop


def worker(rank: int, port: int, folder: str, results) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GROUP_RANK": "0", "TORCHELASTIC_RUN_ID": "x"}
    torch.set_num_threads(1)
    torch.manual_seed(0)
    advance = Loop._advance

    def stall(loop: Loop, batch) -> None:
        if rank == 1 and loop.step == 2:
            time.sleep(12)
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
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with mp.get_context("spawn").Manager() as manager:
        results = manager.dict()
        mp.spawn(worker, (port, str(tmp_path_factory.mktemp("stalled")), results), nprocs=2)
        yield dict(results)


def test_what_the_first_process_refuses_is_refused_by_all_in_its_words(ranks):
    assert ranks[0][0] == ranks[1][0] == "trained"
    assert "seed was 0, is 1" in ranks[0][1]
    assert ranks[0][1].removeprefix("CheckpointError: ") == ranks[1][1].removeprefix("RelayedError: ")


def test_the_process_that_is_late_is_named_with_its_step(ranks):
    assert ranks[0][2].startswith("RelayedError: process 1 has stalled or failed in step 2; the others wait")
    assert "at most 0.1 minutes (timeout_minutes)" in ranks[0][2]
