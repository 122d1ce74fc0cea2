"""TRIM's own simulation: which attribution finds the one Fourier bin that a label depends on?

Singh et al. 2020 (2003.01926), task "fft": signals of 100 normal numbers, labelled by whether the magnitude of Fourier
bin 12 is above its median; a network 100-100-2 learns the labels, and an attribution errs on a test signal where its
largest score is not at bin 12. Printed are the median and the range, over 20 seeds, of the share of errors among 5,000
test signals (500 in the paper), beside the published one. The difference of the two logits is explained.

Coefficients are pairs (real, imaginary), so every readout comes from one attribution a of a bin: "size" ranks by
√(a_re² + a_im²), as TRIM does; "sum" by |a_re + a_im|, |Re(conj(g)·s)|, which adds up to the change of the output;
"signed" by a_re + a_im, the largest evidence that the magnitude is large. Gradients have no meaningful sum, and
contextual decomposition has no parts.

The paper trains 12 epochs at a constant rate (``--training published``); the table's training has the smallest loss on
held-out signals of other seeds. The released code ranks contextual decomposition by the relevant part of the class's
logit with its sign, the row "class 1". What is left of the errors, and why contextual decomposition by size ("sum")
fails, is in ``benchmarks/trim_simulation_why.py``.
"""

from __future__ import annotations

import argparse
import statistics
import warnings
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from captum.attr import DeepLift
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import trimkit
from trimkit.coefficients.groups import Groups
from trimkit.coefficients.tree import leaves
from trimkit.transforms import FFT, Transform

LENGTH, BIN, TEST, CD = 100, 12, 5_000, "contextual_decomposition"
PUBLISHED = {
    CD: 0.4,
    f"{CD}, class 1": 0.4,
    "saliency": None,
    "input_x_gradient": 0.0,
    "integrated_gradients": 4.2,
    "DeepLift (captum)": 3.6,
}
"""Errors in per cent, Singh et al. 2020."""
READOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "size": lambda pairs: pairs.norm(dim=-1),
    "sum": lambda pairs: pairs.sum(-1).abs(),
    "signed": lambda pairs: pairs.sum(-1),
}
SENSIBLE = {"saliency": ("size",), CD: ("sum", "signed"), f"{CD}, class 1": ("signed",)}


class Training(NamedTuple):
    """Plain SGD in batches of 128 at rate 0.1, constant or falling to 0 along half a cosine."""

    epochs: int
    cosine: bool
    decay: float  # of the weights


TRAININGS = {"published": Training(12, False, 0.0), "chosen": Training(48, True, 1e-4)}


class FourierPairs(Transform):
    """Fourier coefficients as pairs of real numbers, (N, L) → (N, L // 2 + 1, 2)."""

    def __init__(self) -> None:
        super().__init__()
        self.fft = FFT()

    def forward(self, x: Tensor) -> Tensor:
        """Real and imaginary parts side by side."""
        return torch.view_as_real(self.fft(x))

    def inverse(self, s: Tensor, size: object = None) -> Tensor:  # type: ignore[override]
        """The signal of the pairs."""
        return self.fft.inverse(torch.view_as_complex(s.contiguous()), (LENGTH,))

    def groups(self, size: object = None) -> Groups:
        """One group a bin: both parts together."""
        labels = torch.arange(LENGTH // 2 + 1)[:, None].expand(-1, 2)
        return Groups(tuple(f"bin {i}" for i in range(len(labels))), labels, "frequency")


class LogOdds(nn.Linear):
    """Difference of the two logits, (N, 2) → (N, 1)."""

    def __init__(self) -> None:
        super().__init__(2, 1, bias=False)
        self.weight.data = torch.tensor([[-1.0, 1.0]])


class Composed(nn.Sequential):
    """Pairs → signal → log-odds as modules, which DeepLift needs; the transform is exact, so there is no residual."""

    def forward(self, s: Tensor) -> Tensor:
        """Log-odds of the pairs, (N, 1)."""
        transform, network = self
        return network(transform.inverse(s))


def signals(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """n normal signals (n, 100), and whether the magnitude at bin 12 is above its median."""
    x = torch.randn(n, LENGTH, generator=generator)
    size = torch.fft.rfft(x)[:, BIN].abs()
    return x, (size > size.median()).long()


def train(x: Tensor, y: Tensor, training: Training, generator: torch.Generator) -> nn.Module:
    """The network 100-100-2."""
    network = nn.Sequential(nn.Linear(LENGTH, 100), nn.ReLU(), nn.Linear(100, 2))
    optimiser = torch.optim.SGD(network.parameters(), 0.1, weight_decay=training.decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, training.epochs)
    for _ in range(training.epochs):
        for index in torch.randperm(len(x), generator=generator).split(128):
            optimiser.zero_grad()
            cross_entropy(network(x[index]), y[index]).backward()
            optimiser.step()
        if training.cosine:
            schedule.step()
    return network.eval()


def explainers(network: nn.Module) -> dict[str, Callable[[Tensor], Tensor]]:
    """Name → signals → scores of the pairs (N, 51, 2)."""
    space, odds = FourierPairs(), nn.Sequential(network, LogOdds()).eval()

    def ours(choice: object, model: nn.Module = odds, target: int | None = None) -> Callable[[Tensor], Tensor]:
        return lambda x: leaves(trimkit.Trim(model, space, choice)(x, target).scores)[0]  # type: ignore[arg-type]

    return {
        CD: ours(CD),
        f"{CD}, class 1": ours(CD, network, 1),
        "saliency": ours(("saliency", {"absolute": False})),
        "input_x_gradient": ours("input_x_gradient"),
        "integrated_gradients": ours(("integrated_gradients", {"tolerance": None})),
        "DeepLift (captum)": partial(deep_lift, Composed(space, odds)),
    }


def deep_lift(composed: Composed, x: Tensor) -> Tensor:
    """DeepLift by Captum itself, through the composed module."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # Captum's remark that it sets hooks
        return DeepLift(composed).attribute(composed[0](x).requires_grad_())


def errors(scores: Tensor) -> dict[str, float]:
    """Per cent of samples whose largest score is not at the bin, for each readout."""
    return {name: 100 * float((readout(scores).argmax(1) != BIN).double().mean()) for name, readout in READOUTS.items()}


def network_of(seed: int, n: int, training: Training) -> tuple[nn.Module, Tensor, Tensor]:
    """A network trained on n signals, and the held-out ones with their labels."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    x, y = signals(n + TEST, generator)
    return train(x[TEST:], y[TEST:], training, generator), x[:TEST], y[:TEST]


def run(seed: int, n: int, training: Training) -> tuple[float, dict[str, dict[str, float]]]:
    """One seed: accuracy in per cent, and each attribution's errors."""
    network, x, y = network_of(seed, n, training)
    found = {name: errors(explain(x).detach()) for name, explain in explainers(network).items()}
    return 100 * float((network(x).argmax(1) == y).double().mean()), found


def print_table(runs: list[tuple[float, dict[str, dict[str, float]]]]) -> None:
    """One line an attribution and readout."""
    accuracies = [accuracy for accuracy, _ in runs]
    print(f"{len(runs)} seeds; accuracy {min(accuracies):.1f} to {max(accuracies):.1f} % (published 95.5 %)\n")
    print(f"{'error in %':35}{'readout':10}{'median':>9}{'range':>13}{'published':>11}")
    for name in runs[0][1]:
        published = PUBLISHED[name]
        for readout in SENSIBLE.get(name, READOUTS):
            each = [found[name][readout] for _, found in runs]
            shown, span = "–" if published is None else f"{published:.1f}", f"{min(each):.1f}–{max(each):.1f}"
            print(f"{name:35}{readout:10}{statistics.median(each):9.1f}{span:>13}{shown:>11}")


def main() -> None:
    """Train and explain, seed by seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="one seed, few signals: to see that it runs")
    parser.add_argument("--training", choices=TRAININGS, default="chosen", help="the paper's, or by held-out loss")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    seeds, n, training = range(20), 50_000, TRAININGS[arguments.training]
    if arguments.small:
        seeds, n, training = range(1), 5_000, training._replace(epochs=2)
    print_table([run(seed, n, training) for seed in seeds])


if __name__ == "__main__":
    main()
