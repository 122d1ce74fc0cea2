"""What makes two fits comparable: components in an order and with signs that do not depend on where a fit started."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from trimkit.errors import DataError, OptionError, ShapeError
from trimkit.metrics.independence.log_cosh import contrast

Order = Literal["variance", "negentropy"]

SYMMETRIC = 1e-6
"""Skewness below which its sign would be that of rounding and of the last iterations of a fit."""


class Arrangement(NamedTuple):
    """Which component comes where, and with which sign.

    The arranged mixing is ``mixing[:, order] * signs``, the arranged components ``s[:, order] * signs``.

    Attributes:
        order: (k,) indices into the components as they were.
        signs: (k,) float64, 1 or −1 for each component in its new place.
    """

    order: Tensor
    signs: Tensor


@torch.no_grad()
def canonical(mixing: Tensor, s: Tensor, *, order: Order = "variance") -> Arrangement:
    """The order and signs that identify components: ICA itself leaves both open.

    "variance" puts first what explains most of the data (‖column of the mixing‖ · standard deviation of the component),
    "negentropy" what is least Gaussian (`contrast`). The sign makes a component's skewness positive; where a component
    is symmetric, its largest loading.

    Args:
        mixing: (p, k), x ≈ mixing · s + mean.
        s: (n, k) components of the data.
        order: see above.
    Raises:
        ShapeError: matrices that do not fit.
        DataError: a component without variance.
        OptionError: an unknown order.
    """
    if mixing.ndim != 2 or s.ndim != 2 or mixing.shape[1] != s.shape[1]:
        raise ShapeError(
            f"canonical: expected a mixing (p, k) and components (n, k), got {tuple(mixing.shape)} and {tuple(s.shape)}"
        )
    mixing = mixing.double()
    standard = s.double() - s.double().mean(0)
    deviations = standard.square().mean(0).sqrt()
    constant = (deviations == 0).nonzero()[:, 0].tolist()
    if constant:
        raise DataError(f"canonical: expected components that vary, got constant ones: {constant}, from 0")
    standard /= deviations
    if order == "variance":
        weight = torch.linalg.vector_norm(mixing, dim=0) * deviations
    elif order == "negentropy":
        weight = contrast(standard)
    else:
        raise OptionError(f"canonical: expected order 'variance' or 'negentropy', got {order!r}")
    indices = weight.argsort(descending=True, stable=True)
    skewness = standard.pow(3).mean(0)
    loading = mixing.gather(0, mixing.abs().argmax(0, keepdim=True))[0]
    decisive = torch.where(skewness.abs() > SYMMETRIC, skewness, loading)
    return Arrangement(indices, torch.where(decisive < 0, -1.0, 1.0).double()[indices])


def match(similarity: Tensor) -> Tensor:
    """The assignment of columns to rows with the largest sum of absolute similarities (Hungarian method).

    Args:
        similarity: (k, k) of any sign, such as correlations.
    Returns:
        (k,) permutation: row i belongs to column ``permutation[i]``.
    Raises:
        ShapeError: not square.
    """
    from scipy.optimize import linear_sum_assignment

    if similarity.ndim != 2 or similarity.shape[0] != similarity.shape[1]:
        raise ShapeError(f"match: expected square similarities (k, k), got {tuple(similarity.shape)}")
    columns = linear_sum_assignment(similarity.detach().abs().double().cpu().numpy(), maximize=True)[1]
    return torch.from_numpy(columns).to(similarity.device)
