"""What a revision returns: the corrected model, and both audits side by side."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import nn

from trimkit.audit import headlines, page
from trimkit.audit.performance import Performance
from trimkit.audit.report import Report
from trimkit.methods.stored import finite
from trimkit.report.page import render, write_text
from trimkit.report.sections import Headline, Section, Table
from trimkit.report.verdicts import Status, number

FORMAT = 1
"""Of results.json."""


@dataclass(frozen=True)
class Revision:
    """The result of `trimkit.revise`.

    Attributes:
        model: the corrected model, in evaluation mode; the one that was given, unchanged, where nothing was forbidden.
        forbidden: what it was corrected for, as it can be typed after ``--forbid``; empty where the search showed none.
        by: name of the correction.
        before: audit of the model that was given.
        after: audit of the corrected one, of the same samples.
        accuracies: "before" and "after" → accuracy on all test samples.
        worst: "before" and "after" → lowest accuracy of a group of samples, where groups were named.
        options: of the correction, as plain values.
    """

    model: nn.Module
    forbidden: tuple[str, ...]
    by: str
    before: Report
    after: Report
    accuracies: Mapping[str, Performance]
    worst: Mapping[str, float] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """0 where the corrected model passes, 1 where it fails, 3 where the model stays open or nothing was found."""
        if self.after.model is Status.NOT_JUDGED:
            return 3
        return headlines.audit_exit_code(Status.PASS, self.after.model)

    def to_json(self) -> str:
        """Everything but the pictures, as JSON."""
        content = {
            "format": FORMAT,
            "kind": "revision",
            "exit_code": self.exit_code,
            "forbidden": list(self.forbidden),
            "by": self.by,
            "options": dict(self.options),
            "accuracy": {name: one.as_json() for name, one in self.accuracies.items()},
            "worst_group_accuracy": dict(self.worst),
            "model": {"before": str(self.before.model), "after": str(self.after.model)},
            "before": json.loads(self.before.to_json()),
            "after": json.loads(self.after.to_json()),
        }
        return json.dumps(finite(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    def to_html(self) -> str:
        """Both audits on one self-contained page."""
        about = self.before.provenance
        title = f"{about['model']['class']}, revised"
        lead = f"Before and after: {self.by}, on {about['audited']['n']} of {about['data']['n']} samples."
        return render(title, lead, self._sections(), brand="trimkit revise", interactive=True)

    def save(self, folder: str | Path) -> Path:
        """Write report.html, results.json and the corrected weights, weights.safetensors, into a folder.

        Returns:
            The page's path.
        """
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        state = {name: value.detach().cpu().contiguous() for name, value in self.model.state_dict().items()}
        save_file(state, target / "weights.safetensors", {"format": "pt", "by": self.by})
        write_text(target / "results.json", self.to_json())
        write_text(target / "report.html", self.to_html())
        return target / "report.html"

    def lines(self) -> list[tuple[str, str, str]]:
        """What changed: (what, before, after), for the terminal and the page."""
        rows = [("Model", str(self.before.model), str(self.after.model))]
        for what, key in (("Share of the explanation", "share"), ("Effect of removing it", "removed")):
            rows.append((what, _measured(self.before, key), _measured(self.after, key)))
        rows.append(("Accuracy", self.accuracies["before"].line, self.accuracies["after"].line))
        if self.worst:
            rows.append(("Worst group", f"{self.worst['before']:.3f}", f"{self.worst['after']:.3f}"))
        return [row for row in rows if any(row[1:])]

    def _sections(self) -> list[Section]:
        reports = {"before": self.before, "after": self.after}
        label = self.before.labels[0]
        named = ", ".join(self.forbidden) or "nothing"
        sentence = headlines.model_sentence(self.after.verdicts, self.after.performance)
        facts = (("Corrected for", named), ("By", self.by), ("Space", self.before.provenance["transform"]))
        return [
            Headline("", "", self.before.model, _sentence(self.before), subject="Before"),
            Headline("", "", self.after.model, sentence, facts, "After"),
            Table("What changed", "On the same samples.", ("", "before", "after"), tuple(self.lines())),
            page.compare_bands("Where the scores lie", "Mean share of |score| by group.", reports, label),
            page.compare_samples("Samples", "The same samples, explained for both models.", reports, label),
            page.limitations(self.after),
            page.provenance(self.after),
        ]


def _sentence(report: Report) -> str:
    return headlines.model_sentence(report.verdicts, report.performance)


def _measured(report: Report, name: str) -> str:
    """One measurement of the whole forbidden set, with its interval; "" where it was not made."""
    judged = report.evidence.get(report.labels[0], {}).get("reliance", {}).get("forbidden", [])
    for one in judged[-1:]:
        for measurement in one["measurements"]:
            if measurement["name"] == name:
                e = measurement["estimate"]
                return f"{number(e['value'], '%')} % [{number(e['low'], '%')}, {number(e['high'], '%')}]"
    return ""
