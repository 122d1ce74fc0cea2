"""A VAE that keeps what a frozen predictor reads, and explains it by few latents: what TRIM adds, and what it costs.

Data are sprites of 32 pixels. The predictor, a small CNN, tells whether the sprite is large and in which third it is
from left to right: six classes; it is trained first, and frozen. Every VAE is a β-VAE-B held at the same KL of 16 nats
(γ 100), so that no variant wins by sending more through its ten latents:

    vae             reconstruction only
    + prediction    and KL(f(x) ‖ f(x̂)), weight 20 ("+ prediction loss")
    + hoyer …       and 1 − Hoyer's sparsity of f's input × gradient attribution to the latents, at several weights
                    ("+ TRIM loss")

Hoyer's sparsity does not change with the scale of scores. The L1 does: it is smaller where f is less sure, and does not
ask for fewer latents (at weight 1 it left 5.5 of them, and at 10 the decoder no longer learned; seed 0).

Printed are medians over seeds on 2,048 held-out sprites: the share of them whose reconstruction f reads differently;
the number of latents that carry 90 % of the attribution; the alignment, the share of the attribution that falls on
latents whose largest normalised mutual information is with a factor that f reads (scale, x) rather than one it ignores
(shape, orientation, y); KL in nats; and the squared error of a pixel. "--picture" draws the trade-off.

    python examples/prediction_and_trim.py --picture trade-off.png
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from _seeds import Row, Task, rows_of, spread
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import trimkit
from trimkit.data import Dataset, load
from trimkit.methods import Method
from trimkit.metrics.disentanglement import mutual_information_gap

LATENTS, CAPACITY, PREDICTION, HELD_OUT = 10, 16.0, 20.0, 2048
WEIGHTS = (10.0, 30.0, 100.0)
PREDICTOR_STEPS = 400
READ = ("scale", "x")
"""The factors that the predictor's classes are made of."""


VARIANTS = ((0.0, 0.0), (PREDICTION, 0.0), *((PREDICTION, weight) for weight in WEIGHTS))
"""Weights of the prediction loss and of the attributions' sparsity."""


def classes(factors: Tensor) -> Tensor:
    """Size and horizontal third: (N, 5) factors → (N,) classes from 0 to 5."""
    return 3 * (factors[:, 1] >= 3).long() + 3 * factors[:, 3].long() // 32


@cache
def predictor(steps: int) -> nn.Module:
    """The CNN that is to be explained, the same for every variant and seed."""
    data = load("sprites:size=32", "train")
    assert data.factors is not None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        sizes, layers = ((1, 16, 1), (16, 32, 2), (32, 64, 2), (64, 64, 2)), []
        for before, after, stride in sizes:
            convolution = nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)
            layers += [convolution, nn.BatchNorm2d(after), nn.ReLU()]
        model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * 16, 64), nn.ReLU(), nn.Linear(64, 6))
        optimiser = torch.optim.Adam(model.parameters(), 2e-3)
        decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        for _ in range(steps):
            rows = torch.randint(len(data), (128,))
            optimiser.zero_grad()
            cross_entropy(model(data.x[rows]), classes(data.factors[rows])).backward()
            optimiser.step()
            decay.step()
    return model.eval()


def run(task: Task) -> dict[str, Any]:
    """Train one variant and measure it.

    Args:
        task: weights of the prediction loss and of the sparsity, seed, steps.
    Returns:
        Plain values.
    """
    prediction, sparsity, seed, steps = task
    f, data = predictor(min(steps, PREDICTOR_STEPS)), load("sprites:size=32", "train")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        method: Method = trimkit.create(
            "method", "beta-vae-b", shape=data.shape, latent_dim=LATENTS, likelihood="bernoulli", gamma=100.0,
            capacity=f"linear(0, {CAPACITY}, {max(1, steps // 2)})",
        )  # fmt: skip
    joined: dict[str, Any] = {"predictor": f, "weights": {"prediction": prediction}} if prediction else {}
    if sparsity:
        joined["trim"] = [f"hoyer@z:{sparsity}"]
    trimkit.train(method, data, steps=steps, seed=seed, log_every=steps, fast=True, **joined)
    name = f"+ hoyer {sparsity:g}" if sparsity else "+ prediction" if prediction else "vae"
    return {"variant": name, "seed": seed, **measure(method.eval(), f)}


def measure(method: Method, f: nn.Module) -> dict[str, float]:
    """The numbers of the table on held-out sprites."""
    data = load("sprites:size=32", "test")
    rows = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))[:HELD_OUT]
    assert data.factors is not None
    x, factors = data.x[rows], data.factors[rows]
    with torch.no_grad():
        posterior = method.encode(x)
        rebuilt = method.decode(posterior.mean)
        read, reread = f(x).argmax(1), f(rebuilt).argmax(1)
    scores = trimkit.Trim(f, method.as_transform("z"), "input_x_gradient")(x, read).scores
    assert isinstance(scores, Tensor)
    share = scores.abs() / scores.abs().sum(1, keepdim=True).clamp_min(1e-12)
    return {
        "accuracy_of_f": float((read == classes(factors)).float().mean()),
        "misread": float((read != reread).float().mean()),
        "latents_90": latents_for(share, 0.9),
        "alignment": alignment(posterior.mean, factors, share.mean(0), data),
        "kl": float(posterior.kl().sum(1).mean()),  # type: ignore[attr-defined]
        "squared_error": float((rebuilt - x).square().mean()),
    }


def latents_for(share: Tensor, level: float) -> float:
    """How many latents, the largest first, carry ``level`` of the attribution: mean over samples of (N, D) shares."""
    carried = share.sort(1, descending=True).values.cumsum(1)
    return float((carried < level).sum(1).add(1).double().mean())


def alignment(codes: Tensor, factors: Tensor, share: Tensor, data: Dataset) -> float:
    """The share of the attribution on latents that tell most about a factor which the predictor reads."""
    gap = mutual_information_gap(codes, factors, names=data.factor_names, draws=0)
    information = torch.tensor(gap.parts["mutual_information"])  # (D, K) nats
    normalised = information / torch.tensor(gap.parts["entropy"])
    best = [data.factor_names[k] for k in normalised.argmax(1)]
    return float(sum(share[d] for d, name in enumerate(best) if name in READ))


COLUMNS = ("misread", "latents_90", "alignment", "kl", "squared_error")


def line(rows: Sequence[Row], variant: str) -> str:
    """A line of the table: each column's median [smallest, largest]."""
    own = [row for row in rows if row["variant"] == variant]
    return f"{variant:14}" + "".join(f"{spread(row[column] for row in own):>24}" for column in COLUMNS)


def draw(rows: Sequence[Row], variants: Sequence[str], path: Path) -> None:
    """Latents needed against misread reconstructions; one dot a seed, a line through the medians."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.add_subplot()
    middles = []
    for variant in variants:
        across = [row["latents_90"] for row in rows if row["variant"] == variant]
        up = [100 * row["misread"] for row in rows if row["variant"] == variant]
        axes.scatter(across, up, s=14, label=variant)
        middles += [(statistics.median(across), statistics.median(up))] if variant != "vae" else []
    axes.plot(*zip(*middles, strict=True), color="0.6", lw=1, zorder=0)
    axes.set_xlabel("latents that carry 90 % of the attribution")
    axes.set_ylabel("reconstructions read differently (%)")
    axes.set_ylim(bottom=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(path, dpi=110)


def main() -> None:
    """Train, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=1000, help="of each VAE")
    parser.add_argument("--jobs", type=int, default=2, help="processes of one thread each")
    parser.add_argument("--log", type=Path, help="rows as JSON lines; an interrupted call goes on from them")
    parser.add_argument("--picture", type=Path, help="PNG of the trade-off")
    parser.add_argument("--small", action="store_true", help="two variants for a few steps, to see that it runs")
    chosen = parser.parse_args()
    if chosen.small:
        chosen.seeds, chosen.steps, chosen.jobs = 1, 2, 1
    variants = VARIANTS[:3:2] if chosen.small else VARIANTS
    tasks = [(*variant, seed, chosen.steps) for seed in range(chosen.seeds) for variant in variants]
    rows = rows_of(run, tasks, chosen.jobs, chosen.log)
    names = list(dict.fromkeys(row["variant"] for row in rows))
    print(f"sprites at 32 pixels, {chosen.steps} steps, {chosen.seeds} seeds: median [smallest, largest]")
    print(f"accuracy of the frozen predictor on held-out sprites: {rows[0]['accuracy_of_f']:.3f}\n")
    print(f"{'':14}" + "".join(f"{column:>24}" for column in COLUMNS))
    for name in names:
        print(line(rows, name))
    if chosen.picture:
        draw(rows, names, chosen.picture)


if __name__ == "__main__":
    main()
