"""A dictionary that keeps what a network reads, and explains it by few features: what TRIM adds, and what it costs.

Data are sprites of 32 pixels. The network, of three layers, tells whether the sprite is large and in which third it is
from left to right: six classes; it is trained first, and frozen. Its first layer, 64 units after their ReLU, is read by
TopK sparse autoencoders of 256 features, 8 of them active, so that L0 is the same for all:

    topk            reconstruction only (Gao et al. 2024)
    + prediction    and KL(f(x) ‖ f(x̂)) of the frozen rest f of the network, weight 1
    + hoyer …       and 1 − Hoyer's sparsity of f's input × gradient attribution to the features, at several weights
    end to end      the KL alone, no reconstruction (Braun et al. 2024, with TopK in the place of L1)

Printed are medians over seeds on 2,048 held-out sprites: L0; the explained variance; the KL in nats and the share of
sprites that the reconstruction makes f read otherwise; the number of features that carry 90 % of the attribution to
features, in one sprite and over all of them together; and the error's share of the whole attribution, with the error as
a node of its own (Marks et al. 2024). Attributions are integrated gradients of the predicted class, in magnitude. The
weights were chosen on seed 99, among 0.3, 1 and 3, before the seeds of the table.

    python examples/sae_attributions.py
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from _seeds import Row, Task, arguments, rows_of, spread
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, kl_div, log_softmax

import trimkit
from trimkit.data import Dataset, load
from trimkit.errors import TrimkitWarning
from trimkit.methods import Method
from trimkit.predictor.activations import Activations, collect

FEATURES, ACTIVE, LAYER = 256, 8, "2"
SEEN, HELD_OUT, NETWORK_STEPS = 16_384, 2_048, 1500
WEIGHTS = (0.3, 1.0)
VARIANTS = ("topk", "+ prediction", *(f"+ hoyer {weight:g}" for weight in WEIGHTS), "end to end")
SCORES = ("l0", "explained", "kl", "misread", "features_90", "all_90", "error_share")


def classes(factors: Tensor) -> Tensor:
    """Size and horizontal third: (N, 5) factors → (N,) classes from 0 to 5."""
    return 3 * (factors[:, 1] >= 3).long() + 3 * factors[:, 3].long() // 32


@cache
def sprites(split: str, n: int) -> Dataset:
    """Sprites of a split, drawn at random, the same each time, with the classes as labels."""
    data = load("sprites:size=32", split).some(n)
    assert data.factors is not None
    return Dataset("sprites", data.x[:], classes(data.factors), split, tuple("012345"), factors=data.factors)


@cache
def network(steps: int) -> nn.Sequential:
    """The network that is explained, the same for every variant and seed."""
    data = sprites("train", SEEN)
    assert data.y is not None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = [nn.Flatten(), nn.Linear(1024, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 6)]
        model = nn.Sequential(*layers)
        optimiser = torch.optim.Adam(model.parameters(), 2e-3)
        decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        for _ in range(steps):
            rows = torch.randint(len(data), (128,))
            optimiser.zero_grad()
            cross_entropy(model(data.x[rows]), data.y[rows]).backward()
            optimiser.step()
            decay.step()
    return model.eval()


@cache
def layer(split: str, n: int, steps: int) -> Activations:
    """What the layer makes of sprites."""
    return collect(network(steps), LAYER, sprites(split, n))


def run(task: Task) -> dict[str, Any]:
    """Train one variant and measure it.

    Args:
        task: variant, seed, steps of the dictionary, steps of the network.
    Returns:
        Plain values.
    """
    variant, seed, steps, network_steps = task
    few = min(SEEN, 8 * steps)
    data, rest = layer("train", few, network_steps), network(network_steps)[int(LAYER) + 1 :]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        method: Method = trimkit.create("method", "topk-sae", shape=data.shape, features=FEATURES, k=ACTIVE)
    joined: dict[str, Any] = {} if variant == "topk" else {"predictor": rest}
    if variant == "end to end":
        joined["weights"] = {"recon": 0.0}
    if "hoyer" in variant:
        joined["trim"] = [f"hoyer@features:{variant.split()[-1]}"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TrimkitWarning)  # that without reconstruction the features are the network's
        trimkit.train(method, data, steps=steps, batch_size=256, seed=seed, log_every=steps, **joined)
    test = layer("test", min(HELD_OUT, few), network_steps)
    return {"variant": variant, "seed": seed, **measure(method.eval(), rest, test)}


@torch.no_grad()
def measure(method: Method, rest: nn.Module, test: Dataset) -> dict[str, float]:
    """The numbers of the table on held-out sprites."""
    x = test.x[:]
    logits, again = rest(x), rest(method.decode(method.encode(x).mean))
    kl = kl_div(log_softmax(again, 1), log_softmax(logits, 1), reduction="batchmean", log_target=True)
    return {
        "accuracy": float((logits.argmax(1) == test.y).float().mean()),
        "kl": float(kl),
        "misread": float((logits.argmax(1) != again.argmax(1)).float().mean()),
        **measure_features(method, rest, x),
    }


@torch.no_grad()
def measure_features(method: Method, rest: nn.Module, x: Tensor) -> dict[str, float]:
    """How many features a dictionary uses, and how many of them explain what the rest of the network predicts.

    Args:
        method: the dictionary.
        rest: reads the layer, (N, d) → (N, K) logits.
        x: (N, d) outputs of the layer.
    """
    z = method.encode(x).mean
    x_hat = method.decode(z)
    with torch.enable_grad():
        trim = trimkit.Trim(rest, method.as_transform("features+error"), "integrated_gradients")
        scores = trim(x, "predicted").scores
    assert isinstance(scores, Tensor)
    features, error = scores[:, : z.shape[1]].abs(), scores[:, z.shape[1] :].sum(1).abs()
    return {
        "l0": float((z > 0).float().sum(1).mean()),
        "explained": float(1 - (x - x_hat).square().sum() / (x - x.mean(0)).square().sum()),
        "features_90": float(needed(features).float().mean()),
        "all_90": float(needed(features.mean(0)[None])),
        "error_share": float((error / (features.sum(1) + error)).mean()),
    }


def needed(magnitudes: Tensor, level: float = 0.9) -> Tensor:
    """How many entries of each row, the largest first, carry ``level`` of its sum: (N, D) → (N,)."""
    carried = magnitudes.sort(1, descending=True).values.cumsum(1)
    return (carried < level * carried[:, -1:]).sum(1) + 1


def print_table(rows: Sequence[Row], variants: Sequence[str], scores: Sequence[str] = SCORES) -> None:
    """One line a variant: median [smallest, largest] of each score."""
    print(f"{'':16}" + "".join(f"{score:>26}" for score in scores))
    for variant in variants:
        own = [row for row in rows if row["variant"] == variant]
        print(f"{variant:16}" + "".join(f"{spread(row[score] for row in own):>26}" for score in scores))


def main() -> None:
    """Print the table."""
    chosen = arguments(__doc__, VARIANTS, "three variants for a few steps").parse_args()
    network_steps = NETWORK_STEPS
    if chosen.small:
        chosen.variants, chosen.seeds, chosen.steps, network_steps = [*VARIANTS[1:3], VARIANTS[-1]], [0], 10, 10
    tasks = [(name, seed, chosen.steps, network_steps) for seed in chosen.seeds for name in chosen.variants]
    rows = rows_of(run, tasks, chosen.jobs, chosen.log)
    print(f"accuracy of the network {rows[0]['accuracy']:.3f}; {len(chosen.seeds)} seeds, median [smallest, largest]")
    print_table(rows, chosen.variants)


if __name__ == "__main__":
    main()
