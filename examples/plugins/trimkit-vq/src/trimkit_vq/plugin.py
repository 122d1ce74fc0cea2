"""What this distribution adds to trimkit; nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Iterator

from trimkit.hooks import MethodSpec, hookimpl

TRIMKIT_API = 1


@hookimpl
def trimkit_methods() -> Iterator[MethodSpec]:
    """Generative methods."""
    yield MethodSpec(
        "vq-vae",
        "trimkit_vq.method:VQVAE",
        "An autoencoder whose codes are entries of a learned codebook.",
        "van den Oord et al. 2017, arXiv:1711.00937",
        family="vq",
    )
