"""What this distribution adds to trimkit."""

from __future__ import annotations

from collections.abc import Iterator

from trimkit.hooks import MethodSpec, hookimpl

TRIMKIT_API = 1


@hookimpl
def trimkit_methods() -> Iterator[MethodSpec]:
    """Variational autoencoders."""
    yield MethodSpec(
        "vae",
        "trimkit_vae.vae:VAE",
        "Variational autoencoder: reconstruction and KL in nats, one latent space z.",
        "Kingma & Welling 2013, arXiv:1312.6114",
        family="vae",
    )
    yield MethodSpec(
        "beta-vae",
        "trimkit_vae.vae:BetaVAE",
        "VAE whose KL weighs β, constant or scheduled: fewer, more independent latents for larger β.",
        "Higgins et al. 2017, openreview Sy2fzU9gl",
        family="vae",
    )
