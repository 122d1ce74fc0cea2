"""What this distribution adds to trimkit."""

from __future__ import annotations

from collections.abc import Iterator

from trimkit.hooks import MethodSpec, TransformSpec, hookimpl

TRIMKIT_API = 1


_METHODS = (
    MethodSpec(
        "infogan",
        "trimkit_gan.infogan:InfoGAN",
        "GAN whose codes stay readable: categories and continuous codes that a network infers from images.",
        "Chen et al. 2016, arXiv:1606.03657",
        family="gan",
    ),
    MethodSpec(
        "alae",
        "trimkit_gan.alae:ALAE",
        "Adversarial latent autoencoder: a GAN with an encoder that returns its w; plain or style-based networks.",
        "Pidhorskyi et al. 2020, arXiv:2004.04467",
        family="gan",
    ),
    MethodSpec(
        "stylegan",
        "trimkit_gan.stylegan:StyleGAN",
        "Style-based generator: adaptive instance normalisation, per-pixel noise, progressive growing.",
        "Karras et al. 2019, arXiv:1812.04948",
        family="gan",
    ),
    MethodSpec(
        "stylegan2",
        "trimkit_gan.stylegan:StyleGAN2",
        "Style-based generator: demodulated weights, lazy R1 and path length, adaptive augmentation.",
        "Karras et al. 2020, arXiv:1912.04958",
        family="gan",
    ),
)


@hookimpl
def trimkit_methods() -> Iterator[MethodSpec]:
    """Generative adversarial networks."""
    yield from _METHODS


@hookimpl
def trimkit_transforms() -> Iterator[TransformSpec]:
    """Latent spaces of generators without encoder."""
    yield TransformSpec(
        "projection",
        "trimkit_gan.projection:projection",
        "The latent space of a trained StyleGAN, codes by optimisation: projection:run=FOLDER,directions=ganspace.",
        "Karras et al. 2020, arXiv:1912.04958, appendix D",
    )
