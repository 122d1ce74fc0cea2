"""Where the shards of an audit run: any executor of ``concurrent.futures``, of which a few have a name."""

from __future__ import annotations

import multiprocessing
import os
import pickle
from collections.abc import Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec

import torch

from trimkit.audit.batch import blocks_of
from trimkit.audit.run import Part, Progress, Run
from trimkit.errors import ModelError, OptionError

SHARDS_A_WORKER = 4
"""Tasks that a worker gets, so that a slow or lost one costs a quarter of its work."""

RETRIES = 3
"""Times that Dask runs a shard again whose worker was lost."""


@contextmanager
def open_engine(engine: Executor | str) -> Iterator[Executor]:
    """An executor by its name; one that is given stays open.

    Args:
        engine: an executor (a process pool, loky's, MPI's, ``client.get_executor()`` of Dask); ``"processes:8"``, whose
            processes share the threads of this one; ``"dask://host:port"``, the scheduler of a cluster.
    Raises:
        OptionError: see `require_engine`.
    """
    if isinstance(engine, Executor):
        yield engine
        return
    kind, rest = require_engine(engine)
    if kind == "dask":
        with import_module("distributed").Client(f"tcp:{rest}") as client:
            yield client.get_executor(retries=RETRIES, pure=False)
        return
    threads = max(1, torch.get_num_threads() // int(rest))
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(int(rest), context, torch.set_num_threads, (threads,)) as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)  # whoever is stopped does not wait for all that was asked
            raise


def require_engine(engine: str) -> tuple[str, str]:
    """The kind of an engine that is named, and what follows: ("processes", "8") or ("dask", "//host:port").

    Raises:
        OptionError: no such engine, or Dask is not installed.
    """
    kind, _, rest = engine.partition(":")
    if kind == "processes" and rest.isdecimal() and int(rest) > 0:
        return kind, rest
    if kind != "dask" or not rest.startswith("//"):
        raise OptionError(f"expected an engine as processes:8 or dask://host:port, got {engine!r}")
    if find_spec("distributed") is None:
        raise OptionError(f"engine {engine!r} needs Dask: pip install 'trimkit[dask]'")
    return kind, rest


def measure_by(
    executor: Executor, run: Run, ids: Sequence[int], progress: Progress | None = None, done: int = 0
) -> None:
    """Measure samples in shards, as many as suit the executor, into the run's part.

    Args:
        executor: where they run; what is sent there must be known there: the model's class, plugins.
        run: prepared.
        ids: of the samples.
        progress: called after every shard.
        done: samples that were done before.
    Raises:
        OptionError: a model, data or check that cannot be sent.
        ModelError: a worker was lost.
    """
    size = run.subject.batch_size
    count = min(-(-len(ids) // size), SHARDS_A_WORKER * _workers(executor))
    shards = [list(blocks_of(ids, size, (number, count))) for number in range(1, count + 1)]
    payload = _packed(run)
    total = len(run.subject.ids)
    try:
        waiting = {executor.submit(measure_packed, payload, blocks): blocks for blocks in shards}
        for future in as_completed(waiting):
            run.part.merge(future.result())
            done += sum(map(len, waiting[future]))
            if progress:
                progress(done, total)
    except BrokenExecutor as error:
        raise ModelError(
            f"a worker was lost ({error}): it was killed, ran out of memory or could not import the model; run again "
            "with fewer workers, or shard by shard with shard=(i, n)"
        ) from error


def measure_packed(payload: bytes, blocks: Sequence[Sequence[int]]) -> Part:
    """In a worker: measure blocks of samples.

    Args:
        payload: the prepared run, pickled.
        blocks: ids, one batch each.
    """
    run = _unpacked(payload)
    run.part = Part()
    run.measure(blocks)
    return run.part


def _packed(run: Run) -> bytes:
    """The run without its part, pickled; by cloudpickle where it is there, which takes classes of notebooks too."""
    part, run.part = run.part, Part()
    pickler = import_module("cloudpickle") if find_spec("cloudpickle") else pickle
    try:
        return pickler.dumps(run)
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        raise OptionError(
            f"model, data, space or checks cannot be sent to other processes ({error}); define their classes and "
            "functions in a module, or run shards with shard=(i, n)"
        ) from error
    finally:
        run.part = part


@lru_cache(maxsize=1)
def _unpacked(payload: bytes) -> Run:
    run: Run = pickle.loads(payload)
    run.warm()
    return run


def _workers(executor: Executor) -> int:
    client = getattr(executor, "_client", None)
    if client is not None and hasattr(client, "ncores"):
        return max(1, len(client.ncores()))
    return getattr(executor, "_max_workers", None) or os.cpu_count() or 1
