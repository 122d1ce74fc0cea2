"""Dictionaries that were not trained: random directions, principal and independent components."""

from __future__ import annotations

import warnings

import torch
from sklearn.decomposition import FastICA
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor
from torch.nn.functional import normalize

from trimkit_sae.metrics import Code

FITTED = 10_000
"""Vectors that components are fitted to, at most."""


def baseline_dictionaries(vectors: Tensor, features: int, seed: int = 0) -> dict[str, Tensor]:
    """Directions of length 1.

    Args:
        vectors: (n, d) that components are fitted to; the first `FITTED`.
        features: M of the random ones; there are at most d components.
        seed: of the random directions and of FastICA.
    Returns:
        "random" (M, d), "pca" and "ica" (at most d, d).
    """
    rng = torch.Generator().manual_seed(seed)
    rows = vectors[:FITTED].cpu().double()
    basis = torch.linalg.svd(rows - rows.mean(0), full_matrices=False)
    live = int((1e-6 * basis.S[0] < basis.S).sum())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # it gives the best that it found
        unmixing = FastICA(live, whiten="unit-variance", random_state=seed).fit(rows.numpy())
    found = {
        "random": torch.randn(features, rows.shape[1], generator=rng),
        "pca": basis.Vh[:live],
        "ica": torch.as_tensor(unmixing.mixing_).T,
    }
    return {name: normalize(directions.to(vectors), dim=1) for name, directions in found.items()}


def best_of(directions: Tensor, centre: Tensor, k: int) -> Code:
    """A code of fixed directions: the k with the largest |⟨x − c, d⟩| each, with the weights of least squares.

    For orthonormal directions, no k of them explain more.

    Args:
        directions: (M, d) of length 1.
        centre: c (d,).
        k: active features, at most M.
    """

    def code(x: Tensor) -> tuple[Tensor, Tensor]:
        """x̂ (n, d), and the weights of all directions, (n, M)."""
        h = x - centre
        places = (h @ directions.T).abs().topk(min(k, len(directions), x.shape[1]), dim=1).indices
        chosen = directions[places].double()
        gram = chosen @ chosen.mT + 1e-6 * torch.eye(chosen.shape[1], dtype=torch.float64, device=x.device)
        weights = torch.linalg.solve(gram, (chosen @ h.double()[:, :, None]))
        z = torch.zeros(len(x), len(directions), device=x.device).scatter(1, places, weights[:, :, 0].float())
        return (weights * chosen).sum(1).to(x) + centre, z

    return code
