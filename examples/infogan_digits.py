"""Do InfoGAN's codes become classes, without any label? On 8×8 digits, beside k-means.

Two ways to train it, with the same networks (fully connected, Q with a trunk of its own), a ten-valued code, two
continuous codes and 30 noise variables. "infogan" maximises the published objective, with noise on the images that Q
learns to read the ten-valued code off; "+ data" has Q learn from the training digits as well, which it should sort into
ten groups of about equal size, the same for digits that are slightly distorted (`data_weight`,
`recogniser_distortion`). The two kinds of codes compete for the generator: at a weight of .1 from the start the
continuous ones died, at 1 the ten-valued one did. So the weight of the continuous ones rises from 0 to .5 in the first
1,000 steps; with data it stays 0 until the ten-valued code has settled, and rises to .2 from step 1,500 to 2,500.
Running averages of the weights are evaluated.

A third way shows what the published objective makes of classes: "classes first" trains 1,500 steps in which a frozen
classifier, which was trained on labels, has each category mean a class (`prediction="label"`), and then the 3,000 steps
of "infogan" from there, without it. Its row tells the accuracy before and after them.

Labels serve for the scores: codes are matched to classes on the training digits, and scored on the test digits. They
served once more, in choosing the settings, by the accuracy on training digits. The last choice, to let the continuous
codes wait, was made after tables without it were seen, of the test digits too: with data, medians of .774 (distortion
1) and .688 (.5).

Printed for each seed: code-to-class accuracy on the test digits; the bound on the information of the ten-valued code
(at most log 10 = 2.303 nats, and near it also where the codes are no classes) and of the continuous ones; |correlation|
of the continuous codes with what Q reads off generated digits, the smaller; how many classes the codes' most frequent
training digits cover; the distance of generated digits from test digits (Fréchet, in the 128 hidden features of that
classifier). Then the median, and the best as such: it was chosen by its test score.

    python examples/infogan_digits.py --jobs 2 --log rows.jsonl   # an interrupted call goes on from its log
    python examples/infogan_digits.py --seeds 0 --pictures out    # and pictures of the codes
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from _digits8 import classifier, digits, kmeans
from _seeds import Row, Task, rows_of
from torch import Tensor
from trimkit_gan.infogan import InfoGAN

import trimkit
from trimkit.data import Dataset, in_memory
from trimkit.metrics.generation import code_accuracy, frechet_distance
from trimkit.training.pictures import draw_grid


def late(step: int) -> float:
    """Weight of the continuous codes that lets the ten-valued code settle first."""
    return 0.2 * min(max(step - 1500, 0) / 1000, 1.0)


WAYS: dict[str, dict[str, Any]] = {
    "infogan": {"continuous_weight": "linear(0, 0.5, 1000)"},
    "classes first": {"continuous_weight": "linear(0, 0.5, 1000)"},
    "+ data": {"continuous_weight": late, "recogniser_distortion": 0.5, "data_weight": 1.0},
}
STEPS = {"infogan": 3000, "classes first": 3000, "+ data": 3500}
FIRST = 1500
"""Steps in which categories are made to mean classes."""
OPTIONS: dict[str, Any] = {
    "noise_dim": 30,
    "network": "mlp",
    "recogniser": "own",
    "recogniser_noise": 0.6,
    "output": "tanh",
}
SHOWN = 12
"""Digits of each code in the picture, and steps of a traversal."""


def start(way: str, seed: int, steps: int, data: Dataset) -> InfoGAN:
    """A method with weights of the seed, or, for "classes first", one whose categories mean classes."""
    torch.manual_seed(seed)
    method = InfoGAN(data.shape, **OPTIONS, **WAYS[way])
    if way == "classes first":
        taught: dict[str, Any] = {"predictor": classifier(600), "prediction": "label"}
        trimkit.train(method, data, **settings(min(steps, FIRST), seed), **taught)
    return method.eval()


def settings(steps: int, seed: int) -> dict[str, Any]:
    """Of every training."""
    return {"steps": steps, "batch_size": 128, "seed": seed, "ema": 0.99, "log_every": steps}


@torch.no_grad()
def scores(method: InfoGAN, data: Dataset, test: Dataset) -> dict[str, float]:
    """The numbers of a row."""
    codes = [method.posterior(in_memory(part.x)).mean for part in (data, test)]
    accuracy = code_accuracy(codes[0][:, :10], data.y, codes[1][:, :10], test.y)
    z = method.draw(torch.empty(2000, 1), torch.Generator().manual_seed(0))
    read = method.posterior(made := method.decode(z, "z"))
    c, features = z[:, 30:], classifier(600)[:3]
    sets = (features(x).double() for x in (in_memory(test.x), made))
    bounds = read.log_prob_per_code(c).double().mean(0) + method.codes.entropies()
    pairs = zip(c[:, 10:].T, read.mean[:, 10:].T, strict=True)
    correlations = [float(torch.corrcoef(torch.stack(pair))[0, 1].abs()) for pair in pairs]
    return {
        "accuracy": accuracy.value,
        "(train)": accuracy.parts["train"],
        "MI": float(bounds[0]),
        "MI cont.": float(bounds[1:].sum()),
        "|corr|": min(correlations),
        "classes": accuracy.parts["classes"],
        "distance": frechet_distance(*sets, draws=0).value,
    }


def run(task: Task) -> Row:
    """A way, a seed, steps and a folder for pictures, if any → the row."""
    way, seed, steps, pictures = task
    begin, data, test = time.process_time(), digits("train"), digits("test")
    method = start(way, seed, steps, data)
    before = scores(method, data, test)["accuracy"]
    trimkit.train(method.train(), data, **settings(steps, seed))
    method.eval()
    if pictures:
        Path(pictures).mkdir(parents=True, exist_ok=True)
        draw(method, Path(pictures), way.removeprefix("+ "))
    return {"before": before, **scores(method, data, test), "seconds": time.process_time() - begin}


@torch.no_grad()
def draw(method: InfoGAN, folder: Path, name: str) -> None:
    """Two pictures: each category with fresh noise in every column, and each continuous code from −1 to 1."""
    z = method.draw(torch.empty(10 * SHOWN, 1), torch.Generator().manual_seed(0))
    z[:, 30:40] = torch.eye(10).repeat_interleave(SHOWN, 0)
    rows = list(_grey(method, z).split(SHOWN))
    draw_grid(rows, [f"category {k}" for k in range(10)]).save(folder / f"{name}-categories.png")
    swept = []
    for code in (40, 41):
        for start in z[::SHOWN][:4]:
            line = start.repeat(SHOWN, 1)
            line[:, code] = torch.linspace(-1, 1, SHOWN)
            swept.append(_grey(method, line))
    labels = [f"cont. {code}, category {k}" for code in range(2) for k in range(4)]
    draw_grid(swept, [label.replace(", ", "\n") for label in labels]).save(folder / f"{name}-continuous.png")


def _grey(method: InfoGAN, z: Tensor) -> Tensor:
    return (method.decode(z, "z") + 1) / 2


def main() -> None:
    """One row a way and seed, medians and best, and the baselines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--steps", type=int, help="3,000, and 3,500 with data, where the last codes come later")
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--pictures", type=Path, help="folder for pictures of the first seed's codes")
    parser.add_argument("--jobs", type=int, default=1, help="processes of one thread each")
    parser.add_argument("--log", type=Path, help="rows as JSON lines; an interrupted call goes on from them")
    parser.add_argument("--small", action="store_true", help="two seeds, few steps: to see that it runs")
    chosen = parser.parse_args()
    if chosen.small:
        chosen.seeds, chosen.steps = [0, 1], 3
    torch.set_num_threads(1)
    folders = {chosen.seeds[0]: str(chosen.pictures)} if chosen.pictures else {}
    tasks = [(way, seed, chosen.steps or STEPS[way], folders.get(seed)) for way in chosen.ways for seed in chosen.seeds]
    rows = rows_of(run, tasks, chosen.jobs, chosen.log)
    for way in chosen.ways:
        show(way, {task[1]: row for task, row in zip(tasks, rows, strict=True) if task[0] == way})
    data, test = digits("train"), digits("test")
    singles = [kmeans(data, test, 1, seed) for seed in range(10)]
    print(f"k-means, best of 50 starts by inertia {kmeans(data, test, 50, 0):.3f}")
    print(f"k-means, one start: median {statistics.median(singles):.3f}, best {max(singles):.3f} of 10")
    print(f"{sum(row['seconds'] for row in rows) / 60:.1f} minutes of one core")


def show(way: str, seeds: dict[int, Row]) -> None:
    """Print a way's rows, the median of each column, and the row of the best accuracy."""
    every = list(seeds.values())
    rows: dict[str, Row] = {f"seed {seed}": row for seed, row in seeds.items()}
    rows["median"] = {name: statistics.median(row[name] for row in every) for name in every[0]}
    rows["best of them"] = max(every, key=lambda row: row["accuracy"])
    print(f"{way:14}" + "".join(f"{name:>10}" for name in every[0]))
    for label, row in rows.items():
        print(f"{label:14}" + "".join(f"{value:10.3f}" for value in row.values()))


if __name__ == "__main__":
    main()
