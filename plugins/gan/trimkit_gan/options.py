"""Refusals of options out of range, by their names: what the methods of this package check alike."""

from __future__ import annotations

from trimkit import objective
from trimkit.errors import OptionError
from trimkit.registry.options import real_number, whole_number


def require_counts(options: object, *names: str) -> None:
    """Refuse options that are no whole numbers of at least 1.

    Args:
        options: whose attributes they are.
        names: of the attributes.
    Raises:
        OptionError: the first that is none.
    """
    whole_number("", **{name: getattr(options, name) for name in names})


def require_positive(options: object, *names: str) -> None:
    """Refuse options that are not above 0.

    Args:
        options: whose attributes they are.
        names: of the attributes.
    Raises:
        OptionError: the first that is none.
    """
    real_number("", above=True, **{name: getattr(options, name) for name in names})


def require_weights(options: object, *names: str) -> None:
    """Refuse numbers below 0 and text that is no schedule; a schedule is taken as it is.

    Args:
        options: whose attributes they are.
        names: of the attributes.
    Raises:
        OptionError: the first that is none.
    """
    objective.require_weights(**{name: getattr(options, name) for name in names})


def require_shares(options: object, *names: str) -> None:
    """Refuse options outside [0, 1].

    Args:
        options: whose attributes they are.
        names: of the attributes.
    Raises:
        OptionError: the first that is none.
    """
    for name in names:
        if not 0 <= getattr(options, name) <= 1:
            raise OptionError(f"expected {name} in [0, 1], got {getattr(options, name)}")
