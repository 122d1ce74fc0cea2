"""The promises as pytest tests."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Collection, Mapping, Sequence
from types import ModuleType
from typing import Any

from trimkit.errors import OptionError, nearest
from trimkit.testing.items import Examples, Item, items_of
from trimkit.testing.promises import Inapplicable


def conformance(
    plugin: str | ModuleType,
    *,
    examples: Examples | None = None,
    expected_failures: Mapping[str, str] | None = None,
    kinds: Collection[str] = (),
) -> Callable[..., None]:
    """A test function with one test a promise; give it a name that pytest collects.

        test_promises = conformance("acme")

    Args:
        plugin: name of an installed plugin or distribution, or the module with its hooks, or that module's name.
        examples: name of a part → `Example`, or several, where the suite's defaults do not fit it.
        expected_failures: name of a test, or a pattern of names such as ``"penalty-*-second_derivatives"``, → the
            reason. One that passes after all is an error, so that the list stays true.
        kinds: of parts, such as ("transform",); all by default.
    Raises:
        UnknownNameError, PluginError: there is no such plugin, or it cannot be loaded.
        OptionError: an example or expected failure that names nothing.
    """

    @parametrize_with_checks(plugin, examples=examples, expected_failures=expected_failures, kinds=kinds)
    def test_promise(promise: Callable[[], None]) -> None:
        promise()

    return test_promise


def parametrize_with_checks(
    plugin: str | ModuleType,
    *,
    examples: Examples | None = None,
    expected_failures: Mapping[str, str] | None = None,
    kinds: Collection[str] = (),
) -> Any:
    """As `conformance`, as a decorator of a test that takes ``promise`` and calls it."""
    import pytest

    reasons = expected_failures or {}
    every = items_of(plugin, examples, kinds=kinds)
    _check_reasons(reasons, every)
    params = [pytest.param(_skipping(item), id=item.id, marks=_marks(item.id, reasons)) for item in every]
    return pytest.mark.parametrize("promise", params)


def _skipping(item: Item) -> Callable[[], None]:
    def run() -> None:
        import pytest

        try:
            item()
        except Inapplicable as reason:
            pytest.skip(str(reason))

    return run


def _marks(name: str, reasons: Mapping[str, str]) -> list[Any]:
    import pytest

    matching = [reason for pattern, reason in reasons.items() if fnmatch.fnmatchcase(name, pattern)]
    return [pytest.mark.xfail(reason=matching[0], strict=True)] if matching else []


def _check_reasons(reasons: Mapping[str, str], every: Sequence[Item]) -> None:
    names = [item.id for item in every]
    for pattern, reason in reasons.items():
        if not any(fnmatch.fnmatchcase(name, pattern) for name in names):
            raise OptionError(f"expected_failures name {pattern!r}, which is no test. {nearest(pattern, names)}")
        if not reason.strip():
            raise OptionError(f"expected_failures: expected a reason for {pattern!r}, got none")
