"""When a network grows, and what its images look like then."""

from __future__ import annotations

import pytest
import torch
from trimkit_gan.growing import Growth, enlarge, shrink
from trimkit_gan.synthesis import Stage

from trimkit.errors import OptionError


def test_a_resolution_alone_then_the_next_ones_fading():
    growth = Growth(first=1, last=3, steps=4)
    found = [growth.stage(step) for step in range(24)]
    assert found[:4] == [Stage(1, 1.0)] * 4
    assert [stage.fade for stage in found[4:8]] == [0.0, 0.25, 0.5, 0.75]
    assert {stage.level for stage in found[4:12]} == {2}
    assert found[8:12] == [Stage(2, 1.0)] * 4
    assert {stage.level for stage in found[12:]} == {3}
    assert found[16:] == [Stage(3, 1.0)] * 8
    assert [stage.resolution for stage in (found[0], found[-1])] == [8, 32]


def test_a_network_of_one_resolution_does_not_grow():
    assert {Growth(1, 1, 2).stage(step) for step in range(9)} == {Stage(1, 1.0)}


@pytest.mark.parametrize(("first", "last", "steps"), [(2, 1, 5), (-1, 1, 5), (1, 2, 0)])
def test_schedules_that_make_no_sense_are_refused(first, last, steps):
    with pytest.raises(OptionError, match="growing: expected steps ≥ 1"):
        Growth(first, last, steps)


def test_shrinking_averages_and_softens_while_a_resolution_fades_in():
    x = torch.arange(64.0).reshape(1, 1, 8, 8)
    assert shrink(x, Stage(1)) is x
    small = shrink(x, Stage(0))
    torch.testing.assert_close(small[0, 0, 0, 0], x[0, 0, :2, :2].mean())
    torch.testing.assert_close(shrink(x, Stage(1, 0.0)), enlarge(small, 8))
    torch.testing.assert_close(shrink(x, Stage(1, 0.25)), 0.75 * enlarge(small, 8) + 0.25 * x)


def test_enlarging_repeats_pixels():
    x = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).reshape(1, 1, 2, 2)
    assert enlarge(x, 4)[0, 0].tolist() == [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]]
    assert enlarge(x, 2) is x
