"""Executors: the bits of one process from several, a lost worker, and a Dask cluster that loses one on the way."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import pytest
import torch
from torch import nn

import trimkit
from trimkit.audit.engines import open_engine
from trimkit.errors import ModelError, OptionError

OPTIONS = {"transform": "fft", "samples": 120, "batch_size": 8}


def verdicts_and_evidence(report):
    content = json.loads(report.to_json())
    return {name: content[name] for name in ("verdicts", "evidence", "paired", "performance")}


@pytest.fixture(scope="module")
def whole(model, data):
    return verdicts_and_evidence(trimkit.audit(model, data, **OPTIONS))


@pytest.fixture(scope="module")
def pool():
    with ProcessPoolExecutor(
        2, multiprocessing.get_context("spawn"), torch.set_num_threads, (torch.get_num_threads(),)
    ) as executor:
        yield executor


def test_processes_give_the_bits_of_one(model, data, whole, pool):
    seen = []
    report = trimkit.audit(model, data, executor=pool, progress=lambda *at: seen.append(at), **OPTIONS)
    assert verdicts_and_evidence(report) == whole
    assert seen[-1] == (120, 120)
    assert len(seen) == 8  # shards, four for each worker


def test_looks_are_sharded_too(model, data, pool):
    options = {**OPTIONS, "checks": ["completeness", "reconstruction"], "samples": 160, "until_decided": True}
    one, two = (trimkit.audit(model, data, executor=executor, **options) for executor in (None, pool))
    assert verdicts_and_evidence(one) == verdicts_and_evidence(two)


def test_what_cannot_be_sent_is_refused(data):
    class Locked(nn.Module):
        def __init__(self):
            super().__init__()
            self.lock = threading.Lock()
            self.linear = nn.Linear(64, 3)

        def forward(self, x):
            return self.linear(x.flatten(1))

    with pytest.raises(OptionError, match="cannot be sent to other processes"):
        trimkit.audit(
            Locked().eval(), data, executor=ThreadPoolExecutor(1), checks=["reconstruction"], samples=20, batch_size=5
        )


def test_a_lost_worker_is_said(data, tmp_path, monkeypatch):
    (tmp_path / "deadly.py").write_text(
        "import os\nfrom torch import nn\n"
        "class Deadly(nn.Module):\n"
        "    def forward(self, x):\n"
        f"        if os.getpid() != {os.getpid()}:\n"
        "            os._exit(9)\n"
        "        return x.flatten(1)[:, :3]\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    from deadly import Deadly

    with pytest.raises(ModelError, match="a worker was lost"):
        trimkit.audit(
            Deadly().eval(), data, executor="processes:1", samples=20, batch_size=5, checks=["reconstruction"]
        )


@pytest.mark.parametrize("name", ["processes", "processes:0", "processes:x", "ray://here", "dask:8786"])
def test_unknown_engines_are_refused(name):
    with pytest.raises(OptionError, match="expected an engine as processes:8"), open_engine(name):
        pass


def test_an_executor_that_is_given_stays_open():
    with ThreadPoolExecutor(1) as executor:
        with open_engine(executor) as same:
            assert same is executor
        assert executor.submit(int, "3").result() == 3


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_dask_cluster_loses_a_worker_on_the_way(model, data, whole):
    distributed = pytest.importorskip("distributed")
    killed = []
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        processes = [worker.process.pid for worker in cluster.workers.values()]

        def kill_one(done, total):
            if not killed:
                os.kill(processes[0], signal.SIGKILL)
                killed.append(done)

        address = cluster.scheduler_address.replace("tcp:", "dask:")
        report = trimkit.audit(model, data, executor=address, progress=kill_one, **OPTIONS)
    assert 0 < killed[0] < 120
    found = verdicts_and_evidence(report)
    assert [v["status"] for v in found["verdicts"]] == [v["status"] for v in whole["verdicts"]]
    assert [v["n"] for v in found["verdicts"]] == [v["n"] for v in whole["verdicts"]]
    assert found["performance"] == whole["performance"]
