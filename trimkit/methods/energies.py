"""Reconstruction by something smarter than pixels: energies, which have no normaliser, in place of likelihoods."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from trimkit.errors import OptionError, ShapeError
from trimkit.methods.likelihood import INITIAL_SCALE, Likelihood, Scale, require_unit_range, summed
from trimkit.methods.precision import no_autocast
from trimkit.predictor import FrozenPredictor

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
        return summed(1 - self.similarity(r, x)) / self.temperature

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
        require_unit_range(x, "ms-ssim")


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
        squared = [summed((a - b).square()) for a, b in zip(features, wanted, strict=True)]
        return torch.stack(squared).sum(0) / (2 * self.scale**2)

    def mean(self, r: Tensor) -> Tensor:
        """r itself."""
        return r


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


def _temperature(name: str, scale: Scale) -> float:
    if scale == "learned":
        raise OptionError(f"likelihood {name} has no normaliser, so its scale cannot be learned; give a number")
    if not (math.isfinite(scale) and scale > 0):
        raise OptionError(f"likelihood {name}: expected a scale > 0, got {scale}")
    return float(scale)
