"""A training step of each VAE: trimkit's engine, a plain hand-written loop, pythae and disent.

The same networks everywhere (Burgess et al. 2018, 64×64×1, D 10), batches of 64 sprites, Adam, Bernoulli likelihood.
FactorVAE takes two batches a step. A step of ours is everything that `trimkit.train` does between two steps: drawing
the batch, generators, freezing, the finite check, logs' numbers.

The peers are never dependencies. To compare with them, make them importable for this run only; disent without its
dependencies, which would replace torch:

    pip install --no-deps --target PEERS pythae disent cloudpickle dill imageio pydantic pydantic-core \
        annotated-types typing-inspection h5py lightning torchmetrics lightning-utilities pytorch-lightning
    PYTHONPATH=PEERS python benchmarks/vae_training.py
"""

from __future__ import annotations

import argparse
import math
import warnings
from collections.abc import Callable

import torch
from _timing import interleaved, print_table, ratio
from _vae_peers import peers
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from trimkit_vae.networks import burgess

import trimkit
from trimkit.data import Dataset, load
from trimkit.training.session import Plan, Session
from trimkit.training.settings import Settings

SHAPE, LATENTS, BATCH, SAMPLES, SIZE = (1, 64, 64), 10, 64, 8192, 737_280
OPTIONS = {
    "vae": {},
    "beta-vae": {"beta": 4.0},
    "beta-vae-b": {"capacity": 10.0},
    "beta-tcvae": {"beta": 6.0, "dataset_size": SIZE},
    "dip-vae-i": {},
    "dip-vae-ii": {},
    "info-vae": {},
    "wae-mmd": {},
    "factor-vae": {"gamma": 6.4},
}


def networks() -> tuple[nn.Module, nn.Module]:
    """Encoder and decoder."""
    made = burgess(SHAPE, LATENTS)
    return made.encoder, made.decoder


def ours(name: str, data: Dataset, *, fast: bool) -> Callable[[], object]:
    """A step of a method in the engine."""
    method = trimkit.create("method", name, shape=SHAPE, latent_dim=LATENTS, likelihood="bernoulli", **OPTIONS[name])
    settings = Settings(steps=10**9, batch_size=BATCH, device="cpu", fast=fast)
    plan = Plan(method=method, data=data, test=None, settings=settings, folder=None, resume=False, weights={})
    loop = Session(plan, list(method.phases()), None).loop
    return lambda: loop.run(loop.step + 1, lambda: None)


def plain(data: Dataset, draw: Callable[[], Tensor], *, total_correlation: bool) -> Callable[[], object]:
    """What one would write by hand for the VAE, and for β-TCVAE with β 6 and minibatch-weighted sampling."""
    encoder, decoder = networks()
    optimiser = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], 5e-4)

    def step() -> None:
        x = draw()
        mean, log_variance = encoder(x).chunk(2, 1)
        z = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
        loss = binary_cross_entropy_with_logits(decoder(z), x, reduction="sum") / BATCH
        loss = loss + 0.5 * (mean.square() + log_variance.exp() - log_variance - 1).sum(1).mean()
        if total_correlation:
            pairs = (z[:, None] - mean).square() * (-log_variance).exp() + log_variance + math.log(2 * math.pi)
            joint, product = (-0.5 * pairs.sum(2)).logsumexp(1), (-0.5 * pairs).logsumexp(1).sum(1)
            loss = loss + 5.0 * (joint - product).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    return step


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    warnings.simplefilter("ignore")
    data = load("sprites", "train").take(SAMPLES)
    x = data.x[torch.arange(SAMPLES)]
    data = Dataset("sprites", x)
    draw = lambda: x[torch.randint(SAMPLES, (BATCH,))]  # noqa: E731
    candidates: dict[str, Callable[[], object]] = {
        "plain vae": plain(data, draw, total_correlation=False),
        "plain beta-tcvae": plain(data, draw, total_correlation=True),
        **{f"trimkit {name}": ours(name, data, fast=False) for name in OPTIONS},
        **{f"trimkit {name}, fast": ours(name, data, fast=True) for name in ("vae", "beta-tcvae", "factor-vae")},
        **peers(networks, SHAPE, LATENTS, draw),
    }
    seconds = interleaved(candidates, chosen.rounds)
    print_table(f"one training step, batch {BATCH}, {chosen.threads} threads", seconds, "plain vae")
    print(f"\ntrimkit vae / plain: {ratio(seconds, 'trimkit vae', 'plain vae'):.2f} (aim ≤ 1.05)")
    print(f"trimkit beta-tcvae / plain: {ratio(seconds, 'trimkit beta-tcvae', 'plain beta-tcvae'):.2f} (aim ≤ 1.05)")
    for peer in (name for name in candidates if name.startswith(("pythae", "disent"))):
        name = f"trimkit {peer.split()[1]}"
        line = f"{peer} / {name}: {ratio(seconds, peer, name):.2f}"
        if f"{name}, fast" in candidates:
            line += f"; / fast: {ratio(seconds, peer, f'{name}, fast'):.2f} (aim ≥ 1.5)"
        print(line + (" (aim ≥ 1.2)" if peer.endswith("factor-vae") else ""))
    if not any(name.startswith("pythae") for name in candidates):
        print("pythae and disent cannot be imported, see --help: not compared")


if __name__ == "__main__":
    main()
