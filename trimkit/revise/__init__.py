"""Reveal, correct, audit again; the package is what users call: ``revision = trimkit.revise(model, data, …)``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trimkit.registry.lazy import lazy_names, make_callable

if TYPE_CHECKING:
    from trimkit.revise.corrections import CORRECTIONS, Projected
    from trimkit.revise.result import Revision
    from trimkit.revise.runner import revise

__all__ = ["CORRECTIONS", "Projected", "Revision", "revise"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "CORRECTIONS": "trimkit.revise.corrections:CORRECTIONS",
        "Projected": "trimkit.revise.corrections:Projected",
        "Revision": "trimkit.revise.result:Revision",
        "revise": "trimkit.revise.runner:revise",
    },
)
make_callable(__name__, "trimkit.revise.runner:revise")
