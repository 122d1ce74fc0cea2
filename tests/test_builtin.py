"""trimkit's own parts: each registered name leads to the part it promises."""

from __future__ import annotations

import inspect
import re

import pytest

from trimkit.hooks import KINDS, TRIMKIT_API
from trimkit.registry import builtin, load_target, plugins

SPECS = [spec for kind in KINDS for spec in getattr(builtin, f"trimkit_{kind}", list)()]


def test_they_come_through_the_door_of_every_plugin():
    record = plugins()[0]
    assert (record.name, record.distribution, record.state) == ("trimkit", "trimkit", "loaded")
    assert record.adds == tuple(f"{spec.kind}:{spec.name}" for spec in SPECS)
    assert builtin.TRIMKIT_API == TRIMKIT_API


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: f"{spec.kind}-{spec.name}")
def test_a_target_exists_and_is_documented(spec):
    target = load_target(spec)
    assert callable(target)
    assert inspect.getdoc(target)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: f"{spec.kind}-{spec.name}")
def test_a_summary_is_one_sentence(spec):
    assert re.fullmatch(r"[A-Z0-9][^\n]*[.?]", spec.summary)
    assert len(spec.summary) < 110


def test_every_check_is_mandatory_in_the_order_of_the_report():
    checks = list(builtin.trimkit_checks())
    assert [c.name for c in checks] == [
        *("reproducibility", "completeness", "reconstruction", "controls", "randomisation", "reliance")
    ]
    assert all(c.mandatory for c in checks)
