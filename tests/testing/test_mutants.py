"""The suite catches every seeded fault with a message that says what to change, and accuses no sound part."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from trimkit.testing import BrokenPromise, items_of

HERE = str(Path(__file__).parent)
sys.path.insert(0, HERE)
try:
    mutants = importlib.import_module("mutants")
    ITEMS = items_of("mutants")
finally:
    sys.path.remove(HERE)


def items_named(name):
    return [item for item in ITEMS if item.trial.part.spec.name == name]


def test_there_are_thirty_or_more():
    assert len(mutants.FAULTS) >= 30


@pytest.mark.parametrize("name", mutants.FAULTS)
def test_a_fault_is_caught_by_the_promise_that_it_breaks(name, monkeypatch):
    fault = mutants.FAULTS[name]
    monkeypatch.syspath_prepend(HERE)
    (item,) = [item for item in items_named(name) if item.promise.name == fault.promise]
    with pytest.raises(BrokenPromise, match=f"(?s){fault.kind} '{name}' breaks its promise.*{fault.says}"):
        item()


@pytest.mark.parametrize(
    "item", [item for name in mutants.SOUND for item in items_named(name)], ids=lambda item: item.id
)
def test_a_part_without_fault_keeps_every_promise(item, monkeypatch):
    monkeypatch.syspath_prepend(HERE)
    assert item() is None
