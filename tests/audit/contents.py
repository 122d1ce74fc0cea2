"""What results.json holds."""

from __future__ import annotations

import json
from typing import Any

from trimkit.audit import Report


def read_results(text: str) -> dict[str, Any]:
    """Without what differs from one call to the next."""
    content = json.loads(text)
    for name in ("date", "command"):
        del content["provenance"][name]
    return content


def results_of(report: Report) -> dict[str, Any]:
    return read_results(report.to_json())
