"""−log p(x|z) of decoders: per image, summed over pixels, in nats. One convention, so that β means something."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, logsigmoid, softplus

from trimkit.errors import OptionError
from trimkit.methods.choices import chosen
from trimkit.methods.energies import MSSSIM
from trimkit.methods.likelihood import INITIAL_SCALE, Likelihood, Scale, require_unit_range, summed

LikelihoodName: TypeAlias = Literal["bernoulli", "gaussian", "laplace", "logistic", "ms-ssim"]

LikelihoodChoice: TypeAlias = LikelihoodName | str | Callable[[tuple[int, ...]], Any]
"""A name; a function shape → `Likelihood`; or that function as text, ``pkg.mod:function``."""

LOWEST_LOG_SCALE = -6.0
"""A learned scale stays above exp(−6) = .0025, as in the σ-VAE of Rybkin et al. 2021 (arXiv:2006.13202, section 4)."""

LEVELS = 256
"""Grey levels of an 8-bit image."""


class Bernoulli(Likelihood):
    """r are logits; x in [0, 1]. For grey values this is the cross-entropy, whose floor is the entropy of x, not 0.

    Computed on logits: a sigmoid first would saturate at |r| > 17 in float32 and lose the gradient.
    """

    def negative_log(self, r: Tensor, x: Tensor) -> Tensor:
        """Σ softplus(r) − x·r."""
        return summed(binary_cross_entropy_with_logits(r, x, reduction="none"))

    def mean(self, r: Tensor) -> Tensor:
        """sigmoid(r)."""
        return r.sigmoid()

    def check(self, x: Tensor) -> None:
        """Refuse values outside [0, 1]."""
        require_unit_range(x, "a Bernoulli likelihood")


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
        squared = summed((x - r).square())
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
        return summed((x - r).abs()) * (-log_scale).exp() + _size(r) * (log_scale + math.log(2))


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
        return -summed(log_mass)

    def mean(self, r: Tensor) -> Tensor:
        """E[x|r] = Σ_k σ((r − (k − ½)/255)/s)/255, k = 1 … 255, as the integral over [0, 1]: a soft clip of r.

        The integral is s (softplus(r/s) − softplus((r − 1)/s)), and the sum its midpoint rule: for scales above one
        level, 1/255, they differ by 1/(96 · 255² · s) at most, nearly.
        """
        scale = self.log_scale(r).exp()
        return scale * (softplus(r / scale) - softplus((r - 1) / scale))

    def check(self, x: Tensor) -> None:
        """Refuse values outside [0, 1]."""
        require_unit_range(x, "a logistic likelihood")


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


def _size(values: Tensor) -> int:
    """Values a sample."""
    return math.prod(values.shape[1:])


def _unclipped(log_scale: float) -> float:
    """The free parameter at which the soft clip gives a log scale."""
    return LOWEST_LOG_SCALE + math.log(math.expm1(log_scale - LOWEST_LOG_SCALE))
