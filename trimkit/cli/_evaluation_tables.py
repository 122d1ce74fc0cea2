"""The tables of ``trimkit evaluate``."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from trimkit.cli._tables import write_table

if TYPE_CHECKING:
    from trimkit.evaluation import Evaluation
    from trimkit.metrics import MetricResult


_IN_TITLE = ("samples", "seed", "draws", "left_out")
"""Of the protocol, what the title of the table says of all metrics."""


def write_evaluation(evaluation: Evaluation) -> None:
    """Tables of the metrics, of the gap for each factor, of the true sources, and of the KL; then the notes."""
    columns: dict[str, Mapping[str, MetricResult]] = {evaluation.method: evaluation.metrics, **evaluation.baselines}
    rows = [
        (name, *(_value(results.get(name)) for results in columns.values()), _interval(result), _protocol(result))
        for name, result in evaluation.metrics.items()
    ]
    first, *others = columns
    write_table(("metric", first, *others, "95 % interval", "protocol"), rows, evaluation.title)
    gaps = {name: _gaps(results) for name, results in columns.items()}
    if gaps[first]:
        rows = [(f, *(f"{gap[f]:.3f}" if f in gap else "" for gap in gaps.values())) for f in gaps[first]]
        _write_next(("factor", *columns), rows, "mutual information gap of each factor")
    if evaluation.sources:
        headings = ("codes", *evaluation.sources[evaluation.method])
        rows = [(name, *map(_correlation, results.values())) for name, results in evaluation.sources.items()]
        _write_next(headings, rows, "mean correlation of codes with the true sources s, matched one to one")
    if evaluation.kl:
        _write_next(("KL", "nats", "estimator"), _kl_rows(evaluation.kl), "parts of the KL of posterior and prior")
    sys.stdout.write("\n" + "".join(f"note: {note}\n" for note in evaluation.notes))


def _write_next(headings: Sequence[str], rows: Sequence[Sequence[str]], title: str) -> None:
    sys.stdout.write("\n")
    write_table(headings, rows, title)


def _value(result: MetricResult | None) -> str:
    return "" if result is None else _digits(result.value)


def _interval(result: MetricResult) -> str:
    return "" if result.interval is None else " … ".join(map(_digits, result.interval))


def _digits(value: float) -> str:
    """Three decimals, or two significant digits of what they would hide: a negentropy of .0013."""
    return f"{value:.3f}" if abs(value) >= 0.01 or abs(value) < 5e-7 else f"{value:.2g}"


def _correlation(result: MetricResult) -> str:
    """With its interval; of random rotations, from the lowest to the highest."""
    low, high = result.interval or (result.parts["lowest"], result.parts["highest"])
    return f"{result.value:.3f} ({low:.3f} … {high:.3f})"


def _protocol(result: MetricResult) -> str:
    return ", ".join(f"{name} {value}" for name, value in result.protocol.items() if name not in _IN_TITLE)


def _gaps(results: Mapping[str, MetricResult]) -> dict[str, float]:
    gap = results.get("mutual_information_gap")
    return {} if gap is None else gap.parts["per_factor"]


def _kl_rows(kl: Mapping[str, Any]) -> Sequence[tuple[str, str, str]]:
    rows = [("KL", f"{kl['total']:.3f}", "exact"), ("active codes", str(kl["active"]), "KL > 0.1 nats")]
    for part, name in (("mi", "mutual information"), ("tc", "total correlation"), ("dwkl", "dimension-wise KL")):
        rows += [
            (name, f"{e[part]:.3f}", f"{e['estimator']}, B {e['posteriors']}, N {e['dataset_size']}")
            for e in kl["parts"]
        ]
    return rows
