"""The checks and attributions of an audit, from names, pairs of a name and options, or objects."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from trimkit.attributions.base import Attribution
from trimkit.audit.checks.base import Check
from trimkit.audit.functions import FromFunction
from trimkit.errors import OptionError, nearest
from trimkit.registry import available, create, resolve, specification
from trimkit.trim import Choice

Explained: TypeAlias = Choice | Attribution | Callable[..., Any]
"""A name, (name, options), an attribution, or a function (model, x, target) → scores."""


def make_checks(
    wanted: Sequence[str | tuple[str, dict[str, Any]] | Check] | None, thresholds: Mapping[str, float]
) -> list[Check]:
    """The checks of an audit, with their thresholds.

    Args:
        wanted: see `audit`.
        thresholds: by "check.option".
    Raises:
        UnknownNameError, OptionError: a check, option or threshold that does not exist.
    """
    options = _split(thresholds)
    checks = [_make_check(one, options) for one in (available("checks") if wanted is None else wanted)]
    if not checks:
        raise OptionError(f"expected at least one check; there are {', '.join(available('checks'))}")
    unused = set(options) - {check.name for check in checks}
    if unused:
        hint = nearest(min(unused), [check.name for check in checks])
        raise OptionError(f"threshold for {min(unused)!r}, which is no check of this audit. {hint}")
    return checks


def named(attributions: Explained | Sequence[Explained]) -> dict[str, Attribution]:
    """Label → attribution: the name, or the class of an object; a number is added where one comes twice."""
    several = isinstance(attributions, Sequence) and not isinstance(attributions, str) and not _is_pair(attributions)
    labelled: dict[str, Attribution] = {}
    for choice in attributions if several else [attributions]:  # type: ignore[union-attr]
        made = resolve("attribution", choice)
        if callable(made) and not isinstance(made, Attribution):
            made = FromFunction(made)
        label = base = _label(choice, made)
        for number in range(2, len(labelled) + 2):
            if label in labelled:
                label = f"{base} {number}"
        labelled[label] = made
    if not labelled:
        raise OptionError(f"expected at least one attribution; there are {', '.join(available('attributions'))}")
    return labelled


def _label(choice: Any, made: Attribution) -> str:
    if isinstance(choice, str) or _is_pair(choice):
        return choice if isinstance(choice, str) else str(choice[0])
    return made.name if isinstance(made, FromFunction) else type(made).__name__


def _make_check(wanted: str | tuple[str, dict[str, Any]] | Check, options: Mapping[str, dict[str, Any]]) -> Check:
    if isinstance(wanted, Check):
        return wanted
    name, own = (wanted, {}) if isinstance(wanted, str) else wanted
    check = create("check", name, **{**own, **options.get(name, {})})
    check.mandatory = getattr(specification("check", name), "mandatory", True)
    return check


def _split(thresholds: Mapping[str, float]) -> dict[str, dict[str, Any]]:
    by_check: dict[str, dict[str, Any]] = defaultdict(dict)
    for name, value in thresholds.items():
        check, dot, option = name.partition(".")
        if not dot or not option:
            raise OptionError(f"expected a threshold as 'check.option', such as 'completeness.tolerance', got {name!r}")
        by_check[check][option] = value
    return dict(by_check)


def _is_pair(choice: Any) -> bool:
    return isinstance(choice, tuple | list) and len(choice) == 2 and isinstance(choice[1], Mapping)
