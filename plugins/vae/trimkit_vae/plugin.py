"""What this distribution adds to trimkit."""

from __future__ import annotations

from collections.abc import Iterator

from trimkit.hooks import MethodSpec, hookimpl

TRIMKIT_API = 1

_METHODS = (
    (
        "vae",
        "vae:VAE",
        "Variational autoencoder: reconstruction and KL in nats, one latent space z.",
        "Kingma & Welling 2013, arXiv:1312.6114",
    ),
    (
        "beta-vae",
        "vae:BetaVAE",
        "VAE whose KL weighs β, constant or scheduled: fewer, more independent latents for larger β.",
        "Higgins et al. 2017, openreview Sy2fzU9gl",
    ),
    (
        "beta-vae-b",
        "capacity:CapacityVAE",
        "VAE whose KL is held at a capacity C that grows with the steps.",
        "Burgess et al. 2018, arXiv:1804.03599",
    ),
    (
        "factor-vae",
        "factor:FactorVAE",
        "VAE whose total correlation weighs γ, estimated by a discriminator trained beside it.",
        "Kim & Mnih 2018, arXiv:1802.05983",
    ),
    (
        "beta-tcvae",
        "tcvae:BetaTCVAE",
        "VAE whose total correlation weighs β, estimated from the batch's posteriors.",
        "Chen et al. 2018, arXiv:1802.04942",
    ),
    (
        "dip-vae-i",
        "dip:DIPVAEI",
        "VAE that drives the covariance of the posteriors' means to the identity.",
        "Kumar et al. 2018, arXiv:1711.00848",
    ),
    (
        "dip-vae-ii",
        "dip:DIPVAEII",
        "VAE that drives the covariance of the drawn codes to the identity.",
        "Kumar et al. 2018, arXiv:1711.00848",
    ),
    (
        "info-vae",
        "mmd:InfoVAE",
        "VAE whose aggregate posterior is held to the prior by an MMD, the mutual information left free.",
        "Zhao et al. 2017, arXiv:1706.02262",
    ),
    (
        "wae-mmd",
        "mmd:WAE",
        "Wasserstein autoencoder: deterministic or stochastic encoder, MMD between codes and prior.",
        "Tolstikhin et al. 2018, arXiv:1711.01558",
    ),
)
"""Name, target in this package, summary, reference."""


@hookimpl
def trimkit_methods() -> Iterator[MethodSpec]:
    """Variational autoencoders and their relatives."""
    for name, target, summary, reference in _METHODS:
        yield MethodSpec(name, f"trimkit_vae.{target}", summary, reference, family="vae")
