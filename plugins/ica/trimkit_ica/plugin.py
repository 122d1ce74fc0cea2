"""What this distribution adds to trimkit."""

from __future__ import annotations

from collections.abc import Iterator

from trimkit.hooks import CommandSpec, MethodSpec, hookimpl

TRIMKIT_API = 1

_LINEAR = (
    MethodSpec(
        "fastica",
        "trimkit_ica.linear:FastICA",
        "Linear ICA by fixed-point iteration: the rotation of whitened data that is least Gaussian.",
        "Hyvärinen 1999",
        family="ica",
    ),
    MethodSpec(
        "picard",
        "trimkit_ica.linear:Picard",
        "Linear ICA by preconditioned L-BFGS on rotations: converges where FastICA stalls on real data.",
        "Ablin, Cardoso, Gramfort 2018, arXiv:1711.10873",
        family="ica",
    ),
    MethodSpec(
        "infomax",
        "trimkit_ica.linear:Infomax",
        "Linear ICA by maximum likelihood without the constraint of whiteness, extended to sub-Gaussian sources.",
        "Bell, Sejnowski 1995; Lee, Girolami, Sejnowski 1999",
        family="ica",
    ),
    MethodSpec(
        "trim-ica",
        "trimkit_ica.guided:TrimICA",
        "Linear ICA whose rotation is also asked for what a frozen predictor reads to lie in few components.",
        "Singh et al. 2020, arXiv:2003.01926",
        family="ica",
    ),
)

_NONLINEAR = (
    MethodSpec(
        "ivae",
        "trimkit_ica.ivae:IVAE",
        "Identifiable VAE: a prior that depends on an auxiliary variable tells latents apart.",
        "Khemakhem et al. 2020, arXiv:1907.04809",
        family="ica",
    ),
    MethodSpec(
        "tcl",
        "trimkit_ica.tcl:TCL",
        "Time-contrastive learning: features that tell segments apart, and linear ICA of them.",
        "Hyvärinen, Morioka 2016, arXiv:1605.06336",
        family="ica",
    ),
    MethodSpec(
        "icebeem",
        "trimkit_ica.icebeem:ICEBeeM",
        "Conditional energy-based model: features of dependent latents, by flow contrast or score matching.",
        "Khemakhem et al. 2020, arXiv:2002.11537",
        family="ica",
    ),
)


@hookimpl
def trimkit_methods() -> Iterator[MethodSpec]:
    """Independent component analysis."""
    yield from _LINEAR
    yield from _NONLINEAR


@hookimpl
def trimkit_commands() -> Iterator[CommandSpec]:
    """Whether linear ICA may be used at all."""
    yield CommandSpec(
        "check-ica",
        "trimkit_ica.command:run",
        "Whether data meet the assumptions of linear ICA, and a report.",
        example="trimkit check-ica digits --components 8",
    )
