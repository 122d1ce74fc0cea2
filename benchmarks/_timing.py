"""Ratios that mean something on a shared machine: all candidates in one process, interleaved, medians."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping


def interleaved(
    candidates: Mapping[str, Callable[[], object]],
    rounds: int,
    warmup: int = 3,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Seconds of each candidate in each round, in an order that shifts by one a round.

    Args:
        candidates: what is run.
        rounds: that are measured.
        warmup: rounds before, which are not.
        clock: `time.process_time` for the processor's time, where one thread works on a machine that is never idle.
    """
    names = list(candidates)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for round_ in range(warmup + rounds):
        shift = round_ % len(names)
        for name in names[shift:] + names[:shift]:
            start = clock()
            candidates[name]()
            if round_ >= warmup:
                seconds[name].append(clock() - start)
    return seconds


def ratio(seconds: Mapping[str, list[float]], name: str, base: str) -> float:
    """Median over rounds of the ratio within a round: a slow moment of the machine hits both sides."""
    return statistics.median(a / b for a, b in zip(seconds[name], seconds[base], strict=True))


def print_table(title: str, seconds: Mapping[str, list[float]], base: str, notes: Mapping[str, str] = {}) -> None:
    """One line a candidate: median milliseconds, ratio to the base, and a note."""
    print(f"\n{title}\n{'':36}{'ms':>9}{'ratio':>8}")
    for name, values in seconds.items():
        milliseconds = 1000 * statistics.median(values)
        print(f"{name:36}{milliseconds:9.2f}{ratio(seconds, name, base):8.2f}  {notes.get(name, '')}".rstrip())
