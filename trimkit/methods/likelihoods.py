"""−log p(x|z) of decoders: per image, summed over pixels, in nats. One convention, so that β means something."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, logsigmoid, softplus

from trimkit.errors import DataError, OptionError, ShapeError
from trimkit.methods.choices import chosen
from trimkit.methods.precision import at_least_float32, no_autocast
from trimkit.predictor import FrozenPredictor

LikelihoodName: TypeAlias = Literal["bernoulli", "gaussian", "laplace", "logistic", "ms-ssim"]

LikelihoodChoice: TypeAlias = LikelihoodName | str | Callable[[tuple[int, ...]], Any]
"""A name; a function shape → `Likelihood`; or that function as text, ``pkg.mod:function``."""

Scale: TypeAlias = float | Literal["learned"]
"""σ, b or s in data units; "learned" makes it a parameter, one for all values of all images."""

INITIAL_SCALE = 0.1
"""Where a learned scale starts."""

LOWEST_LOG_SCALE = -6.0
"""A learned scale stays above exp(−6) = .0025, as in the σ-VAE of Rybkin et al. 2021 (arXiv:2006.13202, section 4)."""

LEVELS = 256
"""Grey levels of an 8-bit image."""


class Likelihood(nn.Module, ABC):
    """p(x|r): ``likelihood(r, x)`` gives −log p of each image, ``likelihood.mean(r)`` the image itself.

    Computed in float32 or better, also where the decoder ran in bfloat16.
    """

    def forward(self, r: Tensor, x: Tensor) -> Tensor:
        """−log p(x|r), summed over all but the batch.

        Args:
            r: (N, ...) decoder output.
            x: (N, ...) data of the same shape.
        Returns:
            (N,) nats.
        """
        return self.negative_log(at_least_float32(r), at_least_float32(x))

    @abstractmethod
    def negative_log(self, r: Tensor, x: Tensor) -> Tensor:
        """As `forward`, of tensors in float32 or better."""

    @abstractmethod
    def mean(self, r: Tensor) -> Tensor:
        """E[x|r] in data units, like r."""

    def check(self, x: Tensor) -> None:
        """Refuse data outside the support; by default everything is inside.

        Raises:
            DataError: values outside.
        """
        return


class Bernoulli(Likelihood):
    """r are logits; x in [0, 1]. For grey values this is the cross-entropy, whose floor is the entropy of x, not 0.

    Computed on logits: a sigmoid first would saturate at |r| > 17 in float32 and lose the gradient.
    """

    def negative_log(self, r: Tensor, x: Tensor) -> Tensor:
        """Σ softplus(r) − x·r."""
        return _summed(binary_cross_entropy_with_logits(r, x, reduction="none"))

    def mean(self, r: Tensor) -> Tensor:
        """sigmoid(r)."""
        return r.sigmoid()

    def check(self, x: Tensor) -> None:
        """Refuse values outside [0, 1]."""
        _require_unit_range(x, "a Bernoulli likelihood")


class _LocationScale(Likelihood):
    """Base of likelihoods with r as location and one scale, fixed or learned.

    Args:
        scale: > 0 in data units, or "learned".
    Raises:
        OptionError: another scale.
    """

    def __init__(self, scale: Scale = INITIAL_SCALE) -> None:
        super().__init__()
        learned = scale == "learned"
        value = INITIAL_SCALE if learned else scale
        if not isinstance(value, int | float) or not (math.isfinite(value) and value > 0):
            raise OptionError(f"{type(self).__name__} likelihood: expected a scale > 0, got {scale!r}; or 'learned'")
        self._fixed = math.log(value)
        self.free = nn.Parameter(torch.tensor(_unclipped(self._fixed))) if learned else None

    @property
    def scale(self) -> float:
        """The scale as it is now, in data units."""
        return float(self.log_scale(torch.zeros((), dtype=torch.float64)).detach().exp())

    def log_scale(self, like: Tensor) -> Tensor:
        """Log of the scale: a scalar of the type and device of a tensor, with its graph where it is learned."""
        if self.free is None:
            return torch.as_tensor(self._fixed, dtype=like.dtype, device=like.device)
        return LOWEST_LOG_SCALE + softplus(self.free.to(like) - LOWEST_LOG_SCALE)

    def mean(self, r: Tensor) -> Tensor:
        """r itself."""
        return r


class Gaussian(_LocationScale):
    """Σ ½ ((x − r)²/σ² + log 2πσ²).

    Args:
        scale: σ > 0 in data units, or "learned". 0.1 for data in [0, 1] weighs pixels about as the Bernoulli likelihood
            does; the squared error of other libraries is σ = 1 (½ Σ) or σ² = 1/510 (255 Σ) without the constant.
    """

    def negative_log(self, r: Tensor, x: Tensor) -> Tensor:
        """Σ ½ ((x − r)²/σ² + log 2πσ²)."""
        log_scale = self.log_scale(r)
        squared = _summed((x - r).square())
        return 0.5 * squared * (-2 * log_scale).exp() + _size(r) * (log_scale + 0.5 * math.log(2 * math.pi))


class Laplace(_LocationScale):
    """Σ |x − r|/b + log 2b.

    Args:
        scale: b > 0 in data units, or "learned"; the absolute error of other libraries (3 Σ) is b = 1/3 without the
            constant.
    """

    def negative_log(self, r: Tensor, x: Tensor) -> Tensor:
        """Σ |x − r|/b + log 2b."""
        log_scale = self.log_scale(r)
        return _summed((x - r).abs()) * (-log_scale).exp() + _size(r) * (log_scale + math.log(2))


class Logistic(_LocationScale):
    """The discretised logistic: probabilities of the 256 grey levels k/255 (PixelCNN++, Salimans et al. 2017, eq. 2).

    One component of location r and scale s: the mass of a logistic between the middles of neighbouring levels, with the
    lowest and the highest level open to the outside, so that the probabilities of the levels sum to 1. x is rounded to
    its level.

    With a = (x − 1/510 − r)/s and b = (x + 1/510 − r)/s, the mass σ(b) − σ(a) = σ(b) σ(−a) (1 − exp(a − b)), and a − b
    is a constant: exact in log space, where PixelCNN++ needs a midpoint approximation for narrow scales.

    Args:
        scale: s > 0 in data units, or "learned"; the standard deviation is s π/√3.
    """

    def negative_log(self, r: Tensor, x: Tensor) -> Tensor:
        """−Σ log p(level of x)."""
        half = 0.5 / (LEVELS - 1)
        log_scale = self.log_scale(r)
        level = (x * (LEVELS - 1)).round()
        offset = level / (LEVELS - 1) - r
        inverse = (-log_scale).exp()
        above, below = level < LEVELS - 1, level > 0
        log_mass = (
            torch.where(above, logsigmoid((offset + half) * inverse), 0)
            + torch.where(below, logsigmoid((half - offset) * inverse), 0)
            + (above & below) * torch.log(-torch.expm1(-2 * half * inverse))
        )
        return -_summed(log_mass)

    def mean(self, r: Tensor) -> Tensor:
        """E[x|r] = Σ_k σ((r − (k − ½)/255)/s)/255, k = 1 … 255, as the integral over [0, 1]: a soft clip of r.

        The integral is s (softplus(r/s) − softplus((r − 1)/s)), and the sum its midpoint rule: for scales above one
        level, 1/255, they differ by 1/(96 · 255² · s) at most, nearly.
        """
        scale = self.log_scale(r).exp()
        return scale * (softplus(r / scale) - softplus((r - 1) / scale))

    def check(self, x: Tensor) -> None:
        """Refuse values outside [0, 1]."""
        _require_unit_range(x, "a logistic likelihood")


SIGMAS = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Gaussians of the scales of MS-SSIM, in pixels: Zhao et al. 2017, IEEE TCI 3(1), section IV."""

_C1, _C2 = 0.01**2, 0.03**2
"""What keeps the quotients of SSIM finite (Wang et al. 2004, eq. 8), for data in [0, 1]."""


class MSSSIM(Likelihood):
    """An energy, not a density: Σ over pixels and channels of (1 − MS-SSIM)/T, with Zhao et al. 2017, eq. 8.

    MS-SSIM of a pixel is its luminance at the coarsest scale times its contrast and structure at every scale, which are
    Gaussians at full resolution, cut at 2σ of the coarsest. Scales whose window of 4σ + 1 pixels does not fit into the
    image are left out: five are left from 33 pixels, four from 17, three from 9, two from 5; smaller ones are refused.

    exp(−energy) is not normalised over x: values compare only among runs with this likelihood and this temperature.

    Args:
        shape: (C, H, W) of one image.
        scale: the temperature T > 0.
    Raises:
        ShapeError: no image, or one of fewer than 5 pixels a side.
        OptionError: a temperature that is not positive.
    """

    def __init__(self, shape: Sequence[int], scale: Scale = INITIAL_SCALE) -> None:
        super().__init__()
        self.temperature = _temperature("ms-ssim", scale)
        self.sigmas = fitting_sigmas(shape)

    def negative_log(self, r: Tensor, x: Tensor) -> Tensor:
        """Σ (1 − MS-SSIM)/T."""
        return _summed(1 - self.similarity(r, x)) / self.temperature

    def similarity(self, r: Tensor, x: Tensor) -> Tensor:
        """MS-SSIM of each pixel: (N, C, H, W) pairs → (N, C, H, W) in [−1, 1]."""
        moments = torch.cat([r, x, r.square(), x.square(), r * x])
        contrast = torch.ones_like(r)
        for sigma in self.sigmas:
            mean_r, mean_x, square_r, square_x, product = _blurred(moments, sigma, 2 * self.sigmas[-1]).chunk(5)
            means, squares = mean_r * mean_x, mean_r.square() + mean_x.square()
            contrast = contrast * (2 * (product - means) + _C2) / (square_r + square_x - squares + _C2)
        return contrast * (2 * means + _C1) / (squares + _C1)  # of the last, the coarsest

    def mean(self, r: Tensor) -> Tensor:
        """r itself."""
        return r

    def check(self, x: Tensor) -> None:
        """Refuse values outside [0, 1], for which the constants of SSIM are made."""
        _require_unit_range(x, "ms-ssim")


def fitting_sigmas(shape: Sequence[int]) -> tuple[float, ...]:
    """Those of `SIGMAS` whose window of 4σ + 1 pixels fits into an image (C, H, W).

    Raises:
        ShapeError: fewer than two fit, or the data are no images.
    """
    side = min(shape[1:]) if len(shape) == 3 else 0
    sigmas = tuple(sigma for sigma in SIGMAS if 4 * sigma + 1 <= side)
    if len(sigmas) < 2:
        raise ShapeError(
            f"likelihood ms-ssim compares images (C, H, W) of at least 5×5 pixels, got {tuple(shape)}; use likelihood "
            "gaussian, or laplace"
        )
    return sigmas


class Perceptual(Likelihood):
    """An energy, not a density: ½ Σ over layers of ‖φ(x) − φ(r)‖²/σ², with φ the features of a frozen network.

    r is compared as the network sees it, in data units (DFC-VAE, Hou et al. 2017, arXiv:1610.00291). Pixels that the
    layers ignore are free.

    Args:
        predictor: the network; a frozen copy is used.
        layers: names as in ``predictor.named_modules()``.
        scale: σ > 0 in units of the features.
    Raises:
        OptionError: no layer, or a scale that is not positive.

    Example:
        >>> import torch
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 4))
        >>> likelihood = Perceptual(network, ["1"])
        >>> x = torch.ones(2, 1, 4, 4)
        >>> likelihood(x, x).tolist()
        [0.0, 0.0]
    """

    def __init__(self, predictor: nn.Module, layers: Sequence[str], scale: float = 1.0) -> None:
        super().__init__()
        if not layers:
            raise OptionError("Perceptual: expected the names of layers whose features are compared, got none")
        self.predictor = predictor if isinstance(predictor, FrozenPredictor) else FrozenPredictor(predictor)
        self.layers = tuple(layers)
        self.scale = _temperature("perceptual", scale)

    def negative_log(self, r: Tensor, x: Tensor) -> Tensor:
        """½ Σ ‖φ(x) − φ(r)‖²/σ²."""
        with torch.no_grad():
            wanted = self.predictor.features(x, self.layers)
        features = self.predictor.features(r, self.layers)
        squared = [_summed((a - b).square()) for a, b in zip(features, wanted, strict=True)]
        return torch.stack(squared).sum(0) / (2 * self.scale**2)

    def mean(self, r: Tensor) -> Tensor:
        """r itself."""
        return r


def make_likelihood(choice: LikelihoodChoice, scale: Scale = INITIAL_SCALE, shape: Sequence[int] = ()) -> Likelihood:
    """A likelihood by its name, or the user's own.

    Args:
        choice: "bernoulli", "gaussian", "laplace", "logistic" (256 grey levels) or "ms-ssim"; or a function shape →
            `Likelihood`, also as text "pkg.mod:function", such as one that returns a `Perceptual`.
        scale: σ, b or s in data units, or "learned"; the temperature of ms-ssim. The Bernoulli likelihood and those of
            the user's own have none.
        shape: of one sample; ms-ssim and the user's own need it.
    Raises:
        OptionError: an unknown name, a scale that is not positive, or a function that returns something else.
        ShapeError: images too small for ms-ssim.
        ModelError: text that names nothing.
    """
    ours: dict[str, Callable[[tuple[int, ...]], Likelihood]] = {
        "bernoulli": lambda _: Bernoulli(),
        "gaussian": lambda _: Gaussian(scale),
        "laplace": lambda _: Laplace(scale),
        "logistic": lambda _: Logistic(scale),
        "ms-ssim": lambda shape: MSSSIM(shape, scale),
    }
    made = chosen("likelihood", choice, ours)(tuple(shape))
    if not isinstance(made, Likelihood):
        raise OptionError(f"likelihood {choice!r}: expected a trimkit.methods.Likelihood, got {type(made).__name__}")
    return made


def _blurred(images: Tensor, sigma: float, reach: float) -> Tensor:
    """Gaussian along rows and columns, cut at a distance; the weights inside the image sum to 1, also at borders.

    Two products with band matrices, since depthwise convolutions of this width are far slower on a CPU.
    """
    along_rows, along_columns = (_band(size, sigma, reach).to(images) for size in images.shape[2:])
    with no_autocast(images):
        return along_rows @ images @ along_columns.T


def _band(size: int, sigma: float, reach: float) -> Tensor:
    """Row i is the truncated Gaussian around i: (size, size) in float64."""
    distance = (torch.arange(size)[:, None] - torch.arange(size)).double()
    weights = torch.exp(-0.5 * (distance / sigma).square()) * (distance.abs() <= reach)
    return weights / weights.sum(1, keepdim=True)


def _summed(values: Tensor) -> Tensor:
    """Over all but the batch: (N, ...) → (N,)."""
    return values.flatten(1).sum(1)


def _size(values: Tensor) -> int:
    """Values a sample."""
    return math.prod(values.shape[1:])


def _unclipped(log_scale: float) -> float:
    """The free parameter at which the soft clip gives a log scale."""
    return LOWEST_LOG_SCALE + math.log(math.expm1(log_scale - LOWEST_LOG_SCALE))


def _temperature(name: str, scale: Scale) -> float:
    if scale == "learned":
        raise OptionError(f"likelihood {name} has no normaliser, so its scale cannot be learned; give a number")
    if not (math.isfinite(scale) and scale > 0):
        raise OptionError(f"likelihood {name}: expected a scale > 0, got {scale}")
    return float(scale)


def _require_unit_range(x: Tensor, who: str) -> None:
    low, high = float(x.min()), float(x.max())
    if low < 0 or high > 1:
        raise DataError(
            f"{who} needs data in [0, 1], got {low:.4g} … {high:.4g}; rescale the data, or use likelihood gaussian or "
            "laplace"
        )
