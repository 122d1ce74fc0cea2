"""What this distribution adds to trimkit; it imports no torch, so that ``trimkit list`` stays fast."""

from __future__ import annotations

from collections.abc import Iterator

from trimkit.hooks import MethodSpec, hookimpl

TRIMKIT_API = 1


@hookimpl
def trimkit_methods() -> Iterator[MethodSpec]:
    """One method around any other."""
    yield MethodSpec(
        "hessian-penalty",
        "trimkit_hessian.penalised:HessianPenalised",
        "Any method with a decoder, its latents driven to change the data independently of each other.",
        "Peebles et al. 2020, arXiv:2008.10599",
        family="regularised",
    )
