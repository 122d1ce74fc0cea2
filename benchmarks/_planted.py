"""Planted frequencies: which of four Fourier bins does a signal hold, and who finds them? A part of ``spaces.py``."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from scipy import signal
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import trimkit
from trimkit.coefficients import tree
from trimkit.transforms import FFT

KEYS, LENGTH, MASKS = (5, 16, 32, 53), 256, (32, 130, 1000)


def fit(model: nn.Module, x: Tensor, y: Tensor, epochs: int, generator: torch.Generator) -> nn.Module:
    """Adam at 1e-3 in batches of 64."""
    optimiser = torch.optim.Adam(model.parameters(), 1e-3)
    for _ in range(epochs):
        for rows in torch.randperm(len(x), generator=generator).split(64):
            optimiser.zero_grad()
            cross_entropy(model(x[rows]), y[rows]).backward()
            optimiser.step()
    return model.eval()


def network(features: int, classes: int) -> nn.Module:
    """Three layers with ReLU."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(features, 256), nn.ReLU(), nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, classes)
    )


def planted_frequencies(n: int, noise: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Signals (n, 256) of 10 to 50 waves of bins 1 to 59, and which of `KEYS` are among them, as a number of 16."""
    bins = torch.arange(1, 60)
    others = ~torch.isin(bins, torch.tensor(KEYS))
    share = torch.randint(10, 51, (n, 1), generator=generator) / 59
    present = (torch.rand(n, 59, generator=generator) < share) & others
    keys = torch.rand(n, 4, generator=generator) < 0.5
    present[:, [key - 1 for key in KEYS]] = keys
    phases = 2 * torch.pi * torch.rand(n, 59, generator=generator)
    spectrum = torch.zeros(n, LENGTH // 2 + 1, dtype=torch.complex64)
    spectrum[:, 1:60] = torch.polar(present.float(), phases)
    x = torch.fft.irfft(spectrum, LENGTH, norm="ortho") * 2
    return x + noise * torch.randn(x.shape, generator=generator), (keys * torch.tensor([1, 2, 4, 8])).sum(1)


def rank_accuracy(scores: Tensor, y: Tensor) -> float:
    """Mean over samples with at least one key bin of the share of the key bins among as many best."""
    holds = (y[:, None] // torch.tensor([1, 2, 4, 8])) % 2 == 1
    found = []
    for row, keys in zip(scores, holds, strict=True):
        wanted = {key for key, held in zip(KEYS, keys.tolist(), strict=True) if held}
        if wanted:
            found.append(len(wanted & set(row.topk(len(wanted)).indices.tolist())) / len(wanted))
    return statistics.mean(found)


def random_masks(model: nn.Module, x: Tensor, y: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """FreqRISE: the probability of the class under random masks of the spectrum, averaged where a bin is kept."""
    space = FFT()
    s, total = space(x), torch.zeros(len(x), LENGTH // 2 + 1)
    for _ in range(count):
        mask = (torch.rand(total.shape, generator=generator) < 0.5).float()
        with torch.no_grad():
            chance = model(space.inverse(s * mask, (LENGTH,))).softmax(1).gather(1, y[:, None])
        total += chance * mask
    return total / (count / 2)


BANDS, TAPS, STEPS = 129, 255, 500
KEEP, WEIGHT, RATE = 0.05, 100.0, 0.03
"""Of FLEXtime: share of the bands that is free of charge, weight of the rest, rate; the best of a few on seed 99."""


def filterbank() -> Tensor:
    """Amplitude of each band's FIR filter at each bin, its delay taken off, (129, 129): one band a bin, sum 1."""
    edges = (np.arange(BANDS - 1) + 0.5) / LENGTH
    low = signal.firwin(TAPS, edges[0], fs=1.0, scale=False)
    high = signal.firwin(TAPS, edges[-1], fs=1.0, pass_zero=False, scale=False)
    between = [signal.firwin(TAPS, pair, fs=1.0, pass_zero=False, scale=False) for pair in itertools.pairwise(edges)]
    taps = np.pad(np.stack([low, *between, high]), ((0, 0), (0, LENGTH - TAPS)))
    return torch.from_numpy(np.fft.rfft(np.roll(taps, -(TAPS // 2), axis=1)).real).float()


def flextime(model: nn.Module, x: Tensor, weight: float = WEIGHT, keep: float = KEEP, rate: float = RATE) -> Tensor:
    """FLEXtime: masks of bands, in [0, 1], that keep the predicted class while the mean of a mask falls to ``keep``.

    Each signal's own loss is the cross-entropy of f(Σ mask · band) with the class that f(x) predicts, and weight ·
    max(mean |mask| − keep, 0); gradient descent with momentum .9. Returns the masked bank's response by bin, (N, 129).
    """
    bank, spectrum, predicted = filterbank(), torch.fft.rfft(x), model(x).argmax(1)
    mask = torch.full((len(x), BANDS), 0.5, requires_grad=True)
    optimiser = torch.optim.SGD([mask], rate, momentum=0.9)
    for _ in range(STEPS):
        kept = torch.fft.irfft(spectrum * (mask @ bank), LENGTH)
        excess = (mask.abs().mean(1) - keep).clamp_min(0)
        optimiser.zero_grad()
        (cross_entropy(model(kept), predicted, reduction="sum") + weight * excess.sum()).backward()
        optimiser.step()
        mask.data.clamp_(0, 1)
    return (mask @ bank).detach()


class FourierFeatures(nn.Module):
    """Power of each Fourier bin, so that a small network can learn waves of any phase."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, 256) → (N, 129)."""
        return torch.fft.rfft(x, norm="ortho").abs().square()


def frequencies(seeds: int, samples: int, rows: str = "") -> None:
    """Rank accuracy by attribution, on clean and on noisy signals."""
    print("\nfrequencies: relevance rank accuracy by bin (median and range of seeds)")
    print(f"{'attribution':24}{'rows a sample':>15}{'noise 0.01':>22}{'noise 0.8':>22}")
    table: dict[str, list[list[float]]] = {}
    accuracies: list[float] = []
    for noise in (0.01, 0.8):
        for seed in range(seeds):
            torch.manual_seed(seed)
            generator = torch.Generator().manual_seed(seed)
            x, y = planted_frequencies(samples, noise, generator)
            model = nn.Sequential(FourierFeatures(), network(LENGTH // 2 + 1, 16))
            fit(model, x[200:], y[200:], 20, generator)
            held_x, held_y = x[:200], y[:200]
            accuracies.append(float((model(held_x).argmax(1) == held_y).double().mean()))
            for name, explain in explanations(model, held_x, held_y, generator).items():
                if rows in name:
                    cells = table.setdefault(name, [[], []])
                    cells[noise > 0.1].append(rank_accuracy(explain(), held_y))
    for name, cells in table.items():
        print(f"{name:24}{COST[name]:>15}" + "".join(f"{spread(cell):>22}" for cell in cells))
    print(f"accuracy of the networks {min(accuracies):.3f} to {max(accuracies):.3f}")


COST = {"saliency": "1", "input_x_gradient": "1", "integrated_gradients": "32", "feature_ablation, bins": "130"}
COST |= {f"FreqRISE, {count} masks": str(count) for count in MASKS} | {"FLEXtime": str(STEPS)}


Explain = Callable[[], Tensor]


def explanations(model: nn.Module, x: Tensor, y: Tensor, generator: torch.Generator) -> dict[str, Explain]:
    """Name → what computes scores of bins (N, 129)."""
    every_bin = ("fft", {"bands": [f"bin {k} {(k - 0.5) / LENGTH}-{(k + 0.5) / LENGTH}" for k in range(129)]})

    def ours(name: str, space: object = "fft") -> Explain:
        return lambda: tree.leaves(trimkit.Trim(model, space, name)(x, y).scores)[0]  # type: ignore[arg-type]

    return {
        "saliency": ours("saliency"),
        "input_x_gradient": ours("input_x_gradient"),
        "integrated_gradients": ours("integrated_gradients"),
        "feature_ablation, bins": ours("feature_ablation", every_bin),
        **{f"FreqRISE, {n} masks": partial(random_masks, model, x, y, n, generator) for n in MASKS},
        "FLEXtime": partial(flextime, model, x),
    }


def spread(values: list[float]) -> str:
    """Median and range."""
    return f"{statistics.median(values):.3f} ({min(values):.3f}–{max(values):.3f})"
