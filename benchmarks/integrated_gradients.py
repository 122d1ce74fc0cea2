"""Training through integrated gradients: time and peak memory of one graph, two passes, and Captum.

Ratios at m quadrature steps on the network of penalty_step.py. Peak memory is measured in a fresh process each, above
the peak of a plain step; times are interleaved in one process. (Captum is given a gradient function that keeps the
graph; its own option for bounded memory, internal_batch_size, gives wrong gradients when trained through.)
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import captum.attr
import torch
from _timing import interleaved, print_table, ratio
from penalty_step import network
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import trimkit

BATCH = 64


def ours(steps: int, memory: str, chunk: int | None = None) -> Callable[[nn.Module, Tensor, Tensor], Tensor]:
    """trimkit's penalised loss."""
    options = {"n_steps": steps, "memory": memory, "chunk": chunk}
    penalty = trimkit.TrimPenalty("l1", attribution=("integrated_gradients", options))

    def loss(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        logits, value = penalty(model, x, target=y)
        return cross_entropy(logits, y) + 0.1 * value

    return loss


def captums(steps: int) -> Callable[[nn.Module, Tensor, Tensor], Tensor]:
    """Captum's integrated gradients with a gradient function that keeps the graph."""

    def gradient(forward_fn: Callable, inputs: tuple, target_ind: Tensor, additional_forward_args: object) -> tuple:
        output = forward_fn(*inputs)
        return torch.autograd.grad(output.gather(1, target_ind[:, None]).sum(), inputs, create_graph=True)

    def loss(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        explainer = captum.attr.IntegratedGradients(model)
        explainer.gradient_func = gradient
        scores = explainer.attribute(x.clone().requires_grad_(), target=y, n_steps=steps, method="gausslegendre")
        return cross_entropy(model(x), y) + 0.1 * scores.abs().flatten(1).sum(1).mean()

    return loss


def plain(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy alone."""
    return cross_entropy(model(x), y)


def candidates(steps: int) -> dict[str, Callable[[nn.Module, Tensor, Tensor], Tensor]]:
    """The losses that are compared."""
    return {
        "plain": plain,
        "one graph, one chunk": ours(steps, "graph", chunk=steps),
        "one graph, default chunks": ours(steps, "graph"),
        "two passes": ours(steps, "two_pass"),
        "captum, gradient replaced": captums(steps),
    }


def step(loss: Callable[[nn.Module, Tensor, Tensor], Tensor]) -> Callable[[], None]:
    """One forward and backward on fixed data."""
    torch.manual_seed(0)
    model, x, y = network(nn.Softplus), torch.rand(BATCH, 1, 28, 28), torch.randint(0, 10, (BATCH,))

    def run() -> None:
        model.zero_grad()
        loss(model, x, y).backward()

    return run


def peak(steps: int, name: str) -> float:
    """Peak resident MiB of a fresh process that runs three steps."""
    command = [sys.executable, __file__, "--peak-of", name, "--steps", str(steps)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def high_water() -> float:
    """Peak resident MiB of this process since it was executed (its ru_maxrss would include the parent's)."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024  # type: ignore[index]


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=32)
    parser.add_argument("--peak-of", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.peak_of:
        run = step(candidates(arguments.steps)[arguments.peak_of])
        for _ in range(3):
            run()
        print(high_water())
        return
    compare(arguments.steps, arguments.rounds)


def compare(steps: int, rounds: int) -> None:
    """Print times, ratios and peaks."""
    seconds = interleaved({name: step(loss) for name, loss in candidates(steps).items()}, rounds, warmup=1)
    base = peak(steps, "plain")
    growth = {name: peak(steps, name) - base for name in seconds if name != "plain"}
    notes = {name: f"+{mib:.0f} MiB over plain" for name, mib in growth.items()}
    print_table(f"integrated gradients in a loss, m = {steps}, batch {BATCH}", seconds, "plain", notes)
    eight = peak(8, "two passes") - base
    print(f"two passes / one graph: time {ratio(seconds, 'two passes', 'one graph, one chunk'):.2f} (aim ≤ 0.7), "
          f"memory {growth['two passes'] / growth['one graph, one chunk']:.2f} (aim ≤ 0.1)")  # fmt: skip
    print(f"two passes / captum:    time {ratio(seconds, 'two passes', 'captum, gradient replaced'):.2f} (aim ≤ 0.7)")
    print(f"two passes, m = {steps} / m = 8: memory {growth['two passes'] / eight:.2f} (aim ≤ 1.2)")


if __name__ == "__main__":
    main()
