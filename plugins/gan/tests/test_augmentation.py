"""Adaptive augmentation: the controller of p, maps and colours that are known, nothing clamped."""

from __future__ import annotations

import math

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from trimkit_gan.augmentation import Augmentation, Draws, colours, geometry, recolour, warp

from trimkit.processes import Share, sharing


def draws(n: int, p: float, seed: int = 0) -> Draws:
    return Draws(n, p, torch.zeros(1, dtype=torch.float64), torch.Generator().manual_seed(seed))


def identity(n: int, size: int) -> torch.Tensor:
    return torch.eye(size, dtype=torch.float64).repeat(n, 1, 1)


def test_p_moves_by_images_over_speed_towards_the_target():
    augmentation = Augmentation(target=0.6, speed=1000, every=4)
    for _ in range(3):
        augmentation.observe(torch.ones(10))
    assert augmentation.probability == 0
    augmentation.observe(torch.ones(10))  # r = 1 > 0.6: 40 images in 1000
    assert float(augmentation.probability) == pytest.approx(0.04)
    for _ in range(4):
        augmentation.observe(torch.tensor([1.0, -1.0]))  # r = 0 < 0.6: 8 images in 1000
    assert float(augmentation.probability) == pytest.approx(0.032)


def test_p_counts_signs_not_sizes():
    augmentation = Augmentation(target=0.6, speed=100, every=1)
    augmentation.observe(torch.tensor([0.01, 0.01, 0.01, 0.01, -500.0]))  # r = 0.6: neither above nor below
    assert augmentation.probability == 0
    augmentation.observe(torch.tensor([0.01] * 9 + [-500.0]))  # r = 0.8
    assert float(augmentation.probability) == pytest.approx(0.1)


def test_p_stays_within_0_and_1():
    augmentation = Augmentation(target=0.6, speed=5, every=1)
    for _ in range(3):
        augmentation.observe(-torch.ones(4))
        assert augmentation.probability == 0
    for _ in range(3):
        augmentation.observe(torch.ones(4))
    assert augmentation.probability == 1


def test_the_controllers_state_is_saved():
    first, second = Augmentation(every=2, speed=10), Augmentation(every=2, speed=10)
    first.observe(torch.ones(3))
    second.load_state_dict(first.state_dict())
    for augmentation in (first, second):
        augmentation.observe(torch.ones(3))
    assert first.probability == second.probability == pytest.approx(0.6)


def test_p_of_zero_changes_nothing_and_draws_nothing():
    augmentation, generator = Augmentation(), torch.Generator().manual_seed(0)
    x, before = torch.randn(2, 3, 8, 8), generator.get_state()
    assert augmentation(x, generator) is x
    assert torch.equal(generator.get_state(), before)


def test_a_probability_of_zero_gives_neutral_maps():
    torch.testing.assert_close(geometry(draws(5, 0.0)), identity(5, 3))
    torch.testing.assert_close(colours(draws(5, 0.0)), identity(5, 4))


@pytest.mark.parametrize("p", [0.2, 0.7, 1.0])
def test_gates_open_with_probability_p(p):
    open_ = draws(20_000, p).gated(torch.ones(20_000, dtype=torch.float64), 0.0).mean()
    assert float(open_) == pytest.approx(p, abs=0.015)


def test_every_sample_is_augmented_on_its_own_and_reproducibly():
    augmentation = Augmentation()
    augmentation.probability.fill_(1.0)
    x = torch.randn(1, 3, 8, 8).expand(4, -1, -1, -1)
    first, again = (augmentation(x, torch.Generator().manual_seed(0)) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.allclose(first[0], first[1])
    assert not torch.equal(first, augmentation(x, torch.Generator().manual_seed(1)))


def test_a_shift_is_one_operation_for_both_axes():
    """Neither of the two shifts with (1 − p)², and what shifts goes both ways."""
    maps = geometry(draws(20_000, 0.5))
    steady = (maps[:, :2, 2] == 0).double()
    assert float(steady.prod(1).mean()) == pytest.approx(0.25, abs=0.01)
    assert torch.equal(steady[:, 0], steady[:, 1])


def test_shares_of_a_batch_are_augmented_as_the_batch_is():
    augmentation = Augmentation()
    augmentation.probability.fill_(0.8)
    x = torch.randn(6, 3, 8, 8, dtype=torch.float64)
    parts = []
    for index in range(3):
        with sharing(Share(index, 3, 2)):
            parts.append(augmentation(x[2 * index : 2 * index + 2], torch.Generator().manual_seed(0)))
    torch.testing.assert_close(torch.cat(parts), augmentation(x, torch.Generator().manual_seed(0)))


def test_images_narrower_than_the_maps_keep_their_type():
    augmentation = Augmentation()
    augmentation.probability.fill_(1.0)
    x = torch.rand(3, 3, 8, 8)
    narrow, wide = (augmentation(images, torch.Generator().manual_seed(0)) for images in (x.bfloat16(), x))
    assert narrow.dtype == torch.bfloat16
    assert (narrow - wide).abs().max() < 0.1


def test_flips_and_quarter_turns_move_whole_pixels():
    x = torch.randn(1, 2, 5, 5, dtype=torch.float64)
    flip = torch.diag(torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64))[None]
    torch.testing.assert_close(warp(x, flip), x.flip(3))
    turn = torch.tensor([[[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]], dtype=torch.float64)
    torch.testing.assert_close(warp(x, turn), x.rot90(-1, (2, 3)))
    torch.testing.assert_close(warp(x, identity(1, 3)), x)


def test_a_shift_by_a_pixel_mirrors_the_border():
    x = torch.arange(5.0, dtype=torch.float64).expand(1, 1, 5, 5)
    shift = identity(1, 3)
    shift[0, 0, 2] = 2 / 4  # of [−1, 1], whose 4 steps lie between 5 pixels
    assert warp(x, shift)[0, 0, 0].tolist() == pytest.approx([1, 0, 1, 2, 3])


def test_a_constant_image_stays_constant_under_any_geometry():
    x = torch.full((20, 1, 8, 8), 0.7, dtype=torch.float64)
    torch.testing.assert_close(warp(x, geometry(draws(20, 1.0))), x)


def test_geometry_turns_and_stretches_but_never_collapses():
    maps = geometry(draws(500, 1.0))
    torch.testing.assert_close(maps[:, 2], identity(500, 3)[:, 2])
    scales = torch.linalg.svdvals(maps[:, :2, :2])
    assert scales.min() > 0.2
    flipped = torch.linalg.det(maps[:, :2, :2]) < 0
    assert float(flipped.double().mean()) == pytest.approx(0.5, abs=0.1)


def test_colours_keep_grey_grey_and_are_invertible():
    matrices = colours(draws(200, 1.0))
    grey = torch.tensor([0.3, 0.3, 0.3, 1.0], dtype=torch.float64)
    out = matrices @ grey
    torch.testing.assert_close(out[:, 0], out[:, 1])
    torch.testing.assert_close(out[:, 1], out[:, 2])
    torch.testing.assert_close(matrices[:, 3], identity(200, 4)[:, 3])
    assert torch.linalg.det(matrices).abs().min() > 1e-6


def test_hue_and_saturation_keep_luma():
    """With brightness, contrast and flip undone by the grey axis: a colour's luma depends on its own luma alone."""
    matrices = colours(draws(50, 1.0))
    luma = torch.tensor([1.0, 1.0, 1.0], dtype=torch.float64) / 3
    a, b = (torch.tensor(v, dtype=torch.float64) for v in ([0.9, 0.0, 0.0, 1.0], [0.0, 0.3, 0.6, 1.0]))
    torch.testing.assert_close((matrices @ a)[:, :3] @ luma, (matrices @ b)[:, :3] @ luma)


def test_nothing_is_clamped():
    x = torch.randn(64, 3, 4, 4, dtype=torch.float64) * 5
    y = recolour(x, colours(draws(64, 1.0)))
    assert y.min() < -5
    assert y.max() > 5


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_other_numbers_of_channels_get_what_grey_gets(channels):
    matrices = colours(draws(6, 1.0))
    value = torch.full((6, channels, 2, 2), 0.4, dtype=torch.float64)
    expected = recolour(torch.full((6, 3, 2, 2), 0.4, dtype=torch.float64), matrices)[:, :1]
    torch.testing.assert_close(recolour(value, matrices), expected.expand(-1, channels, -1, -1))


def test_two_derivatives():
    maps, matrices = geometry(draws(2, 1.0)), colours(draws(2, 1.0))
    x = torch.randn(2, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda x: recolour(warp(x, maps), matrices), (x,))
    assert gradgradcheck(lambda x: recolour(warp(x, maps), matrices), (x,))


def test_normal_numbers_are_normal():
    values = draws(50_000, 1.0).normal()
    assert float(values.mean()) == pytest.approx(0.0, abs=0.02)
    assert float(values.std()) == pytest.approx(1.0, abs=0.02)
    assert float((values.abs() < 1).double().mean()) == pytest.approx(math.erf(0.5**0.5), abs=0.01)
