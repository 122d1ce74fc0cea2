"""What does ALAE's encoder know of digits that it was never asked to name? On 8×8 digits, beside PCA and pixels.

MLP-ALAE with 32 latents, as published ("alae": no loss on pixels), and with ½ ‖x − G(E(x))‖² a tenth as strong as the
reciprocity in w ("+ pixels"). On the test digits: the squared error of G(E(x)), pixels in [−1, 1]; the nearest
neighbour's and a linear support vector machine's accuracy on E(x), fitted to the training digits (each code scaled to
standard deviation 1, C = 1); the published claim is that the gap between the two is near 0, where codes of other
autoencoders lose some points. Reciprocity is ‖w − E(G(w))‖² over the variance of w = F(z), for new z. Baselines: the
same networks untrained, 16 and 32 principal components, pixels, the mean digit.

    python examples/alae_digits.py
    python examples/alae_digits.py --seeds 0 --pictures out    # reconstructions and samples too
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import LinearSVC
from trimkit_gan.alae import ALAE

import trimkit
from trimkit.data import Dataset, in_memory
from trimkit.data.digits import split_rows
from trimkit.metrics.generation import reciprocity_error
from trimkit.training.pictures import draw_grid

WAYS: dict[str, dict[str, Any]] = {"alae": {}, "+ pixels": {"reconstruction_weight": 0.1}}
LATENTS, SHOWN = 32, 12


def digits(split: str) -> Dataset:
    """The originals, 8×8 in [−1, 1], of the digits that `trimkit.data.load("digits")` enlarges; the same split."""
    pixels, labels = load_digits(return_X_y=True)
    rows = split_rows(split, len(pixels))
    x = torch.as_tensor(pixels, dtype=torch.float32).reshape(-1, 1, 8, 8) / 8 - 1
    return Dataset("digits8", x[rows], torch.as_tensor(labels)[rows].long(), split, tuple("0123456789"))


def classified(train: Any, y: Any, test: Any, test_y: Any) -> dict[str, float]:
    """Accuracy of the nearest neighbour and of a linear machine, in percent, and the second minus the first."""
    spread = np.where(train.std(0) > 0, train.std(0), 1)
    neighbour = KNeighborsClassifier(1).fit(train, y).score(test, test_y)
    machine = LinearSVC(C=1.0, max_iter=50_000, random_state=0).fit(train / spread, y).score(test / spread, test_y)
    return {"1-NN": 100 * neighbour, "SVM": 100 * machine, "gap": 100 * (machine - neighbour)}


def trained(way: str, seed: int, steps: int, data: Dataset) -> ALAE:
    """A method after so many steps, in eval mode."""
    torch.manual_seed(seed)
    options: dict[str, Any] = {"network": "mlp", "output": "tanh", "r1_weight": 0.1, "ema": 0.99, **WAYS[way]}
    method = ALAE(data.shape, LATENTS, **options)
    if steps:
        trimkit.train(method, data, steps=steps, batch_size=64, seed=seed, log_every=steps)
    return method.eval()


@torch.no_grad()
def scores(method: ALAE, data: Dataset, test: Dataset) -> dict[str, float]:
    """The numbers of a row."""
    x, new = in_memory(data.x), in_memory(test.x)
    codes = [method.encode(part).mean for part in (x, new)]
    z = torch.randn(2000, LATENTS, generator=torch.Generator().manual_seed(0))
    w = method.mapping(z)
    return {
        "error": float((method.decode(codes[1]) - new).square().mean()),
        **classified(codes[0].numpy(), data.y, codes[1].numpy(), test.y),
        "reciprocity": reciprocity_error(w, method.encode(method.decode(w)).mean, draws=0).value,
    }


def baselines(data: Dataset, test: Dataset) -> dict[str, dict[str, float]]:
    """Principal components, pixels and the mean digit."""
    x, new = (in_memory(part.x).flatten(1).numpy() for part in (data, test))
    found = {}
    for size in (16, LATENTS):
        pca = PCA(size, random_state=0).fit(x)
        codes, new_codes = pca.transform(x), pca.transform(new)
        error = float(((pca.inverse_transform(new_codes) - new) ** 2).mean())
        found[f"PCA-{size}"] = {"error": error, **classified(codes, data.y, new_codes, test.y)}
    found["pixels"] = {"error": 0.0, **classified(x, data.y, new, test.y)}
    found["mean digit"] = {"error": float(((new - x.mean(0)) ** 2).mean())}
    return found


@torch.no_grad()
def draw(method: ALAE, test: Dataset, folder: Path, name: str) -> None:
    """Test digits above their reconstructions, and three rows of samples."""
    x = in_memory(test.x)[:SHOWN]
    samples = method.sample(3 * SHOWN, torch.Generator().manual_seed(0)).split(SHOWN)
    rows = [x, method.decode(method.encode(x).mean), *samples]
    labels = ["original", "rebuilt", "samples", "", ""]
    draw_grid([(row + 1) / 2 for row in rows], labels).save(folder / f"{name}.png")


def main() -> None:
    """One row a way and seed, medians and best, and the baselines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--pictures", type=Path, help="folder for pictures of the first seed")
    parser.add_argument("--small", action="store_true", help="two seeds, few steps: to see that it runs")
    arguments = parser.parse_args()
    if arguments.small:
        arguments.seeds, arguments.steps = [0, 1], 3
    torch.set_num_threads(1)
    start, data, test = time.perf_counter(), digits("train"), digits("test")
    print(f"{'':22}" + "".join(f"{name:>12}" for name in ("error", "1-NN", "SVM", "gap", "reciprocity")))
    for way in arguments.ways:
        rows = {}
        for seed in arguments.seeds:
            method = trained(way, seed, arguments.steps, data)
            rows[f"{way}, seed {seed}"] = scores(method, data, test)
            if arguments.pictures and seed == arguments.seeds[0]:
                arguments.pictures.mkdir(parents=True, exist_ok=True)
                draw(method, test, arguments.pictures, f"alae-{way.removeprefix('+ ')}")
        every = list(rows.values())
        rows[f"{way}, median"] = {name: statistics.median(row[name] for row in every) for name in every[0]}
        rows[f"{way}, best SVM"] = max(every, key=lambda row: row["SVM"])
        show(rows)
    untrained = [scores(trained("alae", seed, 0, data), data, test) for seed in arguments.seeds]
    show({"untrained, median": {name: statistics.median(row[name] for row in untrained) for name in untrained[0]}})
    show(baselines(data, test))
    print(f"{time.perf_counter() - start:.0f} s")


def show(rows: dict[str, dict[str, float]]) -> None:
    """Print rows of numbers."""
    for label, row in rows.items():
        print(f"{label:22}" + "".join(f"{value:12.3f}" for value in row.values()))


if __name__ == "__main__":
    main()
