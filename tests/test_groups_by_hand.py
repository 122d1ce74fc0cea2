"""Groups that a user makes: every coefficient is in one."""

import pytest
import torch

import trimkit
from trimkit.coefficients.groups import Groups
from trimkit.errors import OptionError


@pytest.mark.parametrize("attribution", ["feature_ablation", "contextual_decomposition", "captum:FeatureAblation"])
@pytest.mark.parametrize("outside", [-1, 2])
def test_a_coefficient_in_no_group_is_refused(attribution, outside):
    groups = Groups(("left", "right"), torch.tensor([0, 0, 1, outside]), "place")
    with pytest.raises(OptionError, match=r"expected labels of the 2 groups, 0 … 1, got .*; name a group"):
        trimkit.create("attribution", attribution, groups=groups)


def test_every_leaf_is_looked_at():
    groups = Groups(("left", "right"), {"a": torch.tensor([0, 1]), "b": torch.tensor([[5]])}, "place")
    with pytest.raises(OptionError, match="got 0 … 5"):
        trimkit.create("attribution", "feature_ablation", groups=groups)
