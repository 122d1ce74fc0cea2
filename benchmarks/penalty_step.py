"""What a penalised training step costs: input × gradient, L1, Fourier space, on a small convolutional network.

Prints, in one interleaved run, the ratio of trimkit's step to a plain step, to the same penalty written by hand with
autograd, and to Captum with its gradient function replaced by one that keeps the graph (as it comes, its scores give no
gradient to the parameters at all). The floor of a fused penalised step is twice a plain one: 6 forwards against 3.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import torch
from _timing import interleaved, print_table, ratio
from captum.attr import InputXGradient
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import trimkit

WEIGHT = 0.1
SIZE = (28, 28)


def network(activation: type[nn.Module]) -> nn.Module:
    """Three convolutions and two linear layers on 28×28, ten classes."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), activation(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), activation(), nn.MaxPool2d(2),
        nn.Conv2d(32, 32, 3, padding=1), activation(), nn.Flatten(),
        nn.Linear(32 * 49, 64), activation(), nn.Linear(64, 10),
    )  # fmt: skip


def plain(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy alone."""
    return cross_entropy(model(x), y)


def by_hand(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """The penalty as one would write it for this case alone."""
    s = torch.fft.rfft2(x, norm="ortho").requires_grad_()
    logits = model(torch.fft.irfft2(s, s=SIZE, norm="ortho"))
    (gradient,) = torch.autograd.grad(logits.gather(1, y[:, None]).sum(), s, create_graph=True)
    scores = (gradient.conj() * s).real
    return cross_entropy(logits, y) + WEIGHT * scores.abs().flatten(1).sum(1).mean()


def with_trimkit() -> Callable[[nn.Module, Tensor, Tensor], Tensor]:
    """The public interface."""
    penalty = trimkit.TrimPenalty("l1", transform="fft", attribution="input_x_gradient")

    def loss(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        logits, value = penalty(model, x, target=y)
        return cross_entropy(logits, y) + WEIGHT * value

    return loss


def with_captum(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Captum's InputXGradient with a gradient function that keeps the graph, on pairs of real numbers."""

    def gradient(forward: Callable[..., Tensor], inputs: tuple[Tensor, ...], target_ind: Any = None, *_: Any) -> Any:
        output = forward(*inputs)
        return torch.autograd.grad(output.gather(1, target_ind[:, None]).sum(), inputs, create_graph=True)

    def composed(pair: Tensor) -> Tensor:
        return model(torch.fft.irfft2(torch.view_as_complex(pair), s=SIZE, norm="ortho"))

    explainer = InputXGradient(composed)
    explainer.gradient_func = gradient
    pair = torch.view_as_real(torch.fft.rfft2(x, norm="ortho")).clone().requires_grad_()
    scores = explainer.attribute(pair, target=y).sum(-1)
    return cross_entropy(model(x), y) + WEIGHT * scores.abs().flatten(1).sum(1).mean()


def gradients_agree(x: Tensor, y: Tensor) -> float:
    """Largest relative difference between the gradients of the hand-written loss and the other two."""

    def flat(loss: Callable[..., Tensor]) -> Tensor:
        model = network(nn.Softplus).double()
        loss(model, x.double(), y).backward()
        return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])

    expected = flat(by_hand)
    return max(float((flat(loss) - expected).norm() / expected.norm()) for loss in (with_trimkit(), with_captum))


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--batch", type=int, default=64)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    x, y = torch.rand(arguments.batch, 1, *SIZE), torch.randint(0, 10, (arguments.batch,))
    print(f"gradients of the three penalised losses differ by at most {gradients_agree(x, y):.1e} (relative, float64)")
    for activation in (nn.ReLU, nn.Softplus):
        compare(activation, x, y, arguments.rounds)


def compare(activation: type[nn.Module], x: Tensor, y: Tensor, rounds: int) -> None:
    """Time the four steps for one activation and print the ratios."""
    losses = {"plain": plain, "by hand": by_hand, "trimkit": with_trimkit(), "captum, gradient replaced": with_captum}

    def step(loss: Callable[..., Tensor]) -> Callable[[], None]:
        model = network(activation)
        optimiser = torch.optim.Adam(model.parameters(), 1e-3)

        def run() -> None:
            optimiser.zero_grad()
            loss(model, x, y).backward()
            optimiser.step()

        return run

    seconds = interleaved({name: step(loss) for name, loss in losses.items()}, rounds)
    title = f"penalised step, {activation.__name__}, batch {len(x)}"
    print_table(title, seconds, "plain", {"plain": "floor of the others: 2.0"})
    print(f"trimkit / by hand: {ratio(seconds, 'trimkit', 'by hand'):.3f}  (aim ≤ 1.05)")
    print(f"trimkit / captum:  {ratio(seconds, 'trimkit', 'captum, gradient replaced'):.3f}")


if __name__ == "__main__":
    main()
