import pytest
import torch

from trimkit.coefficients.groups import Groups, equal_parts
from trimkit.errors import ShapeError, UnknownNameError
from trimkit.transforms import DCT, FFT, FrequencyBands, Identity

GROUPS = Groups(("low", "high"), torch.tensor([0, 1, 1]), "frequency", torch.tensor([1.0, 2.0, 2.0]))
SCORES = torch.tensor([[1.0, 2.0, 3.0], [0.0, -1.0, 1.0]])


def test_sums_add_the_scores_of_each_group():
    assert torch.equal(GROUPS.sums(SCORES), torch.tensor([[1.0, 5.0], [0.0, 0.0]]))


def test_means_divide_by_the_coefficients_a_group_stands_for():
    assert torch.equal(GROUPS.sizes, torch.tensor([1.0, 4.0], dtype=torch.float64))
    assert torch.equal(GROUPS.means(SCORES), torch.tensor([[1.0, 1.25], [0.0, 0.0]]))


def test_an_empty_group_has_mean_zero():
    groups = Groups(("a", "none", "b"), torch.tensor([0, 2, 2]), "frequency")
    assert groups.means(SCORES)[0].tolist() == [1.0, 0.0, 2.5]
    assert FFT(bands=8).groups((1, 8, 8)).means(torch.ones(1, 1, 8, 5)).isfinite().all()


def test_masks_mark_the_named_groups():
    assert GROUPS.mask("high").tolist() == [False, True, True]
    assert GROUPS.mask(["low", "high"]).tolist() == [True, True, True]


def test_an_unknown_group_names_the_nearest():
    with pytest.raises(UnknownNameError, match="Did you mean 'high'"):
        GROUPS.mask("hihg")


def test_scores_of_another_size_are_refused():
    with pytest.raises(ShapeError, match="3 coefficients"):
        GROUPS.sums(torch.ones(2, 4))


def test_groups_of_a_tree_follow_its_leaves():
    groups = Groups(("a", "b"), [torch.tensor([0, 0]), torch.tensor([1])], "scale")
    assert torch.equal(groups.sums([torch.tensor([[1.0, 2.0]]), torch.tensor([[5.0]])]), torch.tensor([[3.0, 5.0]]))
    assert [leaf.tolist() for leaf in groups.mask("b")] == [[False, False], [True]]


@pytest.mark.parametrize("transform", [Identity(), FFT(), DCT(), FrequencyBands()], ids=lambda t: type(t).__name__)
@pytest.mark.parametrize("size", [(1, 8, 8), (3, 7, 10), (2, 9), (2, 6)])
def test_the_groups_of_a_transform_partition_its_coefficients(transform, size):
    scores = transform(torch.randn(2, *size)).abs()
    groups = transform.groups(size)
    assert torch.allclose(groups.sums(scores).sum(1), scores.flatten(1).sum(1), rtol=1e-5)
    masks = torch.stack([groups.mask(name).expand(scores.shape[1:]) for name in groups.names])
    assert torch.equal(masks.sum(0), torch.ones_like(masks[0], dtype=torch.long))


def test_equal_parts_differ_by_at_most_one():
    for length in range(1, 12):
        counts = torch.bincount(equal_parts(length, 4))
        assert len(counts) == min(length, 4)
        assert counts.max() - counts.min() <= 1


def test_flat_data_has_one_group_a_feature_and_signals_have_segments():
    assert Identity().groups((3,)).names == ("feature 0", "feature 1", "feature 2")
    assert Identity(parts=2).groups((1, 4)).labels.tolist() == [[0, 0, 1, 1]]
    assert Identity(parts=2).groups((1, 2, 4)).names[-1] == "row 1, column 1"


@pytest.mark.parametrize("n", range(4, 60, 2))
def test_frequencies_on_an_edge_belong_to_the_band_below_it(n):
    labels = FFT(dims=1, bands=n // 2).groups((1, n)).labels
    assert labels.tolist() == [list(range(n // 2 + 1))]
