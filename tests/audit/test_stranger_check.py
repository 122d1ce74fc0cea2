"""A stranger's check is judged and drawn like ours."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

import trimkit
from trimkit.report.verdicts import Status

FIXTURE = Path(__file__).parent.parent / "fixtures" / "acme-trim"


@pytest.fixture
def concentration(monkeypatch):
    monkeypatch.syspath_prepend(str(FIXTURE))
    from acme_trim.check import Concentration

    yield Concentration
    for name in [name for name in sys.modules if name.partition(".")[0] == "acme_trim"]:
        del sys.modules[name]


def test_its_picture_is_on_the_page(concentration, model, data):
    report = trimkit.audit(model, data, transform="fft", samples=40, checks=[concentration()])
    html = report.to_html()
    section = re.search(r'<section id="concentration-by-acme" class="curve">.*?</section>', html, re.S)
    assert section
    assert "How few coefficients carry the explanation." in section[0]
    assert '<polyline class="line one"' in section[0]
    assert len(report.evidence["integrated_gradients"]["acme_concentration"]["carried"]) == 10


def test_its_verdict_counts(concentration, model, data):
    report = trimkit.audit(model, data, transform="identity", samples=40, checks=[concentration(0.999)])
    assert report.overall is report.verdict("acme_concentration").status is Status.FAIL
