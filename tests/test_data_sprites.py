import math

import pytest
import torch

from trimkit.data import load
from trimkit.data.sprites import (
    COLOURS,
    NAMES,
    SHAPES,
    SIZES,
    numbers_of,
    sprites,
    sprites_color,
    visible_orientation,
)
from trimkit.errors import DataError, OptionError


def pictures(rows, **options):
    return sprites("all", **options).x[numbers_of(torch.tensor(rows))][:, 0]


def test_the_grid_is_that_of_dsprites():
    data = sprites("all")
    assert len(data) == 737_280
    assert data.factor_names == NAMES
    assert data.factor_sizes == SIZES
    assert data.classes == SHAPES
    assert torch.equal(data.y, data.factors[:, 0].long())
    some = torch.randint(len(data), (2000,), generator=torch.Generator().manual_seed(0))
    assert torch.equal(numbers_of(data.factors[some]), some)
    assert data.factors[1].tolist() == [0, 0, 0, 0, 1]  # y is the fastest
    assert data.factors[32].tolist() == [0, 0, 0, 1, 0]
    assert len(torch.unique(numbers_of(data.factors))) == len(data)


def test_splits_share_no_combination_and_leave_none_out():
    train, test = load("sprites", "train"), load("sprites", "test")
    assert (len(train), len(test)) == (663_552, 73_728)
    both = torch.cat([numbers_of(train.factors), numbers_of(test.factors)])
    assert torch.equal(both.sort().values, torch.arange(737_280))
    assert torch.equal(train.x[:5], sprites("all").x[numbers_of(train.factors[:5])])
    assert train.split == "train"
    assert len({train.sha256, test.sha256, sprites("all").sha256, sprites("test", size=32).sha256}) == 4
    assert torch.bincount(test.y).min() > 24_000


@pytest.mark.parametrize(("shape", "inside"), [("square", 0), ("ellipse", 1), ("heart", 2)])
def test_every_pixel_is_its_outline_where_that_is_clear(shape, inside):
    """Brute force on one position: pixels whose corners all lie in, or all out, of a turned outline."""
    scale, turn, column, row = 4, 7, 9, 22
    angle, size = turn * 2 * math.pi / 39, 0.5 + 0.1 * scale
    corners = torch.arange(65, dtype=torch.float64)
    right, down = corners[None, :] - (16 + column), corners[:, None] - (16 + row)
    x = (right * math.cos(angle) + down * math.sin(angle)) / size
    y = (down * math.cos(angle) - right * math.sin(angle)) / size
    if shape == "square":
        within = (x.abs() < 8.5) & (y.abs() < 8.5)
    elif shape == "ellipse":
        within = (x / 13.6) ** 2 + (y / 6.8) ** 2 < 1
    else:
        u, v = x / 9.2, 0.12 - y / 9.2
        within = (u * u + v * v - 1) ** 3 < u * u * v**3
    counts = sum(within[i : 64 + i, j : 64 + j].int() for i in (0, 1) for j in (0, 1))
    picture = pictures([[inside, scale, turn, column, row]])[0]
    assert (picture[counts == 4] == 1).all()
    assert (picture[counts == 0] == 0).all()
    assert (counts == 4).sum() > 100


def test_no_sprite_touches_the_border_and_every_one_is_binary():
    rows = torch.cartesian_prod(*(torch.arange(n) for n in SIZES[:3]), *[torch.tensor([0, 31])] * 2)
    seen = sprites("all").x[numbers_of(rows)]
    assert set(seen.unique().tolist()) == {0, 1}
    edge = torch.ones(64, 64, dtype=torch.bool)
    edge[1:-1, 1:-1] = False
    assert seen[..., edge].sum() == 0


def test_moving_a_sprite_moves_its_pixels():
    first, second = pictures([[2, 5, 11, 3, 4], [2, 5, 11, 20, 31]])
    assert torch.equal(torch.roll(first, (27, 17), (0, 1)), second)


def test_the_mean_pixel_is_that_of_the_reference():
    one_place = torch.cartesian_prod(*(torch.arange(n) for n in SIZES[:3]), torch.tensor([0]), torch.tensor([0]))
    mean = float(sprites("all").x[numbers_of(one_place)].mean())  # the same at every place
    assert mean == pytest.approx(0.0431, abs=0.0003)


def test_areas_are_those_of_the_outlines():
    turned = [[shape, scale, turn, 15, 15] for shape in range(3) for scale in (0, 5) for turn in range(39)]
    areas = pictures(turned).sum((1, 2)).reshape(3, 2, 39).mean(2)
    ideal = torch.tensor([17**2, math.pi * 13.6 * 6.8, 3.66 * 9.2**2])  # 3.66: of (x² + y² − 1)³ = x² y³
    assert areas[:, 1].tolist() == pytest.approx(ideal.tolist(), rel=0.02)
    assert areas[:, 0].tolist() == pytest.approx((ideal / 4).tolist(), rel=0.05)


@pytest.mark.parametrize(
    ("orientation", "shape", "distinct"),
    [("closed", 1, {39}), ("closed", 2, {39}), ("half-open", 0, {10}), ("half-open", 1, {20}), ("half-open", 2, {40})],
)
def test_how_many_orientations_can_be_told_apart(orientation, shape, distinct):
    found = set()
    for scale in (1, 5):
        turned = pictures([[shape, scale, turn, 15, 15] for turn in range(40)], orientation=orientation)
        found.add(len(turned.flatten(1).unique(dim=0)))
    assert found == distinct


def test_the_first_and_last_closed_orientation_are_one_picture():
    first, last, other = pictures([[2, 3, 0, 8, 8], [2, 3, 39, 8, 8], [2, 3, 38, 8, 8]])
    assert torch.equal(first, last)
    assert not torch.equal(first, other)


def test_the_orientation_that_shows_is_what_the_docstring_says():
    assert visible_orientation() == pytest.approx(0.956, abs=0.005)
    expected = (math.log(40) + math.log(20) + math.log(10)) / (3 * math.log(40))
    assert visible_orientation("half-open") == pytest.approx(expected, abs=0.01)


def test_half_the_size_is_the_mean_of_four_pixels():
    rows = [*sprites("test").factors[:50].long().tolist(), [1, 5, 0, 31, 31], [1, 5, 0, 0, 0], [0, 0, 3, 31, 0]]
    small, large = pictures(rows, size=32), pictures(rows)
    assert torch.equal(small, torch.nn.functional.avg_pool2d(large, 2))
    assert sprites(size=32).shape == (1, 32, 32)
    assert not set(small.unique().tolist()) <= {0.0, 1.0}


@pytest.mark.parametrize("size", [64, 32])
def test_colours_are_channels_of_the_same_sprite(size):
    data = sprites_color("all", size=size)
    assert len(data) == 7 * 737_280
    assert data.factor_names == ("color", *NAMES)
    assert data.factor_sizes == (7, *SIZES)
    rows = torch.tensor([[c, 2, 5, 6, 30, 1] for c in range(7)])
    numbers = numbers_of(rows)
    assert torch.equal(data.factors[numbers].long(), rows)
    plain = pictures([[2, 5, 6, 30, 1]], size=size)[0]
    for picture, channels in zip(data.x[numbers], COLOURS.values(), strict=True):
        for channel in range(3):
            assert torch.equal(picture[channel], plain if channel in channels else torch.zeros_like(plain))
    assert len(set(COLOURS.values())) == 7


def test_pictures_do_not_depend_on_what_they_are_asked_with_and_are_the_callers_own():
    data = sprites("test")
    together = data.x[torch.tensor([5, 9, 5])]
    assert torch.equal(together[0], data.x[5])
    assert torch.equal(together[0], together[2])
    together.fill_(7)
    assert data.x[5].max() == 1
    assert data.x[:0].shape == (0, 1, 64, 64)


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: sprites("validation"), DataError, "'train', 'test' or 'all', got 'validation'"),
        (lambda: sprites(size=48), OptionError, "size 64 or 32, got 48"),
        (lambda: load("sprites:orientation=open"), OptionError, "'closed' or 'half-open', got 'open'"),
        (lambda: numbers_of(torch.zeros(2, 4)), DataError, r"got \(2, 4\)"),
        (lambda: numbers_of(torch.tensor([[0, 6, 0, 0, 0]])), DataError, r"below \(3, 6, 40, 32, 32\), got \[0, 6"),
    ],
)
def test_what_does_not_exist_is_refused(make, error, says):
    with pytest.raises(error, match=says):
        make()
