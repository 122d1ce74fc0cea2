"""Linear ICA: x = μ + A s with independent s, found as s = W (x − μ); three ways to W, and what they share."""

from __future__ import annotations

import math
import warnings
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self, get_args

import torch
from torch import Tensor

from trimkit.coefficients.groups import Groups
from trimkit.data.laws import random_rotation
from trimkit.errors import OptionError, ShapeError, TrainingError, TrimkitWarning
from trimkit.methods import Delta, LatentSpace, Method, Posterior
from trimkit_ica.infomax import infomax
from trimkit_ica.marginals import draw_marginals, marginal_quantiles
from trimkit_ica.picard import picard
from trimkit_ica.quasi_newton import Solution
from trimkit_ica.unmixing import as_stored, canonical, fastica, whiten

Order = Literal["variance", "negentropy"]
Solver = Literal["auto", "sklearn", "torch"]
Precision = Literal["32", "64"]

ENOUGH = 5
"""Samples that each entry of W should have: with fewer than 5 k² fits often do not converge, or to chance."""


class LinearICA(Method):
    """Base of linear ICA methods: everything but how the components of white data are found, `solve`.

    Components have mean 0 and variance 1 over the training data, an order, and a sign: positive skewness
    (`trimkit_ica.unmixing.canonical`), so that fits from other starts give the same. Matrices are kept and applied in
    float64, whatever type the method is cast to.

    Args:
        shape: of one sample.
        components: how many, k; None for all that the data have. Fewer are those of a PCA of as many.
        order: what comes first: "variance", what explains most of the data, or "negentropy", what is least Gaussian.
        tol: when the search ends.
        max_iter: of the search.
        seed: of its start.

    Attributes:
        mean: μ (p,), p the entries of a sample; empty before `fit`, as all that follow.
        unmixing: W (k, p).
        mixing: A (p, k), one component's pattern a column.
        quantiles: (1025, k) of the components over the training data.
        converged: whether the search ended by its tolerance; False before `fit`.
        iterations: of the search.

    Raises:
        OptionError: an option out of range.
    """

    mean: Tensor
    unmixing: Tensor
    mixing: Tensor
    quantiles: Tensor
    order: Order
    _outcome: Tensor

    def __init__(
        self,
        shape: tuple[int, ...],
        components: int | None = None,
        *,
        order: Order = "variance",
        tol: float = 1e-7,
        max_iter: int = 500,
        seed: int = 0,
    ) -> None:
        super().__init__(shape)
        self.components, self.order = components, order
        self.tol, self.max_iter, self.seed = tol, max_iter, seed
        self._entries = math.prod(self.shape)
        most = self._entries
        whole = components is None or isinstance(components, int)
        self._require(
            whole and 1 <= (1 if components is None else components) <= most, f"from 1 to {most} components", components
        )
        self._require(order in get_args(Order), f"order to be one of {', '.join(get_args(Order))}", order)
        self._require(tol > 0, "tol > 0", tol)
        self._require(max_iter >= 1, "max_iter ≥ 1", max_iter)
        for name in ("mean", "unmixing", "mixing", "quantiles"):
            self.register_buffer(name, torch.empty(0, dtype=torch.float64))
        self.register_buffer("_outcome", torch.zeros(2, dtype=torch.long))

    @abstractmethod
    def solve(self, z: Tensor, start: Tensor) -> Solution:
        """Find the components of white data.

        Args:
            z: (n, k) white data, float64.
            start: (k, k) random rotation, float64.
        """

    @property
    def converged(self) -> bool:
        """Whether the search ended by its tolerance; False before `fit`."""
        return bool(self._outcome[0])

    @property
    def iterations(self) -> int:
        """Iterations of the search; 0 before `fit`."""
        return int(self._outcome[1])

    def latent_spaces(self) -> Sequence[LatentSpace]:
        """One space, of k components; before `fit`, as many as asked for or possible."""
        k = self.mixing.shape[1] if len(self.mixing) else self.components or self._entries
        names = tuple(f"component {i + 1}" for i in range(k))
        layout = Groups(names, torch.arange(k), f"independent component (falling {self.order})")
        return [LatentSpace("components", (k,), layout, exact_inverse=k == self._entries)]

    def encode(self, x: Tensor, aux: Tensor | None = None, space: str | None = None) -> Posterior:
        """s = W (x − μ): (N, *shape) → the point in (N, k), of x's type."""
        self._require_fit()
        if tuple(x.shape[1:]) != self.shape or not x.is_floating_point():
            raise ShapeError(
                f"{self._name}: expected floating data (N, {', '.join(map(str, self.shape))}), got {x.dtype} "
                f"{tuple(x.shape)}"
            )
        return Delta(((x.flatten(1).double() - self.mean) @ self.unmixing.T).to(x.dtype))

    def decode(self, z: Tensor, space: str | None = None) -> Tensor:
        """μ + A s: (N, k) → (N, *shape), of z's type."""
        self._require_fit()
        return (z.double() @ self.mixing.T + self.mean).to(z.dtype).unflatten(1, self.shape)

    def sample_codes(self, n: int, generator: torch.Generator | None = None, space: str | None = None) -> Tensor:
        """Each component by itself from its distribution over the training data, (n, k) float32.

        Between the stored quantiles, the distribution function is linear.
        """
        self._require_fit()
        return draw_marginals(self.quantiles, n, generator).float()

    def sample(self, n: int, generator: torch.Generator | None = None, aux: Tensor | None = None) -> Tensor:
        """Data of components drawn independently of each other: (n, *shape) float32."""
        return self.decode(self.sample_codes(n, generator))

    @torch.no_grad()
    def fit(self, x: Tensor, aux: Tensor | None = None) -> None:
        """Whiten, find the components, and put them into their order.

        Args:
            x: (N, *shape), N ≥ 2.
            aux: unused.
        Raises:
            ShapeError, DataError: data that cannot be used, or that have fewer components than asked for.
        Warns:
            TrimkitWarning: not converged, fewer than 5 k² samples, or directions that rounding took away.
        """
        self.check(x)
        stored = as_stored(x.flatten(1))
        whitening = whiten(stored, self.components)
        if lost := whitening.describe_lost(stored.dtype):
            self._warn(lost)
        z = whitening.apply(x.flatten(1).double())
        n, k = z.shape
        if n < ENOUGH * k**2:
            most = max(1, math.isqrt(n // ENOUGH))
            self._warn(
                f"{n} samples are few for {k} components, which want {ENOUGH * k**2}: another sample may give others; "
                f"use more data, or components={most}"
            )
        start = random_rotation(k, torch.Generator().manual_seed(self.seed)).to(z.device)
        solution = self.solve(z, start)
        if not solution.converged:
            self._warn(f"not converged after {solution.iterations} iterations; {self._way_out}")
        # z is white: of variance 1 are the components of rows of norm 1
        matrix = solution.matrix / torch.linalg.vector_norm(solution.matrix, dim=1, keepdim=True)
        s, mixing = z @ matrix.T, whitening.backward @ torch.linalg.inv(matrix)
        order, signs = canonical(mixing, s, order=self.order)
        self.mean, self.mixing = whitening.mean, mixing[:, order] * signs
        self.unmixing = (matrix @ whitening.forward)[order] * signs[:, None]
        self.quantiles = marginal_quantiles(s[:, order] * signs)
        self._outcome = torch.tensor([solution.converged, solution.iterations]).to(self._outcome)

    _way_out = "raise max_iter, ask for fewer components, or check for components that are Gaussian"

    def exhibits(self) -> Mapping[str, Mapping[str, Tensor]]:
        """The components' patterns: columns of A, scaled so that grey is 0 in an image."""
        self._require_fit()
        patterns = self.mixing.T.unflatten(1, self.shape)
        size = patterns.flatten(1).abs().amax(1).clamp_min(torch.finfo(torch.float64).tiny)
        shown = 0.5 + patterns / (2 * size.view(-1, *[1] * len(self.shape)))
        return {"components": {f"component {i + 1}": pattern for i, pattern in enumerate(shown)}}

    def _warn(self, message: str) -> None:
        warnings.warn(f"{self._name}: {message}", TrimkitWarning, stacklevel=4)

    @property
    def _name(self) -> str:
        return type(self).__name__.lower()

    def _require(self, holds: bool, expected: str, got: Any) -> None:
        if not holds:
            raise OptionError(f"{self._name}: expected {expected}, got {got!r}")

    def _require_fit(self) -> None:
        if not len(self.mean):
            raise TrainingError(
                f"{self._name} is not fitted: call fit(x), trimkit.train(method, data), or load a trained run"
            )

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        """As every module, with the matrices moved, but never in less than float64."""
        before = dict(self.named_buffers(recurse=False))
        super()._apply(fn, recurse)
        for name, buffer in before.items():
            setattr(self, name, buffer.to(getattr(self, name).device))
        return self

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        for name, buffer in self.named_buffers(recurse=False):
            saved = state_dict.get(prefix + name)
            if isinstance(saved, Tensor) and saved.shape != buffer.shape:
                setattr(self, name, torch.empty_like(saved, device=buffer.device))
        super()._load_from_state_dict(state_dict, prefix, *args)


class FastICA(LinearICA):
    """Linear ICA by symmetric fixed-point iteration (Hyvärinen 1999): the least Gaussian rotation of white data.

    Two or more Gaussian components cannot be told apart: the search then often does not converge, and where it does,
    they are chance (``trimkit check-ica``). On real data, where no model holds, it may be slow; see `Picard`.

    Args:
        shape: of one sample.
        components: how many, k; None for all that the data have.
        order: "variance" or "negentropy", see `LinearICA`.
        tol: largest 1 − |cos| of a direction's last move.
        max_iter: sweeps at most.
        seed: of the random start.
        solver: "sklearn", "torch" on any device, or "auto": scikit-learn on a CPU, which is as fast and well known.
        precision: "64", or "32" for sweeps in float32 but for the last; of the torch solver.

    Raises:
        OptionError: an option out of range, or scikit-learn in float32.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        components: int | None = None,
        *,
        tol: float = 1e-6,
        solver: Solver = "auto",
        precision: Precision = "64",
        **common: Any,
    ) -> None:
        super().__init__(shape, components, tol=tol, **common)
        self.solver, self.precision = solver, precision
        self._require(solver in get_args(Solver), f"solver to be one of {', '.join(get_args(Solver))}", solver)
        self._require(precision in get_args(Precision), "precision '32' or '64'", precision)
        wide = precision == "64" or solver != "sklearn"
        self._require(wide, "precision '64' where scikit-learn is the solver; use solver='torch'", precision)

    _way_out = "raise max_iter, ask for fewer components, or use the method picard"

    def solve(self, z: Tensor, start: Tensor) -> Solution:
        """A rotation, by the solver."""
        solver = self.solver
        if solver == "auto":
            solver = "sklearn" if z.device.type == "cpu" and self.precision == "64" else "torch"
        if solver == "sklearn":
            return _by_sklearn(z, start, self.tol, self.max_iter)
        dtype = torch.float32 if self.precision == "32" else torch.float64
        solution = fastica(z, tol=self.tol, max_iter=self.max_iter, start=start, dtype=dtype)
        return Solution(solution.matrix, bool(solution.converged), int(solution.iterations))


class Picard(LinearICA):
    """Linear ICA by maximum likelihood over rotations of white data (Picard-O: Ablin, Cardoso, Gramfort 2018).

    The same components as `FastICA`, by preconditioned L-BFGS: it takes longer where the model holds, and converges
    where FastICA stalls on real data. It converges for several Gaussian components too, which are chance nonetheless.

    Args:
        shape: of one sample.
        components: how many, k; None for all that the data have.
        order: "variance" or "negentropy", see `LinearICA`.
        tol: of the relative gradient's largest entry.
        max_iter: steps at most.
        seed: of the random start.

    Raises:
        OptionError: an option out of range.
    """

    def solve(self, z: Tensor, start: Tensor) -> Solution:
        """A rotation, see `trimkit_ica.picard.picard`."""
        return picard(z, start, tol=self.tol, max_iter=self.max_iter)


class Infomax(LinearICA):
    """Linear ICA by maximum likelihood over all invertible matrices (Bell, Sejnowski 1995), by preconditioned L-BFGS.

    Unlike those of `FastICA` and `Picard`, components may be correlated where that is likelier. ``extended`` (Lee,
    Girolami, Sejnowski 1999) lets each be super- or sub-Gaussian; without it, sub-Gaussian components come out wrong.

    Args:
        shape: of one sample.
        components: how many, k; None for all that the data have.
        order: "variance" or "negentropy", see `LinearICA`.
        tol: of the relative gradient's largest entry.
        max_iter: steps at most.
        seed: of the random start.
        extended: densities that adapt to sub-Gaussian components.

    Raises:
        OptionError: an option out of range.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        components: int | None = None,
        *,
        extended: bool = True,
        **common: Any,
    ) -> None:
        super().__init__(shape, components, **common)
        self.extended = extended

    def solve(self, z: Tensor, start: Tensor) -> Solution:
        """An invertible matrix, see `trimkit_ica.infomax.infomax`; warns of components that have no density."""
        solution, excess = infomax(z, start, extended=self.extended, tol=self.tol, max_iter=self.max_iter)
        wrong = 0 if self.extended else int((excess < 0).sum())
        if wrong:
            self._warn(f"{wrong} components are sub-Gaussian, which gives a wrong unmixing; use extended=True")
        return solution


def _by_sklearn(z: Tensor, start: Tensor, tol: float, most: int) -> Solution:
    """The iteration of scikit-learn on data that are white already."""
    from sklearn.decomposition import FastICA as Sklearn
    from sklearn.exceptions import ConvergenceWarning

    options: dict[str, Any] = {"whiten": False, "w_init": start.cpu().numpy()}
    model = Sklearn(algorithm="parallel", fun="logcosh", tol=tol, max_iter=most, **options)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        model.fit(z.cpu().numpy())
    failed = any(issubclass(warning.category, ConvergenceWarning) for warning in caught)
    return Solution(torch.from_numpy(model.components_).to(z), not failed, int(model.n_iter_))
