"""The records: what names the three parts, without importing them."""

from __future__ import annotations

from collections.abc import Iterator

from trimkit.hooks import CheckSpec, MethodSpec, PenaltySpec, hookimpl

TRIMKIT_API = 1


@hookimpl
def trimkit_penalties() -> Iterator[PenaltySpec]:
    """One penalty."""
    yield PenaltySpec("log-sum", "penalty:log_sum", "Σ log(1 + |s|/ε), nearer to a count than l1.", "Candès 2008")


@hookimpl
def trimkit_methods() -> Iterator[MethodSpec]:
    """One VAE."""
    yield MethodSpec("sparse-means-vae", "variant:SparseMeansVAE", "A VAE whose codes are sparse.", family="vae")


@hookimpl
def trimkit_checks() -> Iterator[CheckSpec]:
    """One check."""
    yield CheckSpec("concentration", "check:Concentration", "Do a few groups hold most of the explanation?")
