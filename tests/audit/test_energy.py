"""Random sets of equal energy: as much as the set that they match, elsewhere, and keyed by the sample."""

from __future__ import annotations

import pytest
import torch

from trimkit.audit.energy import as_tree, change_energies, energy_ratio, matched_sets
from trimkit.coefficients import tree


@pytest.fixture
def case():
    labels = torch.arange(8).repeat_interleave(50)
    energy = torch.rand(400, generator=torch.Generator().manual_seed(0)).double() + 0.5
    gone = torch.zeros(6, 400, dtype=torch.bool)
    gone[:, 100:130] = True
    return gone, energy, labels


def test_sets_hold_as_much_energy_and_nothing_of_the_set_itself(case):
    gone, energy, labels = case
    sets = matched_sets(gone, energy, labels, 0, range(6), 0)
    assert not (sets & gone).any()
    assert torch.allclose(energy_ratio(sets, gone, energy), torch.ones(6).double(), atol=0.06)


def test_sets_are_keyed_by_sample_and_draw_not_by_batch(case):
    gone, energy, labels = case
    whole = matched_sets(gone, energy, labels, 0, range(6), 0)
    assert torch.equal(matched_sets(gone[2:4], energy, labels, 0, [2, 3], 0), whole[2:4])
    assert not torch.equal(matched_sets(gone, energy, labels, 0, range(6), 1), whole)


def test_sets_come_in_whole_groups(case):
    gone, energy, labels = case
    sets = matched_sets(gone, energy, labels, 0, range(6), 0)
    assert all(labels[row].unique().numel() <= 2 for row in sets)


def test_a_set_that_holds_most_of_the_energy_has_no_match(case):
    gone, energy, labels = case
    gone = torch.ones_like(gone)
    gone[:, :10] = False
    assert (energy_ratio(matched_sets(gone, energy, labels, 0, range(6), 0), gone, energy) < 0.05).all()


@pytest.mark.parametrize("transform", ["fft", "dct", "identity"])
def test_energies_sum_to_those_of_the_data(subject_of, data, transform):
    subject = subject_of(transform=transform)
    found = change_energies(subject)
    x = data.x.double()
    assert torch.allclose(found["removed"].sum(), x.square().flatten(1).sum(1).mean(), rtol=1e-5)
    spread = 2 * (x - x.mean(0)).square().flatten(1).sum(1).mean()
    assert torch.allclose(found["replaced"].sum(), spread, rtol=1e-5)


def test_rows_become_trees_again():
    like = {"a": torch.zeros(2, 3), "b": torch.zeros(2, 2, 2)}
    rows = torch.arange(14).reshape(2, 7)
    found = as_tree(like, rows)
    assert torch.equal(tree.rows(found), rows)
    assert found["b"].shape == (2, 2, 2)
