"""Rotations of white data that follow from a predictor's gradients alone, without training.

They are what a rotation that was trained for sparse attributions has to be compared with. All start from Γ (n, k), the
rows of which are gradients of the predictor's outputs in whitened coordinates z, such as `TrimICA.gradients` gives;
components are s = z Qᵀ, in which the gradients are Γ Qᵀ.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from trimkit.errors import OptionError, ShapeError
from trimkit_ica.unmixing import orthogonalised


def predicted_gradients(predictor: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """∇_x of what is predicted: of each sample's largest output, or of the only one.

    Args:
        predictor: acts on each sample alone, x → (N,) or (N, ...).
        x: (N, ...) data; neither it nor the predictor keeps a gradient.
    Returns:
        Like x, detached.
    """
    with torch.enable_grad():
        point = x.detach().clone().requires_grad_()
        output = predictor(point)
        chosen = output if output.ndim == 1 else output.flatten(1).max(1).values
        return torch.autograd.grad(chosen.sum(), point)[0]


@torch.no_grad()
def class_mean_rotation(gradients: Tensor, classes: Tensor, *, generator: torch.Generator) -> Tensor:
    """The first components are the classes' mean gradients, made orthonormal in the order of the classes.

    Directions beyond those of the classes are completed at random. The first component's direction is the mean gradient
    of the first class, each further one's has a part along that of its class that is ≥ 0 (Gram-Schmidt, by QR).

    Args:
        gradients: Γ (n, k).
        classes: (n,) class of each row; those that occur count, rising.
        generator: of the completion.
    Returns:
        Q (k, k) in float64.
    Raises:
        ShapeError: no (n, k) rows, or not one class a row.
    """
    rows = _rows(gradients)
    if classes.shape != rows.shape[:1]:
        raise ShapeError(f"expected one class for each of {len(rows)} gradients, got {tuple(classes.shape)}")
    means = [rows[classes == number].mean(0) for number in classes.unique()]
    k = rows.shape[1]
    rest = torch.randn(k, k, generator=generator, dtype=rows.dtype, device=generator.device).to(rows.device)
    directions, triangle = torch.linalg.qr(torch.cat([torch.stack(means, 1), rest], 1))
    return torch.where(triangle.diagonal() < 0, -directions, directions).T


@torch.no_grad()
def varimax_rotation(gradients: Tensor, *, iterations: int = 200, tolerance: float = 1e-10) -> Tensor:
    """The rotation whose gradients are concentrated: each component matters much for few samples, little for the rest.

    Maximises Σ_j Var(l_j²) over the columns l_j of L = Γ Qᵀ (Kaiser 1958, without his normalisation of rows) by
    Qᵀ ← polar(Γᵀ (L³ − L · diag(mean L²))), from Q = I. A local maximum; the order of the components means nothing.

    Args:
        gradients: Γ (n, k).
        iterations: at most, ≥ 1.
        tolerance: ≥ 0; it ends when no entry of Q moves by more.
    Returns:
        Q (k, k) in float64.
    Raises:
        ShapeError: no (n, k) rows.
        OptionError: settings out of range.
    """
    rows = _rows(gradients)
    if iterations < 1 or not tolerance >= 0:
        raise OptionError(f"varimax: expected iterations ≥ 1 and tolerance ≥ 0, got {iterations}, {tolerance}")
    q = torch.eye(rows.shape[1], dtype=rows.dtype, device=rows.device)
    for _ in range(iterations):
        turned = rows @ q.T
        squares = turned.square()
        new = orthogonalised(rows.T @ (turned * (squares - squares.mean(0)))).T
        moved, q = float((new - q).abs().max()), new
        if moved <= tolerance:
            break
    return q


def _rows(gradients: Tensor) -> Tensor:
    if gradients.ndim != 2 or 0 in gradients.shape:
        raise ShapeError(f"expected gradients (n, k), one sample a row, got {tuple(gradients.shape)}")
    return gradients.double()
