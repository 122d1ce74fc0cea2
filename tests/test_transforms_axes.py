"""Transforms along chosen axes, by position and by name, in one to three dimensions, and physical scales along them."""

import itertools

import numpy as np
import pytest
import pywt
import scipy.fft
import torch

import trimkit
from trimkit.audit.pictures import coefficient_figure
from trimkit.coefficients import tree
from trimkit.coefficients.axes import Band, Rate, find_axes, read_bands, read_rate
from trimkit.errors import OptionError, ShapeError
from trimkit.registry import create
from trimkit.transforms import DCT, FFT, STFT, FrequencyBands, Wavelet

from .draws import double

SERIES = ("fft", {"axes": "time", "layout": "time channel"})
NAMES = ["fft", "dct", "frequency_bands", "wavelet", "adaptive_wavelet", "laplacian_pyramid", "stft"]


def made(name, **options):
    return create("transform", name, **({"n_fft": 8} if name == "stft" else {}), **options).double()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("axes", [1, -2, "time", ["time"]], ids=str)
def test_a_series_of_channels_is_transformed_along_time(name, axes):
    x = double(4, 30, 3)
    along, plain = made(name, axes=axes, layout="time channel"), made(name, dims=1) if name != "stft" else made(name)
    for ours, theirs in zip(tree.leaves(along(x)), tree.leaves(plain(x.mT)), strict=True):
        assert torch.allclose(ours if name == "stft" else ours.transpose(-1, -2), theirs, atol=1e-9)
    assert torch.allclose(along.inverse(along(x), (30, 3)), x, atol=1e-5 if name == "adaptive_wavelet" else 1e-10)
    groups = along.groups((30, 3))
    power = groups.sums(tree.map_leaves(lambda leaf: leaf.abs().square(), along(x)))
    other = plain.groups((3, 30)).sums(tree.map_leaves(lambda leaf: leaf.abs().square(), plain(x.mT)))
    assert torch.allclose(power, other)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "stft"])
@pytest.mark.parametrize("options", [{"dims": 3}, {"axes": ["depth", "height", "width"]}], ids=str)
@pytest.mark.parametrize("size", [(1, 4, 6, 5), (2, 8, 8, 8)], ids=str)
def test_volumes_come_back(name, options, size):
    transform, x = made(name, **options), double(2, *size)
    assert torch.allclose(transform.inverse(transform(x), size), x, atol=1e-5 if name == "adaptive_wavelet" else 1e-10)
    labels = transform.groups(size).labels
    shapes = [tuple(leaf.shape[1:]) for leaf in tree.leaves(transform(x))]
    assert [tuple(leaf.shape) for leaf in tree.leaves(labels)] == shapes


def test_the_transforms_of_volumes_are_numpys_and_scipys():
    x = double(2, 1, 4, 6, 5)
    assert np.allclose(FFT(dims=3)(x), np.fft.rfftn(x.numpy(), axes=(-3, -2, -1), norm="ortho"))
    assert np.allclose(DCT(dims=3)(x), scipy.fft.dctn(x.numpy(), axes=(-3, -2, -1), norm="ortho"))
    series = double(2, 7, 3)
    assert np.allclose(FFT(axes=1)(series), np.fft.rfft(series.numpy(), axis=1, norm="ortho"))
    assert np.allclose(
        FFT(axes=["width", "depth"])(x), np.fft.rfftn(x.numpy(), axes=(-1, -3), norm="ortho")
    )  # the last one named is halved


@pytest.mark.filterwarnings("ignore:Level value:UserWarning")  # PyWavelets on filters longer than the data
@pytest.mark.parametrize("wavelet", ["haar", "db2", "bior2.2"])
def test_the_wavelets_of_volumes_are_those_of_pywavelets(wavelet):
    x = double(1, 1, 8, 16, 8)
    low, *details = pywt.wavedecn(x.numpy(), wavelet, "periodization", level=2, axes=(-3, -2, -1))
    order = ["".join("ad"[part >> i & 1] for i in range(3)) for part in range(1, 8)]
    expected = [low, *itertools.chain.from_iterable([level[key] for key in order] for level in details)]
    for ours, theirs in zip(tree.leaves(Wavelet(wavelet, 2, dims=3)(x)), expected, strict=True):
        assert np.allclose(ours, theirs, atol=1e-10)
    names = Wavelet(wavelet, 1, dims=3).groups((1, 8, 16, 8)).names
    assert names[:4] == ("approximation", "depth 1", "height 1", "depth+height 1")


def test_the_frequency_of_a_volume_is_the_length_of_its_wave_vector():
    frequencies = FFT(dims=3, sample_rate=["1/mm", "2/mm", "4/mm"]).frequencies((1, 4, 4, 4))
    assert frequencies[1, 1, 1] == pytest.approx((0.25**2 + 0.5**2 + 1.0**2) ** 0.5)
    assert frequencies.shape == (4, 4, 3)


@pytest.mark.parametrize("name", NAMES)
def test_an_axis_of_length_one_is_refused(name):
    for options, size in (({}, (64, 1)), ({"axes": "channel"}, (1, 64))):
        with pytest.raises(ShapeError, match=r"at least 2 entries along .* name the axes that vary"):
            made(name, **options)(double(8, *size))


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: FFT(axes="tiem", layout="time channel")(double(2, 8, 3)), "no axis .* 'tiem'. Did you mean 'time'"),
        (lambda: FFT(axes=0)(double(2, 8)), "got 0, the batch"),
        (lambda: FFT(axes=3)(double(2, 8, 3)), r"no axis 3 in \(N, channel, time\)"),
        (lambda: FFT(axes=[1, 1])(double(2, 8, 3)), "axes that differ"),
        (lambda: FFT(axes=1, layout="time")(double(2, 8, 3)), "names 1 axes of a sample, which has 2"),
        (lambda: FFT(dims=1, axes=1), "dims or axes, got both"),
        (lambda: FFT(sample_rate=0), "sample_rate as a number above 0"),
        (lambda: FFT(sample_rate="fast"), "sample_rate as a number above 0"),
        (lambda: FFT(dims=3, sample_rate=[1, 2]).frequencies((1, 4, 4, 4)), "one for each of 3 axes"),
        (lambda: FFT(bands="alpha"), "as a whole number, or as bands"),
        (lambda: FFT(bands={"alpha": (13, 8)}), "'alpha' from a lower to a higher end"),
        (lambda: FFT(bands={"a": (1, 3), "b": (2, 4)}), "that do not overlap"),
        (lambda: FFT(bands="2–4 kHz"), "expected a unit of cycles/pixel, got 'kHz'"),
    ],
)
def test_what_does_not_fit_says_what_would(call, says):
    with pytest.raises((OptionError, ShapeError), match=says):
        call()


def test_names_follow_the_number_of_axes_or_the_layout():
    assert find_axes("t", ["height", "width"], (3, 8, 8)) == (1, 2)
    assert find_axes("t", "time", (3, 8)) == (1,)
    assert find_axes("t", "time", (8, 3), ["time", "channel"]) == (0,)
    assert find_axes("t", "depth", (1, 4, 8, 8)) == (1,)


def test_rates_and_bands_are_read_with_their_units():
    assert read_rate("t", "16 kHz") == Rate(16000.0, "s")
    assert read_rate("t", 256) == Rate(256.0, "s")
    assert read_rate("t", "0.5/nm") == Rate(0.5, "nm")
    assert read_bands("t", "alpha 8–13 Hz, 2-4 kHz", "Hz") == (Band("alpha", 8, 13), Band("2–4 kHz", 2000, 4000))
    assert read_bands("t", ["blue 0.45–0.5 µm"], "nm") == (Band("blue", pytest.approx(450), pytest.approx(500)),)


@pytest.mark.parametrize("make", [FFT, DCT, FrequencyBands, STFT], ids=lambda make: make.__name__)
@pytest.mark.parametrize("bands", [{"low": (0, 8), "alpha": (8, 13)}, ["low 0–8 Hz", "alpha 8–13 Hz"]], ids=str)
def test_a_tone_lies_in_the_band_of_its_frequency_in_hertz(make, bands):
    transform = make(bands=bands, sample_rate=128)
    for hertz, name in ((10, "alpha"), (4, "low"), (40, "other")):
        t = torch.arange(256, dtype=torch.float64) / 128
        groups = transform.groups((1, 256))
        power = groups.sums(transform(torch.cos(2 * torch.pi * hertz * t)[None, None]).abs().square())[0]
        assert groups.names == ("low", "alpha", "other")
        assert groups.names[int(power.argmax())] == name
        assert power.max() > 0.75 * power.sum()
    assert groups.axis == "frequency (Hz)"
    assert groups.spans == ((0.0, 8.0), (8.0, 13.0), None)


def test_a_shared_end_belongs_to_the_upper_band():
    groups = FFT(sample_rate=64, bands="low 0–8 Hz, high 8–32 Hz").groups((1, 64))
    assert groups.labels[0, [0, 7, 8, 32]].tolist() == [0, 0, 1, 1]


def test_equal_bands_are_named_in_the_unit_of_the_axis():
    assert FFT(sample_rate="16 kHz", bands=4).groups((1, 64)).names == (
        "dc",
        "0–2 kHz",
        "2–4 kHz",
        "4–6 kHz",
        "6–8 kHz",
    )
    assert FFT(sample_rate="10/mm", bands=2).groups((1, 8)).names[1] == "0–2.5 cycles/mm"
    assert Wavelet("haar", 2, dims=1, sample_rate=64).groups((1, 16)).names == (
        "approximation, 0–8 Hz",
        "detail 2, 8–16 Hz",
        "detail 1, 16–32 Hz",
    )


def test_the_picture_of_groups_has_the_scale_of_their_axis():
    transform = FFT(axes=1, sample_rate=64, bands={"low": (0, 8), "high": (24, 32)})
    figure = coefficient_figure(transform, torch.ones(1, 33, 2), (64, 2))
    assert [(round(bar.x), round(bar.x + bar.width)) for bar in figure.bars] == [(0, 25), (75, 100)]
    assert "frequency (Hz), 0 to 32; not drawn: other" in figure.caption


def test_a_penalty_trains_through_named_axes():
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 3)).double()
    penalty = trimkit.TrimPenalty("l1", transform=SERIES, attribution="input_x_gradient")
    _, value = penalty(model, double(4, 16, 3), target=torch.tensor([0, 1, 2, 0]))
    value.mean().backward()
    assert model[1].weight.grad.abs().max() > 0


def test_a_result_knows_its_groups_and_their_axis():
    model = torch.nn.Linear(64, 2).double()
    result = trimkit.Trim(model, ("fft", {"sample_rate": 64, "bands": ["low 0–8 Hz"]}))(double(3, 64), target=0)
    assert result.groups.axis == "frequency (Hz)"
    assert torch.allclose(result.groups.sums(result.scores).sum(1), result.change)


def test_a_signals_picture_ends_at_its_highest_frequency():
    scores = torch.ones(1, 1, 33)
    assert coefficient_figure(FFT(sample_rate=64), scores, (1, 64)).caption == "0 → 32 Hz"
    assert coefficient_figure(FFT(), scores, (1, 64)).caption == "0 → Nyquist"
