"""An audit in the forms that other programs read: JUnit XML for CI servers, Markdown, the schema of results.json."""

from __future__ import annotations

import re
from importlib.resources import files
from xml.etree import ElementTree as Xml

from trimkit.audit.headlines import explanation_sentence, model_sentence
from trimkit.audit.report import Report
from trimkit.report.verdicts import Status, Verdict

_ELEMENTS = {Status.FAIL: "failure", Status.INCONCLUSIVE: "error", Status.WARN: "system-out"}
_SKIPPED = (Status.NOT_APPLICABLE, Status.NOT_JUDGED)
_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 does not allow."""


def schema() -> str:
    """The JSON Schema (draft 2020-12) of results.json, whose "format" it names.

    Example:
        >>> import json
        >>> json.loads(schema())["properties"]["format"]["const"]
        1
    """
    return (files("trimkit.audit") / "results.schema.json").read_text(encoding="utf-8")


def junit(report: Report, fail_on: str = "fail") -> str:
    """JUnit XML, one test case a verdict: FAIL is a failure, INCONCLUSIVE an error, what does not apply is skipped.

    Args:
        report: of an audit.
        fail_on: as in `trimkit.audit.headlines.audit_exit_code`: where it is not "fail", a warning is a failure too;
            with "not-judged", a model without a verdict is an error.
    """
    cases = [_case(verdict, _element(verdict, fail_on)) for verdict in report.verdicts]
    kinds = [child.tag for case in cases for child in case]
    counts = {name: str(kinds.count(tag)) for name, tag in (("failures", "failure"), ("errors", "error"))}
    suite = Xml.Element(
        "testsuite",
        {
            "name": "trimkit audit",
            "tests": str(len(cases)),
            **counts,
            "skipped": str(kinds.count("skipped")),
            "time": "0",
            "timestamp": report.provenance["date"].partition("+")[0],
        },
    )
    suite.extend(cases)
    root = Xml.Element("testsuites", {"name": "trimkit audit"})
    root.append(suite)
    Xml.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + Xml.tostring(root, encoding="unicode") + "\n"


def summary(report: Report) -> str:
    """Markdown: both answers, the accuracy, and a table of the verdicts."""
    measured = report.performance
    performance = f"{measured.title}: {measured.line}" if measured else "Accuracy: not measured"
    lines = [
        f"## {report.provenance['model']['class']} on {_cell(report.provenance['data']['name'])}",
        "",
        f"**Model: {report.model}.** {_cell(model_sentence(report.verdicts, report.performance))}",
        "",
        f"**Explanation: {report.overall}.** {_cell(explanation_sentence(report.verdicts, report.labels))}",
        "",
        "Task: {name} ({how})".format(**report.provenance["task"]),
        "",
        performance,
        "",
        "| status | check | answer | figures |",
        "|---|---|---|---|",
        *(f"| {v.status} | {_cell(v.label)} | {_cell(v.sentence)} | {_cell(v.figures)} |" for v in report.verdicts),
    ]
    return "\n".join(lines) + "\n"


def _element(verdict: Verdict, fail_on: str) -> str:
    if verdict.status is Status.WARN and fail_on != "fail":
        return "failure"
    if fail_on == "not-judged" and verdict.about == "model" and verdict.status in _SKIPPED:
        return "error"
    return "skipped" if verdict.status in _SKIPPED else _ELEMENTS.get(verdict.status, "")


def _case(verdict: Verdict, element: str) -> Xml.Element:
    case = Xml.Element(
        "testcase", {"classname": f"trimkit.{verdict.about}", "name": _legal(verdict.label), "time": "0"}
    )
    if element:
        text = _legal(f"{verdict.sentence} {verdict.figures}".strip())
        child = Xml.SubElement(case, element, {} if element == "system-out" else {"message": text})
        if element in ("failure", "error"):
            child.set("type", str(verdict.status))
        child.text = text
    return case


def _legal(text: str) -> str:
    return _ILLEGAL.sub("�", text)


def _cell(text: str) -> str:
    """Text that neither ends a cell nor starts markup."""
    return re.sub(r"([\\|<>`*_\[\]])", r"\\\1", " ".join(text.split()))
