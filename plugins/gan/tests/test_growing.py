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


@pytest.mark.parametrize(
    ("first", "last", "steps", "message"),
    [
        (2, 1, 5, "growing: expected 0 ≤ first ≤ last level, got 2 and 1"),
        (-1, 1, 5, "growing: expected 0 ≤ first ≤ last level, got -1 and 1"),
        (1, 2, 0, "expected a whole number of grow_steps ≥ 1, or 0 for no growing, got 0"),
        (1, 2, 2.5, "grow_steps ≥ 1, or 0 for no growing, got 2.5"),
    ],
)
def test_schedules_that_make_no_sense_are_refused(first, last, steps, message):
    with pytest.raises(OptionError, match=message):
        Growth(first, last, steps)


@pytest.mark.parametrize("last", [1, 2, 6])
def test_the_step_from_which_the_last_resolution_is_there(last):
    growth = Growth(1, last, 3)
    assert growth.stage(growth.total) == Stage(last)
    assert growth.total == 0 or growth.stage(growth.total - 1) != Stage(last)


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
