"""Five kinds of sparse autoencoder on one layer, beside directions that were not trained, and how far seeds agree.

The layer is that of `sae_attributions`: 64 units of a network that reads sprites. Every dictionary has 256 features and
is trained for the same number of steps; k is 8, and the weights of the L1 and of the L0 penalty were chosen on seed 99
so that about 8 features are active too. Then, on 2,048 held-out sprites: L0; the explained variance; the share of the
network's loss that is recovered when its layer is replaced by the reconstruction (0: by zeros, 1: nothing is lost); the
share of dead features; and the agreement between the dictionaries of two seeds, the mean cosine of features matched one
to one (Paulo & Belrose 2025), with that of random directions beside it.

    python examples/sae_dictionaries.py
"""

from __future__ import annotations

import argparse
import itertools
import statistics
from pathlib import Path
from typing import Any

import torch
from _seeds import Task, rows_of, spread
from sae_attributions import ACTIVE, FEATURES, HELD_OUT, NETWORK_STEPS, SEEN, layer
from trimkit_sae.metrics import agreement

import trimkit
from trimkit.methods import Method

OPTIONS: dict[str, dict[str, Any]] = {
    "sae": {"l1": 0.18},
    "topk-sae": {"k": ACTIVE},
    "batch-topk-sae": {"k": ACTIVE},
    "jumprelu-sae": {"l0": 0.003, "threshold": 0.03, "bandwidth": 0.03},
    "matryoshka-sae": {"k": ACTIVE},
}
BASELINES = ("random", "pca", "ica")
SCORES = ("l0", "explained_variance", "loss_recovered", "dead_share")


def run(task: Task) -> dict[str, Any]:
    """Train one dictionary and measure it.

    Args:
        task: method, seed, steps of the dictionary, steps of the network.
    Returns:
        The row of the table, those of the baselines, and the directions as nested lists.
    """
    name, seed, steps, network_steps = task
    few = min(SEEN, 8 * steps)
    data, test = (layer(split, n, network_steps) for split, n in (("train", few), ("test", min(HELD_OUT, few))))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        method: Method = trimkit.create("method", name, shape=data.shape, features=FEATURES, **OPTIONS[name])
    trimkit.train(method, data, steps=steps, batch_size=256, seed=seed, log_every=steps)
    found = trimkit.evaluate(method, test, seed=seed, baselines=name == "topk-sae")
    values = {"own": found.metrics, **found.baselines}
    directions = method.dictionary.directions.detach()  # type: ignore[union-attr]
    return {
        "name": name,
        "seed": seed,
        "directions": directions.tolist(),  # type: ignore[operator]
        **{of: {score: metrics[score].value for score in SCORES} for of, metrics in values.items()},
    }


def agreement_of(rows: list[Any]) -> str:
    """Median over pairs of seeds, with that of random directions."""
    pairs = [agreement(torch.tensor(a["directions"]), torch.tensor(b["directions"])) for a, b in
             itertools.combinations(rows, 2)]  # fmt: skip
    if not pairs:
        return "–"
    return f"{statistics.median(p.value for p in pairs):.3f} (random {pairs[0].parts['random']:.3f})"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=list(OPTIONS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=1, help="processes of one thread each")
    parser.add_argument("--log", type=Path, help="rows as JSON lines; an interrupted call goes on from them")
    parser.add_argument("--small", action="store_true", help="two methods for a few steps, to see that it runs")
    chosen = parser.parse_args()
    network_steps = NETWORK_STEPS
    if chosen.small:
        chosen.methods, chosen.seeds, chosen.steps, network_steps = ["sae", "topk-sae"], [0], 10, 10
    tasks = [(name, seed, chosen.steps, network_steps) for seed in chosen.seeds for name in chosen.methods]
    rows = rows_of(run, tasks, chosen.jobs, chosen.log)
    print(f"{len(chosen.seeds)} seeds, median [smallest, largest]")
    print(f"{'':16}" + "".join(f"{score:>24}" for score in SCORES) + f"{'agreement of seeds':>28}")
    for name in chosen.methods:
        own = [row for row in rows if row["name"] == name]
        line = "".join(f"{spread(row['own'][score] for row in own):>24}" for score in SCORES)
        print(f"{name:16}{line}{agreement_of(own):>28}")
    for name in BASELINES:
        others = [row[name] for row in rows if name in row]
        print(f"{name:16}" + "".join(f"{spread(row[score] for row in others):>24}" for score in SCORES))


if __name__ == "__main__":
    main()
