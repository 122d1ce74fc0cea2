"""An InfoGAN of some hundred weights, in each of the arrangements of its recogniser."""

from __future__ import annotations

import math

import torch
from torch import nn
from trimkit_gan.infogan import InfoGAN

ARRANGEMENTS = ("shared", "head", "own")


def tiny(shape, inputs):
    """A generator and a trunk, batch normalisation among their layers."""
    size = math.prod(shape)
    made = nn.Sequential(nn.Linear(inputs, 9), nn.BatchNorm1d(9), nn.Tanh(), nn.Linear(9, size), nn.Unflatten(1, shape))
    return made, nn.Sequential(nn.Flatten(), nn.Linear(size, 8), nn.Tanh())


def make(shape=(1, 3, 3), seed: int = 0, **options) -> InfoGAN:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return InfoGAN(shape, **{"noise_dim": 4, "categories": (3,), "continuous": 2, "network": tiny, **options})
