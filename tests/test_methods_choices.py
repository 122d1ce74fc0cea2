"""What users choose by name or bring along."""

from __future__ import annotations

import math

import pytest

from trimkit.errors import ModelError, OptionError
from trimkit.methods import chosen

OURS = {"one": math.sin, "other": math.cos}


def test_ours_by_name_theirs_by_path_and_functions_as_they_are(tmp_path, monkeypatch):
    assert chosen("function", "one", OURS) is math.sin
    assert chosen("function", "math:tan", OURS) is math.tan
    assert chosen("function", math.exp, OURS) is math.exp
    (tmp_path / "mine.py").write_text("def five(): return 5\n")
    monkeypatch.chdir(tmp_path)
    assert chosen("function", "mine.py:five", OURS)() == 5


def test_what_is_neither_is_refused():
    with pytest.raises(OptionError, match=r"there is no function 'othr'. Did you mean 'other'\? Your own: pkg"):
        chosen("function", "othr", OURS)
    with pytest.raises(OptionError, match=r"expected a function as one of 'one', 'other', pkg.mod:function or"):
        chosen("function", 3, OURS)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="got float"):
        chosen("function", "math:pi", OURS)
    with pytest.raises(ModelError, match="there is no module 'no_such_module'"):
        chosen("function", "no_such_module:f", OURS)
