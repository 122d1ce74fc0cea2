"""ICA that a classifier reads by few components: independence, sparse attributions and faithful parts, side by side.

Data are scikit-learn's 1,797 digits of 8×8 pixels, 360 of them held out. The predictor, an MLP 64-64-64-10, is trained
first and frozen; one for each seed. Pixels are whitened to 24 principal components, and a rotation of these is

    pca, random, fastica          taken as it is, drawn, or found for independence alone
    qr of class means, varimax    read off the gradients of the predictor, without training
    ica + …                       trained by trim-ica from FastICA on: negentropy (weight 50), and L1 or Hoyer sparsity
                                  of input × gradient, L1 of gradients, the prediction loss on the top 6

Printed are medians over seeds on the held-out digits: how many components carry 90 % of the attribution (n90); its
Hoyer sparsity; KL(f(x) ‖ f(x̂)) where x̂ has only the 4 or 8 components of largest attribution; the share of x̂ of 4 that
f puts into the same class; negentropy, Σ_i (E log cosh s_i − E log cosh ν)². "--picture" draws it against n90.

    python examples/trim_ica_digits.py --picture trim_ica.png
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import torch
from _seeds import Row, Task, rows_of, spread
from sklearn.datasets import load_digits
from torch import Tensor, nn
from trimkit_ica.guided import TrimICA
from trimkit_ica.rotations import class_mean_rotation, varimax_rotation

import trimkit
from trimkit.metrics.independence.log_cosh import contrast
from trimkit.training import TrimTerm

COMPONENTS, HELD_OUT, KEPT, PREDICTOR_STEPS = 24, 360, 6, 1200
CLOSED = ("pca", "random", "fastica", "qr of class means", "varimax")
"""Rotations that need no training."""
TRAINED: Mapping[str, tuple[float, TrimTerm | None]] = {
    "ica": (0.0, None),
    "ica + 0.1 l1": (0.0, TrimTerm("l1", weight=0.1)),
    "ica + 0.3 l1": (0.0, TrimTerm("l1", weight=0.3)),
    "ica + 2.4 hoyer": (0.0, TrimTerm("hoyer", weight=2.4)),
    "ica + 0.3 l1 of gradients": (0.0, TrimTerm("l1", weight=0.3, attribution="saliency")),
    "ica + prediction": (1.0, None),
    "ica + 0.1 l1 + prediction": (1.0, TrimTerm("l1", weight=0.1)),
}
"""Weight of the prediction loss, and TRIM term."""
COLUMNS = {"n90": 1, "hoyer": 2, "kl_4": 3, "kl_8": 3, "agree_4": 3, "negentropy": 4}  # and their digits


@cache
def digits() -> tuple[Tensor, Tensor]:
    """All pixels in [0, 1], (1797, 64), and labels, in a fixed random order: the last 360 are held out."""
    pixels, labels = map(torch.as_tensor, load_digits(return_X_y=True))
    order = torch.randperm(len(pixels), generator=torch.Generator().manual_seed(0))
    return pixels.float()[order] / 16, labels[order]


@cache
def predictor(seed: int, steps: int) -> nn.Module:
    """The MLP that is to be explained."""
    x, y = (part[:-HELD_OUT] for part in digits())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(64, 64), nn.GELU(), nn.Linear(64, 64), nn.GELU(), nn.Linear(64, 10))
        optimiser = torch.optim.Adam(model.parameters(), 2e-3)
        for rows in torch.randint(len(x), (steps, 128)):
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
            optimiser.step()
    return model.eval().requires_grad_(False)


def run(task: Task) -> dict[str, Any]:
    """Find one rotation, by its name, seed and steps, and measure it."""
    name, seed, steps = task
    f, (x, y) = predictor(seed, min(10 * steps, PREDICTOR_STEPS)), digits()
    accuracy = float((f(x[-HELD_OUT:]).argmax(1) == y[-HELD_OUT:]).float().mean())
    start = time.process_time()
    method = closed(name, x[:-HELD_OUT], f, seed) if name in CLOSED else trained(name, x[:-HELD_OUT], f, seed, steps)
    seconds = time.process_time() - start
    return {"name": name, "accuracy": accuracy, "seconds": seconds, **measure(method, f, x[-HELD_OUT:])}


def closed(name: str, x: Tensor, f: nn.Module, seed: int) -> TrimICA:
    """A rotation that is not trained."""
    generator = torch.Generator().manual_seed(seed)
    method = TrimICA((64,), COMPONENTS, start=name if name in ("random", "fastica") else "identity")
    method.prepare(x, None, generator)
    if name == "varimax":
        method.rotate(varimax_rotation(method.gradients(x, f)))
    elif name == "qr of class means":
        method.rotate(class_mean_rotation(method.gradients(x, f), f(x).argmax(1), generator=generator))
    return method


def trained(name: str, x: Tensor, f: nn.Module, seed: int, steps: int) -> TrimICA:
    """A rotation that is trained from FastICA on, on all digits at each step."""
    prediction, term = TRAINED[name]
    joined = {"predictor": f, "weights": {"prediction": prediction}, "trim": [term] if term else []}
    method = TrimICA((64,), COMPONENTS, kept=KEPT, rate=f"cosine(1, 0, {steps})")
    settings = {"steps": steps, "batch_size": len(x), "seed": seed, "log_every": steps}
    trimkit.train(method, x, **settings, **(joined if prediction or term else {}))
    return method


@torch.no_grad()
def measure(method: TrimICA, f: nn.Module, x: Tensor) -> dict[str, float]:
    """The numbers of the table on held-out digits."""
    scores = method.attributions(x, f)
    shares = (scores.abs() / scores.abs().sum(1, keepdim=True)).sort(1, descending=True).values
    distance, (four, eight) = trimkit.PredictionLoss(f, "kl"), (method.reconstruct(x, f, kept) for kept in (4, 8))
    return {
        "n90": float((shares.cumsum(1) < 0.9).sum(1).add(1).double().mean()),
        "hoyer": float(trimkit.penalties.hoyer(scores).mean()),
        "kl_4": float(distance(four, x)),
        "kl_8": float(distance(eight, x)),
        "agree_4": float((f(four).argmax(1) == f(x).argmax(1)).double().mean()),
        "negentropy": float(contrast(method.encode(x).mean.double()).sum()),
    }


def line(rows: Sequence[Row], name: str) -> str:
    """A line of the table: each column's median [smallest, largest]."""
    own = {column: [row[column] for row in rows if row["name"] == name] for column in COLUMNS}
    return f"{name:26}" + "".join(f"{spread(own[column], digits):>24}" for column, digits in COLUMNS.items())


def share(rows: Sequence[Row], column: str) -> str:
    """What a small L1 leaves of a number of ICA, network by network."""
    alone, joined = ([row[column] for row in rows if row["name"] == name] for name in ("ica", "ica + 0.1 l1"))
    return f"{column} {', '.join(f'{b / a:.1%}' for a, b in zip(alone, joined, strict=True))}"


def draw(rows: Sequence[Row], names: Sequence[str], path: Path) -> None:
    """Negentropy against n90: a small dot a seed, a large one at the medians, coloured by KL@4, with its name."""
    from matplotlib.figure import Figure

    axes = Figure(figsize=(9, 5.4), dpi=110, layout="constrained").add_subplot(xmargin=0.1, ymargin=0.1)
    own = [[row for row in rows if row["name"] == name] for name in names]
    x, y, shade = ([statistics.median(r[c] for r in o) for o in own] for c in ("negentropy", "n90", "kl_4"))
    axes.scatter([row["negentropy"] for row in rows], [row["n90"] for row in rows], s=7, color="0.75", zorder=1)
    dots = axes.scatter(x, y, c=shade, s=70, cmap="viridis_r", edgecolor="black", lw=0.6, zorder=3)
    axes.figure.colorbar(dots, label="KL(f(x) ‖ f(x̂)) where x̂ has the top 4 components (nats)")
    axes.set(xlabel="negentropy of the components", ylabel="components that carry 90 % of the attribution (n90)")
    label(axes, names, list(zip(x, y, strict=True)))
    axes.figure.savefig(path)


def label(axes: Any, names: Sequence[str], at: Sequence[tuple[float, float]]) -> None:
    """Write each name near its dot, in the first place where it covers no other name and no dot."""
    from matplotlib.text import Text
    from matplotlib.transforms import Bbox

    axes.figure.draw_without_rendering()
    dots = axes.transData.transform(at)
    small = axes.transData.transform(axes.collections[0].get_offsets())
    taken = [Bbox.from_extents(*dot, *dot).padded(by) for by, group in ((8, dots), (3, small)) for dot in group]
    sides, line = ((1, 0), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1), (0, 1), (0, -1)), {"arrowstyle": "-", "lw": 0.3}
    for name, place, dot in zip(names, at, dots, strict=True):
        size = Text(text=name, fontsize=8, figure=axes.figure).get_window_extent().size
        for distance, side in product(range(12, 120, 6), sides):
            corner = [s * (distance + length / 2) - length / 2 for s, length in zip(side, size, strict=True)]
            box = Bbox.from_bounds(*(dot + corner), *size).padded(2)
            if not box.count_overlaps(taken) and box.x1 < axes.bbox.x1:
                axes.annotate(name, place, corner, textcoords="offset pixels", fontsize=8, arrowprops=line)
                taken.append(box)
                break


def main() -> None:
    """Find rotations, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="networks")
    parser.add_argument("--steps", type=int, default=200, help="of each rotation")
    parser.add_argument("--jobs", type=int, default=2, help="processes of one thread each")
    parser.add_argument("--log", type=Path, help="rows as JSON lines; an interrupted call goes on from them")
    parser.add_argument("--picture", type=Path, help="PNG of negentropy against n90")
    parser.add_argument("--small", action="store_true", help="four rotations for a few steps, to see that it runs")
    chosen, names = parser.parse_args(), [*CLOSED, *TRAINED]
    if chosen.small:
        chosen.seeds, chosen.steps, chosen.jobs, names = 1, 4, 1, [*CLOSED[3:], *list(TRAINED)[:2]]
    tasks = [(name, seed, chosen.steps) for name in names for seed in range(chosen.seeds)]
    rows = rows_of(run, tasks, chosen.jobs, chosen.log)
    accuracy = spread(row["accuracy"] for row in rows)
    print(f"{chosen.steps} steps, {chosen.seeds} predictors of accuracy {accuracy}: median [smallest, largest]\n")
    print(f"{'':26}" + "".join(f"{column:>24}" for column in COLUMNS), *(line(rows, name) for name in names), sep="\n")
    print(f"\nica + 0.1 l1 in shares of ica, by predictor: {share(rows, 'n90')}; {share(rows, 'negentropy')}")
    print(f"{sum(row['seconds'] for row in rows):.0f} CPU seconds without evaluation")
    if chosen.picture:
        draw(rows, names, chosen.picture)


if __name__ == "__main__":
    main()
