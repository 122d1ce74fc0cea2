"""The graph Fourier transform against closed forms."""

import math

import pytest
import torch
from trimkit.errors import OptionError

from trimkit_graph.graphs import laplacian
from trimkit_graph.penalty import roughness
from trimkit_graph.transform import GraphFourier


def test_the_eigenvalues_of_a_ring_are_one_minus_cosines():
    values = torch.linalg.eigvalsh(laplacian("ring", 8, "test"))
    expected = torch.tensor([1 - math.cos(2 * math.pi * k / 8) for k in range(8)], dtype=torch.float64)
    assert torch.allclose(values, expected.sort().values)


def test_a_constant_on_a_ring_is_the_first_coefficient_alone():
    s = GraphFourier("ring")(torch.ones(1, 6, dtype=torch.float64))
    assert torch.allclose(s[0].abs(), torch.tensor([math.sqrt(6), 0, 0, 0, 0, 0], dtype=torch.float64), atol=1e-12)


def test_energy_is_kept():
    x = torch.randn(4, 2, 7, dtype=torch.float64)
    assert torch.allclose(GraphFourier([(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, 6), (0, 3)])(x).norm(), x.norm())


def test_a_band_never_cuts_an_eigenspace():
    transform = GraphFourier("ring", bands=4)
    labels, values = transform.groups((12,)).labels, transform._basis(12)[0]
    same = (values.diff().abs() < 1e-9).nonzero()[:, 0]
    assert len(same)
    assert torch.equal(labels[same], labels[same + 1])


def test_roughness_is_the_sum_over_edges_of_squared_differences_on_a_ring():
    scores = torch.randn(3, 5, dtype=torch.float64)
    by_hand = ((scores - scores.roll(1, 1)).square().sum(1)) / 2  # every degree is 2
    assert torch.allclose(roughness(scores, edges="ring"), by_hand)


@pytest.mark.parametrize("edges", [[(0, 9)], [(1, 1)], "star"])
def test_edges_that_are_none_are_refused(edges):
    with pytest.raises(OptionError, match="expected edges"):
        GraphFourier(edges)(torch.zeros(1, 4))
