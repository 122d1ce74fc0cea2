"""What a user chooses by name, or brings along: networks, likelihoods."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from trimkit.errors import OptionError, nearest
from trimkit.registry.usercode import find_factory


def chosen(kind: str, choice: str | Callable[..., Any], ours: Mapping[str, Callable[..., Any]]) -> Callable[..., Any]:
    """The function behind a choice.

    Args:
        kind: what is chosen, for messages, such as "network".
        choice: a name of ours; text ``pkg.mod:function`` or ``file.py:function`` for the user's own code, which is
            imported; or a function, returned as it is.
        ours: name → function.
    Returns:
        The function, not called.
    Raises:
        OptionError: an unknown name, or something that is neither text nor function.
        ModelError: the text names nothing that can be imported.
    """
    if isinstance(choice, str) and choice in ours:
        return ours[choice]
    found = find_factory(choice) if isinstance(choice, str) and ":" in choice else choice
    if callable(found):
        return found
    if isinstance(found, str):
        raise OptionError(f"there is no {kind} {found!r}. {nearest(found, ours)} Your own: pkg.mod:function")
    raise OptionError(
        f"expected a {kind} as one of {', '.join(map(repr, ours))}, pkg.mod:function or a function, got "
        f"{type(found).__name__}"
    )
