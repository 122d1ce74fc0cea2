"""The simulations of ICE-BeeM: spreads, precisions and the orthogonal mixing."""

from __future__ import annotations

import pytest
import torch

from trimkit.data import load
from trimkit.data.imca import HIGH, LOW, SLOPE, imca, mixed, precisions, tcl
from trimkit.errors import DataError, OptionError


def by_segment(data) -> torch.Tensor:
    return data.sources.double().reshape(int(data.aux.max()) + 1, -1, data.sources.shape[1])


def test_spreads_of_independent_sources_are_uniform_between_their_bounds():
    data = tcl("all", segments=80, observations=2000, dim=4)
    s = by_segment(data)
    spread = s.std(1).flatten()
    assert float(spread.min()) < 0.1
    assert 2.8 < float(spread.max()) < 3.2
    assert float(spread.mean()) == pytest.approx((LOW + HIGH) / 2, abs=0.2)
    standard = s / s.std(1, keepdim=True)
    off = (standard.mT @ standard / 2000) - torch.eye(4)
    assert off.abs().max() < 0.12  # independent within each segment


def test_precisions_are_a_shared_matrix_and_one_diagonal_a_segment():
    of = torch.Generator().manual_seed(3)
    found = precisions(6, 4, of)
    assert torch.allclose(found, found.mT)
    assert torch.linalg.eigvalsh(found).min() > 0
    differences = found - found[:1]
    off = differences * (1 - torch.eye(4))
    assert off.abs().max() < 1e-12
    shared = found[0] - torch.diag(found[0].diagonal())
    assert shared.abs().max() > 1e-3  # dependence that no segment takes away
    assert (found.diagonal(dim1=1, dim2=2) > HIGH**-2).all()


def test_dependent_sources_have_the_covariance_of_their_precision():
    data = imca("all", segments=3, observations=40_000, dim=3, seed=5)
    expected = torch.linalg.inv(precisions(3, 3, torch.Generator().manual_seed(5)))
    s = by_segment(data)
    scale = expected.diagonal(dim1=1, dim2=2).sqrt()
    scale = scale[:, :, None] * scale[:, None, :]
    assert torch.allclose(s.mT @ s / 40_000 / scale, expected / scale, atol=0.03)
    assert s.mean(1).abs().max() < 0.05


def test_the_mixing_can_be_undone_layer_by_layer():
    of = torch.Generator().manual_seed(0)
    s = torch.randn(50, 3, dtype=torch.float64, generator=of)
    state = of.get_state()
    x = mixed(s, 3, of)
    matrices = []
    for layers in (2, 3):  # x of an identity after positive parts alone is the product of the matrices
        of.set_state(state)
        matrices.append(mixed(torch.eye(3, dtype=torch.float64), layers, of))
    first = matrices[0]
    assert torch.allclose(first @ first.T, torch.eye(3, dtype=torch.float64), atol=1e-12)
    bent = torch.where(first > 0, first, SLOPE * first)
    second = torch.linalg.solve(bent, matrices[1])
    assert torch.allclose(second @ second.T, torch.eye(3, dtype=torch.float64), atol=1e-9)
    undone = x @ second.T
    undone = torch.where(undone > 0, undone, undone / SLOPE) @ first.T
    assert torch.allclose(torch.where(undone > 0, undone, undone / SLOPE), s, atol=1e-9)


@pytest.mark.parametrize("make", [tcl, imca])
def test_two_layers_are_one_entrywise_nonlinearity_before_one_orthogonal_matrix(make):
    data = make("all", segments=2, observations=100, layers=2)
    bent = torch.nn.functional.leaky_relu(data.sources.double(), SLOPE)
    matrix = torch.linalg.lstsq(bent, data.x.double()).solution
    assert torch.allclose(bent @ matrix, data.x.double(), atol=1e-4)
    assert torch.allclose(matrix @ matrix.T, torch.eye(5, dtype=torch.float64), atol=1e-4)


@pytest.mark.parametrize("name", ["tcl", "imca"])
def test_splits_and_seeds(name):
    spec = f"{name}:segments=3,observations=20,dim=2"
    train, test = load(spec), load(spec, "test")
    assert (len(train), len(test)) == (54, 6)
    assert test.aux.bincount().tolist() == [2, 2, 2]
    assert (train.name, train.shape) == (name, (2,))
    assert load(spec).sha256 == train.sha256
    assert load(f"{spec},seed=1").sha256 != train.sha256
    with pytest.raises(DataError, match="'train', 'test' or 'all', got 'valid'"):
        load(spec, "valid")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"segments": 0}, "segments as a whole number ≥ 1, got 0"),
        ({"observations": 5}, "observations as a whole number ≥ 10, got 5"),
        ({"layers": 1}, "layers as a whole number ≥ 2, got 1"),
        ({"dim": 0}, "dim as a whole number ≥ 1, got 0"),
        ({"seed": 0.5}, "seed as a whole number ≥ 0, got 0.5"),
    ],
)
@pytest.mark.parametrize("make", [tcl, imca])
def test_what_does_not_fit_says_what_would(make, options, says):
    with pytest.raises(OptionError, match=f"{make.__name__}: expected {says}"):
        make(**options)


def test_one_source_cannot_depend_on_others():
    assert tcl(segments=2, observations=10, dim=1).shape == (1,)
    with pytest.raises(OptionError, match="imca: expected dim as a whole number ≥ 2, got 1"):
        imca(dim=1)
