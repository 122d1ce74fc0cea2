"""Linear independent component analysis without a model around it: whitening, FastICA, what makes fits comparable.

Rows are samples. With K the whitening (k, p) and Q a rotation (k, k), s = Q K (x − μ) and x ≈ μ + K⁺ Qᵀ s:

    whitening = whiten(x)
    rotation = fastica(whitening.apply(x), generator=torch.Generator().manual_seed(0))
    unmixing, mixing = rotation.matrix @ whitening.forward, whitening.backward @ rotation.matrix.mT
"""

from trimkit_ica.unmixing.arrangement import Arrangement, canonical, match
from trimkit_ica.unmixing.fixed_point import Rotation, columns, fastica, orthogonalised
from trimkit_ica.unmixing.whitening import Whitening, as_stored, whiten

__all__ = [
    "Arrangement",
    "Rotation",
    "Whitening",
    "as_stored",
    "canonical",
    "columns",
    "fastica",
    "match",
    "orthogonalised",
    "whiten",
]
