"""Options are checked against the signature of what is called."""

from __future__ import annotations

import re
from typing import Literal

import pytest

from trimkit.errors import OptionError
from trimkit.registry.calling import bind, call


def takes_any(first, /, *, scale=1.0, **more):
    return first, scale, more


def takes_one(size):
    return size


def test_options_that_are_taken_by_double_star_pass():
    assert call("it", takes_any, (1,), {"other": 2}) == (1, 1.0, {"other": 2})


def test_a_positional_argument_is_no_option():
    with pytest.raises(OptionError, match=r"it has no option 'size'\. It takes no options\."):
        call("it", takes_one, (1,), {"size": 2})
    with pytest.raises(OptionError, match=r"it: too many positional arguments\. It takes no options\."):
        call("it", takes_one, (1, 2), {})


def test_a_builtin_without_a_signature_checks_its_options_itself():
    assert call("it", dict, (), {"a": 1}) == {"a": 1}
    with pytest.raises(OptionError, match="it refuses its options"):
        call("it", dict, (3,), {})


def test_no_hint_where_no_option_is_near():
    with pytest.raises(OptionError, match=r"it has no option 'qqq'\. It takes size \(required\)\."):
        call("it", takes_one, (), {"qqq": 2})


class Typed:
    def __init__(self, bands: int = 8, kind: Literal["a", "b"] | None = None, scale: float = 1.0) -> None:
        if bands < 1 or (kind or "a") + "" not in ("a", "b") or not scale > 0:
            raise ValueError("too small")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"bands": "x"}, "it refuses its options: bands: expected int, got 'x'"),
        ({"bands": None}, "bands: expected int, got None"),
        ({"kind": 3}, "kind: expected 'a', 'b' or None, got 3"),
        ({"scale": "big"}, "scale: expected float, got 'big'"),
        ({"bands": 0}, "it refuses its options: too small"),
        ({"scale": -1}, "it refuses its options: too small"),
    ],
)
def test_an_option_of_the_wrong_type_is_named_with_the_right_one(options, says):
    with pytest.raises(OptionError, match=re.escape(says)):
        call("it", Typed, (), options)


def test_a_bound_function_keeps_its_first_argument_free():
    assert bind("it", takes_any, {"scale": 2.0})(5) == (5, 2.0, {})
    assert bind("it", takes_one, {}) is takes_one
