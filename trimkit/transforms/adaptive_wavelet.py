"""A wavelet that is learned: only its low-pass filter is free, and named losses keep it a wavelet."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from trimkit.coefficients.axes import Axes, Layout
from trimkit.errors import OptionError
from trimkit.transforms.along import Dims
from trimkit.transforms.filterbank import FilterBank
from trimkit.transforms.lattice import angles_of_filter, filter_of_angles
from trimkit.transforms.wavelet import Multilevel, pywt_filters


class AdaptiveWavelet(Multilevel):
    """Wavelet transform with a learnable low-pass filter h; the high-pass is g[k] = (−1)ᵏ⁺¹ h[L − 1 − k].

    Ha et al. 2021 ("Adaptive wavelet distillation from neural networks through interpretations", 2107.09145). The
    inverse is the adjoint; it gives the data back where `constraint_losses` are zero, as they are at the start. While
    they are not, the residual carries the rest.

    Scale degeneracy: h → c·h multiplies the coefficients of level j by cʲ and, the inverse being the adjoint, the
    gradients with respect to them by cʲ too. A penalty on coefficients, gradients or their products could be met by
    shrinking h. With ``unit_norm`` it cannot; without, as published, only the constraint losses forbid it, and a large
    penalty overcomes them.

    With ``lattice`` what is learned is angles, see `trimkit.transforms.lattice.filter_of_angles`: every filter is
    orthogonal with one vanishing moment, so the inverse is exact, the constraint losses are zero and the norm is 1.

    Args:
        wavelet: where to start: name of an orthogonal wavelet of PyWavelets, such as "db5".
        levels: J ≥ 1; by default as many as leave the low part at least as long as the filter, and at least one.
        dims: work on the last one, two or three axes; by default two for (N, C, H, W), else one.
        unit_norm: filter with h / ‖h‖ instead of h.
        axes: the axes instead of dims, by position or name.
        layout: names of a sample's axes, in order: "time channel" for (N, T, C).
        lattice: learn angles in place of taps; of a filter of at least four taps.

    Attributes:
        raw: the parameter: (L,) h up to its norm, L even; of a lattice (L/2 − 1,) angles.

    Example:
        >>> transform = AdaptiveWavelet("db5", levels=4)
        >>> sorted(transform.constraint_losses())
        ['conjugate_mirror', 'double_shift', 'highpass_sum', 'lowpass_sum', 'norm']
    """

    learnable = True
    exact = False

    def __init__(
        self,
        wavelet: str = "db5",
        levels: int | None = None,
        dims: Dims = None,
        unit_norm: bool = True,
        axes: Axes = None,
        layout: Layout = None,
        lattice: bool = False,
    ) -> None:
        super().__init__(levels, dims, axes, layout)
        low, _, low_back, _ = pywt_filters(wavelet, "adaptive_wavelet")
        if low != low_back:
            raise OptionError(
                f"adaptive_wavelet: {wavelet!r} is not orthogonal; start from one that is, such as 'db5' or 'sym5'"
            )
        if lattice and len(low) < 4:
            raise OptionError(
                f"adaptive_wavelet: expected a wavelet of at least 4 taps for a lattice, got "
                f"{wavelet!r} with {len(low)}; start from one such as 'db2'"
            )
        start = angles_of_filter(low).to(torch.get_default_dtype()) if lattice else torch.tensor(low)
        self.raw = nn.Parameter(start)
        self.lattice = self.exact = lattice
        self.norm_constrained = unit_norm or lattice

    @property
    def filter_length(self) -> int:
        """L, the number of taps of each filter."""
        return 2 * len(self.raw) + 2 if self.lattice else len(self.raw)

    @property
    def lowpass(self) -> Tensor:
        """h, (L,), in the graph of the parameter."""
        if self.lattice:
            return filter_of_angles(self.raw)
        return self.raw / torch.linalg.vector_norm(self.raw) if self.norm_constrained else self.raw

    def _filters(self) -> Tensor:
        h = self.lowpass
        signs = h.new_tensor([-1.0, 1.0]).repeat(len(h) // 2)
        return torch.stack([h, h.flip(0) * signs])

    def banks(self, like: Tensor) -> tuple[FilterBank, FilterBank]:
        """One bank for both ways, of the filters as they are now."""
        bank = FilterBank(self._filters().to(like))
        return bank, bank

    def constraint_losses(self) -> dict[str, Tensor]:
        """What makes h a wavelet, each zero where it is one; Ha et al. 2021, eq. 8, with the ½ of the published code.

        Returns:
            Named scalars, to be summed: ``lowpass_sum`` ½(Σh − √2)², ``highpass_sum`` ½(Σg)², ``norm`` ½(‖h‖² − 1)²,
            ``conjugate_mirror`` ½Σ_w (|H(w)|² + |H(w + π)|² − 2)² over half of L frequencies, ``double_shift``
            ½Σ_k (⟨h, h(· − 2k)⟩ − δ_k)² over all shifts.
        """
        h, g = self._filters()
        power = torch.fft.fft(h).abs().square()
        mirrored = power[: len(h) // 2] + power[len(h) // 2 :] - 2
        shifted = _double_shifts(h)
        shifted = shifted - (torch.arange(len(shifted), device=h.device) == len(shifted) // 2).to(h)
        return {
            "lowpass_sum": 0.5 * (h.sum() - math.sqrt(2)).square(),
            "highpass_sum": 0.5 * g.sum().square(),
            "norm": 0.5 * (h.square().sum() - 1).square(),
            "conjugate_mirror": 0.5 * mirrored.square().sum(),
            "double_shift": 0.5 * shifted.square().sum(),
        }


def _double_shifts(h: Tensor) -> Tensor:
    """⟨h, h(· − 2k)⟩ for k = −(L/2 − 1) … L/2 − 1: (L − 1,)."""
    return torch.conv1d(h[None, None], h[None, None], stride=2, padding=len(h) - 2)[0, 0]
