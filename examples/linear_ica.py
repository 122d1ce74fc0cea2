"""Linear ICA beside scikit-learn: how near each method comes to the true mixing, and the edges in photographs.

Sources with Laplace, uniform, mixed (half of each) or t laws are mixed by a matrix of condition 10. Printed is the
Amari distance of the unmixing to it, 0 for the truth: medians over seeds of trimkit's methods, of scikit-learn's
FastICA, and of whitening without a rotation (PCA). "equal" is the largest difference between the unmixings of
`fastica`, by trimkit's own solver, and of scikit-learn, over the largest entry, up to order and sign.

"--picture" draws what `picard` finds in 16 × 16 patches of photographs: edges of a place, a direction and a width, as
Bell & Sejnowski 1997 found.

    python examples/linear_ica.py --picture patches.png
"""

from __future__ import annotations

import argparse
import warnings
from itertools import product
from pathlib import Path
from typing import Any

import torch
from _seeds import Row, Task, rows_of, spread
from sklearn.decomposition import FastICA
from torch import Tensor
from trimkit_ica.unmixing import match, whiten

import trimkit
from trimkit.data import load
from trimkit.data.mixtures import mixing_matrix
from trimkit.errors import TrimkitWarning
from trimkit.metrics.independence import amari_distance
from trimkit.training.pictures import draw_grid

LAWS = ("laplace", "uniform", "mixed", "t")
SIZES = ((1000, 4), (10_000, 4), (10_000, 16))
TOLERANCE = 1e-10
"""Of both FastICAs, so that what is left between them is not where each stops."""

METHODS = ("pca", "scikit-learn", "fastica", "picard", "infomax")


def unmixing(name: str, x: Tensor, seed: int) -> Tensor:
    """W (k, p) of data (n, p), in float64."""
    if name == "pca":
        return whiten(x).forward
    if name == "scikit-learn":
        options: dict[str, Any] = {
            "whiten": "unit-variance",
            "whiten_solver": "eigh",
            "tol": TOLERANCE,
            "max_iter": 1000,
        }
        model = FastICA(random_state=seed, **options).fit(x.double().numpy())
        return torch.from_numpy(model.components_)
    own = {"solver": "torch", "tol": TOLERANCE} if name == "fastica" else {}
    method: Any = trimkit.create("method", name, shape=tuple(x.shape[1:]), seed=seed, **own)
    method.fit(x)
    return method.unmixing


def run(task: Task) -> dict[str, Any]:
    """The distances of all methods on one data set.

    Args:
        task: law, samples, sources, seed.
    Returns:
        A row of plain values.
    """
    law, n, k, seed = task
    x = load(f"mixture:sources={law},dim={k},n={n},seed={seed}", "all").x[:]
    truth = mixing_matrix(k, seed=seed)
    found = {name: unmixing(name, x, seed) for name in METHODS}
    row = {name: amari_distance(matrix, truth) for name, matrix in found.items()}
    return {"law": law, "n": n, "k": k, **row, "equal": difference(found["fastica"], found["scikit-learn"], x)}


def difference(one: Tensor, other: Tensor, x: Tensor) -> float:
    """The largest difference of two unmixings whose components have variance 1, up to order and sign."""
    s, t = (x.double() - x.double().mean(0)) @ one.T, (x.double() - x.double().mean(0)) @ other.T
    alike = s.T @ t / len(x)  # correlations: both are white
    order = match(alike)
    turned = alike[torch.arange(len(alike)), order].sign()[:, None] * other[order]
    return float((one - turned).abs().max() / one.abs().max())


def draw(path: Path, components: int, n: int) -> None:
    """The patterns of components of photographs' patches, eight a row."""
    data = load(f"patches:n={n}", "all")
    method: Any = trimkit.create("method", "picard", shape=data.shape, components=components, max_iter=1500)
    with warnings.catch_warnings():
        warnings.simplefilter("always", TrimkitWarning)
        method.fit(data.x[:])
    print(f"\npatches: converged {method.converged}, {method.iterations} iterations")
    rows = torch.stack(list(method.exhibits()["components"].values())).split(8)
    draw_grid(rows, [f"from {8 * i + 1}" for i in range(len(rows))]).save(path)


def line(rows: list[Row], law: str, n: int, k: int) -> str:
    """A line of the table: each method's median [smallest, largest]."""
    own = [row for row in rows if (row["law"], row["n"], row["k"]) == (law, n, k)]
    cells = "".join(f"{spread((row[name] for row in own), 4):>26}" for name in METHODS)
    return f"{law:8} {n:>6} x {k:<3}{cells}{max(row['equal'] for row in own):>10.1e}"


def main() -> None:
    """Print the table, and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=2, help="processes of one thread each")
    parser.add_argument("--picture", type=Path, help="PNG of the components of photographs")
    parser.add_argument("--small", action="store_true", help="one size, one seed, to see that it runs")
    chosen = parser.parse_args()
    sizes = SIZES[:1] if chosen.small else SIZES
    seeds, jobs = (1, 1) if chosen.small else (chosen.seeds, chosen.jobs)
    tasks = [(law, n, k, seed) for (n, k), law, seed in product(sizes, LAWS, range(seeds))]
    rows = rows_of(run, tasks, jobs)
    print(f"Amari distance to the mixing, {seeds} seeds: median [smallest, largest]")
    print(f"{'':21}" + "".join(f"{name:>26}" for name in METHODS) + f"{'equal':>10}")
    for (n, k), law in product(sizes, LAWS):
        print(line(rows, law, n, k))
    if chosen.picture:
        draw(chosen.picture, 16 if chosen.small else 64, 1500 if chosen.small else 24_000)


if __name__ == "__main__":
    main()
