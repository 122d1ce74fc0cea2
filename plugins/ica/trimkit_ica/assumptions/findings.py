"""What `check_ica` finds: verdicts, the record of every component, and where they come from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trimkit.metrics.arrays import Floats
from trimkit.report.verdicts import Status, Verdict, exit_code, overall
from trimkit_ica.assumptions.gaussianity import NonGaussianity

FORMAT = 1
"""Of results.json."""


@dataclass(frozen=True)
class Component:
    """One component, in the order of explained variance, its sign such that it is skewed to the right.

    Attributes:
        variance: its share of the variance of x.
        shape: how far from Gaussian it is.
        stability: mean |correlation| with itself in fits to resampled rows.
        stable: that is above the verdict's threshold.
        density: of its standardised values in each bin of `Findings.edges`.
        mixing: (p,) what one unit of it adds to x.
    """

    variance: float
    shape: NonGaussianity
    stability: float
    stable: bool
    density: tuple[float, ...]
    mixing: Floats

    def as_dict(self) -> dict[str, Any]:
        """Plain values, without the mixing column."""
        return {
            "variance": self.variance,
            **self.shape.as_dict(),
            "stability": self.stability,
            "stable": self.stable,
            "density": list(self.density),
        }


@dataclass(frozen=True)
class Findings:
    """Everything that the page shows, as plain values.

    Attributes:
        verdicts: of every assumption, in the order of the page.
        components: most variance first.
        edges: of the bins of the components' densities, in standard deviations.
        evidence: "eigenvalues" (p,), falling, of which the first are kept; "squares" and "information": matrix (k, k),
            pair of the largest entry, what chance gives.
        record: data, rows, shape, seed, versions.
    """

    verdicts: tuple[Verdict, ...]
    components: tuple[Component, ...]
    edges: tuple[float, ...]
    evidence: Mapping[str, Any]
    record: Mapping[str, Any]

    @property
    def overall(self) -> Status:
        """The worst status of the mandatory verdicts."""
        return overall(self.verdicts)

    @property
    def exit_code(self) -> int:
        """0 for PASS and WARN, 1 for FAIL, 3 for INCONCLUSIVE."""
        return exit_code(self.overall)

    def verdict(self, check: str) -> Verdict:
        """One verdict by its name, such as "stability".

        Raises:
            LookupError: there is none of that name.
        """
        for verdict in self.verdicts:
            if verdict.check == check:
                return verdict
        raise LookupError(f"there is no verdict {check!r}; there are {', '.join(v.check for v in self.verdicts)}")

    def as_dict(self) -> dict[str, Any]:
        """Everything but the pictures, as plain JSON values."""
        return {
            "format": FORMAT,
            "overall": str(self.overall),
            "exit_code": self.exit_code,
            "verdicts": [v.as_json() for v in self.verdicts],
            "components": [one.as_dict() for one in self.components],
            "edges": list(self.edges),
            "evidence": dict(self.evidence),
            "record": dict(self.record),
        }

    def to_json(self) -> str:
        """`as_dict` as JSON."""
        return json.dumps(self.as_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
