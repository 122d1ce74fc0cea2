"""What do generators draw after the same minutes of one core? Style-based ones beside a plain DCGAN.

    stylegan2         the options that images of 32 pixels have by default
    stylegan2 mixed   the same networks with style mixing, path length, 4 layers of mapping whose learning rate has the
                      published multiplier .01, and a learning rate of .002
    stylegan2 single  with style mixing and path length too, and one convolution a resolution, 16 channels at the last
    stylegan          the options by default, not grown
    stylealae         `alae` with network "style", 64 latents, γ = 1 every 16th step, no style mixing; the same running
                      average
    dcgan             the game of `infogan` without its codes, network "conv"; Adam as published there, the same running
                      average

All train on coloured sprites of 32 pixels, in batches of 16, and are looked at after each of the minutes. A few steps
are timed first, on a copy: the number of steps is what fits into the minutes, and the minutes that it took are printed.
The numbers are those of `stylegan_sprites`: in the features of its frozen CNN ("sprite CNN", no FID), 2,048 new
pictures against as many test sprites; below them those of training sprites and of black pictures.

    python examples/equal_minutes.py --minutes 2 10 --log rows.jsonl --out peers
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from _seeds import Row, Task, rows_of, spread
from _sprite_reader import CHUNK, likeness, reader, sprites, train_reader

import trimkit
from trimkit.errors import TrimkitWarning
from trimkit.methods import Method
from trimkit.training.pictures import sample_grid

MIXED: dict[str, Any] = {"mixing": 0.9, "path_weight": 2.0, "path_interval": 16, "mapping_multiplier": 0.01}
MIXED |= {"ema_decay": 0.995}
SINGLE: dict[str, Any] = {"convolutions": 1, "channel_base": 512, "channel_max": 64}
PEERS: dict[str, tuple[str, dict[str, Any]]] = {
    "stylegan2": ("stylegan2", {}),
    "stylegan2 mixed": ("stylegan2", {**MIXED, "mapping_layers": 4, "learning_rate": 2e-3}),
    "stylegan2 single": ("stylegan2", {**MIXED, **SINGLE}),
    "stylegan": ("stylegan", {"grow_steps": 0}),
    "stylealae": ("alae", {"network": "style", "w_dim": 64, "r1_weight": 1.0, "r1_interval": 16, "style_mixing": 0.0}),
    "dcgan": ("infogan", {"noise_dim": 64, "recogniser": "head", "category_weight": 0.0, "continuous": 0}),
}
BATCH, EMA, TIMED, READER_STEPS = 16, 0.995, 40, 1500
COLUMNS = ("fd", "precision", "recall", "minutes", "images")


def make(name: str, shape: Sequence[int], seed: int) -> Method:
    """A peer with weights of a seed."""
    method, options = PEERS[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return trimkit.create("method", method, shape=tuple(shape), **options)


def train(method: Method, data: Any, steps: int, seed: int, folder: Path | None = None) -> float:
    """Train until a step, from where the folder's run has got to; seconds of the processor that it took."""
    settings: dict[str, Any] = {"steps": steps, "batch_size": BATCH, "seed": seed, "log_every": steps}
    averaged: dict[str, Any] = {} if hasattr(method, "ema_decay") else {"ema": EMA}
    resume = folder is not None and folder.exists()
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TrimkitWarning)  # it may end before the networks have grown
        trimkit.train(method.train(), data, evaluated=BATCH, folder=folder, resume=resume, **settings, **averaged)
    return time.process_time() - start


def seconds_a_step(name: str, data: Any) -> float:
    """What a step of a peer takes, by the time that some steps take beyond a few, once all is warm."""
    _, few, more = (train(make(name, data.shape, 0), data, n, 0) for n in (TIMED // 4, TIMED // 4, TIMED))
    return max(more - few, 1e-3) / (TIMED - TIMED // 4)


@torch.no_grad()
def draw(method: Method, n: int, seed: int) -> torch.Tensor:
    """New pictures: (n, 3, 32, 32) in [0, 1]."""
    rng = torch.Generator().manual_seed(seed)
    return torch.cat([method.sample(min(CHUNK, n - start), rng).clamp(0, 1) for start in range(0, n, CHUNK)])


def run(task: Task) -> dict[str, Any]:
    """A peer, a seed, minutes, samples, sprites to train on, and the folder → the row, a point a time."""
    name, seed, minutes, samples, size, out = task
    data, f, label = sprites("train", size), reader(Path(out) / "reader.pt"), f"{name.replace(' ', '-')}-{seed}"
    pace = seconds_a_step(name, data) if max(minutes) else 0.0
    ends = [max(1, round(60 * end / pace)) if pace else 2 * n for n, end in enumerate(minutes, start=1)]
    method, points, taken = make(name, data.shape, seed), [], 0.0
    with TemporaryDirectory() as scratch:
        for end, steps in zip(minutes, ends, strict=True):
            taken += train(method, data, steps, seed, Path(scratch) / "run")
            pictures = draw(method.eval(), samples, seed)
            sample_grid(sprites("test", 10).x[:], pictures[:60]).save(Path(out) / f"{label}-{end:g}.png")
            points.append({**likeness(f, pictures), "minutes": taken / 60, "images": steps * BATCH})
            print(name, seed, points[-1], flush=True)
    return {"name": name, "seed": seed, "points": points}


def main() -> None:
    """Train the CNN and the peers; print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", nargs="+", choices=list(PEERS), default=list(PEERS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--minutes", type=float, nargs="+", default=[2.0, 10.0], help="of one core, in ascending order")
    parser.add_argument("--jobs", type=int, default=1, help="processes of one thread each")
    parser.add_argument("--log", type=Path, help="rows as JSON lines; an interrupted call goes on from them")
    parser.add_argument("--out", type=Path, help="folder for the CNN and pictures; by default none are kept")
    parser.add_argument("--small", action="store_true", help="two peers for four steps, to see that it runs")
    chosen = parser.parse_args()
    samples, size, reader_steps = 2048, 500_000, READER_STEPS
    if chosen.small:
        chosen.peers, chosen.minutes, samples, size, reader_steps = ["stylegan2", "dcgan"], [0.0, 0.0], 32, 64, 3
    torch.set_num_threads(1)
    with TemporaryDirectory() as scratch:
        out = chosen.out or Path(scratch)
        out.mkdir(parents=True, exist_ok=True)
        train_reader(out / "reader.pt", reader_steps)
        rest = (chosen.minutes, samples, size, str(out))
        tasks = [(name, seed, *rest) for seed in chosen.seeds for name in chosen.peers]
        report(rows_of(run, tasks, chosen.jobs, chosen.log))
        for name, pictures in trivial(samples, size).items():
            print(name, likeness(reader(out / "reader.pt"), pictures))


def trivial(n: int, size: int) -> dict[str, torch.Tensor]:
    """What to hold the numbers beside: sprites that are trained on, and pictures without any."""
    data = sprites("train", size).x[:n]
    return {"training sprites": data, "black pictures": torch.zeros_like(data)}


def report(rows: Sequence[Row]) -> None:
    """A table for each of the minutes, a line a peer: each column's median [smallest, largest]."""
    for tables in zip(*(row["points"] for row in rows), strict=True):
        print(f"{'':18}" + "".join(f"{column:>26}" for column in COLUMNS))
        for name in dict.fromkeys(row["name"] for row in rows):
            own = [point for row, point in zip(rows, tables, strict=True) if row["name"] == name]
            print(f"{name:18}" + "".join(f"{spread(point[column] for point in own):>26}" for column in COLUMNS))


if __name__ == "__main__":
    main()
