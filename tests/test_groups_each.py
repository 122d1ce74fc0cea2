"""Groups that each sample has for itself: superpixels of each picture."""

import importlib.util
import sys

import pytest
import torch
from torch import nn

import trimkit
from trimkit.coefficients.groups import Groups
from trimkit.errors import AttributionError, OptionError, ShapeError, TransformError
from trimkit.transforms import Compose, Superpixels
from trimkit.transforms.segments import superpixels

OWN = Groups(("a", "b", "c"), torch.tensor([[0, 0, 1], [2, 0, 2]]), "own", each=True)
SCORES = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])


def pictures(n=3, size=(2, 8, 8)):
    return torch.rand(n, *size, generator=torch.Generator().manual_seed(0))


def linear(x):
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(x[0].numel(), 2)).to(x)


def test_sums_means_and_sizes_are_those_of_each_samples_own_groups():
    assert OWN.sums(SCORES).tolist() == [[3.0, 3.0, 0.0], [5.0, 0.0, 10.0]]
    assert OWN.sizes.tolist() == [[2.0, 1.0, 0.0], [1.0, 0.0, 2.0]]
    assert OWN.means(SCORES).tolist() == [[1.5, 3.0, 0.0], [5.0, 0.0, 5.0]]
    assert OWN.mask("c").tolist() == [[False, False, False], [True, False, True]]


def test_own_groups_of_stored_bins_count_what_they_stand_for():
    groups = Groups(
        ("a", "b"), torch.tensor([[0, 1], [1, 1]]), "own", torch.tensor([[1.0, 2.0], [1.0, 2.0]]), each=True
    )
    assert groups.sizes.tolist() == [[1.0, 2.0], [0.0, 3.0]]


def test_own_groups_take_the_scores_of_their_samples_alone():
    with pytest.raises(ShapeError, match=r"scores of the 2 samples that these groups are of, got 1"):
        OWN.sums(SCORES[:1])
    with pytest.raises(ShapeError, match="with 3 coefficients a sample"):
        OWN.sums(SCORES[:, :2])


def test_the_patches_of_each_picture_are_those_of_the_picture_alone():
    x = pictures()
    groups = Superpixels(4, each=True).groups_of(x)
    for picture, labels in zip(x.double(), groups.labels, strict=True):
        assert torch.equal(labels, superpixels(picture, 4).expand(2, 8, 8))
    assert len(groups.names) == int(groups.labels.max()) + 1
    assert groups.names[0] == "own patch 0"
    assert groups.axis == "patch of the picture itself"


def test_a_picture_with_fewer_patches_has_empty_ones():
    x = torch.zeros(2, 1, 8, 8)
    x[1] = pictures(1, (1, 8, 8))[0]
    x[0, :, :, 4:] = 1.0
    groups = Superpixels(6, compactness=0.01, each=True).groups_of(x)
    counts = (groups.sizes > 0).sum(1)
    assert counts[0] < counts[1] == len(groups.names)
    assert groups.means(x)[0, int(counts[0]) :].tolist() == [0.0] * int(counts[1] - counts[0])


def test_an_explanation_knows_the_patches_of_its_pictures():
    x = pictures()
    result = trimkit.Trim(linear(x), ("superpixels", {"count": 4, "each": True}), "input_x_gradient")(x, target=1)
    assert result.groups.each
    assert torch.allclose(result.groups.sums(result.scores).sum(1), result.scores.flatten(1).sum(1), atol=1e-6)
    alone = trimkit.Trim(linear(x), ("superpixels", {"count": 4, "each": True}), "input_x_gradient")(x[1:2], target=1)
    count = len(alone.groups.names)
    torch.testing.assert_close(
        result.groups.sums(result.scores)[1, :count], alone.groups.sums(alone.scores)[0], atol=1e-6, rtol=1e-5
    )
    assert "<" in result._repr_html_()


def test_removing_each_pictures_patches_is_removing_its_pixels():
    x = pictures().double()
    model = linear(x)
    result = trimkit.Trim(model, ("superpixels", {"count": 4, "each": True}), "feature_ablation")(x, target=0)
    groups, weights = result.groups, model[1].weight[0].reshape(2, 8, 8)
    assert torch.allclose(groups.sums(result.scores), groups.sums(x * weights))
    shares = result.scores / torch.where(groups.labels == 0, 1.0, torch.nan)
    for row in shares.flatten(1):
        assert float(row[~row.isnan()].std()) == pytest.approx(0, abs=1e-12)


def test_groups_that_are_given_for_each_sample_are_removed_too():
    x = pictures(2, (3,)).double()
    result = trimkit.Trim(linear(x), "identity", ("feature_ablation", {"groups": OWN}))(x, target=0)
    expected = OWN.sums(x * linear(x)[1].weight[0])
    assert torch.allclose(OWN.sums(result.scores), expected)


@pytest.mark.parametrize("attribution", ["captum:KernelShap", "contextual_decomposition"])
def test_attributions_that_need_shared_groups_say_so(attribution):
    x = pictures(2)
    with pytest.raises(AttributionError, match=r"each sample has groups of its own.*feature_ablation"):
        trimkit.Trim(linear(x), Superpixels(4, each=True), attribution)(x, target=0)


def test_what_averages_over_pictures_by_group_refuses_them():
    x, y = pictures(20), torch.arange(20) % 2
    space = Superpixels(4, each=True)
    message = "each picture has patches of its own, which mean nothing in another picture"
    with pytest.raises(TransformError, match=message):
        space.groups((2, 8, 8))
    with pytest.raises(TransformError, match=message):
        trimkit.audit(linear(x).eval(), (x, y), transform=space)
    with pytest.raises(TransformError, match=message):
        trimkit.TrimPenalty("group_l1", transform=space)(linear(x), x, target=y)
    with pytest.raises(TransformError, match=message):
        Compose([Superpixels(4, each=True)]).groups_of(x)


def test_a_penalty_without_groups_works_in_them():
    x = pictures()
    _, value = trimkit.TrimPenalty("l1", transform=Superpixels(4, each=True))(linear(x), x, target=0)
    _, plain = trimkit.TrimPenalty("l1", transform="identity")(linear(x), x, target=0)
    assert torch.equal(value, plain)


def test_nothing_is_fitted_and_what_is_no_picture_is_refused():
    space = Superpixels(4, each=True)
    assert not space.needs_fit
    assert space.fit(pictures()) is space
    assert space.labels.numel() == 0
    for x in (torch.rand(2, 8), torch.full((1, 1, 4, 4), torch.nan)):
        with pytest.raises(ShapeError, match=r"expected finite floating pictures \(N, C, H, W\)"):
            space.groups_of(x)


def test_fitted_patches_are_loaded_by_a_fresh_transform():
    fitted, fresh = Superpixels(4).fit(pictures()), Superpixels(4)
    fresh.load_state_dict(fitted.state_dict())
    assert torch.equal(fresh.groups((2, 8, 8)).labels, fitted.groups((2, 8, 8)).labels)


def test_without_scikit_image_its_algorithm_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage.segmentation", None)
    with pytest.raises(OptionError, match="pip install scikit-image, or algorithm='own'"):
        Superpixels(4, algorithm="skimage").fit(pictures())


@pytest.mark.skipif(importlib.util.find_spec("skimage") is None, reason="scikit-image is not installed")
def test_patches_of_scikit_image_hang_together():
    from scipy.ndimage import label

    labels = Superpixels(6, each=True, algorithm="skimage").groups_of(pictures(2, (3, 16, 16))).labels[:, 0]
    for picture in labels:
        assert picture.unique().tolist() == list(range(int(picture.max()) + 1))
        assert all(label(picture.numpy() == i)[1] == 1 for i in picture.unique().tolist())
