"""TRIM on linear ICA: independent components, of which a predictor reads few.

    min over Q ∈ O(k)   −λ_ica Σ_i (E G(s_i) − E G(ν))²  +  λ_attr E Ω(a(x))  +  λ_pred E KL( f(x) ‖ f(T⁻¹(m ∘ s)) )

with white data, s = T(x) = Q K (x − μ), T⁻¹(s) = μ + K⁺ Qᵀ s, G = log cosh and ν ~ N(0, 1). a_i = s_i ∂f_c/∂s_i are the
attributions of the predicted class c, taken with the residual r = x − T⁻¹(T(x)), so that f is explained at x itself; m
keeps the t components of largest |a_i|, and is fixed for the gradient. The first term is the method's; the other two
join it when it is trained around a predictor:

    trimkit.train(TrimICA((64,), 24), x, predictor=f, trim=["hoyer@components:1"], weights={"prediction": 1.0})

What no rotation changes: Σ_i a_i, so that L1 rewards equal signs as much as few components; ‖∂f/∂s‖₂, so that the L1 of
gradients does mean few; and T⁻¹(s) with all components, so that f must be asked about fewer than all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, cast, get_args

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import orthogonal

from trimkit.coefficients.groups import Groups
from trimkit.data.laws import random_rotation
from trimkit.errors import OptionError, ShapeError, TrainingError
from trimkit.methods import (
    Batch,
    Delta,
    LatentSpace,
    LatentTransform,
    Method,
    Phase,
    StepResult,
    Term,
    Weight,
    adam,
    as_schedule,
    gather,
)
from trimkit.metrics.independence.log_cosh import GAUSSIAN_LOG_COSH, log_cosh
from trimkit_ica.linear import Order
from trimkit_ica.rotations import predicted_gradients
from trimkit_ica.unmixing import as_stored, canonical, fastica, orthogonalised, whiten

Start = Literal["fastica", "identity", "random"]

USUAL = 24
"""Components of data that have more values than that."""


class TrimICA(Method):
    """Linear ICA whose rotation is also trained for what a frozen predictor reads, see the module.

    White data of the k largest principal components are turned by Q, from where FastICA ends. Computed in float64. The
    negentropy of real data is not much larger than the noise of a batch's: train with batches as large as can be, up to
    all data, and few steps.

    Args:
        shape: of one sample; flattened.
        components: k, from 2 to the number of values; by default that number, but at most 24. Data of lower rank need
            fewer.
        negentropy_weight: λ_ica: a number ≥ 0 or a schedule.
        kept: t, from 1 to k − 1: components that the prediction loss leaves the predictor; by default a quarter of k.
        start: "fastica", "identity" (the principal components) or "random".
        order: of the finished components: by "variance" of the data that they explain, or by "negentropy".
        learning_rate: of Adam.
        rate: factor of the learning rate: a number or a schedule such as "cosine(1, 0, 400)"; None leaves it alone.

    Raises:
        OptionError: an option out of range.
    """

    order: Order
    mean: Tensor
    whitener: Tensor
    unwhitener: Tensor
    prepared: Tensor

    def __init__(
        self,
        shape: tuple[int, ...],
        components: int | None = None,
        *,
        negentropy_weight: Weight = 50.0,
        kept: int | None = None,
        start: Start = "fastica",
        order: Order = "variance",
        learning_rate: float = 1e-2,
        rate: Weight | None = None,
    ) -> None:
        super().__init__(shape)
        self.components = components
        self.negentropy_weight = negentropy_weight
        self.kept = kept
        self.start = start
        self.order = order
        self.learning_rate = learning_rate
        self.rate = rate
        p = math.prod(self.shape)
        self.k = min(p, USUAL) if components is None else components
        self.t = max(1, self.k // 4) if kept is None else kept
        self._check_options(p)
        self.register_buffer("mean", torch.zeros(p, dtype=torch.float64))
        self.register_buffer("whitener", torch.eye(self.k, p, dtype=torch.float64))
        self.register_buffer("unwhitener", torch.eye(p, self.k, dtype=torch.float64))
        self.register_buffer("prepared", torch.tensor(False))
        self.turning = orthogonal(
            nn.Linear(self.k, self.k, bias=False, dtype=torch.float64), orthogonal_map="matrix_exp"
        )

    def _check_options(self, values: int) -> None:
        _require(
            isinstance(self.k, int) and 2 <= self.k <= values,
            f"from 2 to {values} components of {values} values",
            self.k,
        )
        _require(
            isinstance(self.t, int) and 1 <= self.t < self.k,
            f"kept from 1 to {self.k - 1} of {self.k} components",
            self.t,
            _ALL_KEPT,
        )
        weight = as_schedule(self.negentropy_weight)
        _require(callable(weight) or weight >= 0, "negentropy_weight ≥ 0", self.negentropy_weight)
        for name, choice in (("start", Start), ("order", Order)):
            names, given = get_args(choice), getattr(self, name)
            _require(given in names, f"{name} to be one of {', '.join(names)}", given)

    def latent_spaces(self) -> Sequence[LatentSpace]:
        """One space of k components of variance 1; exact where no direction of the data was left out."""
        names = tuple(f"component {i + 1}" for i in range(self.k))
        layout = Groups(names, torch.arange(self.k), f"component (falling {self.order})")
        return [LatentSpace("components", (self.k,), layout, exact_inverse=self.k == math.prod(self.shape))]

    @property
    def rotation(self) -> Tensor:
        """Q (k, k), with its graph: s = z Qᵀ for white data z."""
        return cast(Tensor, self.turning.weight)

    def rotate(self, matrix: Tensor) -> None:
        """Put a rotation in the place of Q, such as one of `trimkit_ica.rotations`.

        Args:
            matrix: (k, k), orthogonal up to rounding.
        Raises:
            ShapeError: not (k, k).
            OptionError: not orthogonal.
        """
        if matrix.shape != (self.k, self.k):
            raise ShapeError(f"trim-ica: expected a rotation ({self.k}, {self.k}), got {tuple(matrix.shape)}")
        wide = matrix.detach().double()
        off = float((wide @ wide.T - torch.eye(self.k).to(wide)).abs().max())
        if not off < 1e-3:
            raise OptionError(f"trim-ica: expected an orthogonal matrix, got one with Q Qᵀ {off:.2g} off the identity")
        self.turning.weight = orthogonalised(wide).to(self.mean)

    def whitened(self, x: Tensor) -> Tensor:
        """z = K (x − μ): (N, *shape) → (N, k) in float64.

        Raises:
            ShapeError: data of another shape.
        """
        if tuple(x.shape[1:]) != self.shape:
            raise ShapeError(f"trim-ica: expected data (N, {', '.join(map(str, self.shape))}), got {tuple(x.shape)}")
        return (x.flatten(1).double() - self.mean.double()) @ self.whitener.double().T

    def encode(self, x: Tensor, aux: Tensor | None = None, space: str | None = None) -> Delta:
        """s = Q K (x − μ): (N, *shape) → (N, k) in x's type.

        Raises:
            TrainingError: before training, which whitens first.
        """
        self._require_whitening()
        return Delta((self.whitened(x) @ self.rotation.double().T).to(x.dtype))

    def decode(self, z: Tensor, space: str | None = None) -> Tensor:
        """T⁻¹(s) = μ + K⁺ Qᵀ s: (N, k) → (N, *shape) in s's type.

        Raises:
            TrainingError: before training.
        """
        self._require_whitening()
        flat = z.double() @ self.rotation.double() @ self.unwhitener.double().T + self.mean.double()
        return flat.to(z.dtype).unflatten(1, self.shape)

    def _require_whitening(self) -> None:
        if not self.prepared:
            raise TrainingError("trim-ica: expected a trained method, this one knows no data yet; call trimkit.train")

    def as_transform(self, space: str | None = None) -> LatentTransform:
        """As every method's; its coefficients have variance 1 whatever Q is, so that gradients may be penalised too."""
        transform = super().as_transform(space)
        transform.norm_constrained = True
        return transform

    @torch.no_grad()
    def prepare(self, x: Tensor, aux: Tensor | None, generator: torch.Generator) -> None:
        """Whiten, and find the rotation to start from: (N, *shape) training data.

        Raises:
            DataError, ShapeError: data of fewer than k usable directions, or a single sample.
        """
        whitening = whiten(as_stored(x.flatten(1)), self.k)
        self.mean.copy_(whitening.mean)
        self.whitener.copy_(whitening.forward)
        self.unwhitener.copy_(whitening.backward)
        self.prepared.fill_(True)
        self.rotate(self._start(x, generator))

    def _start(self, x: Tensor, generator: torch.Generator) -> Tensor:
        if self.start == "identity":
            return torch.eye(self.k)
        somewhere = random_rotation(self.k, generator)
        return somewhere if self.start == "random" else fastica(self.whitened(x), start=somewhere).matrix

    @torch.no_grad()
    def finish(self, x: Tensor, aux: Tensor | None = None) -> None:
        """Bring the components into their canonical order, with canonical signs: no term depends on either."""
        s = self.whitened(x) @ self.rotation.double().T
        arranged = canonical(self.unwhitener.double() @ self.rotation.double().T, s, order=self.order)
        self.rotate(arranged.signs[:, None] * self.rotation.double()[arranged.order])

    def phases(self) -> Sequence[Phase]:
        """One phase for the rotation."""
        return [
            Phase(
                "rotation",
                list(self.turning.parameters()),
                self.loss,
                {"negentropy": as_schedule(self.negentropy_weight)},
                optimiser=adam(self.learning_rate),
                trains_decoder=True,
                rate=None if self.rate is None else as_schedule(self.rate),
            )
        ]

    def loss(self, batch: Batch, generator: torch.Generator, step: int) -> StepResult:
        """Minus the negentropy, and a reconstruction for the prediction loss.

        Args:
            batch: of N samples.
            generator: unused, nothing is drawn.
            step: from 0.
        Returns:
            Term negentropy = −Σ_i J(s_i), a scalar; x̂ = T⁻¹(m ∘ s), a function of the predictor; J of each component.
        """
        s = self.whitened(batch.x) @ self.rotation.double().T
        negentropies = unbiased_contrast(gather(s))
        return StepResult(
            {"negentropy": Term(-negentropies.sum())},
            reconstruction=partial(self.reconstruct, batch.x),
            diagnostics={"contrast_per_component": negentropies.detach()},
        )

    def reconstruct(self, x: Tensor, predictor: Callable[[Tensor], Tensor], kept: int | None = None) -> Tensor:
        """x̂ = T⁻¹(m ∘ s), without residual, from the components to which the predictor's output is attributed most.

        Args:
            x: (N, *shape).
            predictor: see `predicted_gradients`.
            kept: how many, from 1 to k; the method's t by default.
        Returns:
            (N, *shape), with the graph of Q; the mask has none.
        """
        s = self.encode(x).mean
        most = self.attributions(x, predictor).abs().topk(self.t if kept is None else kept, dim=1).indices
        return self.decode(s * torch.zeros_like(s).scatter(1, most, 1.0))

    @torch.no_grad()
    def attributions(self, x: Tensor, predictor: Callable[[Tensor], Tensor]) -> Tensor:
        """a = s ∘ ∂f_c/∂s of what is predicted, with the residual: the gradient is f's own at x, Q K⁺ᵀ ∇_x f_c.

        Args:
            x: (N, *shape).
            predictor: see `predicted_gradients`.
        Returns:
            (N, k) in x's type, detached.
        """
        return self.encode(x).mean * (self.gradients(x, predictor) @ self.rotation.double().T).to(x.dtype)

    @torch.no_grad()
    def gradients(self, x: Tensor, predictor: Callable[[Tensor], Tensor]) -> Tensor:
        """∇_z f_c in whitened coordinates, K⁺ᵀ ∇_x f_c, which does not depend on Q: (N, *shape) → (N, k) in float64."""
        return predicted_gradients(predictor, x).flatten(1).double() @ self.unwhitener.double()


_ALL_KEPT = (
    "; with all of them the reconstruction does not depend on the rotation, and a prediction loss would train nothing"
)


def _require(fine: bool, wanted: str, got: Any, reason: str = "") -> None:
    if not fine:
        raise OptionError(f"trim-ica: expected {wanted}, got {got!r}{reason}")


def unbiased_contrast(s: Tensor) -> Tensor:
    """(E log cosh s_i − E log cosh ν)² of each component without the bias of a small batch; differentiable.

    The square of a batch's mean is too large by Var(log cosh s_i) / n, which a batch of hundreds takes for a good part
    of real data's negentropy. The mean over pairs of different rows is not: ((Σ_j u_j)² − Σ_j u_j²) / (n (n − 1)), with
    u = log cosh s − E log cosh ν. Near 0 it can be negative.

    Args:
        s: (n, k) components of variance 1 over all data; n ≥ 2.
    Returns:
        (k,), whose mean over batches is `trimkit_ica.unmixing.contrast` of all data up to 1/N.
    Raises:
        ShapeError: a single row.
    """
    n = len(s)
    if n < 2:
        raise ShapeError(f"expected at least two samples a batch to tell their distribution from a Gaussian, got {n}")
    u = log_cosh(s) - GAUSSIAN_LOG_COSH
    return (u.sum(0).square() - u.square().sum(0)) / (n * (n - 1))
