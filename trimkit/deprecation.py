"""What is going, and until when: what was replaced goes on working for two minor versions, with a warning.

    # a name of a module, beside its lazy names
    __getattr__, __dir__ = lazy_names(__name__, names, renamed={"old_name": Deprecated("new_name", "0.2")})

    # an option of a function or constructor, also where a part is made by its name
    @renamed_option("levels", "depth", since="0.2")
    def transform(depth: int = 3) -> Transform: ...

    # a part: a record beside the new one
    yield PenaltySpec("old", "acme.penalties:new", "What it does.", deprecated=Deprecated("new", "0.2"))

    # a hook, or one of its arguments
    @hookspec(warn_on_impl=deprecation("the hook trimkit_old()", "trimkit_new()", "0.2"))

A test finds what has outlived its window. No module here imports torch.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

from trimkit.errors import DeprecatedWarning, OptionError

WINDOW = 2
"""Minor versions that something which is going goes on working."""

F = TypeVar("F", bound=Callable[..., Any])


class Deprecated(NamedTuple):
    """What to use instead of something that is going.

    Attributes:
        instead: the name that replaces it.
        since: the version that was the first to warn, such as "0.2".

    >>> Deprecated("depth", "0.2").removal
    '0.4'
    """

    instead: str
    since: str

    @property
    def removal(self) -> str:
        """The first version without it, two minor versions after ``since``."""
        major, minor = map(int, self.since.split(".")[:2])
        return f"{major}.{minor + WINDOW}"


def deprecation(what: str, instead: str, since: str, of: str = "trimkit") -> DeprecatedWarning:
    """The warning that something is going.

    Args:
        what: is going, such as "the hook trimkit_old()".
        instead: what to use.
        since: the version that was the first to warn.
        of: the distribution whose version that is.

    >>> str(deprecation("the option 'levels'", "'depth'", "0.2"))
    "the option 'levels' works until trimkit 0.4: use 'depth'"
    """
    return DeprecatedWarning(f"{what} works until {of} {Deprecated(instead, since).removal}: use {instead}")


def renamed_option(old: str, new: str, *, since: str) -> Callable[[F], F]:
    """Let a function or constructor go on taking an option by the name that it had before, with a warning.

    Args:
        old: the name before.
        new: the name now.
        since: the version that was the first to warn.

    >>> @renamed_option("levels", "depth", since="0.2")
    ... def deepest(depth: int = 3) -> int:
    ...     return depth
    >>> deepest(depth=2)
    2
    """

    def decorate(function: F) -> F:
        """The function, which takes the old name too."""
        renamed = {**getattr(function, "renamed_options", {}), old: Deprecated(new, since)}

        @functools.wraps(function)
        def call(*args: Any, **options: Any) -> Any:
            return function(*args, **current_options(function.__qualname__, renamed, options))

        call.renamed_options = renamed  # type: ignore[attr-defined]
        return call  # type: ignore[return-value]

    return decorate


def current_options(label: str, renamed: Mapping[str, Deprecated], options: Mapping[str, Any]) -> dict[str, Any]:
    """Options by the names that they have now; one by its old name is warned of.

    Args:
        label: what takes them, for the warning.
        renamed: old name → what replaces it.
        options: as they were given.
    Raises:
        OptionError: one is given by both names.

    >>> current_options("transform 'fft'", {"levels": Deprecated("depth", "0.2")}, {"depth": 2})
    {'depth': 2}
    """
    current = {name: value for name, value in options.items() if name not in renamed}
    for old, (new, since) in renamed.items():
        if old not in options:
            continue
        if new in current:
            raise OptionError(f"{label}: {old!r} is the old name of {new!r}; give {new!r} alone")
        warnings.warn(deprecation(f"the option {old!r} of {label}", repr(new), since), stacklevel=3)
        current[new] = options[old]
    return current
