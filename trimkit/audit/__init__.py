"""Verdicts on a finished model's explanations; the package is what users call: ``report = trimkit.audit(model, …)``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trimkit.registry.lazy import lazy_names, make_callable

if TYPE_CHECKING:
    from trimkit.audit import selftest
    from trimkit.audit.checks.base import Check, Findings
    from trimkit.audit.report import Report
    from trimkit.audit.runner import audit
    from trimkit.audit.subject import Batch, Subject
    from trimkit.report.verdicts import Estimate, Status, Verdict

__all__ = ["Batch", "Check", "Estimate", "Findings", "Report", "Status", "Subject", "Verdict", "audit", "selftest"]

_NAMES = {
    "Batch": "trimkit.audit.subject:Batch",
    "Check": "trimkit.audit.checks.base:Check",
    "Estimate": "trimkit.report.verdicts:Estimate",
    "Findings": "trimkit.audit.checks.base:Findings",
    "Report": "trimkit.audit.report:Report",
    "Status": "trimkit.report.verdicts:Status",
    "Subject": "trimkit.audit.subject:Subject",
    "Verdict": "trimkit.report.verdicts:Verdict",
    "audit": "trimkit.audit.runner:audit",
    "selftest": "trimkit.audit.selftest",  # callable too
}

__getattr__, __dir__ = lazy_names(__name__, _NAMES)
make_callable(__name__, "trimkit.audit.runner:audit")
