"""Which weight does a penalty start from? Two shortcuts on real digits, by attribution.

    decoy     a 3 × 3 swatch in one of the four corners, whose shade is the label (after DecoyMNIST, Ross et al. 2017):
              the corners are forbidden, in pixels
    colour    digits in one of ten colours of one luma, which is the label (after ColorMNIST): both colour differences
              are forbidden, in the space `color:space=ycbcr`

In training the shortcut is the label; in the digits that are held out and in the test digits it is random. The penalty
is `masked`, the attribution explains the summed log-probabilities (Ross et al. 2017, eq. 1), and references are a black
picture. Every attribution is tried with weights from .1 to 1,000. "start" is the smallest weight whose median accuracy
on 300 held-out digits is within a point of the attribution's best; its accuracy is that of the test digits.

    python examples/starting_weights.py --log rows.jsonl
    python examples/starting_weights.py --data FOLDER        # with the files of MNIST, Fashion-MNIST or KMNIST
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from _seeds import Row, Task, rows_of, spread
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, cross_entropy

import trimkit
from trimkit.data import load
from trimkit.targets import log_probabilities
from trimkit.transforms.color import Color

SIDE, SWATCH, TRAIN, HELD_OUT = 16, 3, 900, 300
WEIGHTS = (0.1, 1.0, 10.0, 100.0, 1000.0)
ATTRIBUTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "saliency": ("saliency", {}),
    "input × gradient": ("input_x_gradient", {}),
    "integrated gradients": ("integrated_gradients", {"n_steps": 8}),
}
SHORTCUTS = ("decoy", "colour")


class Digits(NamedTuple):
    """Pictures with a shortcut, and labels.

    Attributes:
        x: (N, C, 16, 16) in [0, 1].
        y: (N,) from 0 to 9.
    """

    x: Tensor
    y: Tensor


@cache
def plain(data: str, split: str) -> Digits:
    """At most 1,200 pictures of a split without a shortcut, 16 × 16."""
    drawn = load(data, split).some(TRAIN + HELD_OUT)
    assert drawn.y is not None
    return Digits(adaptive_avg_pool2d(drawn.x[:], SIDE), drawn.y)


def digits(data: str, part: str, shortcut: str) -> Digits:
    """A part of the data with a shortcut: the label in training, random in what is held out and in the test."""
    x, y = plain(data, "test" if part == "test" else "train")
    rows = {"train": slice(TRAIN), "held out": slice(TRAIN, None), "test": slice(None)}[part]
    x, y = x[rows], y[rows]
    rng = torch.Generator().manual_seed(len(part))
    told = y if part == "train" else torch.randint(10, y.shape, generator=rng)
    return Digits(swatched(x, told, rng) if shortcut == "decoy" else coloured(x, told), y)


def swatched(x: Tensor, value: Tensor, rng: torch.Generator) -> Tensor:
    """A swatch of shade 1 − value / 9 in a random corner of each: (N, 1, S, S) → (N, 1, S, S)."""
    corner = torch.randint(4, value.shape, generator=rng)
    place = torch.stack([region(SIDE - SWATCH if n % 2 else 0, SIDE - SWATCH if n // 2 else 0) for n in range(4)])
    shade = (1 - value / 9)[:, None, None, None]
    return torch.where(place[corner][:, None], shade, x)


def region(top: int, left: int) -> Tensor:
    """(S, S), True in a swatch's place."""
    inside = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    inside[top : top + SWATCH, left : left + SWATCH] = True
    return inside


def coloured(x: Tensor, value: Tensor) -> Tensor:
    """Grey → one of ten colours with luma ½ of the grey: (N, 1, S, S) → (N, 3, S, S)."""
    angle = 2 * math.pi * value / 10
    planes = torch.stack([torch.full_like(angle, 0.5), 0.5 + 0.25 * angle.cos(), 0.5 + 0.25 * angle.sin()], 1)
    return x * Color("ycbcr").inverse(planes[:, :, None, None])


def make_penalty(shortcut: str, attribution: str) -> trimkit.TrimPenalty:
    """The penalty that forbids the shortcut."""
    corners = torch.zeros(1, SIDE, SIDE)
    for top in (0, SIDE - SWATCH):
        for left in (0, SIDE - SWATCH):
            corners[0, region(top, left)] = 1
    if shortcut == "decoy":
        return trimkit.TrimPenalty(("masked", {"mask": corners}), attribution=ATTRIBUTIONS[attribution])
    space = Color("ycbcr")
    chroma = torch.tensor([0.0, 1.0, 1.0])[:, None, None]
    settings: dict[str, Any] = {} if attribution == "saliency" else {"baseline": space(torch.zeros(1, 3, SIDE, SIDE))}
    penalty = ("masked", {"mask": chroma})
    return trimkit.TrimPenalty(penalty, transform=space, attribution=ATTRIBUTIONS[attribution], **settings)


def train(data: Digits, seed: int, epochs: int, penalty: trimkit.TrimPenalty | None, weight: float) -> nn.Module:
    """A network with one hidden layer."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Flatten(), nn.Linear(data.x[0].numel(), 64), nn.ReLU(), nn.Linear(64, 10))
        optimiser = torch.optim.Adam(model.parameters(), 2e-3)
        for _ in range(epochs):
            for index in torch.randperm(len(data.y)).split(64):
                x, y = data.x[index], data.y[index]
                logits, value = penalty(model, x, target=log_probabilities) if penalty else (model(x), 0.0)
                optimiser.zero_grad()
                (cross_entropy(logits, y) + weight * value).backward()
                optimiser.step()
    return model.eval()


@torch.no_grad()
def accuracy(model: nn.Module, data: Digits) -> float:
    """Share of labels that are read right."""
    return float((model(data.x).argmax(1) == data.y).double().mean())


def run(task: Task) -> dict[str, Any]:
    """Data, shortcut, attribution (or "plain", or "ceiling"), weight, seed, epochs → the row."""
    data, shortcut, attribution, weight, seed, epochs = task
    start, samples = time.process_time(), digits(data, "train", shortcut)
    if attribution == "ceiling":  # the shortcut is random in training too
        x, y = plain(data, "train")
        rng = torch.Generator().manual_seed(0)
        value = torch.randint(10, (TRAIN,), generator=rng)
        x = swatched(x[:TRAIN], value, rng) if shortcut == "decoy" else coloured(x[:TRAIN], value)
        samples = Digits(x, y[:TRAIN])
    penalty = make_penalty(shortcut, attribution) if attribution in ATTRIBUTIONS else None
    model = train(samples, seed, epochs, penalty, weight)
    read = {part: accuracy(model, digits(data, part, shortcut)) for part in ("held out", "test")}
    named = {"shortcut": shortcut, "attribution": attribution, "weight": weight, "seed": seed}
    return {**named, **read, "seconds": time.process_time() - start}


def starting_weight(rows: Sequence[Row]) -> float:
    """The smallest weight whose median accuracy on held-out digits is within a point of the best."""
    weights = sorted({row["weight"] for row in rows})
    middles = [statistics.median(row["held out"] for row in rows if row["weight"] == weight) for weight in weights]
    return next(weight for weight, middle in zip(weights, middles, strict=True) if middle >= max(middles) - 0.01)


def report(rows: Sequence[Row]) -> None:
    """A block a shortcut, a line an attribution: median test accuracy by weight, and the weight to start from."""
    for shortcut in dict.fromkeys(row["shortcut"] for row in rows):
        own = [row for row in rows if row["shortcut"] == shortcut]
        weights = sorted({row["weight"] for row in own if row["weight"]})
        for name in ("plain", "ceiling"):
            print(f"{shortcut:8}{name:24}{spread(row['test'] for row in own if row['attribution'] == name)}")
        print(f"{'':32}" + "".join(f"{weight:>8g}" for weight in weights) + f"{'start':>10}  test accuracy there")
        for name in dict.fromkeys(row["attribution"] for row in own if row["weight"]):
            tried = [row for row in own if row["attribution"] == name]
            by_weight = {w: [row["test"] for row in tried if row["weight"] == w] for w in weights}
            line = "".join(f"{statistics.median(values):8.3f}" for values in by_weight.values())
            start = starting_weight(tried)
            print(f"{shortcut:8}{name:24}{line}{start:10g}  {spread(by_weight[start])}")
    print(f"\n{sum(row['seconds'] for row in rows) / 60:.1f} minutes of one core")


def main() -> None:
    """Train, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits", help="grey pictures, such as a folder of MNIST's files")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--jobs", type=int, default=1, help="processes of one thread each")
    parser.add_argument("--log", type=Path, help="rows as JSON lines; an interrupted call goes on from them")
    parser.add_argument("--small", action="store_true", help="one epoch and two weights, to see that it runs")
    chosen = parser.parse_args()
    weights = WEIGHTS
    if chosen.small:
        chosen.seeds, chosen.epochs, weights = [0], 1, WEIGHTS[:2]
    torch.set_num_threads(1)
    ways = [("plain", 0.0), ("ceiling", 0.0), *((name, weight) for name in ATTRIBUTIONS for weight in weights)]
    tasks = [(chosen.data, s, *way, seed, chosen.epochs) for seed in chosen.seeds for s in SHORTCUTS for way in ways]
    report(rows_of(run, tasks, chosen.jobs, chosen.log))


if __name__ == "__main__":
    main()
