"""One thread, and the same weights in every test."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(autouse=True)
def small_and_seeded():
    """Networks this small are several times faster on one thread; those that a test makes are the same each time."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        yield
    torch.set_num_threads(threads)
