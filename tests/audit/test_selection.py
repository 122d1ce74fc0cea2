"""What people forbid, as they name it, becomes a mask of coefficients."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from trimkit.audit.selection import forbidden, parse_forbidden
from trimkit.coefficients import tree
from trimkit.errors import OptionError, ShapeError, UnknownNameError
from trimkit.transforms import FFT, Identity, Wavelet

SIZE = (1, 8, 8)
FFT_GROUPS = FFT().groups(SIZE)


def mask(wanted, groups=FFT_GROUPS, **options):
    return forbidden(wanted, None, groups, 10, **options)[0]


def rows(one):
    return one.rows([0])[0]


def test_a_group_is_named():
    name = FFT_GROUPS.names[3]
    assert torch.equal(tree.leaves(mask(name).mask)[0], FFT_GROUPS.labels == 3)
    assert torch.equal(rows(mask(3)), rows(mask(name)))
    assert torch.equal(rows(mask("3")), rows(mask(name)))


def test_a_wildcard_takes_all_that_it_matches():
    groups = Wavelet(levels=2).groups(SIZE)
    expected = torch.isin(
        tree.rows(tree.map_leaves(lambda leaf: leaf[None], groups.labels))[0],
        torch.tensor([i for i, name in enumerate(groups.names) if name.startswith("diagonal")]),
    )
    assert torch.equal(rows(mask("diagonal *", groups)), expected)
    assert expected.any()


def test_a_bin_is_one_coefficient_of_every_channel():
    found = mask("bin 5,3", FFT().groups((3, 8, 8)))
    assert tree.leaves(found.mask)[0].nonzero().tolist() == [[c, 5, 3] for c in range(3)]


def test_a_bin_brings_its_conjugate_where_that_is_stored():
    assert tree.leaves(mask("bin 2,0").mask)[0].nonzero().tolist() == [[0, 2, 0], [0, 6, 0]]
    assert tree.leaves(mask("bin -2,4").mask)[0].nonzero().tolist() == [[0, 2, 4], [0, 6, 4]]


def test_masks_are_taken_as_they_are():
    given = torch.zeros(8, 5, dtype=torch.bool)
    given[2, 1] = True
    assert tree.leaves(mask(given).mask)[0].nonzero().tolist() == [[0, 2, 1]]


def test_a_mask_may_have_a_row_for_each_sample():
    given = torch.zeros(10, 1, 8, 5, dtype=torch.bool)
    given[4, 0, 1, 1] = True
    found = mask(given)
    assert found.rows([3, 4]).sum(1).tolist() == [0, 1]


def test_a_mask_is_read_from_a_file(tmp_path):
    given = np.zeros((8, 5), bool)
    given[3, 3] = True
    np.save(tmp_path / "m.npy", given)
    assert tree.leaves(mask(str(tmp_path / "m.npy")).mask)[0].nonzero().tolist() == [[0, 3, 3]]


def test_what_is_not_allowed_is_forbidden():
    (found,) = forbidden(None, ["dc", 1], FFT_GROUPS, 10)
    assert found.name == "all but dc, 1"
    assert torch.equal(tree.leaves(found.mask)[0], FFT_GROUPS.labels > 1)


def test_several_are_judged_one_by_one_and_together_under_the_loosest_limits():
    one, two, both = forbidden(
        [("dc", {"share": 0.2}), ("bin 3,3", {"share": 0.1, "effect": 0.3})], None, FFT_GROUPS, 10
    )
    assert (one.share, two.share, both.share, both.effect) == (0.2, 0.1, 0.2, None)
    assert torch.equal(rows(both), rows(one) | rows(two))


def test_limits_are_typed_behind_a_colon():
    assert parse_forbidden("row 0, column *:effect=.2") == ("row 0, column *", {"effect": 0.2})
    assert parse_forbidden("0.088–0.177") == ("0.088–0.177", {})
    with pytest.raises(OptionError, match="expected limits such as"):
        parse_forbidden("dc:share=much")


@pytest.mark.parametrize(
    ("wanted", "error", "message"),
    [
        ("dcc", UnknownNameError, "no group is named 'dcc'. Did you mean 'dc'"),
        (99, OptionError, "no group number 99; there are 9"),
        ("bin 9,9", OptionError, "'bin 9,9' is out of range: the last axes have 8, 5 entries"),
        ("bin 1,2,3,4", ShapeError, "no coefficients with 4 indices"),
        ("*", OptionError, "holds all coefficients"),
        (torch.zeros(8, 5), OptionError, "holds no coefficients"),
        (torch.ones(3, 3), ShapeError, r"expected a mask of shape \(1, 8, 5\)"),
        (("dc", {"size": 0.1}), OptionError, "'dc' has no limit 'size'"),
        (("dc", {"share": 2.0}), OptionError, r"expected share of 'dc' in \[0, 1\], got 2.0"),
        ("gone.npy", OptionError, "expected an .npy file of a mask"),
    ],
)
def test_choices_that_name_nothing_are_refused(wanted, error, message):
    with pytest.raises(error, match=message):
        mask(wanted)


def test_forbidding_and_allowing_at_once_is_refused():
    with pytest.raises(OptionError, match="forbid or allow, got both"):
        forbidden("dc", "dc", FFT_GROUPS, 10)


def test_nothing_forbidden_is_nothing():
    assert forbidden(None, None, Identity().groups(SIZE), 10) == ()
