"""Pictures of scores: they show what they say, and their readouts tell what lies where."""

from __future__ import annotations

import base64
import io
import math

import numpy as np
import pytest
import torch
from PIL import Image

import trimkit
from trimkit.audit.pictures import coefficient_figure, layout
from trimkit.audit.spectrum import full_spectrum, log_radius, warp
from trimkit.coefficients import tree
from trimkit.report import Figure, bar_figure, input_figure, signed_figure
from trimkit.report.page import Readout
from trimkit.report.pictures import Places, mosaic, palette, robust_limit


def pixels(figure):
    data = base64.b64decode(figure.uri.removeprefix("data:image/png;base64,"))
    return Image.open(io.BytesIO(data))


def test_the_palette_is_rdbu_reversed_with_white_in_the_middle():
    colours = palette()
    assert colours.shape == (255, 3)
    assert colours[0].tolist() == [0x05, 0x30, 0x61]
    assert colours[127].tolist() == [0xF7, 0xF7, 0xF7]
    assert colours[254].tolist() == [0x67, 0x00, 0x1F]
    brightness = colours @ [0.2126, 0.7152, 0.0722]
    assert (brightness[:127] <= brightness[1:128]).all()


def test_signed_maps_are_centred_at_zero():
    image = pixels(signed_figure(torch.tensor([[-2.0, 0.0], [1.0, 2.0]]), "", "", limit=2.0))
    assert image.mode == "P"
    assert list(image.get_flattened_data()) == [0, 127, 191, 254]


def test_a_map_of_zeros_is_white():
    assert set(pixels(signed_figure(torch.zeros(3, 3), "", "")).get_flattened_data()) == {127}


@pytest.mark.parametrize(("shape", "mode"), [((1, 4, 6), "L"), ((3, 4, 6), "RGB"), ((2, 4, 6), "L")])
def test_inputs_are_shown_as_pictures(shape, mode):
    figure = input_figure(torch.rand(shape), "", "x")
    assert pixels(figure).mode == mode
    assert figure.aspect == 1.5


def test_signals_are_lines_and_scores_are_bars():
    assert input_figure(torch.tensor([0.0, 1.0, 0.5]), "", "x").line == "0.00,96.00 50.00,4.00 100.00,50.00"
    up, down = bar_figure([2.0, -1.0], "", "x").bars
    assert (up.negative, up.y, up.height) == (False, 2.0, 48.0)
    assert (down.negative, down.y, down.height) == (True, 50.0, 24.0)


def test_mosaics_are_nearly_square_and_have_gaps():
    maps = torch.arange(1.0, 4.0).reshape(3, 1, 1).expand(3, 1, 2)
    assert mosaic(maps).tolist() == [[1, 1, 0, 2, 2], [0, 0, 0, 0, 0], [3, 3, 0, 0, 0]]
    assert mosaic(torch.ones(5, 4, 4)).shape == (9, 14)


@pytest.mark.parametrize("size", [(6, 6), (6, 7), (5, 8)])
def test_the_full_spectrum_has_both_conjugates(size):
    x = torch.randn(size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    half = torch.fft.rfft2(x).abs()
    assert torch.allclose(full_spectrum(half, size[1]), torch.fft.fftshift(torch.fft.fft2(x).abs()))


def test_log_radius_enlarges_the_middle_and_keeps_every_ray():
    spectrum = torch.zeros(32, 32)
    spectrum[16, 16], spectrum[16, 26] = 1.0, 2.0
    shown = log_radius(spectrum, 161)
    assert shown[80, 80] == 1
    middle = int((shown == 1)[80].sum())
    assert middle > 161 / 32
    assert bool((shown[80, 80:] == 2).any())
    assert not bool((shown[80, :80] == 2).any())
    assert warp(4) < 1e-3
    assert warp(1000) > warp(100)


class Latent(trimkit.Transform):
    """A space without pictures."""

    def forward(self, x):
        return x.flatten(1)[:, :5]

    def inverse(self, s, size=None):
        raise NotImplementedError

    def groups(self, size):
        labels = torch.arange(5)
        return trimkit.transforms.Groups(tuple(f"z{i}" for i in range(5)), labels, "latent")


@pytest.mark.parametrize(
    ("transform", "size", "kind"),
    [
        ("fft", (1, 8, 8), "uri"),
        ("fft", (2, 9), "bars"),
        ("dct", (3, 8, 8), "uri"),
        ("dct", (12,), "bars"),
        ("frequency_bands", (1, 8, 8), "uri"),
        ("frequency_bands", (1, 9), "bars"),
        ("identity", (1, 8, 8), "uri"),
        ("identity", (12,), "bars"),
        (Latent(), (1, 8, 8), "bars"),
    ],
)
def test_coefficients_have_a_picture_in_every_space(transform, size, kind):
    made = trimkit.create("transform", transform) if isinstance(transform, str) else transform
    x = torch.rand(1, *size)
    coefficients = made(x)
    figure = coefficient_figure(made, coefficients.real, size)
    assert getattr(figure, kind)
    assert "the strongest group is" in figure.alt


# readouts


def drawn(index, values):
    """The values laid out as the index says, 0 where nothing lies."""
    index = torch.as_tensor(index)
    return torch.where(index < 0, 0.0, torch.tensor(values)[index.clamp_min(0)])


@pytest.mark.parametrize("transform", ["identity", "dct", "wavelet"])
def test_a_readout_tells_what_the_picture_shows(transform):
    made = trimkit.create("transform", transform)
    scores = tree.map_leaves(torch.real, made(torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))))
    figure = layout(made, (1, 8, 8)).figure(scores)
    shown = drawn(figure.places.index, figure.scores)
    again = signed_figure(shown, "", "", robust_limit(shown))
    assert figure.uri == again.uri


def test_a_readout_of_a_spectrum_tells_each_frequency_and_both_of_its_places():
    made = trimkit.create("transform", "fft", sample_rate="10/mm")
    places = layout(made, (1, 8, 8)).places
    rows, columns = (places.index == 2 * 5 + 3).nonzero()  # ±2 down, 3 across
    assert (places.marks[2 * 5 + 3], places.unit) == (f"{10 * math.hypot(2 / 8, 3 / 8):.4g}", " cycles/mm")
    side, both = places.index.shape[0] - 1, set(zip(rows.tolist(), columns.tolist(), strict=True))
    assert {(side - r, side - c) for r, c in both} == both
    assert places.groups[places.group[0]] == "dc"


def test_channels_in_different_groups_have_no_common_one():
    class Colours(trimkit.transforms.Identity):
        def groups(self, size):
            return trimkit.transforms.Groups(("r", "g"), torch.arange(2)[:, None, None].expand(size), "channel")

    assert set(layout(Colours(), (2, 4, 4)).places.group) == {-1}


def test_a_map_of_many_coefficients_is_read_by_groups():
    made = layout(trimkit.transforms.Identity(), (1, 100, 100))
    scores = torch.rand(1, 1, 100, 100)
    figure = made.figure(scores)
    assert figure.scores == pytest.approx(made.groups.sums(scores)[0].tolist())
    assert set(figure.places.index.flatten().tolist()) == set(range(16))


def test_a_long_signal_has_as_many_bars_as_fit_and_keeps_its_sum():
    figure = coefficient_figure(trimkit.create("transform", "dct"), torch.ones(1, 1, 1000), (1, 1000))
    assert len(figure.bars) == len(figure.scores) == 256
    assert sum(figure.scores) == 1000
    assert figure.places.marks[0] == "0 to 0.0015"
    assert len(input_figure(torch.rand(1, 9999), "", "").line.split()) == 512


def test_bars_over_spans_are_found_where_they_are_drawn():
    made = trimkit.create("transform", "wavelet", sample_rate=64)
    size = (1, 64)
    figure = coefficient_figure(made, tree.map_leaves(torch.ones_like, made(torch.zeros(1, *size))), size)
    width = figure.places.index.shape[1]
    for i, bar in enumerate(figure.bars):
        assert figure.places.index[0, int((bar.x + bar.width / 2) / 100 * width)] == i


def test_readouts_share_what_lies_where_and_keep_scores_to_16_bits():
    readout = Readout()
    scores = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    made = layout(trimkit.transforms.Identity(), (1, 8, 8))
    assert [readout.add(made.figure(one[None])) for one in scores] == [0, 1]
    assert readout.add(input_figure(scores[0], "", "")) is None
    content = readout.as_json()
    assert len(content["places"]) == 1
    for one, figure in zip(scores, content["figures"], strict=True):
        back = np.frombuffer(base64.b64decode(figure["scores"]), "<i2") / 32767 * figure["largest"]
        assert np.abs(back - one.flatten().numpy()).max() <= figure["largest"] / 32767


def test_scores_that_are_not_finite_are_packed_as_such():
    readout = Readout()
    places = Places("", ("g",), (0, 0, 0), np.array([[0, 1, 2]]))
    readout.add(Figure("", "", line="0,0", places=places, scores=(math.nan, -2.0, math.inf)))
    (figure,) = readout.as_json()["figures"]
    assert figure["largest"] == 2.0
    assert np.frombuffer(base64.b64decode(figure["scores"]), "<i2").tolist() == [-32768, -32767, -32768]


def test_a_place_without_a_coefficient_is_packed_as_the_largest_number():
    for count, kind, none in ((3, "u1", 255), (300, "<u2", 65535)):
        places = Places("", ("g",), (0,) * count, np.array([[-1, count - 1]]))
        assert np.frombuffer(base64.b64decode(places.as_json()["index"]), kind).tolist() == [none, count - 1]
