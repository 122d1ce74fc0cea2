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


@pytest.mark.parametrize("spec", [s for s in SPECS if s.kind in ("transform", "attribution")], ids=lambda s: s.name)
def test_a_spec_and_its_class_say_the_same(spec):
    target = load_target(spec)
    for fact in ("exact", "differentiable", "complete", "stochastic"):
        if hasattr(target, fact):
            assert getattr(spec, fact) == getattr(target, fact)


def test_measures_are_marked_as_such():
    from trimkit.penalties import is_measure

    for spec in SPECS:
        if spec.kind == "penalty":
            assert is_measure(load_target(spec)) == spec.measure


def test_every_check_is_mandatory_in_the_order_of_the_report():
    checks = list(builtin.trimkit_checks())
    assert [c.name for c in checks] == [
        *("reproducibility", "completeness", "reconstruction", "controls", "randomisation", "reliance")
    ]
    assert all(c.mandatory for c in checks)
