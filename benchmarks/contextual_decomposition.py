"""Contextual decomposition of all groups in one batch against one group at a time, and against integrated gradients.

Two settings: the frequency bands of images under the network of penalty_step.py, and every Fourier bin of the signals
of TRIM's simulation (Singh et al. 2020: 100 samples, a ReLU network 100-100-2).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from _timing import interleaved, print_table, ratio
from penalty_step import network
from torch import Tensor, nn

from trimkit import Trim
from trimkit.attributions import IntegratedGradients
from trimkit.attributions.base import Attribution
from trimkit.attributions.contextual import ContextualDecomposition

TOGETHER, ONE_BY_ONE = "all groups in one batch", "one group at a time"


def images() -> tuple[nn.Module, Tensor, str]:
    """A convolutional network, 16 images, the nine frequency bands."""
    return network(nn.ReLU).eval(), torch.rand(16, 1, 28, 28), "transform"


def signals() -> tuple[nn.Module, Tensor, str]:
    """TRIM's simulation: 128 signals, 51 bins."""
    model = nn.Sequential(nn.Linear(100, 100), nn.ReLU(), nn.Linear(100, 2))
    return model, torch.randn(128, 100), "coefficients"


def explained(model: nn.Module, x: Tensor, attribution: Attribution) -> Callable[[], object]:
    """Explain a batch in Fourier space."""
    trim = Trim(model, "fft", attribution)
    return lambda: trim(x, target=1)


def compare(name: str, model: nn.Module, x: Tensor, groups: str, rounds: int) -> None:
    """Print times and ratios of one setting."""
    candidates = {
        "forward alone": lambda: model(x),
        "integrated_gradients, 32 steps": explained(model, x, IntegratedGradients(32)),
        TOGETHER: explained(model, x, ContextualDecomposition(groups)),  # type: ignore[arg-type]
        ONE_BY_ONE: explained(model, x, ContextualDecomposition(groups, chunk=1)),  # type: ignore[arg-type]
    }
    seconds = interleaved(candidates, rounds)
    print_table(f"contextual decomposition of {name}, batch {len(x)}", seconds, TOGETHER)
    print(f"one by one / in one batch: {ratio(seconds, ONE_BY_ONE, TOGETHER):.2f}")


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=21)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    compare("9 bands of images", *images(), arguments.rounds)
    compare("51 bins of signals", *signals(), arguments.rounds)


if __name__ == "__main__":
    main()
