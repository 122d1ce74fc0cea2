"""Which rule contextual decomposition should use: ranks of the relevant frequencies of a planted task.

Signals of standard normal noise (64 samples); the label is whether the power in three of 33 Fourier bins is above its
median. Two ReLU layers are trained on it, with and without flipped labels. Each bin is scored by its
relevant part, with its sign, for the class of high power; relevance rank accuracy is the share of the three among the
three bins with the largest scores, for all held-out samples.
"""

from __future__ import annotations

import argparse

import torch
from torch import Tensor, nn

from trimkit import Trim
from trimkit.attributions.contextual import ContextualDecomposition, Rule

RELEVANT = torch.tensor([5, 12, 21])


def planted(count: int, flipped: float, keys: torch.Generator) -> tuple[Tensor, Tensor]:
    """Signals (count, 64) and labels (count,), of which a share is flipped."""
    x = torch.randn(count, 64, generator=keys)
    power = torch.fft.rfft(x, norm="ortho")[:, RELEVANT].abs().square().sum(1)
    flips = torch.rand(count, generator=keys) < flipped
    return x, ((power > power.median()) ^ flips).long()


def trained(x: Tensor, y: Tensor, epochs: int) -> nn.Module:
    """A network 64-128-64-2 after Adam."""
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 2))
    optimiser = torch.optim.Adam(model.parameters(), 1e-3)
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(128):
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
            optimiser.step()
    return model.eval()


def rank_accuracy(model: nn.Module, x: Tensor, rule: Rule) -> float:
    """Share of the relevant bins among as many bins with the largest scores, mean over samples."""
    scores = Trim(model, "fft", ContextualDecomposition("coefficients", rule=rule))(x, 1).scores
    top = scores.topk(len(RELEVANT), 1).indices
    return float(torch.isin(top, RELEVANT).float().mean())


def main() -> None:
    """Print relevance rank accuracies of both rules, a row a seed and share of flipped labels."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--epochs", type=int, default=12)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print("flipped  seed  accuracy   alone  shapley")
    for flipped in (0.0, 0.2, 0.35):
        for seed in range(arguments.seeds):
            torch.manual_seed(seed)
            x, y = planted(arguments.count + 2000, flipped, torch.Generator().manual_seed(seed))
            model, held_out = trained(x[:-2000], y[:-2000], arguments.epochs), x[-2000:]
            accuracy = float((model(held_out).argmax(1) == y[-2000:]).float().mean())
            alone, shapley = (rank_accuracy(model, held_out[:500], rule) for rule in ("alone", "shapley"))
            print(f"{flipped:7.1f}  {seed:4}  {accuracy:8.3f}  {alone:6.3f}  {shapley:7.3f}")


if __name__ == "__main__":
    main()
