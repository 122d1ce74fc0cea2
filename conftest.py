"""What every test has: one thread, and a random state of its own."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

import numpy
import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """One thread: as fast for networks this small, repeatable, and not slowed down by what else the machine does."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Generator[None, Any, Any]:
    """Shared fixtures draw the same whichever test needs them first, and nothing that is drawn shows outside."""
    state = numpy.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        try:
            return (yield)
        finally:
            numpy.random.set_state(state)  # noqa: NPY002


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Networks that a test makes are the same each time, also where a shared fixture drew before."""
    torch.default_generator.manual_seed(0)
