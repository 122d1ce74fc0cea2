"""Data → codes for generators without encoder: codes are moved until image and predictor's features fit."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

import trimkit
from trimkit.coefficients.groups import Groups
from trimkit.coefficients.tree import Tree
from trimkit.errors import DataError, OptionError, ShapeError, TransformError, nearest
from trimkit.methods import Method, load_method
from trimkit.predictor import PredictionLoss
from trimkit.training.progress import make_progress
from trimkit.transforms.base import Size, Transform, single_leaf
from trimkit_gan.factorisation import ganspace, sefa
from trimkit_gan.generating import StyleSpaces

RISE, FALL = 0.05, 0.25
"""Shares of the steps in which the learning rate rises from 0 and falls to 0 (StyleGAN2, appendix D)."""

LEARNING_RATE = 0.1
"""At its height (StyleGAN2, appendix D)."""


DIRECTIONS: dict[str, Callable[[StyleSpaces], Transform]] = {
    "ganspace": lambda method: ganspace(method, generator=torch.Generator(method.mapping.w_mean.device).manual_seed(0)),
    "sefa": sefa,
}
"""Coordinates of w by their names; those of GANSpace come from draws of z by one seed."""


class Search(NamedTuple):
    """How codes are searched for, see `project`."""

    steps: int = 300
    learning_rate: float = LEARNING_RATE
    predictor: nn.Module | None = None
    feature_weight: float = 1.0
    progress: bool = False


def project(
    method: StyleSpaces,
    x: Tensor,
    space: str = "w",
    *,
    steps: int = 300,
    learning_rate: float = LEARNING_RATE,
    predictor: nn.Module | None = None,
    feature_weight: float = 1.0,
    progress: bool = False,
) -> Tensor:
    """Codes whose images are near to data: min ‖x − G(w)‖² / pixels + weight · ‖f(x) − f(G(w))‖² / outputs, by Adam.

    It starts from the mean code, with constant noise, so it draws nothing; each sample is found as if it were alone.

    Args:
        method: trained; neither its weights nor their gradients change.
        x: (N, *method.shape) data.
        space: "w"; "w+", which fits better and lies less where the generator was trained; or "s", the styles of the w+
            that was found.
        steps: of Adam, at least 1.
        learning_rate: at its height.
        predictor: f, any module, of which a frozen copy is used; or a `trimkit.PredictionLoss`, for features of named
            layers. None for pixels alone.
        feature_weight: of the second term.
        progress: show it on stderr.
    Returns:
        (N, *shape of the space), detached.
    Raises:
        OptionError: z, or an option out of range.
        ShapeError, DataError: data of another shape or range, or with NaN.
    """
    search = Search(steps, learning_rate, predictor, feature_weight, progress)
    _check_data(method, x)
    _check_search(search)
    return _projected(method, x, space, search)


def _check_data(method: StyleSpaces, x: Tensor) -> None:
    """As `Method.check`, and no bytes for a method of [0, 1]; generated images, not clamped, may lie outside a bit."""
    Method.check(method, x)
    slack, least, most = 10 * (method.high - method.low), float(x.min()), float(x.max())
    if least < method.low - slack or most > method.high + slack:
        raise DataError(
            f"expected images about in [{method.low:g}, {method.high:g}], as the method was trained on, got "
            f"{least:.3g} … {most:.3g}; rescale them"
        )


def _check_search(search: Search) -> None:
    if not isinstance(search.steps, int) or search.steps < 1:
        raise OptionError(f"expected steps ≥ 1, a whole number, got {search.steps!r}")
    if not search.learning_rate > 0:
        raise OptionError(f"expected learning_rate > 0, got {search.learning_rate}")
    if not search.feature_weight >= 0:
        raise OptionError(f"expected feature_weight ≥ 0, got {search.feature_weight}")


def _projected(method: StyleSpaces, x: Tensor, space: str, search: Search) -> Tensor:
    """As `project`, of data of any range."""
    if space not in ("w", "w+", "s"):
        method.space(space)
        raise OptionError(f"expected a projection to w, w+ or s, got {space!r}: nothing but its images leads back to z")
    if tuple(x.shape[1:]) != method.shape:
        raise ShapeError(f"expected data of shape {method.shape} a sample, got {tuple(x.shape[1:])}")
    if not bool(x.isfinite().all()):
        raise DataError("expected finite data to project, got NaN or infinity")
    inner = "w+" if space == "s" else space
    start = method.baseline(inner)
    assert start is not None
    with torch.inference_mode(False):  # copies made here can be differentiated through
        error = _error(method, x.detach().clone(), inner, search)
        codes = _descend(start.repeat(len(x), *[1] * (start.ndim - 1)), error, search)
    with torch.no_grad():
        return method.codes(codes, inner)[space]


def _error(method: StyleSpaces, x: Tensor, space: str, search: Search) -> Callable[[Tensor], Tensor]:
    """Codes (N, …) → error of each sample (N,)."""
    predictor, weight = search.predictor, search.feature_weight
    if predictor is not None and not isinstance(predictor, PredictionLoss):
        predictor = PredictionLoss(predictor, "mse")
    loss = predictor.to(x.device) if predictor is not None else None

    def error(codes: Tensor) -> Tensor:
        images = method.decode(codes, space)
        pixels = (images - x).square().flatten(1).mean(1)
        return pixels if loss is None else pixels + weight * loss.per_sample(images, x)

    return error


def _descend(codes: Tensor, error: Callable[[Tensor], Tensor], search: Search) -> Tensor:
    """Adam on each sample's own error; no gradient reaches anything but the codes."""
    steps, learning_rate = search.steps, search.learning_rate
    with torch.enable_grad(), make_progress(steps, len(codes), wanted=search.progress) as shown:
        codes = codes.detach().clone().requires_grad_()
        optimiser = torch.optim.Adam([codes], learning_rate)
        for step in range(steps):
            errors = error(codes)
            (codes.grad,) = torch.autograd.grad(errors.sum(), [codes])
            optimiser.param_groups[0]["lr"] = learning_rate * ramp(step / steps)
            optimiser.step()
            shown.update(step + 1, {"loss": float(errors.detach().mean())})
    return codes.detach()


def ramp(t: float) -> float:
    """Share of the learning rate at a share t of the steps: linear up, constant, half a cosine down to 0."""
    fall = 0.5 - 0.5 * math.cos(math.pi * min(1.0, (1 - t) / FALL))
    return fall * min(1.0, (t + 1e-3) / RISE)


class Projection(Transform):
    """x ⇄ codes of a generator without encoder: forward projects, inverse generates, the residual carries the rest.

    A projection costs hundreds of passes, so codes are kept for each sample, as long as the method's weights stay as
    they are. They are found by optimisation, hence constants: no gradient leads back to x. Attributions and penalties
    need none, since they start at the codes.

    Args:
        method: trained; shares its weights.
        space: "w", "w+" or "s".
        steps: see `project`.
        predictor: see `project`.
        progress: show it on stderr.
    """

    exact: ClassVar[bool] = False  # type: ignore[misc]
    learnable: ClassVar[bool] = True  # type: ignore[misc]

    def __init__(
        self,
        method: StyleSpaces,
        space: str = "w",
        steps: int = 300,
        predictor: nn.Module | None = None,
        progress: bool = False,
    ) -> None:
        super().__init__()
        if not isinstance(method, StyleSpaces):
            raise TransformError(
                f"projection: expected a style-based generator, got {type(method).__name__}; a method with an encoder "
                "is a transform itself, method.as_transform(space)"
            )
        _check_search(Search(steps))
        self.method = method
        self.space = method.space(space)
        self.steps = steps
        self.predictor = predictor
        self.progress = progress
        self._codes: dict[bytes, Tensor] = {}
        self._searched_with: tuple[Any, ...] = ()

    def forward(self, x: Tensor) -> Tensor:
        """(N, *method.shape) → (N, *space.shape) in the method's type, detached; samples seen before cost nothing."""
        self._forget_if_changed()
        keys = [_key(sample) for sample in x]
        new = [n for n, key in enumerate(keys) if key not in self._codes and key not in keys[:n]]
        if new:
            search = Search(self.steps, predictor=self.predictor, progress=self.progress)
            codes = _projected(self.method, x[new], self.space.name, search)
            self._codes |= {keys[n]: code.cpu() for n, code in zip(new, codes, strict=True)}
        return torch.stack([self._codes[key] for key in keys]).to(x.device)

    def inverse(self, s: Tree, size: Size | None = None) -> Tensor:
        """The images of codes: (N, *space.shape) → (N, *method.shape)."""
        return self.method.decode(single_leaf(s, self.space.name), self.space.name)

    def groups(self, size: Size) -> Groups:
        """The units of the space; layers, for w+ and s."""
        return self.space.groups

    def _forget_if_changed(self) -> None:
        tensors = [*self.method.parameters(), *self.method.buffers()]
        states = [(tensor.data_ptr(), 0 if tensor.is_inference() else tensor._version) for tensor in tensors]
        searched_with = (id(self.method), id(self.predictor), self.space.name, self.steps, *states)
        if searched_with != self._searched_with:
            self._codes.clear()
            self._searched_with = searched_with


def projection(run: str, space: str = "w", steps: int = 300, directions: str | None = None) -> Transform:
    """A trained StyleGAN's latent space as a transform, by projection.

    Args:
        run: folder of the run.
        space: "w", "w+" or "s".
        steps: of Adam for each sample.
        directions: "ganspace" or "sefa" for coordinates along those directions of w, see `trimkit_gan.factorisation`;
            by default the entries of the space themselves.
    Raises:
        ModelError: see `trimkit.methods.load_method`.
        TransformError: the run is of another method.
        OptionError: directions of a space other than w, or that do not exist.
    """
    transform = Projection(load_method(run), space, steps)  # type: ignore[arg-type]  # the class refuses others
    if directions is None:
        return transform
    if space != "w":
        raise OptionError(f"expected space w, whose directions {directions!r} are, got {space!r}")
    if directions not in DIRECTIONS:
        raise OptionError(f"there are no directions {directions!r}. {nearest(directions, DIRECTIONS)}")
    return trimkit.create("transform", "compose", of=[transform, DIRECTIONS[directions](transform.method)])


def _key(sample: Tensor) -> bytes:
    """Which sample it is: a hash of type and values."""
    values = sample.detach().cpu().contiguous().view(-1).view(torch.uint8)
    return hashlib.sha256(str(sample.dtype).encode() + values.numpy().tobytes()).digest()
