"""The conformance suite of plugins: everything that the contracts of parts promise, tried on each part.

In a plugin's tests, one line gives one test a promise of each of its parts:

    # tests/test_conformance.py
    from trimkit.testing import conformance

    test_promises = conformance("acme")

A plugin that is not installed is named by its module, ``conformance("acme_trim.plugin")``. A part whose options or data
the suite cannot guess gets an `Example`; a promise that a part cannot keep is an expected failure, with its reason:

    test_promises = conformance(
        "acme",
        examples={"acme_gabor": Example(options={"scales": 2}, sizes=[(1, 16, 16)])},
        expected_failures={"transform-acme_gabor-second_derivatives": "the filters are piecewise linear"},
    )
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trimkit.registry.lazy import lazy_names

if TYPE_CHECKING:
    from trimkit.testing.items import Item, items_of
    from trimkit.testing.promises import BrokenPromise, Example, Promise, Trial, promises
    from trimkit.testing.pytest_items import conformance, parametrize_with_checks

__all__ = [
    "BrokenPromise",
    "Example",
    "Item",
    "Promise",
    "Trial",
    "conformance",
    "items_of",
    "parametrize_with_checks",
    "promises",
]

_MODULES: dict[str, str] = {"Item": "items", "items_of": "items", "conformance": "pytest_items"}
_MODULES["parametrize_with_checks"] = "pytest_items"

__getattr__, __dir__ = lazy_names(
    __name__, {name: f"trimkit.testing.{_MODULES.get(name, 'promises')}:{name}" for name in __all__}
)  # lazy: pytest imports the package for its plugin, and must not wait for torch
