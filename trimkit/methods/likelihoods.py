"""−log p(x|z) of decoders: per image, summed over pixels, in nats. One convention, so that β means something."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Literal, TypeAlias

from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from trimkit.errors import DataError, OptionError, nearest

LikelihoodName: TypeAlias = Literal["bernoulli", "gaussian", "laplace"]


class Likelihood(nn.Module, ABC):
    """p(x|r): ``likelihood(r, x)`` gives −log p of each image, ``likelihood.mean(r)`` the image itself."""

    @abstractmethod
    def forward(self, r: Tensor, x: Tensor) -> Tensor:
        """−log p(x|r), summed over all but the batch.

        Args:
            r: (N, ...) decoder output.
            x: (N, ...) data of the same shape.
        Returns:
            (N,) nats.
        """

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

    def forward(self, r: Tensor, x: Tensor) -> Tensor:
        """Σ softplus(r) − x·r."""
        return binary_cross_entropy_with_logits(r, x, reduction="none").flatten(1).sum(1)

    def mean(self, r: Tensor) -> Tensor:
        """sigmoid(r)."""
        return r.sigmoid()

    def check(self, x: Tensor) -> None:
        """Refuse values outside [0, 1]."""
        low, high = float(x.min()), float(x.max())
        if low < 0 or high > 1:
            raise DataError(
                f"a Bernoulli likelihood needs data in [0, 1], got {low:.4g} … {high:.4g}; rescale the data, or use "
                "likelihood gaussian or laplace"
            )


class _LocationScale(Likelihood):
    """Base of likelihoods with r as location and a fixed scale."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        if not (math.isfinite(scale) and scale > 0):
            raise OptionError(f"{type(self).__name__} likelihood: expected a scale > 0, got {scale}")
        self.scale = scale

    def mean(self, r: Tensor) -> Tensor:
        """r itself."""
        return r


class Gaussian(_LocationScale):
    """Σ ½ ((x − r)²/σ² + log 2πσ²).

    Args:
        scale: σ > 0 in data units. 0.1 for data in [0, 1] weighs pixels about as the Bernoulli likelihood does; the
            squared error of other libraries is σ = 1 (½ Σ) or σ² = 1/510 (255 Σ) without the constant.
    """

    def __init__(self, scale: float = 0.1) -> None:
        super().__init__(scale)

    def forward(self, r: Tensor, x: Tensor) -> Tensor:
        """Σ ½ ((x − r)²/σ² + log 2πσ²)."""
        return (0.5 * ((x - r) / self.scale).square() + math.log(self.scale * math.sqrt(2 * math.pi))).flatten(1).sum(1)


class Laplace(_LocationScale):
    """Σ |x − r|/b + log 2b.

    Args:
        scale: b > 0 in data units; the absolute error of other libraries (3 Σ) is b = 1/3 without the constant.
    """

    def __init__(self, scale: float = 0.1) -> None:
        super().__init__(scale)

    def forward(self, r: Tensor, x: Tensor) -> Tensor:
        """Σ |x − r|/b + log 2b."""
        return ((x - r).abs() / self.scale + math.log(2 * self.scale)).flatten(1).sum(1)


def make_likelihood(name: LikelihoodName, scale: float = 0.1) -> Likelihood:
    """A likelihood by its name.

    Args:
        name: "bernoulli", "gaussian" or "laplace".
        scale: σ or b; the Bernoulli likelihood has none.
    Raises:
        OptionError: an unknown name, or a scale that is not positive.
    """
    if name == "bernoulli":
        return Bernoulli()
    kinds: dict[str, type[Gaussian] | type[Laplace]] = {"gaussian": Gaussian, "laplace": Laplace}
    if name not in kinds:
        raise OptionError(f"there is no likelihood {name!r}. {nearest(name, [*kinds, 'bernoulli'])}")
    return kinds[name](scale)
