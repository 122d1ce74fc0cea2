"""StyleGAN2 and StyleGAN on coloured sprites of 32 pixels: what they draw, what their spaces hold, what TRIM adds.

    stylegan2 + path    with path length regularisation
    stylegan2           without
    stylegan            grown from 8 pixels

All train on nine tenths of 5,160,960 sprites, and are judged by the running average of their weights. A small CNN,
trained first on the same sprites and frozen, tells colour, shape, scale and place; its test accuracy is printed. Its 64
features serve for the Fréchet distance ("sprite CNN", no FID), precision and recall against 2,048 test sprites, and for
path lengths along great circles of z and lines of w. Disentanglement (DCI, MIG) and linear separability are about
factors *as the CNN reads them off generated pictures*; "chance" is the same for the codes of other pictures. Expected
from the papers: shorter paths with the regulariser; DCI of s above w above z; separability of w below z.

TRIM goes on from the first generator for a few steps, with and without a penalty on the attributions of the CNN's
shape in s. Printed: how many style channels carry 90 % of them, by the attribution that is penalised (input × gradient
from the mean image) and by integrated gradients; the Fréchet distance; the share of the rarest shape (at best a third),
since a generator without shapes has nothing to explain; and which share of the CNN's word on the shape is due to
per-pixel noise, which no style accounts for.

Settings were chosen by single 6-minute trials of another loop, which is not kept, seed 0, without path lengths: 32
channels were ahead of 64, and γ = 1 had a Fréchet distance of 368, γ = .1 of 788, γ = 5 of 341 with blurred edges.

    python examples/stylegan_sprites.py --log stylegan.jsonl --out stylegan              # 18 minutes of two cores
    python examples/stylegan_sprites.py --log stylegan.jsonl --out stylegan --seeds 5    # five times as long
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from _seeds import Row, Task, rows_of, spread
from _sprite_reader import FACTORS, accuracy, likeness, reader, sprites, train_reader
from _stylegan import (
    VARIANTS,
    Sizes,
    baselines,
    disentangled,
    draw,
    draw_curves,
    explained,
    focus,
    make,
    path_lengths,
    table,
)
from trimkit_gan.pictures import edit_grid, mixing_grid, truncation_grid
from trimkit_gan.styled import StyleBased

import trimkit
from trimkit.errors import TrimkitWarning
from trimkit.methods import load_method
from trimkit.training.pictures import sample_grid

START = "stylegan2 + path"
PENALTIES = ("none", "hoyer@s:2", "hoyer@s:10")
READER_STEPS, SMALL = 1500, Sizes(32, 60, 20, 8, points=2, sprites=64)


def run(task: Task) -> dict[str, Any]:
    """Train one variant, a part at a time, and measure it.

    Args:
        task: variant, seed, steps, batch, whether it is small, folder.
    Returns:
        The row of the tables.
    """
    variant, seed, steps, batch, small, out = task
    started, sizes, f = time.process_time(), SMALL if small else Sizes(), reader(Path(out) / "reader.pt")
    folder = Path(out) / f"{variant.replace(' + ', '-')}-{seed}"
    data = sprites("train", sizes.sprites)
    method = make(variant, data.shape, steps, seed, small)
    kept = folder.with_suffix(".curve.json")
    curve = json.loads(kept.read_text()) if kept.exists() else [[0, _distance(method, f, sizes, seed)]]
    for point in range(len(curve), sizes.points + 1):
        step = max(point, steps * point // sizes.points)
        _train(method, data, step, batch, seed, folder)
        curve.append([step, _distance(load_method(folder), f, sizes, seed)])
        kept.write_text(json.dumps(curve))
    method = load_method(folder)
    row = {"variant": variant, "seed": seed, "curve": curve, **likeness(f, draw(method, sizes.samples, seed))}
    row |= path_lengths(method, f, sizes, seed) | disentangled(method, f, sizes, seed)
    if seed == 0:
        pictures(method, folder)
    return row | {"minutes": (time.process_time() - started) / 60}


def _distance(method: StyleBased, f: Any, sizes: Sizes, seed: int) -> float:
    return likeness(f, draw(method.eval(), sizes.samples, seed))["fd"]


def _train(method: StyleBased, data: Any, step: int, batch: int, seed: int, folder: Path) -> None:
    """Go on until a step, from wherever an interrupted call has left the run."""
    done = folder / "COMPLETE"
    if done.exists() and done.read_text().split()[0] == str(step):
        return
    begun = folder.exists() or folder.with_name(f"{folder.name}.partial").exists()
    settings: dict[str, Any] = {"steps": step, "batch_size": batch, "seed": seed, "evaluated": batch}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TrimkitWarning)  # a part may end before the networks have grown
        trimkit.train(method.train(), data, folder=folder, resume=begun, **settings)


def tune(task: Task) -> dict[str, Any]:
    """Go on from a trained generator with a TRIM penalty, or without, and measure where the shape is.

    Args:
        task: penalty, seed, steps, batch, whether it is small, folder.
    Returns:
        The row of the table.
    """
    penalty, seed, steps, batch, small, out = task
    started, sizes, f = time.process_time(), SMALL if small else Sizes(), reader(Path(out) / "reader.pt")
    method: Any = load_method(Path(out) / f"{START.replace(' + ', '-')}-{seed}")
    guidance: dict[str, Any] = {} if penalty == "none" else {"predictor": f.shape, "trim": [penalty]}
    settings: dict[str, Any] = {"steps": steps, "batch_size": batch, "seed": seed + 1000, "evaluated": batch}
    trimkit.train(method, sprites("train", sizes.sprites), **settings, **guidance)
    row = {"penalty": penalty, "seed": seed, **focus(method.eval(), f, sizes)}
    row |= likeness(f, draw(method, sizes.samples, seed))
    if seed == 0:
        top = explained(method, f.shape, sizes).mean(0).topk(6).indices.tolist()
        s = method.sample_codes(1, torch.Generator().manual_seed(5), "s").detach()
        edit_grid(method, s, top).save(Path(out) / f"edit-{penalty.replace(':', '-')}.png")
    return row | {"minutes": (time.process_time() - started) / 60}


def pictures(method: StyleBased, folder: Path) -> None:
    """Samples beside data, style mixing and truncation, as PNG beside the run's folder."""
    of, name = torch.Generator().manual_seed(0), folder.name
    sample_grid(sprites("test", 10).x[:], draw(method, 60, 0)).save(folder.with_name(f"{name}-samples.png"))
    mixing_grid(method, of).save(folder.with_name(f"{name}-mixing.png"))
    truncation_grid(method, of).save(folder.with_name(f"{name}-truncation.png"))


def report(rows: Sequence[Row], tuned: Sequence[Row], trivial: dict[str, dict[str, float]]) -> None:
    """All tables."""
    print("\nFréchet distance (sprite CNN) over the training, step: median [smallest, largest]")
    for name in VARIANTS:
        own = [row["curve"] for row in rows if row["variant"] == name]
        points = (f"{of[0][0]}: {spread((each[1] for each in of), 1)}" for of in zip(*own, strict=True))
        print(f"{name:18}" + ", ".join(points))
    print("\nlikeness to test sprites")
    table(rows, "variant", ("fd", "precision", "recall"), trivial)
    print("\nperceptual path length, sprite CNN")
    table(rows, "variant", [f"ppl_{space}_{where}" for space in "zw" for where in ("full", "end")])
    print(f"\nfactors as the CNN reads them: {', '.join(FACTORS)}")
    for score, spaces in (("dci", "swz"), ("mig", "swz"), ("separability", "wz")):
        table(rows, "variant", [f"{score}_{space}{chance}" for chance in ("", "_chance") for space in spaces])
    print(f"\nTRIM on s: how many of {tuned[0]['channels']} channels carry 90 % of the shape's attribution")
    table(tuned, "penalty", ("channels_90", "channels_90_ig", "fd", "precision", "rarest_shape", "noise_share"))
    print(f"\n{sum(row['minutes'] for row in [*rows, *tuned]):.1f} minutes of one core, evaluation included")


def main() -> None:
    """Train the CNN, the generators and TRIM's continuations; print and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--steps", type=int, default=3600, help="that each generator is trained for")
    parser.add_argument("--tune-steps", type=int, default=400, help="that each TRIM run goes on for")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--jobs", type=int, default=2, help="processes of one thread each")
    parser.add_argument(
        "--log", type=Path, help="rows as JSON lines; an interrupted call goes on from them; needs --out"
    )
    parser.add_argument("--out", type=Path, help="folder for runs and pictures; by default none are kept")
    parser.add_argument("--small", action="store_true", help="tiny networks for a few steps, to see that it runs")
    chosen = parser.parse_args()
    if chosen.log and not chosen.out:
        parser.error("--log needs --out: what goes on needs the generators that are trained already")
    if chosen.small:
        chosen.seeds, chosen.steps, chosen.tune_steps, chosen.jobs = 1, 12, 2, 1
    torch.set_num_threads(1)
    with TemporaryDirectory() as scratch:
        out = chosen.out or Path(scratch)
        out.mkdir(parents=True, exist_ok=True)
        sizes = SMALL if chosen.small else Sizes()
        train_reader(out / "reader.pt", 5 if chosen.small else READER_STEPS)
        f = reader(out / "reader.pt")
        right = ", ".join(f"{name} {share:.3f}" for name, share in accuracy(f, sizes.samples).items())
        print(f"accuracy of the sprite CNN on test sprites: {right}")
        seeds, shared = range(chosen.seeds), (chosen.batch, chosen.small, str(out))
        tasks = [(name, seed, chosen.steps, *shared) for seed in seeds for name in VARIANTS]
        rows = rows_of(run, tasks, chosen.jobs, chosen.log)
        again = [(name, seed, chosen.tune_steps, *shared) for seed in seeds for name in PENALTIES]
        tuned = rows_of(tune, again, chosen.jobs, chosen.log)
        trivial = baselines(f, sizes)
        draw_curves(rows, trivial["training sprites"]["fd"], out / "curve.png")
        report(rows, tuned, trivial)


if __name__ == "__main__":
    main()
