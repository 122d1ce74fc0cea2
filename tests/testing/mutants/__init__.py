"""A plugin of parts with one fault each, and of the parts without fault that they are made from."""

from __future__ import annotations

from typing import Any

from trimkit.hooks import KINDS, hookimpl

from . import attributions, checks, datasets, methods, penalties, transforms  # noqa: F401  each registers its own
from .register import FAULTS, SOUND, Fault

TRIMKIT_API = 1

SOUND["hello"] = "command"
FAULTS["heavy"] = Fault("command", "help_without_torch", "import heavy modules inside run")
FAULTS["misled"] = Fault("command", "example", "--quiet, which --help does not name")
FAULTS["exiting"] = Fault("command", "usage_errors", "use plain_parser of trimkit.cli.commands")
EXAMPLES = {"hello": "trimkit hello", "misled": "trimkit misled --quiet"}


def records(kinds: str) -> list[Any]:
    """The records of one kind; commands stand in a module that imports no torch."""
    spec = KINDS[kinds]
    kind_of = {**SOUND, **{name: fault.kind for name, fault in FAULTS.items()}}
    module = "mutant_commands" if kinds == "commands" else f"mutants.{kinds}"
    more = {"datasets": lambda name: {"shape": (4,)}, "commands": lambda name: {"example": EXAMPLES.get(name, "")}}
    return [
        spec(name, f"{module}:{name}", "A part of the tests.", **more.get(kinds, lambda name: {})(name))
        for name, kind in kind_of.items()
        if kind == spec.kind
    ]


@hookimpl
def trimkit_transforms():
    return records("transforms")


@hookimpl
def trimkit_attributions():
    return records("attributions")


@hookimpl
def trimkit_penalties():
    return records("penalties")


@hookimpl
def trimkit_methods():
    return records("methods")


@hookimpl
def trimkit_checks():
    return records("checks")


@hookimpl
def trimkit_commands():
    return records("commands")


@hookimpl
def trimkit_datasets():
    return records("datasets")
