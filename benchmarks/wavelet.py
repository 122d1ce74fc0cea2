"""Wavelet transform there and back: trimkit, ptwt, PyWavelets, and FFT as the yardstick.

A batch of pictures and one of signals, single precision, three levels, forward and inverse. PyWavelets does the same
periodic transform in C, outside of autograd; ptwt pads, so that it computes slightly more coefficients. "trained" adds
the backward pass of an L1 penalty on the coefficients.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import ptwt
import pywt
import torch
from _timing import interleaved, print_table
from torch import Tensor

from trimkit.coefficients import tree
from trimkit.transforms import FFT, Wavelet

LEVELS = 3


def there_and_back(x: Tensor, name: str) -> dict[str, Callable[[], object]]:
    """The candidates on data (N, 1, n) or (N, 1, h, w)."""
    ours, fft, array, image = Wavelet(name, LEVELS), FFT(), x.numpy(), x.ndim == 4
    split, merge = (ptwt.wavedec2, ptwt.waverec2) if image else (ptwt.wavedec, ptwt.waverec)
    cut, join = (pywt.wavedec2, pywt.waverec2) if image else (pywt.wavedec, pywt.waverec)
    leaf = x.clone().requires_grad_()

    def theirs_trained() -> None:
        sum(part.abs().sum() for part in tree.leaves(split(leaf, name, level=LEVELS, mode="periodic"))).backward()  # type: ignore[union-attr]

    return {
        "trimkit": lambda: ours.inverse(ours(x)),
        "ptwt": lambda: merge(split(x, name, level=LEVELS, mode="periodic"), name),
        "PyWavelets (numpy)": lambda: join(
            cut(array, name, level=LEVELS, mode="periodization"), name, mode="periodization"
        ),
        "FFT": lambda: fft.inverse(fft(x), x.shape[1:]),
        "trimkit, trained": lambda: sum(part.abs().sum() for part in tree.leaves(ours(leaf))).backward(),  # type: ignore[union-attr]
        "ptwt, trained": theirs_trained,
    }


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    torch.manual_seed(0)
    cases = {"32 × 64 × 64": (32, 1, 64, 64), "8 × 256 × 256": (8, 1, 256, 256), "32 × 16384": (32, 1, 16384)}
    for title, shape in cases.items():
        for name in ("db2", "db5"):
            seconds = interleaved(there_and_back(torch.randn(shape), name), rounds)
            print_table(f"{title}, {name}, {LEVELS} levels", seconds, "trimkit")


if __name__ == "__main__":
    main()
