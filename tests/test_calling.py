"""Options are checked against the signature of what is called."""

from __future__ import annotations

import re
from typing import Any, Literal

import pytest

from trimkit.errors import OptionError
from trimkit.registry.calling import bind, call, signature_of


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


class Base:
    def __init__(self, shape: tuple[int, ...], components: int | None = None, *, seed: int = 0) -> None:
        self.options = (shape, components, seed)


class Middle(Base):
    pass


class Heir(Middle):
    def __init__(self, shape: tuple[int, ...], *, extended: bool = True, **common: Any) -> None:
        super().__init__(shape, **common)
        self.extended = extended


class Grandchild(Heir):
    def __init__(self, shape: tuple[int, ...], *, seed: int = 7, **common: Any) -> None:
        super().__init__(shape, seed=seed, **common)


def test_options_handed_on_to_a_parent_are_the_parents_own():
    assert list(signature_of(Heir).parameters) == ["shape", "extended", "components", "seed"]
    assert signature_of(Grandchild).parameters["seed"].default == 7
    made = call("it", Grandchild, ((3,),), {"components": 2, "extended": False})
    assert (made.options, made.extended) == (((3,), 2, 7), False)


def test_an_unknown_option_of_a_class_that_hands_options_on_is_refused_by_name():
    with pytest.raises(OptionError, match=r"it has no option 'extend'\. Did you mean 'extended'"):
        call("it", Heir, ((3,),), {"extend": 2})
    with pytest.raises(OptionError, match=r"it has no option 'sed'.*components=None, seed=0"):
        call("it", Heir, ((3,),), {"sed": 2})


def test_an_option_that_is_handed_on_is_checked_by_its_type():
    class Strict(Base):
        def __init__(self, shape: tuple[int, ...], **common: Any) -> None:
            super().__init__(shape, **common)
            raise ValueError("too small")

    with pytest.raises(OptionError, match="seed: expected int, got 'x'"):
        call("it", Strict, ((3,),), {"seed": "x"})
