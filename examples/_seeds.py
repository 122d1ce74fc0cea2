"""Rows of a table over methods and seeds: in processes of one thread each, and gone on with after an interruption."""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

Task = tuple[Any, ...]
Row = Mapping[str, Any]


def rows_of(run: Callable[[Task], Row], tasks: Sequence[Task], jobs: int, log: Path | None = None) -> list[Row]:
    """One row a task, in their order.

    Args:
        run: task → row of plain values; a function of a module, since other processes call it.
        tasks: of plain values.
        jobs: processes; with 1 all is done in this one.
        log: rows as JSON lines; those that are there already are not made again.
    """
    done = dict(map(json.loads, log.read_text().splitlines())) if log and log.exists() else {}
    missing = [task for task in tasks if repr(task) not in done]
    with ProcessPoolExecutor(jobs, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        for task, row in zip(missing, (map if jobs == 1 else pool.map)(run, missing), strict=True):
            done[repr(task)] = row
            if log:
                with log.open("a") as file:
                    file.write(json.dumps([repr(task), row]) + "\n")
                print(f"{task} done", flush=True)
    return [done[repr(task)] for task in tasks]


def arguments(description: str | None, variants: Sequence[str], small: str) -> argparse.ArgumentParser:
    """The options of a table over variants and seeds.

    Args:
        description: the example's docstring.
        variants: that it has.
        small: what --small runs.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variants", nargs="+", default=list(variants))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=1, help="processes of one thread each")
    parser.add_argument("--log", type=Path, help="rows as JSON lines; an interrupted call goes on from them")
    parser.add_argument("--small", action="store_true", help=f"{small}, to see that it runs")
    return parser


def spread(values: Iterable[float], digits: int = 3) -> str:
    """``0.12 [0.1, 0.3]``: median, smallest and largest; – for none."""
    found = list(values)
    if not found:
        return "–"
    middle, low, high = (f"{of(found):.{digits}f}" for of in (statistics.median, min, max))
    return middle if len(found) == 1 else f"{middle} [{low}, {high}]"
