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
import statistics
import sys
from collections.abc import Callable
from functools import partial
from importlib import metadata
from pathlib import Path

import numpy as np
import pywt
import torch
from torch import Tensor, nn

import trimkit
from trimkit.coefficients import tree
from trimkit.transforms import FFT, AdaptiveWavelet, Wavelet
from trimkit.trim.distill import AwdWeights, awd_terms, distill, input_gradients, search

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
import adaptive_wavelet as published
from _planted import fit, frequencies, network, spread


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
