"""Go on until every verdict is decided: looks at a growing number of samples, which share one error rate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from trimkit.audit.batch import blocks_of
from trimkit.audit.engines import measure_by
from trimkit.audit.report import Report
from trimkit.audit.run import Progress, Run
from trimkit.audit.statistics import LEVEL, in_key_order
from trimkit.report.verdicts import Status, Verdict, judge

MOST_LOOKS = 6
"""Looks of one audit; more would leave each too little of the error rate for 2,000 resamples."""

FIRST_LOOK = 128
"""Samples of the first look: completeness needs 107 to be decided there."""


def look_sizes(total: int) -> list[int]:
    """Samples at each look, growing by a constant factor up to all.

    Example:
        >>> look_sizes(4096), look_sizes(100)
        ([128, 256, 512, 1024, 2048, 4096], [100])
    """
    if total <= FIRST_LOOK:
        return [total]
    growth = max(2.0, (total / FIRST_LOOK) ** (1 / (MOST_LOOKS - 1)))
    sizes = [FIRST_LOOK]
    while sizes[-1] * growth < total * 0.99:
        sizes.append(round(FIRST_LOOK * growth ** len(sizes)))
    return [*sizes, total]


def audit_until_decided(run: Run, executor: Any = None, progress: Progress | None = None) -> Report:
    """Measure more and more samples, and stop where every verdict is decided.

    Whoever looks again and again stops sooner or later where chance decides. Each of K looks may therefore spend 1/K of
    the error rate: its intervals hold at 1 − 0.05/K (Bonferroni over the looks, an alpha-spending rule that needs no
    independence; Lan and DeMets 1983, doi:10.1093/biomet/70.3.659, have the general form). The chance that any look
    decides wrongly stays below that of a single look at 95 %. K and the sizes are fixed before the first look; each
    look keeps the samples of the one before. Undecided is a verdict whose interval contains its threshold, or that
    says how many more samples it needs, of a check that would use them.

    Args:
        run: prepared; its samples are the most that are taken.
        executor: where shards of each look run; None for this process.
        progress: called as samples are done.
    """
    subject = run.subject
    sizes = look_sizes(len(subject.ids))
    taken: set[int] = set()
    for size in sizes:
        new = _next_ids(subject.ids, taken, size, subject.seed)
        if executor is None:
            run.measure(blocks_of(new, subject.batch_size), progress, len(subject.ids), len(taken))
        else:
            measure_by(executor, run, new, progress, len(taken))
        taken.update(new if size < len(subject.ids) else ())
        report = run.conclude(spent=1 / len(sizes))
        if size == len(subject.ids) or not any(_open(verdict, size) for verdict in report.verdicts):
            break
    record = {"sizes": sizes, "taken": sizes.index(size) + 1, "level": 1 - (1 - LEVEL) / len(sizes)}
    audited = {**report.provenance["audited"], "n": size, "looks": record}
    return replace(report, provenance={**report.provenance, "audited": audited})


def _next_ids(ids: Sequence[int], taken: set[int], size: int, seed: int) -> Sequence[int]:
    """Those of the first ``size`` ids in key order that no look has seen, rising."""
    if size == len(ids):
        return [i for i in ids if i not in taken] if taken else ids
    return sorted(set(in_key_order(ids, seed, size)) - taken)


def _open(verdict: Verdict, size: int) -> bool:
    if verdict.n != size or verdict.estimate is None or verdict.threshold is None:
        return False
    straddles = judge(verdict.estimate, verdict.threshold, verdict.direction) is Status.INCONCLUSIVE
    return bool(verdict.samples_needed) or (verdict.status is Status.INCONCLUSIVE and straddles)
