"""What an audit returns: verdicts, the evidence for them, and where they come from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trimkit.audit import headlines
from trimkit.audit.evidence import Example
from trimkit.audit.performance import Performance
from trimkit.methods.stored import finite
from trimkit.report.sections import Section
from trimkit.report.verdicts import Status, Verdict
from trimkit.transforms.base import Transform

FORMAT = 1
"""Of results.json."""


@dataclass(frozen=True)
class Result:
    """What an audit found.

    Attributes:
        verdicts: of every check, for every attribution.
        evidence: attribution's label ("" for the transform) → check's name or "bands" → plain JSON values.
        examples: label → samples to look at.
        provenance: see `trimkit.audit.provenance`.
        transform: the space; pictures of coefficients depend on it.
        sections: label → check's name → the check's own parts of the page.
        notes: what looked suspicious in model or data.
        performance: how good the model is on the audited samples.
        paired: measure → "ids", "values" and the "better" side, for `trimkit.audit.compare`.
        names: id → what the sample is called, of those in ``paired``; {} where samples are named by their places.
    """

    verdicts: tuple[Verdict, ...]
    evidence: Mapping[str, Mapping[str, Any]]
    examples: Mapping[str, tuple[Example, ...]]
    provenance: Mapping[str, Any]
    transform: Transform
    notes: tuple[str, ...] = field(default=())
    sections: Mapping[str, Mapping[str, Sequence[Section]]] = field(default_factory=dict)
    performance: Performance | None = None
    paired: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    names: Mapping[int, str] = field(default_factory=dict)

    @property
    def overall(self) -> Status:
        """Of the explanation: the worst status of the mandatory checks."""
        return headlines.explanation_status(self.verdicts)

    @property
    def explanations(self) -> dict[str, Status]:
        """One overall status for each attribution."""
        return headlines.attribution_statuses(self.verdicts, self.labels)

    @property
    def model(self) -> Status:
        """Of the model: does it rely on what it must not? NOT JUDGED where nothing was asked or nothing could be."""
        return headlines.model_status(self.verdicts)

    @property
    def exit_code(self) -> int:
        """0 where both answers are PASS or WARN, 1 where one is FAIL, 3 where one is INCONCLUSIVE."""
        return headlines.audit_exit_code(self.overall, self.model)

    @property
    def labels(self) -> tuple[str, ...]:
        """The audited attributions."""
        return tuple(self.examples)

    def verdict(self, check: str, attribution: str = "") -> Verdict:
        """One verdict; the attribution may be left out where there is one.

        Raises:
            LookupError: there is none, or there are several.
        """
        verdicts = [v for v in self.verdicts if v.check == check and attribution in ("", v.attribution)]
        if len(verdicts) != 1:
            existing = sorted({(v.check, v.attribution) for v in self.verdicts})
            raise LookupError(
                f"expected one verdict for {(check, attribution)}, got {len(verdicts)}; there are {existing}"
            )
        return verdicts[0]

    def to_json(self) -> str:
        """Everything but the pictures, as JSON."""
        content = {
            "format": FORMAT,
            "overall": str(self.overall),
            "exit_code": self.exit_code,
            "task": self.provenance.get("task"),
            **headlines.as_json(self.verdicts, self.labels, self.performance),
            "verdicts": [v.as_json() for v in self.verdicts],
            "evidence": self.evidence,
            "notes": list(self.notes),
            "paired": self.paired,
            **({"names": {str(i): name for i, name in self.names.items()}} if self.names else {}),
            "provenance": self.provenance,
        }
        return json.dumps(finite(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
