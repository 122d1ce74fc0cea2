"""Work on two processes of one group, as a launcher starts them."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, MutableMapping
from typing import Any

import torch
from torch.multiprocessing import get_context
from torch.multiprocessing.spawn import spawn

Results = MutableMapping[Any, Any]


def run_on_two(work: Callable[..., None], *arguments: Any) -> dict[Any, Any]:
    """What ``work(rank, results, *arguments)`` put into its results on each of two processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with get_context("spawn").Manager() as manager:
        results = manager.dict()
        spawn(_start, (port, work, results, arguments), nprocs=2)
        return dict(results)


def _start(rank: int, port: int, work: Callable[..., None], results: Results, arguments: tuple[Any, ...]) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GROUP_RANK": "0", "TORCHELASTIC_RUN_ID": "x"}
    torch.set_num_threads(1)
    work(rank, results, *arguments)
