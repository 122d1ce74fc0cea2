"""What was replaced goes on working for two minor versions, says until when, and is found when that is over."""

from __future__ import annotations

import ast
import inspect
import sys
import types
from importlib.metadata import version
from pathlib import Path

import pytest

from trimkit.deprecation import Deprecated, current_options, deprecation, renamed_option
from trimkit.errors import DeprecatedWarning, OptionError
from trimkit.registry.calling import bind, call, signature_of
from trimkit.registry.lazy import lazy_names

ROOT = Path(__file__).parents[1]


@renamed_option("levels", "depth", since="0.2")
def made(depth: int = 3) -> int:
    """As given."""
    return depth


@renamed_option("times", "weight", since="0.2")
def scaled(scores: float, weight: float = 1.0) -> float:
    """Scores times their weight."""
    return scores * weight


class Base:
    @renamed_option("levels", "depth", since="0.2")
    @renamed_option("size", "width", since="0.3")
    def __init__(self, depth: int = 3, width: int = 1) -> None:
        self.depth, self.width = depth, width


class Child(Base):
    def __init__(self, own: int = 0, **common: int) -> None:
        super().__init__(**common)
        self.own = own


@pytest.fixture
def module(monkeypatch):
    """A module with the name `new`, that was `old` before 0.2."""
    it = types.ModuleType("going")
    monkeypatch.setitem(sys.modules, "going", it)
    it.__getattr__, it.__dir__ = lazy_names("going", {"new": "math:sqrt"}, {"old": Deprecated("new", "0.2")})
    return it


@pytest.mark.parametrize(("since", "removal"), [("0.2", "0.4"), ("0.9.3", "0.11"), ("1.0", "1.2")])
def test_the_window_is_two_minor_versions(since, removal):
    assert Deprecated("new", since).removal == removal


def test_the_warning_says_what_until_when_and_what_instead():
    assert str(deprecation("x", "y", "1.2", "acme")) == "x works until acme 1.4: use y"


def test_an_option_by_its_old_name_arrives_under_its_new_one():
    with pytest.warns(DeprecatedWarning, match="the option 'levels' of made works until trimkit 0.4: use 'depth'"):
        assert made(levels=5) == 5
    assert made(depth=6) == made(6) == 6


def test_the_warning_points_at_the_callers_line():
    with pytest.warns(DeprecatedWarning) as caught:
        made(levels=5)
    assert caught[0].filename == __file__


def test_both_names_at_once_are_refused():
    with pytest.raises(OptionError, match="'levels' is the old name of 'depth'; give 'depth' alone"):
        made(depth=1, levels=2)


def test_help_shows_the_new_name_alone():
    assert list(inspect.signature(made).parameters) == ["depth"]
    assert list(signature_of(Child).parameters) == ["own", "depth", "width"]


def test_a_part_takes_the_old_name_wherever_it_is_made():
    with pytest.warns(DeprecatedWarning, match="the option 'levels' of transform 'x'"):
        assert call("transform 'x'", made, (), {"levels": 5}) == 5
    with pytest.warns(DeprecatedWarning, match="of penalty 'x'"):
        assert bind("penalty 'x'", scaled, {"times": 5})(2) == 10


def test_a_class_takes_the_old_names_of_its_parents():
    with pytest.warns(DeprecatedWarning) as caught:
        child = call("method 'child'", Child, (), {"own": 1, "levels": 5, "size": 7})
    assert (child.own, child.depth, child.width) == (1, 5, 7)
    assert len(caught) == 2


def test_an_option_that_is_not_there_is_still_refused():
    with pytest.raises(OptionError, match="has no option 'level'"):
        call("transform 'x'", made, (), {"level": 5})


def test_what_was_given_is_not_changed():
    given = {"levels": 5, "other": 1}
    with pytest.warns(DeprecatedWarning):
        assert current_options("f", {"levels": Deprecated("depth", "0.2")}, given) == {"depth": 5, "other": 1}
    assert given == {"levels": 5, "other": 1}


def test_a_name_of_a_module_leads_to_the_new_one_and_is_not_listed(module):
    with pytest.warns(DeprecatedWarning, match=r"going.old works until trimkit 0.4: use going.new"):
        assert module.old(4) == 2
    assert "old" not in dir(module)
    assert "new" in dir(module)


def test_nothing_outlives_its_window():
    """Whoever raises the version sees here what is to be deleted."""
    now = tuple(map(int, version("trimkit").split(".")[:2]))
    late = []
    for path in [*ROOT.glob("trimkit/**/*.py"), *ROOT.glob("plugins/*/trimkit_*/**/*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in MARKS:
                late += [ast.unparse(node) for since in sinces(node) if tuple(map(int, removal(since))) <= now]
    assert late == []


MARKS = ("Deprecated", "deprecation", "renamed_option")


def sinces(call: ast.Call) -> list[str]:
    texts = [*call.args, *(keyword.value for keyword in call.keywords)]
    return [t.value for t in texts if isinstance(t, ast.Constant) and str(t.value).replace(".", "").isdigit()]


def removal(since: str) -> list[str]:
    return Deprecated("", since).removal.split(".")


def test_a_mark_that_is_over_would_be_seen():
    (mark,) = [n for n in ast.walk(ast.parse("renamed_option('a', 'b', since='0.2')")) if isinstance(n, ast.Call)]
    assert [removal(since) for since in sinces(mark)] == [["0", "4"]]
