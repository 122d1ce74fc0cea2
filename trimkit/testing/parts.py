"""What a part of any kind promises: it can be imported, is what its record says, and tells what it is and takes."""

from __future__ import annotations

import inspect
import re
from typing import Any

from trimkit.registry.calling import signature_of
from trimkit.registry.lazy import import_target
from trimkit.testing.promises import Trial, promise, require

_BASES = {
    "transform": "trimkit.transforms.base:Transform",
    "attribution": "trimkit.attributions.base:Attribution",
    "method": "trimkit.methods.base:Method",
    "check": "trimkit.audit.checks.base:Check",
}
"""The class that a part of a kind derives from."""

_FREE = ("self", "args", "kwargs")


@promise("part", light=True)
def is_imported(trial: Trial) -> None:
    """The record's target can be imported and is what a part of this kind must be."""
    target, kind = trial.part.load(), trial.part.spec.kind
    require(callable(target), f"{trial.part.spec.target} is a {type(target).__name__}; name a class or a function")
    if isinstance(target, type) and kind in _BASES:
        base = import_target(_BASES[kind])
        way_out = f"derive it from {_BASES[kind].replace(':', '.')}"
        require(issubclass(target, base), f"{target.__name__} is no {base.__name__}; {way_out}")
        left = sorted(getattr(target, "__abstractmethods__", ()))
        require(not left, f"{target.__name__} lacks {', '.join(left)}; write what the base class leaves abstract")


@promise("part", light=True)
def is_documented(trial: Trial) -> None:
    """Its class or function has a docstring, and its summary is one sentence of at most 120 characters."""
    spec = trial.part.spec
    target = trial.part.load()
    own = target.__dict__.get("__doc__") if isinstance(target, type) else target.__doc__
    require(bool(own), f"{spec.target} has no docstring of its own; write what it computes, its options and its source")
    fits = re.fullmatch(r"\S[^\n]*[.?!]", spec.summary) and len(spec.summary) <= 120
    require(bool(fits), f"expected a summary of one sentence, got {spec.summary!r}; `trimkit list` prints it in a line")


@promise("part", light=True)
def types_its_options(trial: Trial) -> None:
    """Every option has a type, from which help, YAML and the command line are made."""
    target: Any = trial.part.load()
    signature = signature_of(target)
    parameters = list(signature.parameters.values()) if signature else []
    if trial.part.spec.kind == "penalty" and not isinstance(target, type):
        parameters = parameters[1:]
    bare = [p.name for p in parameters if p.annotation is inspect.Parameter.empty and p.name not in _FREE]
    require(not bare, f"{trial.part.spec.target} has options without a type: {', '.join(bare)}; annotate them")
