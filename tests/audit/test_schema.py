"""results.json keeps to the published schema, and JUnit to the elements that CI servers read."""

from __future__ import annotations

import json
from dataclasses import replace
from xml.etree import ElementTree as Xml

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import trimkit
from trimkit import cli
from trimkit.audit.exchange import junit, schema
from trimkit.audit.result import FORMAT
from trimkit.report.verdicts import Estimate, Status, Verdict

jsonschema = pytest.importorskip("jsonschema")


@pytest.fixture(scope="module")
def validator():
    content = json.loads(schema())
    jsonschema.Draft202012Validator.check_schema(content)
    return jsonschema.Draft202012Validator(content)


@pytest.fixture(scope="module")
def results(report):
    return json.loads(report.to_json())


def test_an_audit_keeps_to_the_schema(validator, results):
    assert list(validator.iter_errors(results)) == []


def test_an_audit_of_few_samples_keeps_to_the_schema(validator, model, data):
    short = trimkit.audit(model, data.x, transform="fft", samples=4, forbid="dc", reference=data)  # infinite ends
    content = json.loads(short.to_json())
    assert None in [v["estimate"]["high"] for v in content["verdicts"] if v["estimate"]]
    assert list(validator.iter_errors(content)) == []


def test_an_audit_of_a_regression_keeps_to_the_schema(validator, data):
    y = data.x.mean((1, 2, 3)) + 0.1 * data.x[:, 0, 0, 0]
    line = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(data.shape[1] * data.shape[2], 1)).eval()
    content = json.loads(trimkit.audit(line, (data.x, y), samples=30, checks=["reliance"]).to_json())
    assert content["performance"]["n"] == 30
    assert list(validator.iter_errors(content)) == []


def test_every_field_that_is_written_is_described(results):
    described = json.loads(schema())
    assert set(results) <= set(described["properties"])
    assert set(results["verdicts"][0]) <= set(described["$defs"]["verdict"]["properties"])


def test_the_schema_names_the_format(results):
    content = json.loads(schema())
    assert content["properties"]["format"]["const"] == FORMAT == results["format"]
    assert content["$id"].endswith(f":{FORMAT}")


@pytest.mark.parametrize(
    "change",
    [
        {"format": 0},
        {"overall": "OK"},
        {"exit_code": 2},
        {"verdicts": [{"check": "alone"}]},
        {"paired": {"gap": {"ids": [0], "values": ["much"], "better": "lower"}}},
        {"notes": [3]},
    ],
)
def test_what_is_no_result_is_refused(validator, results, change):
    assert list(validator.iter_errors({**results, **change}))


def test_a_missing_field_is_refused(validator, results):
    assert list(validator.iter_errors({name: value for name, value in results.items() if name != "provenance"}))


def test_the_command_prints_the_schema(capsys):
    assert cli.main(["audit", "--schema"]) == 0
    assert capsys.readouterr().out == schema()


numbers = st.floats(allow_nan=False)
verdicts = st.builds(
    Verdict,
    check=st.text(min_size=1),
    question=st.text(),
    status=st.sampled_from(Status),
    sentence=st.text(min_size=1),
    estimate=st.none() | st.builds(Estimate, numbers, numbers, numbers),
    threshold=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    direction=st.sampled_from(["≤", "≥"]),
    n=st.integers(0, 10**9),
    attribution=st.text(),
    mandatory=st.booleans(),
    settings=st.dictionaries(st.text(), st.integers() | st.text() | st.booleans()),
    samples_needed=st.none() | st.integers(1, 10**6),
    unit=st.sampled_from(["", "%"]),
    about=st.sampled_from(["explanation", "model"]),
)


@settings(max_examples=30)
@given(several=st.lists(verdicts, min_size=1, max_size=4))
def test_verdicts_that_are_written_are_read_back_equal(validator, report, several):
    content = json.loads(replace(report, verdicts=tuple(several), paired={}, evidence={}).to_json())
    assert content["verdicts"] == [json.loads(json.dumps(v.as_json())) for v in several]
    assert [v["status"] for v in content["verdicts"]] == [str(v.status) for v in several]
    assert list(validator.iter_errors(content)) == []


def test_the_file_holds_what_the_report_says(report, tmp_path):
    report.save(tmp_path / "report.html")
    assert json.loads((tmp_path / "results.json").read_text(encoding="utf-8")) == json.loads(report.to_json())


ATTRIBUTES = {
    "testsuites": {"name"},
    "testsuite": {"name", "tests", "failures", "errors", "skipped", "time", "timestamp"},
    "testcase": {"classname", "name", "time"},
    "failure": {"message", "type"},
    "error": {"message", "type"},
    "skipped": {"message"},
    "system-out": set(),
}
"""Elements of junit-10.xsd with the attributes that we write, all of which it has."""

CHILDREN = {
    "testsuites": {"testsuite"},
    "testsuite": {"testcase"},
    "testcase": {"failure", "error", "skipped", "system-out"},
}


def test_junit_keeps_to_the_elements_of_junit_10(report):
    root = Xml.fromstring(junit(report))
    assert root.tag == "testsuites"
    for element in root.iter():
        assert set(element.attrib) <= ATTRIBUTES[element.tag]
        assert {child.tag for child in element} <= CHILDREN.get(element.tag, set())


def test_junit_names_every_case_once(report):
    cases = [(case.get("classname"), case.get("name")) for case in Xml.fromstring(junit(report)).iter("testcase")]
    assert len(set(cases)) == len(cases) == len(report.verdicts)


def test_junit_times_are_numbers_and_dates(report):
    (suite,) = Xml.fromstring(junit(report))
    assert float(suite.get("time")) >= 0
    date, _, clock = suite.get("timestamp").partition("T")
    assert ([len(part) for part in date.split("-")], len(clock)) == ([4, 2, 2], 8)
