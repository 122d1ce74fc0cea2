"""Sources of known laws, mixed by a known matrix, and what `check_ica` fits to them."""

from __future__ import annotations

import numpy as np
from trimkit_ica.assumptions.fitted import Limits, as_rows, unmix

MIXING = np.array([[1.0, 0.4, -0.3], [0.5, 1.2, 0.2], [-0.2, 0.3, 0.9], [0.7, -0.6, 0.1]])


def draws(seed=0):
    return np.random.default_rng(seed)


def laplace(n, k=3, seed=0):
    return draws(seed).laplace(size=(n, k))


def mixed(s, p=None):
    """Sources (n, k) through the first p rows of a fixed mixing: square by default."""
    k = s.shape[1]
    return s @ MIXING[: p or k, :k].T


def fitted(x, components=None, limits=None):
    """What the checks look at, without running them all."""
    rows, _, dtype = as_rows(x, 20_000, 0)
    return unmix(rows, components, dtype, 0, limits or Limits())
