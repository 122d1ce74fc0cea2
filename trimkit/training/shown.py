"""What a training run shows of itself in a notebook."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from trimkit.report.charts import Chart, Series
from trimkit.report.snippet import Snippet
from trimkit.report.verdicts import number
from trimkit.training.plan import Run

MOST_POINTS = 120
"""Of a curve; logged steps are left out evenly where there are more."""


def show_run(run: Run) -> Snippet:
    """A run in brief: how long it took, the numbers on training and test data, and the loss of each phase by step."""
    results = run.results
    facts = [("steps", f"{run.steps:,}")]
    if "seconds" in results:
        facts.append(("time", f"{results['seconds']:.3g} s, {number(results['images_per_second'])} samples a second"))
    facts += [(f"on {part} data", _numbers(results[part])) for part in ("train", "test") if part in results]
    if run.folder is not None:
        facts.append(("folder", str(run.folder)))
    charts = tuple(
        chart for phase in dict.fromkeys(row["phase"] for row in run.history) for chart in _curve(run, phase)
    )
    return Snippet(f"{type(run.method).__name__}, trained", (), tuple(facts), charts=charts)


def _numbers(numbers: Mapping[str, Any]) -> str:
    plain = {name: v for name, v in numbers.items() if isinstance(v, int | float) and not isinstance(v, bool)}
    return ", ".join(f"{name} {number(value)}" for name, value in plain.items() if math.isfinite(value))


def _curve(run: Run, phase: str) -> list[Chart]:
    """The loss of a phase by step; none where it was logged less than twice."""
    points = [(row["step"], row.get("loss")) for row in run.history if row["phase"] == phase]
    finite = [(step, loss) for step, loss in points if loss is not None and math.isfinite(loss)]
    if len({step for step, _ in finite}) < 2:
        return []
    steps, losses = zip(*_thin(finite), strict=True)
    return [Chart(f"Loss: {phase}", (Series("loss", losses),), steps, x_axis="step", x_percent=False)]


def _thin(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Every n-th point, and the last."""
    every = math.ceil(len(points) / MOST_POINTS)
    return [*points[: len(points) - 1 : every], points[-1]]
