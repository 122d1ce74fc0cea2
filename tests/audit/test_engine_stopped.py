"""An audit on several processes that is stopped waits for no shard that has not begun."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from trimkit.audit import engines
from trimkit.storage.signals import Terminated


def test_what_has_not_begun_is_given_up(monkeypatch):
    monkeypatch.setattr(engines, "ProcessPoolExecutor", lambda count, *_: ThreadPoolExecutor(count))
    given_up, ran, waiting = threading.Event(), [], []
    with pytest.raises(Terminated), engines.open_engine("processes:1") as pool:  # noqa: PT012
        pool.submit(given_up.wait, 30.0)
        waiting += [pool.submit(ran.append, number) for number in range(3)]
        waiting[-1].add_done_callback(lambda _: given_up.set())
        raise Terminated(15)
    assert all(future.cancelled() for future in waiting)
    assert ran == []
