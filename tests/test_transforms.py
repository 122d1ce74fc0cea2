import inspect
import math

import pytest
import scipy.fft
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trimkit.coefficients import tree
from trimkit.coefficients.axes import label_equal_bands
from trimkit.errors import OptionError, ShapeError, TransformError
from trimkit.registry import available, create, default
from trimkit.transforms import DCT, FFT, FrequencyBands, Identity, Transform
from trimkit.transforms.fourier import dct, dct_matrix, inverse_dct

from .draws import double

SIZES = [(1, 4, 4), (2, 5, 4), (1, 4, 5), (1, 3, 7), (2, 6), (1, 5)]
SIGNALS = [(2, 6), (1, 5), (7,)]
RGB = [(3, 4, 5)]
PICTURES = [(1, 4, 4), (3, 5, 4)]
NEEDS_SIZES = {
    "channels_x_bands": [(2, 6), (1, 5)],
    "color": RGB,
    "compose": RGB,
    "mel": SIGNALS,
    "stft": SIGNALS,
    "superpixels": PICTURES,
}
INCONSISTENT = {"mel"}
"""Coefficients of overlapping frames that fit no signal exactly: transformed again, they change."""

VARIANTS = {
    "color": [{"space": "ycbcr"}, {"space": "lab"}, {"space": "hsv"}],
    "compose": [{"of": ["color", ("wavelet", {"levels": 1})]}, {"of": [("color", {"space": "lab"}), "fft"]}],
    "dct": [{"dims": 1}, {}],
    "each": [{"of": "dct"}, {"of": ("pca", {"components": 2})}, {"of": "fft"}],
    "laplacian_pyramid": [{}, {"levels": 1}, {"dims": 1}],
    "cqt": [{}, {"bins": 1}],
    "mel": [{"mels": 3, "n_fft": 16}],
    "nmf": [{"components": 3, "iterations": 4000}],
    "pca": [{"components": 3}, {}],
    "stft": [{"n_fft": 4, "hop": 1}, {"n_fft": 8, "hop": 3, "window": "hamming"}],
    "wavelet": [
        {},
        {"wavelet": "bior2.2", "levels": 1},
        {"wavelet": "db5", "levels": 2},
        {"wavelet": "haar", "dims": 1},
    ],
    "wavelet_packet": [{"levels": 1}, {"wavelet": "haar"}],
}
GIVEN = {"compose": {"of"}, "each": {"of"}, "dictionary": {"matrix"}, "graph_fourier": {"adjacency"}}
"""Options that every case below has."""


def lacks(name):
    """Required options that no case can have, such as the trained run of a latent space."""
    taken = inspect.signature(default().find("transform", name).load()).parameters.values()
    required = {p.name for p in taken if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
    return required - GIVEN.get(name, set())


CASES = [
    pytest.param(name, options, size, id=f"{name}-{list(options.values())}-{size}")
    for name in sorted(available("transforms"))
    if not lacks(name)  # of plugins too
    for options in VARIANTS.get(name, [{}])
    for size in NEEDS_SIZES.get(name, SIZES)
]
cases = pytest.mark.parametrize(("name", "options", "size"), CASES)


def fitting(name, *shape):
    """Data that every transform takes: colours lie between 0 and 1, parts are not negative."""
    return double(*shape).sigmoid() if name in ("color", "compose", "nmf") else double(*shape)


def ready(name, options, size):
    """A registered transform, made with the options and fitted to data of the size where it must be."""
    if name == "dictionary":
        options = {"matrix": double(3, math.prod(size))}
    if name == "graph_fourier":
        ring = torch.eye(size[-1]).roll(1, 0)
        options = {"adjacency": ring + ring.T}
    return create("transform", name, **options).double().fit(fitting(name, 40, *size))


def test_of_trimkits_own_transforms_only_a_runs_latent_space_is_tested_elsewhere():
    own = {part.name for part in default().parts("transforms") if part.plugin.distribution == "trimkit"}
    assert {name: lacks(name) for name in own if lacks(name)} == {"latent": {"run"}}  # see training/test_stored.py


@cases
def test_the_round_trip_is_exact_or_keeps_what_the_coefficients_say(name, options, size):
    transform = ready(name, options, size)
    x = fitting(name, 3, *size)
    s = transform(x)
    back = transform.inverse(s, size)
    if transform.exact:
        assert torch.allclose(back, x, atol=1e-11)
        assert transform.residual(x, s).abs().max() < 1e-11
    elif name not in INCONSISTENT:
        for again, first in zip(tree.leaves(transform(back)), tree.leaves(s), strict=True):
            assert torch.allclose(again, first, atol=1e-6)
    assert torch.allclose(transform.inverse(s, size) + transform.residual(x, s), x, atol=1e-14)


def test_the_half_spectrum_is_torchs_and_its_weights_give_parseval():
    for size in SIZES:
        x = double(3, *size)
        fft = FFT()
        s = fft(x)
        power = (fft.multiplicity(size) * s.abs() ** 2).flatten(1).sum(1)
        assert torch.allclose(power, (x**2).flatten(1).sum(1))
    assert torch.equal(fft(x), torch.fft.rfft(x, norm="ortho"))


def test_the_multiplicity_counts_the_bins_of_the_full_spectrum():
    assert FFT().multiplicity((1, 6)).tolist() == [[1, 2, 2, 1]]
    assert FFT().multiplicity((1, 5)).tolist() == [[1, 2, 2]]
    assert FFT().groups((1, 5, 6)).sizes.sum() == 30


def test_a_half_spectrum_gradient_is_the_full_one_times_the_multiplicity():
    x, weight = double(1, 1, 6), double(1, 6)
    s = FFT()(x).requires_grad_()
    (half,) = torch.autograd.grad((FFT().inverse(s, (1, 6)) * weight).sum(), s)
    full = torch.fft.fft(weight, norm="ortho")  # gradient with respect to the bins of an unconstrained spectrum
    expected = full[:, :4] * FFT().multiplicity((1, 6))
    assert torch.allclose(half[0], expected, atol=1e-12)


def test_the_cosine_transform_is_scipys_and_orthonormal():
    x = double(2, 3, 5, 8)
    assert torch.allclose(DCT()(x), torch.from_numpy(scipy.fft.dctn(x.numpy(), axes=(-2, -1), norm="ortho")))
    assert torch.allclose(DCT(dims=1)(x), torch.from_numpy(scipy.fft.dct(x.numpy(), norm="ortho")))
    matrix = dct_matrix(8, torch.float64, torch.device("cpu"))
    assert torch.allclose(matrix @ matrix.T, torch.eye(8, dtype=torch.float64), atol=1e-13)


@given(st.integers(1, 6), st.integers(4, 12), st.integers(4, 12))
@settings(deadline=None, max_examples=25)
def test_the_bands_sum_to_the_data_and_do_not_overlap(bands, height, width):
    x = double(2, 1, height, width)
    parts = FrequencyBands(bands=bands)(x)
    assert parts.shape == (2, bands + 1, 1, height, width)
    assert torch.allclose(parts.sum(1), x, atol=1e-12)
    spectra = torch.fft.rfft2(parts).abs() > 1e-9
    assert int(spectra.sum(1).max()) <= 1


@pytest.mark.parametrize(
    ("size", "dims"), [((9,), None), ((2, 9), None), ((2, 9), 2), ((3, 6, 5), None), ((3, 6, 5), 1)]
)
def test_each_band_keeps_its_bins_of_the_spectrum(size, dims):
    x, fft, bands = double(2, *size), FFT(dims), FrequencyBands(dims, bands=3)
    labels = label_equal_bands(fft.frequencies(size), 3)
    expected = [fft.inverse(fft(x) * (labels == band), size) for band in range(4)]
    for _ in range(2):  # the second time from the cache
        assert torch.allclose(bands(x), torch.stack(expected, 1), atol=1e-13)


def test_masks_made_in_inference_mode_serve_training():
    bands, x = FrequencyBands(bands=2), double(2, 13)
    with torch.inference_mode():
        bands(x)
    bands(x.requires_grad_()).square().sum().backward()
    assert x.grad is not None


def test_the_first_band_is_the_mean():
    x = double(2, 1, 6, 6)
    assert torch.allclose(FrequencyBands()(x)[:, 0], x.mean((-2, -1), keepdim=True).expand_as(x))


def test_a_sinusoid_lies_in_the_band_that_names_its_frequency():
    t = torch.arange(32) / 32
    wave = torch.cos(2 * torch.pi * 5 * t)[None, None]  # 5 / 32 = 0.156 cycles a sample
    groups = FFT(bands=8).groups((1, 32))
    energy = groups.sums(FFT()(wave).abs() ** 2)[0]
    assert groups.names[int(energy.argmax())] == "0.125–0.188"
    assert energy.max() > 0.999 * energy.sum()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: FFT(dims=4), "dims 1, 2 or 3, got 4"),
        (lambda: DCT(bands=0), "bands ≥ 1, got 0"),
        (lambda: FrequencyBands(bands=0), "bands ≥ 1, got 0"),
        (lambda: Identity(parts=0), "parts ≥ 1, got 0"),
        (lambda: FFT()(torch.ones(2, 4, dtype=torch.bfloat16)), "float32 or float64"),
        (lambda: FFT()(torch.ones(2, 4, dtype=torch.complex64)), "float32 or float64"),
        (lambda: FFT(dims=2)(torch.ones(2, 4)), "at least 2 axes"),
        (lambda: FFT().inverse(torch.ones(2, 4)), "complex coefficients"),
        (lambda: FFT().inverse([torch.ones(2, 4)] * 2), "a tree of 2"),
        (lambda: FrequencyBands().inverse(torch.ones(2, 3, 4)), r"\(N, 5, ...\)"),
    ],
)
def test_what_does_not_fit_says_what_would(make, says):
    with pytest.raises((OptionError, ShapeError), match=says):
        make()


def test_an_inverse_of_the_wrong_size_is_named():
    class Padded(Identity):
        def inverse(self, s, size=None):
            return torch.nn.functional.pad(s, (0, 1))

    with pytest.raises(TransformError, match=r"Padded.inverse gives \(2, 5\) for data of \(2, 4\)"):
        Padded().residual(torch.ones(2, 4), torch.ones(2, 4))


def test_a_lossy_transform_has_its_residual():
    class Coarse(Transform):
        exact = False

        def forward(self, x):
            return x.mean(-1, keepdim=True)

        def inverse(self, s, size=None):
            return s.expand(len(s), *size)

        def groups(self, size):
            raise NotImplementedError

    x = torch.tensor([[1.0, 3.0]])
    assert Coarse().residual(x, Coarse()(x)).tolist() == [[-1.0, 1.0]]


@pytest.mark.parametrize("n", [257, 300])
def test_a_long_cosine_transform_is_its_matrix(n):
    x = torch.randn(2, 3, n, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    matrix = dct_matrix(n, torch.float64, torch.device("cpu"))
    torch.testing.assert_close(dct(x), x @ matrix.T, rtol=0, atol=1e-12)
    torch.testing.assert_close(inverse_dct(x), x @ matrix, rtol=0, atol=1e-12)
    torch.testing.assert_close(inverse_dct(dct(x)), x, rtol=0, atol=1e-12)


def test_a_long_cosine_transform_can_be_derived_twice():
    x = torch.randn(1, 257, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    for function in (dct, inverse_dct):
        assert torch.autograd.gradcheck(function, x, fast_mode=True)
        assert torch.autograd.gradgradcheck(function, x, fast_mode=True)


@pytest.mark.parametrize("name", ["fft", "dct", "frequency_bands"])
@pytest.mark.parametrize("size", [(64, 1), (1, 1, 16), (3, 16, 1)])
def test_an_axis_along_which_nothing_can_vary_is_refused(name, size):
    with pytest.raises(ShapeError, match=r"at least 2 entries along .* put the axis that varies last"):
        create("transform", name)(torch.randn(8, *size))
