"""Components and whitening that are learned from data: PCA, ZCA, NMF."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor

from trimkit.coefficients.groups import Groups
from trimkit.coefficients.tree import Tree
from trimkit.errors import DataError, OptionError, TrimkitWarning
from trimkit.registry.options import real_number, whole_number
from trimkit.transforms.base import Identity, Size, single_leaf
from trimkit.transforms.linear import Components, Fitted, require_floating


class PCA(Fitted, Components):
    """Principal components: s = (x − mean) · Dᵀ with orthonormal rows D, in order of falling variance.

    Lossy with fewer components than the data has entries; the residual then carries the rest. The zero baseline is the
    mean of the data. The sign of a component makes its largest entry positive.

    Args:
        components: how many to keep, ≥ 1; by default as many as the data has, min(N − 1, n).

    Attributes:
        components: (k, n), orthonormal rows.
        mean: (n,).
        variance: (k,), of each component over the data, divided by N − 1.
    """

    _axis = "principal component (falling variance)"

    mean: Tensor
    variance: Tensor

    def __init__(self, components: int | None = None) -> None:
        super().__init__("components", "variance")
        whole_number("pca", components=1 if components is None else components)
        self._count = components

    def learn(self, rows: Tensor) -> dict[str, Tensor]:
        """Mean, components and variances by singular value decomposition."""
        most = min(len(rows) - 1, rows.shape[1])
        count = _within("pca", self._count, most, rows)
        mean = rows.mean(0)
        _, singular, directions = torch.linalg.svd(rows - mean, full_matrices=False)
        largest = directions.gather(1, directions.abs().argmax(1, keepdim=True))
        directions = directions * torch.where(largest < 0, -1.0, 1.0)
        variance = singular.square() / (len(rows) - 1)
        return {"mean": mean, "components": directions[:count], "variance": variance[:count]}

    def forward(self, x: Tensor) -> Tensor:
        """(N, *size) → (N, k)."""
        self.require_fit(x.shape[1:])
        return (self._rows(x) - self.mean.to(x)) @ self.components.to(x).T

    def inverse(self, s: Tree, size: Size | None = None) -> Tensor:
        """(N, k) → (N, *size), the mean added."""
        self.require_fit(size or self.fitted_size)
        x = super().inverse(s, self.fitted_size)
        return x + self.mean.to(x).reshape(self.fitted_size)

    def groups(self, size: Size) -> Groups:
        """One group a component."""
        self.require_fit(size)
        return super().groups(size)


class NMF(Fitted, Components):
    """Non-negative parts: x ≈ s · D with D ≥ 0 and s ≥ 0, the parts of unit norm (Lee, Seung 1999).

    D is fitted by scikit-learn. s is the exact non-negative least squares solution for D: the set of parts that are on
    is found by an active-set method, outside of the graph; with that set fixed s is linear in x, so derivatives are
    exact wherever the set does not change. Lossy; the residual carries the rest. s of 0 are parts that are off.

    Args:
        components: number of parts k ≥ 1.
        iterations: most iterations of the fit.
        seed: of the fit's start.

    Attributes:
        components: (k, n), non-negative rows of unit norm, in order of falling total weight.
    """

    _axis = "part (falling weight)"

    def __init__(self, components: int = 16, iterations: int = 400, seed: int = 0) -> None:
        super().__init__("components")
        whole_number("nmf", components=components)
        self._count = components
        self.iterations = iterations
        self.seed = seed

    def learn(self, rows: Tensor) -> dict[str, Tensor]:
        """Parts by coordinate descent from a deterministic start."""
        if bool((rows < 0).any()):
            raise DataError("nmf.fit: expected data ≥ 0, got negative values; shift them, or use pca")
        from sklearn.decomposition import NMF as Sklearn
        from sklearn.exceptions import ConvergenceWarning

        count = _within("nmf", self._count, min(rows.shape), rows)
        options: dict[str, Any] = {"init": "nndsvda", "max_iter": self.iterations, "random_state": self.seed}
        model = Sklearn(n_components=count, **options)  # type: ignore[arg-type]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            weights = model.fit_transform(rows.cpu().numpy())
        if model.n_iter_ >= self.iterations:
            warnings.warn(
                f"nmf: not converged after {self.iterations} iterations; raise iterations", TrimkitWarning, stacklevel=4
            )
        parts = torch.from_numpy(model.components_)
        norms = torch.linalg.vector_norm(parts, dim=1)
        order = (torch.from_numpy(weights).sum(0) * norms).argsort(descending=True)
        order = order[norms[order] > 0]  # a part that the fit has switched off says nothing
        return {"components": parts[order] / norms[order, None]}

    def forward(self, x: Tensor) -> Tensor:
        """(N, *size) → (N, k), ≥ 0."""
        self.require_fit(x.shape[1:])
        rows, parts = self._rows(x), self.components.to(x)
        if not bool(torch.isfinite(rows).all()):
            raise DataError("nmf: expected finite data, got NaN or infinity, which have no least squares; clean them")
        on = active_parts(rows.detach(), parts)
        gram = parts @ parts.T * on[:, :, None] * on[:, None, :] + torch.diag_embed(1 - on)
        wide = torch.promote_types(x.dtype, torch.float32)  # half precision has no solver
        return torch.linalg.solve(gram.to(wide), (rows @ parts.T * on).to(wide)).to(x)

    def inverse(self, s: Tree, size: Size | None = None) -> Tensor:
        """(N, k) → (N, *size)."""
        self.require_fit(size or self.fitted_size)
        return super().inverse(s, self.fitted_size)

    def groups(self, size: Size) -> Groups:
        """One group a part."""
        self.require_fit(size)
        return super().groups(size)


class ZCA(Fitted):
    """Whitening that stays as near to the data as whitening can: s = (x − mean) · U (Λ + ε)^−½ Uᵀ, of the data's shape.

    Exact, since ε > 0. The zero baseline is the mean of the data. Groups are those of `Identity`: patches, segments or
    features, whose scores no longer share what neighbouring pixels have in common (Bell, Sejnowski 1997).

    Args:
        epsilon: ε as a share of the mean variance, > 0: directions of less variance are not amplified to noise.
        parts: into how many parts each axis of an image or signal is cut for the groups, at least 1.

    Attributes:
        mean: (n,).
        whitening: (n, n), symmetric.
        colouring: (n, n), its inverse.
    """

    mean: Tensor
    whitening: Tensor
    colouring: Tensor

    def __init__(self, epsilon: float = 1e-3, parts: int = 4) -> None:
        super().__init__("whitening", "colouring")
        real_number("zca", above=True, epsilon=epsilon)
        self.epsilon = epsilon
        self._places = Identity(parts)

    def learn(self, rows: Tensor) -> dict[str, Tensor]:
        """Mean and the two matrices from the covariance's eigenvectors."""
        mean = rows.mean(0)
        values, vectors = torch.linalg.eigh((rows - mean).T @ (rows - mean) / (len(rows) - 1))
        if not values.mean() > 0:
            raise DataError("zca.fit: expected data that varies, got samples that are all alike")
        scales = (values.clamp_min(0) + self.epsilon * values.mean()).sqrt()
        return {
            "mean": mean,
            "whitening": vectors / scales @ vectors.T,
            "colouring": vectors * scales @ vectors.T,
        }

    def forward(self, x: Tensor) -> Tensor:
        """(N, *size) → the same shape."""
        require_floating("zca", x)
        self.require_fit(x.shape[1:])
        return ((x.flatten(1) - self.mean.to(x)) @ self.whitening.to(x)).reshape(x.shape)

    def inverse(self, s: Tree, size: Size | None = None) -> Tensor:
        """(N, *size) → the same shape."""
        leaf = single_leaf(s, "zca")
        self.require_fit(leaf.shape[1:])
        return (leaf.flatten(1) @ self.colouring.to(leaf) + self.mean.to(leaf)).reshape(leaf.shape)

    def groups(self, size: Size) -> Groups:
        """Patches, segments or features, as of `Identity`."""
        self.require_fit(size)
        return self._places.groups(size)


def active_parts(rows: Tensor, parts: Tensor) -> Tensor:
    """Which parts the non-negative least squares solution of each row uses: 1 or 0, (N, k), of the rows' type.

    min ‖s · D − x‖ over s ≥ 0 has the solution of a k × k problem: with Dᵀ = Q R, of min ‖R sᵀ − Qᵀ xᵀ‖.
    """
    from scipy.optimize import nnls

    q, r = torch.linalg.qr(parts.double().T)
    small = (rows.double() @ q).cpu().numpy()
    square = r.cpu().numpy()
    solutions = torch.stack([torch.from_numpy(nnls(square, row)[0]) for row in small])
    return (solutions > 0).to(rows)


def _within(name: str, count: int | None, most: int, rows: Tensor) -> int:
    if count is not None and count > most:
        raise OptionError(
            f"{name}: expected components ≤ {most} for {len(rows)} samples of {rows.shape[1]} entries, got {count}; "
            "lower components, or fit to more data"
        )
    return most if count is None else count
