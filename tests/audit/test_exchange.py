"""JUnit and Markdown: what CI servers read of an audit."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree as Xml

import pytest

import trimkit
from trimkit import cli
from trimkit.audit.exchange import junit, summary
from trimkit.report.verdicts import Estimate, Status, Verdict

STATUSES = [Status.PASS, Status.WARN, Status.FAIL, Status.INCONCLUSIVE, Status.NOT_APPLICABLE, Status.NOT_JUDGED]


@pytest.fixture(scope="module")
def short(model, data):
    return trimkit.audit(model, data, transform="fft", samples=40, checks=["reconstruction", "reliance"], forbid="dc")


@pytest.fixture(scope="module")
def every(short):
    verdicts = tuple(
        Verdict(
            str(i),
            "?",
            s,
            f"So <{s}> & | it is\x07.",
            Estimate(1, 0, 2),
            1.0,
            about="model" if i > 3 else "explanation",
        )
        for i, s in enumerate(STATUSES)
    )
    return replace(short, verdicts=verdicts)


def cases(text):
    return {case.get("name"): [child.tag for child in case] for case in Xml.fromstring(text).iter("testcase")}


def test_every_verdict_is_a_test_case(every):
    found = cases(junit(every))
    assert found == {"0": [], "1": ["system-out"], "2": ["failure"], "3": ["error"], "4": ["skipped"], "5": ["skipped"]}


def test_the_suite_counts_its_cases(every):
    (suite,) = Xml.fromstring(junit(every))
    counts = {key: suite.get(key) for key in ("tests", "failures", "errors", "skipped")}
    assert counts == {"tests": "6", "failures": "1", "errors": "1", "skipped": "2"}


def test_strictness_reaches_the_cases(every):
    assert cases(junit(every, "warn"))["1"] == ["failure"]
    strict = cases(junit(every, "not-judged"))
    assert (strict["1"], strict["5"]) == (["failure"], ["error"])


def test_what_xml_forbids_is_replaced(every):
    failure = next(Xml.fromstring(junit(every)).iter("failure"))
    assert failure.text.startswith("So <FAIL> & | it is�.")
    assert failure.get("message") == failure.text


def test_model_and_explanation_are_classes(every):
    classes = {case.get("name"): case.get("classname") for case in Xml.fromstring(junit(every)).iter("testcase")}
    assert (classes["0"], classes["5"]) == ("trimkit.explanation", "trimkit.model")


def test_the_summary_holds_both_answers_and_a_row_a_verdict(short):
    text = summary(short)
    assert "**Model: PASS.**" in text
    assert "**Explanation: PASS.**" in text
    rows = [line for line in text.splitlines() if line.startswith("| PASS ")]
    assert len(rows) == 2
    assert all(row.count("|") == 5 for row in rows)


def test_markup_in_the_summary_is_escaped(every):
    assert "So \\<FAIL\\> & \\| it is" in summary(every)


def test_the_command_writes_both(tmp_path, monkeypatch, model, data):
    from safetensors.torch import save_file

    monkeypatch.chdir(tmp_path)
    save_file({"x": data.x, "y": data.y}, tmp_path / "d.safetensors")
    (tmp_path / "shop_ci.py").write_text(
        "from torch import nn\ndef net():\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 3))\n"
    )
    options = ["--checks", "reconstruction", "--samples", "20", "--junit", "j.xml", "--summary", "s.md"]
    assert cli.main(["audit", "--model", "shop_ci:net", "--data", "d.safetensors", *options]) == 0
    assert cases((tmp_path / "j.xml").read_text()) == {"reconstruction": []}
    assert "**Model: NOT JUDGED.**" in (tmp_path / "s.md").read_text()
