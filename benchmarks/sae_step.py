"""A training step of a TopK sparse autoencoder: trimkit's engine, a plain hand-written loop, and two other packages.

The same objective everywhere (Gao et al. 2024): 512 wide activations, a dictionary of 16 × 512 features of which 32 are
active, unit-norm decoder without parallel gradient, count of dead features, Adam. A step of ours is everything that
`trimkit.train` does between two steps: drawing the batch, generators, freezing, the finite check, logs' numbers. Times
are the processor's, of one thread, so that what else the machine does counts little.

The peers are never dependencies. The package dictionary-learning imports nnsight and datasets, which bring torchvision
along or download; so its trainer alone is imported, without what it needs for language models. sparsify (EleutherAI,
eai-sparsify) trains on language models alone; a step is its module in the order of its trainer: unit norm, forward, its
loss without an auxiliary term (its default), parallel gradient removed, torch's Adam (one of its three optimisers). Its
loss is the squared error divided by the batch's variance, and its encoder has a bias more. In an environment that
has this torch already, none of them installs torchvision:

    pip install --no-deps dictionary-learning
    pip install eai-sparsify
    python benchmarks/sae_step.py

The last lines are the memory that the process takes on top of the data, at its peak, for the same dictionary.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import sys
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from types import ModuleType

import torch
from _timing import interleaved, print_table, ratio
from torch import Tensor
from torch.nn.functional import normalize

import trimkit
from trimkit.data import Dataset
from trimkit.training.session import Plan, Session
from trimkit.training.settings import Settings

WIDTH, EXPANSION, ACTIVE, SAMPLES = 512, 16, 32, 8192
OURS, PLAIN = "trimkit topk-sae", "hand-written"


def activations() -> Tensor:
    """Random activations (8192, 512)."""
    return torch.randn(SAMPLES, WIDTH, generator=torch.Generator().manual_seed(0))


def ours(x: Tensor, batch: int) -> Callable[[], object]:
    """A step in the engine."""
    method = trimkit.create("method", "topk-sae", shape=(WIDTH,), features=EXPANSION * WIDTH, k=ACTIVE)
    settings = Settings(steps=10**9, batch_size=batch, device="cpu")
    plan = Plan(
        method=method, data=Dataset("noise", x), test=None, settings=settings, folder=None, resume=False, weights={}
    )
    loop = Session(plan, list(method.phases()), None).loop
    return lambda: loop.run(loop.step + 1, lambda: None)


def plain(x: Tensor, batch: int) -> Callable[[], object]:
    """What one would write by hand."""
    directions = normalize(torch.randn(EXPANSION * WIDTH, WIDTH), dim=1).requires_grad_()
    encoder = directions.detach().clone().requires_grad_()
    bias = x.mean(0).requires_grad_()
    silent = torch.zeros(len(directions), dtype=torch.long)
    optimiser = torch.optim.Adam([directions, encoder, bias], 1e-3)

    def step() -> None:
        rows = x[torch.randint(len(x), (batch,))]
        pre = (rows - bias) @ encoder.T
        values, places = pre.topk(ACTIVE, sorted=False)
        z = torch.zeros_like(pre).scatter(1, places, values.relu())
        loss = (rows - z @ directions - bias).square().sum(1).mean()
        optimiser.zero_grad()
        loss.backward()
        with torch.no_grad():
            assert directions.grad is not None
            directions.grad -= (directions.grad * directions).sum(1, keepdim=True) * directions
            optimiser.step()
            directions.div_(directions.norm(dim=1, keepdim=True))
            silent.add_(batch)
            silent[places.flatten()] = 0

    return step


def sparsify(x: Tensor, batch: int) -> Callable[[], object] | None:
    """A step of sparsify's module; None where it cannot be imported."""
    try:
        package = importlib.import_module("sparsify")
    except ImportError as error:
        print(f"sparsify: {error}")
        return None
    coder = package.SparseCoder(WIDTH, package.SparseCoderConfig(expansion_factor=EXPANSION, k=ACTIVE))
    coder.b_dec.data = x.mean(0)
    silent = torch.zeros(coder.num_latents, dtype=torch.long)
    optimiser = torch.optim.Adam(coder.parameters(), 1e-3)

    def step() -> None:
        coder.set_decoder_norm_to_unit_norm()
        out = coder(x[torch.randint(len(x), (batch,))])
        out.fvu.backward()
        coder.remove_gradient_parallel_to_decoder_directions()
        optimiser.step()
        optimiser.zero_grad()
        silent.add_(batch)
        silent[out.latent_indices.flatten()] = 0

    return step


def dictionary_learning(x: Tensor, batch: int) -> Callable[[], object] | None:
    """A step of dictionary-learning's trainer; None where it cannot be imported."""
    found = importlib.util.find_spec("dictionary_learning")
    if found is None or found.submodule_search_locations is None:
        return None
    package = ModuleType("dictionary_learning")
    package.__path__ = list(found.submodule_search_locations)
    sys.modules["dictionary_learning"] = package  # else its first lines import nnsight
    try:
        kind = importlib.import_module("dictionary_learning.trainers.top_k").TopKTrainer
    except ImportError as error:
        print(f"dictionary-learning: {error}")
        return None
    sizes = {"activation_dim": WIDTH, "dict_size": EXPANSION * WIDTH, "k": ACTIVE, "steps": 10**6}
    trainer = kind(**sizes, layer=0, lm_name="noise", seed=0, device="cpu", decay_start=None)
    return lambda: trainer.update(1, x[torch.randint(len(x), (batch,))])


PEERS = {"dictionary-learning": dictionary_learning, "sparsify": sparsify}


def peak(name: str, batch: int) -> float:
    """MiB that three steps of a candidate take at their peak, on top of what the process took before; run it alone."""
    x = activations()
    before = high_water()
    step = {OURS: ours, PLAIN: plain}[name](x, batch)
    for _ in range(3):
        step()
    return high_water() - before


def high_water() -> float:
    """The most memory that this process has held, in MiB, as Linux tells it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--batch", type=int, default=256)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    x = activations()
    candidates = {PLAIN: plain(x, chosen.batch), OURS: ours(x, chosen.batch)}
    candidates |= {name: step for name, peer in PEERS.items() if (step := peer(x, chosen.batch)) is not None}
    seconds = interleaved(candidates, chosen.rounds, warmup=2, clock=time.process_time)
    print_table(f"one step, batch {chosen.batch}, one thread, processor time", seconds, PLAIN)
    print(f"\n{OURS} / {PLAIN}: {ratio(seconds, OURS, PLAIN):.3f} (aim ≤ 1.05)")
    for name in PEERS:
        if name in candidates:
            print(f"{OURS} / {name}: {ratio(seconds, OURS, name):.3f} (aim ≤ 1.0)")
        else:
            print(f"{name} cannot be imported, see --help: not compared")
    weights = 2 * EXPANSION * WIDTH**2 * 4 / 2**20
    print(f"\nencoder and dictionary: {weights:.0f} MiB; with gradients and Adam's moments {4 * weights:.0f} MiB")
    for name in (OURS, PLAIN):
        with ProcessPoolExecutor(1, get_context("spawn"), torch.set_num_threads, (1,)) as alone:
            print(f"peak of {name}: {alone.submit(peak, name, chosen.batch).result():.0f} MiB more than the data")


if __name__ == "__main__":
    main()
