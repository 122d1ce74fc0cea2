"""Linear independent component analysis without a model around it: whitening, FastICA, what makes fits comparable.

Rows are samples. With K the whitening (k, p) and Q a rotation (k, k), s = Q K (x − μ) and x ≈ μ + K⁺ Qᵀ s:

    whitening = whiten(x)
    rotation = fastica(whitening.apply(x), generator=torch.Generator().manual_seed(0))
    unmixing, mixing = rotation.matrix @ whitening.forward, whitening.backward @ rotation.matrix.mT
"""

from trimkit.unmixing.arrangement import Arrangement, canonical, match
from trimkit.unmixing.fixed_point import Rotation, columns, fastica, orthogonalised, random_rotation
from trimkit.unmixing.negentropy import GAUSSIAN_LOG_COSH, contrast, log_cosh
from trimkit.unmixing.whitening import Whitening, whiten

__all__ = [
    "GAUSSIAN_LOG_COSH",
    "Arrangement",
    "Rotation",
    "Whitening",
    "canonical",
    "columns",
    "contrast",
    "fastica",
    "log_cosh",
    "match",
    "orthogonalised",
    "random_rotation",
    "whiten",
]
