"""Coarse before fine: importance that falls from scale to scale, without naming the shortcut.

Two classes differ in a slow wave. In training a faster ripple gives the class away too; in testing it is random. The
penalty asks only that importance falls along the wavelet scales, coarse to fine: the isotonic distance of each scale's
mean |score|, or the hinge on neighbours. Printed: test accuracy, and the share of importance a scale.
"""

import argparse

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import trimkit
from trimkit.coefficients import tree

SCALES = {"transform": ("wavelet", {"wavelet": "db4", "levels": 4}), "attribution": "input_x_gradient"}


def signals(n: int, ripple: str, seed: int) -> tuple[Tensor, Tensor]:
    """Noisy slow waves (n, 1, 64) whose sign is the class, with a ripple whose sign is the class or random."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(2, (n,), generator=generator)
    t = torch.arange(64) / 64
    cue = y if ripple == "class" else torch.randint(2, (n,), generator=generator)
    slow = (2 * y[:, None] - 1) * torch.sin(2 * torch.pi * t)
    fast = (2 * cue[:, None] - 1) * torch.cos(2 * torch.pi * 8 * t)
    return (0.5 * slow + 0.5 * fast + torch.randn(n, 64, generator=generator))[:, None], y


def train(x: Tensor, y: Tensor, steps: int, choice: str | None, weight: float) -> nn.Module:
    """A small network, with or without a penalty."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.Softplus(), nn.Linear(64, 2))
    penalty = choice and trimkit.TrimPenalty(choice, **SCALES)
    optimiser = torch.optim.Adam(model.parameters(), 2e-3)
    for _ in range(steps):
        index = torch.randint(len(x), (64,))
        logits, value = penalty(model, x[index], target=y[index]) if penalty else (model(x[index]), 0.0)
        optimiser.zero_grad()
        (cross_entropy(logits, y[index]) + weight * value).backward()
        optimiser.step()
    return model.eval()


def main() -> None:
    """Train four times and print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="a few steps: to see that it runs")
    steps = 20 if parser.parse_args().small else 1000
    test_x, test_y = signals(2000, "random", seed=2)
    groups = trimkit.create("transform", "wavelet", **SCALES["transform"][1]).groups((1, 64))
    print(f"{'':16}{'accuracy':>10}" + "".join(f"{name:>15}" for name in groups.names))
    rows = [
        ("ceiling", "random", 0.0),
        ("plain", "class", 0.0),
        ("isotonic", "class", 3e3),
        ("monotone_order", "class", 30.0),
    ]
    for name, ripple, weight in rows:
        model = train(*signals(2000, ripple, seed=1), steps, name if weight else None, weight)
        importance = groups.means(tree.map_leaves(torch.abs, trimkit.Trim(model, **SCALES)(test_x, 1).scores))
        shares = (importance / importance.sum(1, keepdim=True)).mean(0)
        accuracy = float((model(test_x).argmax(1) == test_y).double().mean())
        print(f"{name:16}{accuracy:10.3f}" + "".join(f"{float(share):15.3f}" for share in shares))


if __name__ == "__main__":
    main()
