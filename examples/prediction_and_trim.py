"""A VAE that keeps what a frozen predictor reads, and explains it by few latents: what TRIM adds, and what it costs.

Data are sprites of 32 pixels. The predictor, a small CNN, tells in which third of the picture the sprite is, from left
to right. It reads one factor, so a representation that is as simple as the question needs one latent. The CNN is
trained first and frozen. Two families, ten latents each:

    beta-vae-b      KL held at 16 nats (γ 100), so that no variant wins by sending more
    beta-tcvae      β 6; its KL is free, and printed

and for each of them

    alone           reconstruction and the family's own terms
    + prediction    and KL(f(x) ‖ f(x̂)), weight 20 ("+ prediction loss")
    + hoyer w       and w · (1 − Hoyer's sparsity) of f's input × gradient attribution to the latents ("+ TRIM loss")

Hoyer's sparsity does not change with the scale of scores. The L1 does: it is smaller where f is less sure, and does not
ask for fewer latents.

Printed are medians [smallest, largest] over seeds, on 1,024 held-out sprites: the share of them whose reconstruction f
reads differently; the number of latents that carry 90 % of the attribution; KL in nats; the squared error of a pixel.
Three numbers come from interventions and use no attribution. Latents are ranked by how often f's reading changes when
one latent alone is taken from another picture (first half of the sprites). Then, on the other half:

    kept_3          the three first latents stay and the others come from another picture: f reads as before
    swapped_3       the three first latents come from another picture and the others stay: f reads as before
    enough_90       how many of the first latents must stay so that f reads as before on 90 % of the sprites

A reading that is unaffected has 1, and one that is left to chance .33 (.35 with unequal thirds).

    python examples/prediction_and_trim.py --log rows.jsonl --picture trade-off.png
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from _interventions import CHUNK, in_chunks, interventions, latents_for
from _seeds import Row, Task, rows_of, spread
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import trimkit
from trimkit.data import load
from trimkit.methods import Method

LATENTS, CAPACITY, PREDICTION, HELD_OUT = 10, 16.0, 20.0, 1024
WEIGHTS = (30.0, 100.0)
PREDICTOR_STEPS = 400
FAMILIES = ("beta-vae-b", "beta-tcvae")


def classes(factors: Tensor) -> Tensor:
    """Horizontal third: (N, 5) factors → (N,) classes from 0 to 2."""
    return 3 * factors[:, 3].long() // 32


@cache
def predictor(steps: int) -> nn.Module:
    """The CNN that is to be explained, the same for every variant and seed."""
    data = load("sprites:size=32", "train")
    assert data.factors is not None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        sizes, layers = ((1, 16), (16, 32), (32, 64)), []
        for before, after in sizes:
            convolution = nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False)
            layers += [convolution, nn.BatchNorm2d(after), nn.ReLU()]
        model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * 16, 64), nn.ReLU(), nn.Linear(64, 3))
        optimiser = torch.optim.Adam(model.parameters(), 2e-3)
        decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        for _ in range(steps):
            rows = torch.randint(len(data), (128,))
            optimiser.zero_grad()
            cross_entropy(model(data.x[rows]), classes(data.factors[rows])).backward()
            optimiser.step()
            decay.step()
    return model.eval()


def options(family: str, steps: int, size: int) -> dict[str, Any]:
    """A family's own options, for so many steps on so many samples."""
    held = {"gamma": 100.0, "capacity": f"linear(0, {CAPACITY}, {max(1, steps // 2)})"}
    return held if family == "beta-vae-b" else {"beta": 6.0, "dataset_size": size}


def run(task: Task) -> dict[str, Any]:
    """Train one variant and measure it.

    Args:
        task: family, weights of the prediction loss and of the sparsity, seed, steps.
    Returns:
        Plain values.
    """
    family, prediction, sparsity, seed, steps = task
    f, data = predictor(min(steps, PREDICTOR_STEPS)), load("sprites:size=32", "train")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        shared = {"shape": data.shape, "latent_dim": LATENTS, "likelihood": "bernoulli"}
        method: Method = trimkit.create("method", family, **shared, **options(family, steps, len(data)))
    joined: dict[str, Any] = {"predictor": f, "weights": {"prediction": prediction}} if prediction else {}
    if sparsity:
        joined["trim"] = [f"hoyer@z:{sparsity}"]
    held_out = min(HELD_OUT, 32 * steps)
    trimkit.train(method, data, steps=steps, seed=seed, log_every=steps, evaluated=held_out, fast=True, **joined)
    name = f"+ hoyer {sparsity:g}" if sparsity else "+ prediction" if prediction else "alone"
    return {"family": family, "terms": name, "seed": seed, **measure(method.eval(), f, held_out)}


def measure(method: Method, f: nn.Module, held_out: int) -> dict[str, float]:
    """The numbers of the table on so many held-out sprites."""
    data = load("sprites:size=32", "test")
    rows = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))[:held_out]
    assert data.factors is not None
    x, factors = data.x[rows], data.factors[rows]
    with torch.no_grad():
        posteriors = [method.encode(part) for part in x.split(CHUNK)]
        codes = torch.cat([posterior.mean for posterior in posteriors])
        rebuilt, read = in_chunks(method.decode, codes), in_chunks(lambda part: f(part).argmax(1), x)
    read_code = lambda z: in_chunks(lambda part: f(method.decode(part)).argmax(1), z)  # noqa: E731
    trim = trimkit.Trim(f, method.as_transform("z"), "input_x_gradient")
    pairs = zip(x.split(CHUNK), read.split(CHUNK), strict=True)
    scores = torch.cat([trim(part, answers).scores for part, answers in pairs])  # type: ignore[misc]
    share = scores.abs() / scores.abs().sum(1, keepdim=True).clamp_min(1e-12)
    return {
        "accuracy_of_f": float((read == classes(factors)).float().mean()),
        "misread": float((read != read_code(codes)).float().mean()),
        "latents_90": latents_for(share, 0.9),
        **interventions(codes, read_code),
        "kl": float(torch.cat([posterior.kl().sum(1) for posterior in posteriors]).mean()),  # type: ignore[attr-defined]
        "squared_error": float((rebuilt - x).square().mean()),
    }


COLUMNS = ("misread", "latents_90", "kept_3", "swapped_3", "enough_90", "kl", "squared_error")


def line(rows: Sequence[Row]) -> str:
    """Of the rows of one variant: each column's median [smallest, largest]."""
    return "".join(f"{spread(row[column] for row in rows):>24}" for column in COLUMNS)


def draw(groups: Mapping[str, Sequence[Row]], path: Path) -> None:
    """Latents needed against misread reconstructions; one dot a seed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 4.2), layout="constrained")
    axes = figure.add_subplot()
    terms = list(dict.fromkeys(rows[0]["terms"] for rows in groups.values()))
    for name, rows in groups.items():
        across, up = [row["latents_90"] for row in rows], [100 * row["misread"] for row in rows]
        marker = "os"[FAMILIES.index(rows[0]["family"])]
        axes.scatter(across, up, s=16, label=name, marker=marker, color=f"C{terms.index(rows[0]['terms'])}")
    axes.set_xlabel("latents that carry 90 % of the attribution")
    axes.set_ylabel("reconstructions read differently (%)")
    axes.set_ylim(bottom=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(path, dpi=110)


def main() -> None:
    """Train, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=list(FAMILIES))
    parser.add_argument("--weights", type=float, nargs="*", default=list(WEIGHTS), help="of the attributions' sparsity")
    parser.add_argument("--steps", type=int, default=600, help="of each VAE")
    parser.add_argument("--jobs", type=int, default=1, help="processes of one thread each")
    parser.add_argument("--log", type=Path, help="rows as JSON lines; an interrupted call goes on from them")
    parser.add_argument("--picture", type=Path, help="PNG of the trade-off")
    parser.add_argument("--small", action="store_true", help="two variants for a few steps, to see that it runs")
    chosen = parser.parse_args()
    if chosen.small:
        chosen.seeds, chosen.families, chosen.steps, chosen.jobs, chosen.weights = [0], ["beta-vae-b"], 2, 1, [30.0]
    torch.set_num_threads(1)
    terms = [(0.0, 0.0), (PREDICTION, 0.0), *((PREDICTION, weight) for weight in chosen.weights)]
    tasks = [(name, *pair, seed, chosen.steps) for seed in chosen.seeds for name in chosen.families for pair in terms]
    rows = rows_of(run, tasks, chosen.jobs, chosen.log)
    groups: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: FAMILIES.index(row["family"])):
        groups.setdefault(f"{row['family']} {row['terms']}", []).append(row)
    print(f"sprites at 32 pixels, {chosen.steps} steps, seeds {chosen.seeds}: median [smallest, largest]")
    print(f"accuracy of the frozen predictor on held-out sprites: {rows[0]['accuracy_of_f']:.3f}\n")
    print(f"{'':24}" + "".join(f"{column:>24}" for column in COLUMNS))
    for name, own in groups.items():
        print(f"{name:24}{line(own)}")
    if chosen.picture:
        draw(groups, chosen.picture)


if __name__ == "__main__":
    main()
