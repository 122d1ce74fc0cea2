"""Directions inside w: its principal components (GANSpace), and those that move the styles most (SeFa). No training."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from trimkit.errors import UnknownNameError, nearest
from trimkit.transforms.fitted import PCA
from trimkit.transforms.linear import Dictionary
from trimkit_gan.generating import StyleSpaces


def ganspace(
    method: StyleSpaces,
    samples: int = 10_000,
    components: int | None = None,
    generator: torch.Generator | None = None,
    aux: Tensor | None = None,
) -> PCA:
    """Principal components of w over the prior (Härkönen et al. 2020, arXiv:2004.02546).

    All of them are an orthonormal change of basis about the mean, exact both ways; fewer leave a residual. Behind a
    projection it is a space for explanations of data: ``projection:run=FOLDER,directions=ganspace``.

    Args:
        method: trained.
        samples: draws of z; more than w has entries, for all of its components.
        components: how many to keep; all by default.
        generator: source of randomness.
        aux: (samples, ...) u of each draw of a conditional method; classes with equal chances by default.
    Returns:
        w (N, w_dim) ⇄ coefficients (N, components), falling in variance.
    """
    with torch.no_grad():
        w = method.draw_w(samples, generator, aux)
    found = PCA(components).fit(w)
    found.exact = len(found.components) == w.shape[1]
    return found


def sefa(method: StyleSpaces, layers: Sequence[str] = ()) -> Dictionary:
    """Directions of w by how far they move the styles: eigenvectors of Σ AᵀA over the affine maps A (Shen & Zhou 2021).

    arXiv:2007.06600, eq. 5. Maps to image channels are left out, as there. An orthonormal change of basis, exact both
    ways.

    Args:
        method: trained.
        layers: names of the taps that count, such as "8px conv1"; all by default, and coarse ones for coarse changes.
    Returns:
        w (N, w_dim) ⇄ coefficients (N, w_dim), falling in effect.
    Raises:
        UnknownNameError: a tap that does not exist.
    """
    affine = {tap.name: tap.module.affine for tap in method.synthesis.taps if not tap.to_rgb}
    for name in layers:
        if name not in affine:
            raise UnknownNameError(f"no layer is named {name!r}. {nearest(name, affine)}")
    chosen = [affine[name] for name in layers or affine]
    stacked = torch.cat([layer.weight.detach().double() * layer.scale for layer in chosen])
    _, directions = torch.linalg.eigh(stacked.T @ stacked)
    rows = directions.flip(1).T
    largest = rows.gather(1, rows.abs().argmax(1, keepdim=True))
    found = Dictionary((rows * largest.sign()).to(chosen[0].weight))
    found.exact = True
    return found
