"""Each transformed-space paper on its own task, on made data: ``python benchmarks/spaces.py`` prints all tables.

- frequencies: FreqRISE's task (Brüsch et al. 2024): which of four Fourier bins does a signal hold? Relevance rank
  accuracy: of the K bins that make the class, how many are among the K with the largest score. Beside gradients,
  random masks of the spectrum as in FreqRISE, masks of a filterbank that are optimised for each signal as in FLEXtime
  (Brüsch et al. 2024, 2411.05841), and what each costs in rows sent through the network.
- bands: a pattern of one band of frequency makes the class of a picture; is that band's the largest score?
- dft_lrp: input × gradient in Fourier space is DFT-LRP (Vielhaben et al. 2024) of x · ∇f.
- amplitudes: gradients of amplitudes in `polar` are braindecode's times its batch, over which it averages. Run where
  it is installed: pip install --no-deps --target PEERS braindecode skorch tabulate; PYTHONPATH=PEERS.
- wam: gradients of wavelet coefficients do not depend on the batch (Kasmi et al. 2025 average the loss over it).
- awd: adaptive wavelet distillation (Ha et al. 2021) from other wavelets than the one to be found.

Seeds were chosen before any result was seen: 0 to 4, of awd 1 to 5.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import statistics
import sys
from collections.abc import Callable
from functools import partial
from importlib import metadata
from pathlib import Path

import numpy as np
import pywt
import torch
from scipy import signal
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import trimkit
from trimkit.coefficients import tree
from trimkit.transforms import FFT, AdaptiveWavelet, Wavelet
from trimkit.trim.distill import AwdWeights, awd_terms, distill, input_gradients, search

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
import adaptive_wavelet as published

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


def bands(seeds: int, samples: int) -> None:
    """Whether the largest group of scores is the band that makes the class, low and high bands in turn."""
    print("\nbands: a pattern in one of 8 bands makes the class of a 16 × 16 picture")
    space = FFT(bands=8)
    names = space.groups((1, 16, 16)).names
    for band in (1, 3, 6):
        right, shares = [], []
        for seed in range(seeds):
            generator = torch.Generator().manual_seed(seed)
            torch.manual_seed(seed)
            x, y = planted_band(samples, band, generator)
            model = fit(network(256, 2), x[200:], y[200:], 5, generator)
            groups = space.groups((1, 16, 16))
            scores = trimkit.Trim(model, space)(x[:200], y[:200]).scores
            sums = groups.sums(scores).abs()
            right.append(float((sums.argmax(1) == band).double().mean()))
            shares.append(float((sums[:, band] / sums.sum(1)).mean()))
        print(f"band {names[band]:14} found in {spread(right)} of pictures; share of scores {spread(shares)}")


def planted_band(n: int, band: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """White noise (n, 1, 16, 16) and, with the class's sign, a pattern that keeps the bins of one band."""
    space = FFT(bands=8)
    pattern = space(torch.randn(1, 1, 16, 16, generator=generator))
    labels: Tensor = space.groups((1, 16, 16)).labels  # type: ignore[assignment]
    wave = space.inverse(pattern * (labels == band), (1, 16, 16))
    y = torch.randint(2, (n,), generator=generator)
    x = torch.randn(n, 1, 16, 16, generator=generator)
    return x + (2.0 * y - 1)[:, None, None, None] * wave / wave.std(), y


def dft_lrp(seeds: int, samples: int) -> None:
    """Largest difference between input × gradient in Fourier space and DFT-LRP of x · ∇f, written as a matrix."""
    worst = 0.0
    for seed in range(seeds):
        torch.manual_seed(seed)
        model, x = network(64, 3).double(), torch.randn(16, 64, dtype=torch.float64)
        ours = tree.leaves(trimkit.Trim(model, "fft", "input_x_gradient")(x, 1).scores)[0]
        point = x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(model(point)[:, 1].sum(), point)
        worst = max(worst, float((ours - dft_relevance(x, x * gradient)).abs().max() / ours.abs().max()))
    print(f"\ndft_lrp: input × gradient in fft against DFT-LRP of x · ∇f: relative difference at most {worst:.1e}")


def dft_relevance(x: Tensor, relevance: Tensor) -> Tensor:
    """Relevance of bins from relevance of samples: R_k = Σ_t (what bin k gives to x_t) / x_t · R_t."""
    n = x.shape[1]
    spectrum = torch.fft.rfft(x, norm="ortho")
    t, k = torch.arange(n, dtype=torch.float64), torch.arange(n // 2 + 1, dtype=torch.float64)[:, None]
    angle, twice = 2 * torch.pi * k * t / n, torch.full((n // 2 + 1, 1), 2.0, dtype=torch.float64)
    twice[[0, -1]] = 1
    given = spectrum.real[..., None] * angle.cos() - spectrum.imag[..., None] * angle.sin()  # (N, bins, n)
    return (given * (twice / n**0.5) * (relevance / x)[:, None]).sum(-1)


def amplitudes(seeds: int, samples: int) -> None:
    """Largest difference between amplitude gradients in `polar` and braindecode's × batch, and × 1."""
    theirs = braindecode_gradients()
    if theirs is None:
        print("\namplitudes: braindecode or skorch is not installed, see --help: not compared")
        return
    gaps: dict[int, list[float]] = {1: [], 16: []}
    for seed in range(seeds):
        torch.manual_seed(seed)
        model, x = nn.Sequential(nn.Flatten(), network(2 * 64, 3)).eval(), torch.randn(16, 2, 64)
        explain = trimkit.Trim(model, "polar", ("saliency", {"absolute": False}))
        ours = torch.stack([explain(x, k).scores["amplitude"] for k in range(3)]) / 64**0.5  # type: ignore[call-overload]
        other = torch.from_numpy(theirs(model, x.numpy()))
        for factor, values in gaps.items():
            values.append(float((ours - factor * other).abs().max() / ours.abs().max()))
    print(f"\namplitudes: polar against braindecode {metadata.version('braindecode')} × 16, the batch: relative")
    print(f"difference at most {max(gaps[16]):.1e}; against braindecode as it is, {statistics.median(gaps[1]):.3f}")


def braindecode_gradients() -> Callable[..., np.ndarray] | None:
    """Its function, from its file: the package's own first lines import mne, whose data it would read."""
    found = importlib.util.find_spec("braindecode")
    if found is None or importlib.util.find_spec("skorch") is None or not found.submodule_search_locations:
        return None
    path = Path(next(iter(found.submodule_search_locations))) / "visualization" / "frequency.py"
    spec = importlib.util.spec_from_file_location("braindecode_frequency", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.amplitude_gradients


def wam(seeds: int, samples: int) -> None:
    """Wavelet gradients of a picture in a batch and alone, ours and from a loss that is averaged over the batch."""
    ours, averaged = 0.0, []
    for seed in range(seeds):
        torch.manual_seed(seed)
        model, x = network(256, 3).double(), torch.randn(16, 1, 16, 16, dtype=torch.float64)
        explain = trimkit.Trim(model, "wavelet", ("saliency", {"absolute": False}))
        together, alone = (tree.rows(explain(part, 1).scores)[0] for part in (x, x[:1]))
        ours = max(ours, float((together - alone).abs().max() / alone.abs().max()))
        space = Wavelet()
        s = [leaf.detach().requires_grad_() for leaf in tree.leaves(space(x))]
        mean = model(space.inverse(tree.rebuild(space(x), s)))[:, 1].mean()
        rows = torch.cat([g[0].flatten() for g in torch.autograd.grad(mean, s)])
        averaged.append(float(rows.norm() / alone.norm()))
    print(
        f"\nwam: a picture among 16 or alone: ours differ by {ours:.1e}; a loss that is averaged over the batch makes"
    )
    print(f"gradients {statistics.median(averaged):.4f} times as large")


STARTS = ("coif2", "sym5")
WEIGHTS = AwdWeights(coefficients=1e-5, scores=0.1)


def awd(seeds: int, samples: int) -> None:
    """Distances to db5 from several wavelets, by steps from one filter and by the search, with the losses reached."""
    print("\nawd: distance to db5 (its loss at γ = 0.1 in brackets)")
    print(f"{'start':8}{'seed':>5}{'taps + noise':>14}{'after 3,000':>18}{'search':>18}{'+ 500':>18}{'db5 itself':>12}")
    tasks = [awd_task(seed, max(samples * 5, 5000)) for seed in range(1, seeds + 1)]
    for start in STARTS:
        for seed, (x, gradients) in enumerate(tasks, 1):
            before, *rows = recover(start, x, gradients, torch.Generator().manual_seed(1000 * seed))
            shown = "".join(f"{f'{distance:.3f} ({loss:.3f})':>18}" for distance, loss in rows)
            print(f"{start:8}{seed:5}{before[0]:14.2f}{shown}{embedded_loss(start, x, gradients):12.3f}", flush=True)


def awd_task(seed: int, samples: int) -> tuple[Tensor, Tensor]:
    """Signals, and the gradients of a network that has learned to read three coefficients of db5."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    x, y = published.simulate(samples, generator)
    return x, input_gradients(published.train(x, y, 10, generator), x)


def recover(start: str, x: Tensor, gradients: Tensor, generator: torch.Generator) -> list[tuple[float, float]]:
    """Distance and loss: of taps with noise, after steps at γ = 0, 0.01 and 0.1; of the search, after steps from it."""
    taps = AdaptiveWavelet(start, published.LEVELS, unit_norm=False)
    taps.raw.data += 0.3 * torch.randn(len(taps.raw), generator=generator)
    rows = [judged(taps, x, gradients)]
    for gamma in (0.0, 0.01, 0.1):
        distill(taps, x, gradients, AwdWeights(1e-5, gamma), steps=1000, generator=generator)
    rows.append(judged(taps, x, gradients))
    angles = AdaptiveWavelet(start, published.LEVELS, lattice=True)
    search(angles, x, gradients, WEIGHTS, starts=512, generator=generator)
    rows.append(judged(angles, x, gradients))
    distill(angles, x, gradients, WEIGHTS, steps=500, generator=generator)
    return [*rows, judged(angles, x, gradients)]


@torch.no_grad()
def judged(transform: AdaptiveWavelet, x: Tensor, gradients: Tensor) -> tuple[float, float]:
    """Distance to db5, and the loss on the first 2,000 signals."""
    loss = WEIGHTS.total(awd_terms(transform, x[:2000], gradients[:2000]))
    return published.distance(transform.lowpass), float(loss)


def embedded_loss(start: str, x: Tensor, gradients: Tensor) -> float:
    """The smallest loss of db5 in a filter as long as the start's, over the places where it fits; ∞ where none does."""
    transform, filters = AdaptiveWavelet(start, published.LEVELS, unit_norm=False), pywt.Wavelet("db5").dec_lo
    losses = []
    for taps in (filters, filters[::-1]):
        for place in range(len(transform.raw) - len(taps) + 1):
            transform.raw.data.zero_()
            transform.raw.data[place : place + len(taps)] = torch.tensor(taps)
            losses.append(judged(transform, x, gradients)[1])
    return min(losses, default=float("inf"))


TABLES: dict[str, Callable[[int, int], None]] = {
    "frequencies": frequencies,
    "bands": bands,
    "dft_lrp": dft_lrp,
    "amplitudes": amplitudes,
    "wam": wam,
    "awd": awd,
}


def main() -> None:
    """Print the chosen tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="*", help=f"of {', '.join(TABLES)}; all by default")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--rows", default="", help="of the table frequencies, those whose name holds this")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    tables = TABLES | {"frequencies": partial(frequencies, rows=arguments.rows)}
    for name in arguments.tables or TABLES:
        tables[name](arguments.seeds, arguments.samples)


if __name__ == "__main__":
    main()
