"""Random numbers as a function of where they are used, so that a resumed run draws what an uninterrupted one would."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor


def derived_seed(seed: int, purpose: str, *position: int) -> int:
    """A 63-bit seed for one purpose at one position; a hash, so that no two positions share one by arithmetic.

    Args:
        seed: of the run.
        purpose: "order", "phase vae", …
        *position: epoch, batch, …
    """
    text = "|".join([str(seed), purpose, *map(str, position)])
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def derived_generator(device: torch.device, seed: int, purpose: str, *position: int) -> torch.Generator:
    """A generator on a device, seeded by `derived_seed`."""
    return torch.Generator(device).manual_seed(derived_seed(seed, purpose, *position))


def epoch_order(n: int, seed: int, epoch: int, purpose: str = "order") -> Tensor:
    """The order in which an epoch visits n samples: a permutation, (n,) on the CPU; one for each purpose."""
    generator = derived_generator(torch.device("cpu"), seed, purpose, epoch)
    return torch.randperm(n, generator=generator)
