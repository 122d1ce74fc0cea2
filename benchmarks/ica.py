"""Linear ICA: trimkit beside scikit-learn's FastICA and python-picard, on sources half Laplace, half uniform.

    python benchmarks/ica.py [--small]

Everything from data to unmixing matrix, whitening included, in one thread. All fits of a data set start at the same
rotation of their white data and end by the same criterion. Ten sweeps, whatever they have reached, compare the cost
alone; of those in float32, the last two are in float64. The batch is 20 bootstrap samples, whitened one by one and
unmixed at once.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable

import numpy as np
import torch
from _timing import interleaved, print_table
from picard import picard as python_picard
from sklearn.decomposition import FastICA
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits
from torch import Tensor
from trimkit_ica.picard import picard
from trimkit_ica.unmixing import fastica, whiten

from trimkit.data.laws import random_rotation
from trimkit.metrics.independence import amari_distance

SWEEPS = 10
NEVER = 1e-300
"""A tolerance that no fit reaches."""


def mixture(n: int, k: int) -> tuple[Tensor, Tensor]:
    """Data (n, k) and their mixing matrix (k, k), float64."""
    g = np.random.default_rng(0)
    sources = np.hstack([g.laplace(size=(n, k // 2)), g.uniform(-1, 1, (n, k - k // 2))])
    mixing = g.standard_normal((k, k))
    return torch.from_numpy(sources @ mixing.T), torch.from_numpy(mixing)


def ours(x: Tensor, start: Tensor, dtype: torch.dtype, tol: float, most: int) -> Tensor:
    """trimkit's FastICA: the unmixing matrix."""
    whitening = whiten(x)
    found = fastica(whitening.apply(x), start=start, tol=tol, max_iter=most, dtype=dtype)
    return found.matrix @ whitening.forward


def theirs(x: Tensor, start: Tensor, tol: float, most: int, solver: str = "eigh") -> Tensor:
    """scikit-learn's."""
    options = {"whiten": "unit-variance", "whiten_solver": solver, "w_init": start.numpy()}
    return torch.from_numpy(FastICA(tol=tol, max_iter=most, **options).fit(x.numpy()).components_)


def likeliest(x: Tensor, start: Tensor) -> Tensor:
    """trimkit's Picard-O."""
    whitening = whiten(x)
    return picard(whitening.apply(x), start, tol=1e-7).matrix @ whitening.forward


def likeliest_of_python_picard(x: Tensor, start: Tensor, sweeps: int | None = None) -> Tensor:
    """Its own, after so many sweeps of FastICA; none by default."""
    options = {"tol": 1e-7, "max_iter": 500, "fastica_it": sweeps, "w_init": start.numpy()}
    whitening, unmixing = python_picard(x.numpy().T, **options)[:2]
    return torch.from_numpy(unmixing @ whitening)


def batched(samples: list[Tensor], starts: Tensor, dtype: torch.dtype) -> Tensor:
    """All samples at once."""
    whitenings = [whiten(x) for x in samples]
    z = torch.stack([w.apply(x) for w, x in zip(whitenings, samples, strict=True)])
    return fastica(z, start=starts, tol=1e-6, dtype=dtype).matrix


def compare(title: str, candidates: dict[str, Callable[[], Tensor]], mixing: Tensor, rounds: int) -> None:
    """A table with the Amari distance of each candidate's result."""
    notes = {name: f"Amari {amari_distance(fit(), mixing):.4f}" for name, fit in candidates.items()}
    print_table(title, interleaved(candidates, rounds, warmup=1), next(iter(candidates)), notes)


def single_fits(n: int, k: int, rounds: int) -> None:
    """One data set: sweeps alone, and to convergence."""
    x, mixing = mixture(n, k)
    start = random_rotation(k, torch.Generator().manual_seed(0))
    for title, tol, most in ((f"{SWEEPS} sweeps", NEVER, SWEEPS), ("to tolerance 1e-6", 1e-6, 500)):
        candidates = {
            "scikit-learn, eigh": lambda tol=tol, most=most: theirs(x, start, tol, most),
            "trimkit, float64": lambda tol=tol, most=most: ours(x, start, torch.float64, tol, most),
            "trimkit, float32 sweeps": lambda tol=tol, most=most: ours(x, start, torch.float32, tol, most),
        }
        compare(f"FastICA, {n} × {k}, {title}", candidates, mixing, rounds)


def likelihood_fits(n: int, k: int, rounds: int) -> None:
    """Picard-O, to a gradient of 1e-7."""
    x, mixing = mixture(n, k)
    start = random_rotation(k, torch.Generator().manual_seed(0))
    candidates = {
        "python-picard": lambda: likeliest_of_python_picard(x, start),
        "python-picard after 3 sweeps": lambda: likeliest_of_python_picard(x, start, 3),
        "python-picard after 8 sweeps": lambda: likeliest_of_python_picard(x, start, 8),
        "trimkit": lambda: likeliest(x, start),
        "trimkit, FastICA": lambda: ours(x, start, torch.float64, 1e-6, 500),
    }
    compare(f"Picard-O, {n} × {k}", candidates, mixing, rounds)


def bootstrap_fits(n: int, k: int, rounds: int, count: int = 20) -> None:
    """A batch of resampled data sets."""
    x, _ = mixture(n, k)
    g = torch.Generator().manual_seed(0)
    samples = [x[torch.randint(n, (n,), generator=g)] for _ in range(count)]
    starts = torch.stack([random_rotation(k, g) for _ in samples])
    candidates = {
        "scikit-learn, one by one": lambda: [theirs(s, q, 1e-6, 500) for s, q in zip(samples, starts, strict=True)],
        "scikit-learn, svd (its default)": lambda: [
            theirs(s, q, 1e-6, 500, "svd") for s, q in zip(samples, starts, strict=True)
        ],
        "trimkit, batched, float64": lambda: batched(samples, starts, torch.float64),
        "trimkit, batched, float32 sweeps": lambda: batched(samples, starts, torch.float32),
    }
    title = f"FastICA of {count} bootstrap samples, {n} × {k}"
    print_table(title, interleaved(candidates, rounds, warmup=1), "scikit-learn, one by one")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="few samples and rounds, to see that it runs")
    small = parser.parse_args().small
    n, rounds = (1000, 1) if small else (100_000, 7)
    torch.set_num_threads(1)
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for samples, k in ((n // 10, 16), (n, 16), (n, 64)):
            single_fits(samples, k, rounds if k < 64 else -(-rounds // 2))
        likelihood_fits(n, 16, rounds)
        for samples, k in ((n // 200, 4), (n // 20, 4), (n // 20, 16)):
            bootstrap_fits(max(samples, 100), k, rounds)


if __name__ == "__main__":
    main()
