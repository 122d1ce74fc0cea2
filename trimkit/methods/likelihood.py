"""What a likelihood is: −log p(x|r) of each image, summed over pixels, in nats."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal, TypeAlias

from torch import Tensor, nn

from trimkit.errors import DataError
from trimkit.methods.precision import at_least_float32

Scale: TypeAlias = float | Literal["learned"]
"""σ, b or s in data units; "learned" makes it a parameter, one for all values of all images."""

INITIAL_SCALE = 0.1
"""Where a learned scale starts."""


class Likelihood(nn.Module, ABC):
    """p(x|r): ``likelihood(r, x)`` gives −log p of each image, ``likelihood.mean(r)`` the image itself.

    Computed in float32 or better, also where the decoder ran in bfloat16.

    >>> import torch
    >>> from trimkit.methods import Bernoulli
    >>> likelihood = Bernoulli()
    >>> likelihood.mean(torch.zeros(1, 2)), likelihood(torch.zeros(1, 2), torch.ones(1, 2))    # 2 log 2
    (tensor([[0.5000, 0.5000]]), tensor([1.3863]))
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


def summed(values: Tensor) -> Tensor:
    """Over all but the batch: (N, ...) → (N,).

    >>> import torch
    >>> summed(torch.ones(2, 3, 4))
    tensor([12., 12.])
    """
    return values.flatten(1).sum(1)


def require_unit_range(x: Tensor, who: str) -> None:
    """Refuse data outside [0, 1].

    Raises:
        DataError: the range that was found, and what takes it.

    >>> import torch
    >>> require_unit_range(torch.tensor([0.0, 1.0]), "bernoulli")
    """
    low, high = float(x.min()), float(x.max())
    if low < 0 or high > 1:
        raise DataError(
            f"{who} needs data in [0, 1], got {low:.4g} … {high:.4g}; rescale the data, or use likelihood gaussian or "
            "laplace"
        )
