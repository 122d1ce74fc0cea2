"""Names that are imported at first use, so that ``import trimkit`` costs neither torch nor numpy (PEP 562)."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any

from trimkit.deprecation import Deprecated, deprecation


def lazy_names(
    module: str, names: Mapping[str, str], renamed: Mapping[str, Deprecated] | None = None
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The ``__getattr__`` and ``__dir__`` of a module whose public names are imported when they are first asked for.

        __getattr__, __dir__ = lazy_names(__name__, {"Trim": "trimkit.trim.trim:Trim", "metrics": "trimkit.metrics"})

    Args:
        module: the module's own ``__name__``.
        names: public name to ``"module:attribute"``, or to ``"module"`` for a submodule.
        renamed: names before, to the public names that replaced them; they work with a warning, and are not listed.
    Returns:
        The two functions. A name that is not in the table raises AttributeError, as usual.
    """

    def get(name: str) -> Any:
        if renamed and name in renamed:
            instead, since = renamed[name]
            warnings.warn(deprecation(f"{module}.{name}", f"{module}.{instead}", since), stacklevel=2)
            return getattr(sys.modules[module], instead)
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}", name=name, obj=sys.modules[module])
        value = import_target(names[name])
        setattr(sys.modules[module], name, value)
        return value

    def listing() -> list[str]:
        return sorted({*vars(sys.modules[module]), *names})

    return get, listing


def make_callable(module: str, target: str) -> None:
    """Let a package be called as if it were one of its functions.

    ``trimkit.audit`` is a folder and also what users call: ``trimkit.audit(model, …)``. Python binds a package as an
    attribute of its parent as soon as anything in it is imported, so a function of that name would be lost; the package
    itself takes the call instead, and imports the function at the first one. In ``trimkit/audit/__init__.py``:

        make_callable(__name__, "trimkit.audit.runner:audit")

    The target ``"module:function"`` answers the call.
    """
    sys.modules[module].__class__ = type("CallableModule", (_CallableModule,), {"_target": target})


class _CallableModule(ModuleType):
    _target: str

    def __call__(self, *args: Any, **options: Any) -> Any:
        return import_target(self._target)(*args, **options)


def import_target(target: str) -> Any:
    """Import what ``"module:attribute"`` names, dotted attributes included; the module itself without a colon.

    Raises:
        ImportError: the module cannot be imported (or whatever else it raises).
        AttributeError: it has no such attribute.
    """
    module, _, path = target.partition(":")
    value = import_module(module)
    for attribute in path.split(".") if path else ():
        value = getattr(value, attribute)
    return value
