"""What this distribution adds to trimkit; nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Iterator

from trimkit.hooks import PenaltySpec, TransformSpec, hookimpl

TRIMKIT_API = 1


@hookimpl
def trimkit_transforms() -> Iterator[TransformSpec]:
    """Transforms x ⇄ s."""
    yield TransformSpec(
        "graph-fourier",
        "trimkit_graph.transform:GraphFourier",
        "Signals on a graph in the basis of its Laplacian, from smooth to rough.",
        "Shuman et al. 2013, arXiv:1211.0053",
    )


@hookimpl
def trimkit_penalties() -> Iterator[PenaltySpec]:
    """Penalties scores → (N,)."""
    yield PenaltySpec(
        "graph-roughness",
        "trimkit_graph.penalty:roughness",
        "Differences of the scores of neighbours: importance should vary smoothly over a graph.",
        "Shuman et al. 2013, arXiv:1211.0053",
    )
