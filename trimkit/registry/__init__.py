"""The door, seen from inside: every part that is installed, by name, imported when it is first used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trimkit.registry.lazy import lazy_names

if TYPE_CHECKING:
    from trimkit.registry.loader import PluginRecord
    from trimkit.registry.parts import (
        Part,
        Registry,
        available,
        create,
        default,
        facts,
        load_target,
        plugins,
        plural,
        provenance,
        resolve,
        specification,
    )

__all__ = [
    "Part",
    "PluginRecord",
    "Registry",
    "available",
    "create",
    "default",
    "facts",
    "load_target",
    "plugins",
    "plural",
    "provenance",
    "resolve",
    "specification",
]

__getattr__, __dir__ = lazy_names(__name__, {name: f"trimkit.registry.parts:{name}" for name in __all__})
