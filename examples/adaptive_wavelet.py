"""A wavelet is recovered from a network: the simulation of Ha et al. 2021, section 4.1.

Signals of 64 independent normal values; the response is twice the sum of three wavelet coefficients (db5, four levels)
and some noise. As published, the response reads the same transform that is then learned: there with zeros beyond the
ends, here on the circle. The places of coefficients of the two lie half a step apart at the third level, so that a
response of the one is not sparse in the other. A network learns the response; a wavelet that starts from a disturbed
db5 is distilled from the network, for a series of weights γ of the attributions' L1 norm, each from where the last one
ended. Prints the distance of the wavelet to db5: small where attributions are asked to be sparse, and not where they
are not (γ = 0).

    python examples/adaptive_wavelet.py
"""

from __future__ import annotations

import argparse
import statistics
import time

import pywt
import torch
from torch import Tensor, nn
from torch.nn import functional

from trimkit.transforms import AdaptiveWavelet, Wavelet
from trimkit.trim.distill import AwdWeights, distill, input_gradients

GAMMAS = (0.0, 0.01, 0.1, 1.0, 10.0, 50.0)
ENTRIES, LEVELS = 64, 4
SCALE, POSITIONS = 2, slice(3, 6)
"""The response reads these coefficients in the middle, coarse to fine: index 2 is level 3, Ha et al.'s index 3."""


def simulate(samples: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Signals (N, 1, 64) and responses (N, 1)."""
    x = torch.randn(samples, 1, ENTRIES, generator=generator)
    y = 2 * Wavelet("db5", LEVELS)(x)[SCALE][..., POSITIONS].sum(-1)
    return x, y + 0.1 * torch.randn(y.shape, generator=generator)


def train(x: Tensor, y: Tensor, epochs: int, generator: torch.Generator) -> nn.Module:
    """The published predictor: 64-32-32-1, ReLU, Adam 0.01, batches of 100."""
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(ENTRIES, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1)
    )
    optimiser = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(epochs):
        for rows in torch.randperm(len(x), generator=generator).split(100):
            optimiser.zero_grad()
            functional.mse_loss(model(x[rows]), y[rows]).backward()
            optimiser.step()
    return model.eval()


def wavelet_function(lowpass: Tensor, level: int = 5) -> Tensor:
    """The wavelet ψ on a fine grid, 2^level points a unit, by the cascade algorithm."""
    scaling = lowpass.detach().double().flip(0)
    wavelet = scaling.flip(0) * torch.tensor([1.0, -1.0]).repeat(len(scaling) // 2)
    for _ in range(level - 1):
        spread = torch.stack([wavelet, torch.zeros_like(wavelet)], dim=1).flatten()[:-1]
        wavelet = functional.conv1d(spread[None, None], scaling.flip(0)[None, None], padding=len(scaling) - 1)[0, 0]
    return wavelet * 2 ** (level / 2)


def distance(lowpass: Tensor, wavelet: str = "db5") -> float:
    """Smallest L2 distance of ψ to the wavelet's, over shifts, reversal and sign, none of which changes a wavelet."""
    both = [wavelet_function(h) for h in (lowpass, torch.tensor(pywt.Wavelet(wavelet).dec_lo))]
    longest = max(len(shape) for shape in both)
    found, wanted = (functional.pad(shape, (0, longest - len(shape))) for shape in both)
    shifted = torch.stack([wanted.roll(k) for k in range(len(wanted))])
    shapes = [found, found.flip(0), -found, -found.flip(0)]
    return min(float((shifted - shape).norm(dim=1).min()) for shape in shapes)


def recover(seed: int, arguments: argparse.Namespace) -> dict[str, float]:
    """Distances at the start and after each γ, and the network's R²."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    x, y = simulate(arguments.samples, generator)
    test_x, test_y = simulate(5000, generator)
    model = train(x, y, arguments.epochs, generator)
    with torch.no_grad():
        unexplained = float(functional.mse_loss(model(test_x), test_y) / test_y.var())
    gradients = input_gradients(model, x)

    torch.manual_seed(seed)
    transform = AdaptiveWavelet(arguments.start, LEVELS, unit_norm=False)
    transform.raw.data += 0.3 * torch.randn(len(transform.raw)).flip(0)
    found = {"R²": 1 - unexplained, "start": distance(transform.lowpass)}
    for gamma in GAMMAS:
        weights = AwdWeights(coefficients=1e-5, scores=gamma)
        distill(transform, x, gradients, weights, steps=arguments.steps, generator=generator)
        found[f"γ = {gamma:g}"] = distance(transform.lowpass)
    return found


def main() -> None:
    """Print one row a seed, and the median."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--start", default="db5", help="orthogonal wavelet that noise is added to")
    parser.add_argument("--samples", type=int, default=50000)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--steps", type=int, default=1500, help="of distillation, for each weight")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    start = time.perf_counter()
    rows = {f"seed {seed}": recover(seed, arguments) for seed in arguments.seeds}
    names = list(next(iter(rows.values())))
    rows["median"] = {name: statistics.median(row[name] for row in rows.values()) for name in names}
    print("distance of the wavelet to db5\n" + " " * 10 + "".join(f"{name:>10}" for name in names))
    for label, row in rows.items():
        print(f"{label:10}" + "".join(f"{row[name]:10.4f}" for name in names))
    print(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
