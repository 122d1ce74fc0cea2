"""A penalty through DistributedDataParallel, two processes on gloo, against one process on the whole batch."""

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

import trimkit
from trimkit.errors import ModelError

from .two_processes import run_on_two

X = torch.randn(8, 1, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
Y = torch.arange(8) % 3


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(64, 3)).double()


def train(model, x, y, weight=0.5, steps=3):
    penalty = trimkit.TrimPenalty("l1", transform="fft", attribution="input_x_gradient")
    optimiser = torch.optim.SGD(model.parameters(), 0.05)
    for _ in range(steps):
        output, value = penalty(model, x, target=y)
        optimiser.zero_grad()
        (cross_entropy(output, y) + weight * value).backward()
        optimiser.step()
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def work(rank, results):
    dist.init_process_group("gloo")
    try:
        results[rank] = train(DistributedDataParallel(network()), X[rank::2], Y[rank::2]).tolist()
        static = DistributedDataParallel(network(), static_graph=True)
        with pytest.raises(ModelError, match="static_graph=True"):
            train(static, X[rank::2], Y[rank::2])
        raw = DistributedDataParallel(network()).module  # the known mistake: gradients are never reduced
        results[2 + rank] = train(raw, X[rank::2], Y[rank::2]).tolist()
    finally:
        dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_equal_one():
    ranks = {rank: torch.tensor(values, dtype=torch.float64) for rank, values in run_on_two(work).items()}
    expected = train(network(), X, Y)
    assert torch.equal(ranks[0], ranks[1])
    assert torch.allclose(ranks[0], expected, rtol=1e-12, atol=1e-13)
    assert (expected - train(network(), X, Y, weight=0.0)).abs().max() > 1e-3  # the penalty matters
    assert (ranks[2] - ranks[3]).abs().max() > 1e-3  # and the test can fail
