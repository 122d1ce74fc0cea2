"""Two audits of the same samples: what became worse, what did not, and what these samples cannot tell."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from trimkit.audit.statistics import Bootstrap
from trimkit.errors import DataError, OptionError
from trimkit.report.verdicts import Estimate

Better = Literal["higher", "lower"]
Outcome = Literal["worse", "not worse", "cannot tell"]


@dataclass(frozen=True)
class Difference:
    """One measure in two audits.

    Attributes:
        measure: check, what was measured, and the attribution.
        before: mean in the first audit, over the samples that both have.
        after: mean in the second.
        change: after − before, with its interval from a paired bootstrap over samples.
        better: the good side.
        outcome: "worse" where the whole interval lies beyond the margin on the bad side, "not worse" where none of it
            does.
        n: samples that both have.
    """

    measure: str
    before: float
    after: float
    change: Estimate
    better: Better
    outcome: Outcome
    n: int


def compare(before: str | Path, after: str | Path, margin: float = 0.01) -> list[Difference]:
    """Compare two reports, measure by measure, on the samples that both have.

    Args:
        before: folder of a report, or its results.json.
        after: the same of another audit of the same data.
        margin: change on the bad side that does not count as worse, ≥ 0; in the measure's own unit, mostly shares.
    Returns:
        Every measure that both have, in the order of the first.
    Raises:
        DataError: no such report, other data, or nothing in common.
        OptionError: a negative margin.
    """
    if not margin >= 0:
        raise OptionError(f"expected margin ≥ 0, got {margin}")
    first, second = (_read(Path(path)) for path in (before, after))
    hashes = [results["provenance"]["data"]["sha256"] for results in (first, second)]
    if hashes[0] != hashes[1]:
        raise DataError("the two reports are of different data, so their samples cannot be paired")
    shared = [name for name in first["paired"] if name in second["paired"]]
    pairs = [(name, _common(first["paired"][name], second["paired"][name])) for name in shared]
    results = [_difference(name, *columns, margin) for name, columns in pairs if len(columns[0])]
    if not results:
        raise DataError("the two reports have no measure of one sample in common; audit both with the same options")
    return results


def exit_code(differences: list[Difference]) -> int:
    """1 where something is worse, else 3 where something cannot be told, else 0."""
    outcomes = {one.outcome for one in differences}
    return 1 if "worse" in outcomes else 3 if "cannot tell" in outcomes else 0


def _read(path: Path) -> dict[str, Any]:
    file = path / "results.json" if path.is_dir() else path
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: expected the folder of a report or its results.json ({error})") from error
    if not isinstance(content, dict) or "paired" not in content:
        raise DataError(f"{file} holds no values of single samples; audit again with this version of trimkit")
    return content


def _common(one: Mapping[str, Any], other: Mapping[str, Any]) -> tuple[list[int], list[float], list[float], Better]:
    """Ids that both have, and the values of each."""
    theirs = dict(zip(other["ids"], other["values"], strict=True))
    rows = [(i, value, theirs[i]) for i, value in zip(one["ids"], one["values"], strict=True) if i in theirs]
    rows = [row for row in rows if None not in row]
    ids, before, after = (list(column) for column in zip(*rows, strict=True)) if rows else ([], [], [])
    return ids, before, after, one["better"]


def _difference(
    name: str, ids: list[int], before: list[float], after: list[float], better: Better, margin: float
) -> Difference:
    change = Bootstrap(ids, seed=0).estimate(np.array(after) - np.array(before))
    gain = change if better == "higher" else Estimate(-change.value, -change.high, -change.low)
    outcome: Outcome = "not worse" if gain.low >= -margin else "worse" if gain.high < -margin else "cannot tell"
    return Difference(name, float(np.mean(before)), float(np.mean(after)), change, better, outcome, len(ids))
