"""Restarts: the loss that they are compared by, and which one is kept."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy
from trimkit_ica.ivae import IVAE
from trimkit_ica.restarts import held_out_loss, train_restarts
from trimkit_ica.tcl import TCL

from trimkit.data import Dataset
from trimkit.errors import OptionError
from trimkit.methods import Batch


def data(seed: int, n: int = 300) -> Dataset:
    u = torch.arange(n) % 3
    x = torch.randn(n, 2, generator=torch.Generator().manual_seed(seed)) * torch.tensor([0.3, 1.0, 3.0])[u][:, None]
    return Dataset("spreads", x, aux=u)


def make(seed: int) -> TCL:
    return TCL((2,), 2, segments=3, hidden=8, layers=2)


def test_the_loss_is_the_mean_over_samples_whatever_the_batches():
    method, held_out = make(0), data(1)
    x, u = held_out.x[:], held_out.aux
    expected = cross_entropy(method.classifier(method.features(x)), u)
    for size in (7, 512):
        assert held_out_loss(method, held_out, 0, size) == pytest.approx(float(expected.detach()), rel=1e-5)


def test_weights_that_change_are_those_of_the_step():
    method = IVAE((2,), 2, segments=3, hidden=8, preset="annealed", anneal_steps=10).eval()
    held_out, draws = data(1, 60), torch.Generator().manual_seed(0)
    rows = torch.randperm(60, generator=draws)
    terms = method.loss(Batch(held_out.x[rows], aux=held_out.aux[rows]), draws, 0).terms
    means = {name: float(term.values.detach().mean()) for name, term in terms.items()}
    first = 50 * means["recon"] + 15 * means["mi"] + 25 * means["dwkl"]
    last = 100 * means["recon"] + means["mi"] + means["tc"] + means["dwkl"]
    assert held_out_loss(method, held_out, 0) == pytest.approx(first, rel=1e-5)
    assert held_out_loss(method, held_out, 10) == pytest.approx(last, rel=1e-5)


@pytest.mark.filterwarnings("ignore::trimkit.errors.TrimkitWarning")  # an ICA of so few steps need not converge
def test_the_run_of_the_lowest_loss_is_kept():
    state = torch.random.get_rng_state()
    settings = {"steps": 5, "batch_size": 50, "device": "cpu"}
    restarts = train_restarts(make, data(0), data(1), seeds=range(4), **settings)
    assert list(restarts.losses) == [0, 1, 2, 3]
    assert len(set(restarts.losses.values())) == 4
    assert held_out_loss(restarts.method, data(1), 5) == min(restarts.losses.values())
    assert torch.equal(torch.random.get_rng_state(), state)
    again = train_restarts(make, data(0), data(1), seeds=[2], **settings)
    assert again.losses == {2: restarts.losses[2]}


def test_no_seed_is_refused():
    with pytest.raises(OptionError, match="expected at least one seed, got none"):
        train_restarts(make, data(0), data(1), seeds=[], steps=1)
