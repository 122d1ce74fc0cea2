import pytest
import scipy.fft
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck

from trimkit.errors import ShapeError, TransformError
from trimkit.registry import available, create
from trimkit.transforms import DCT, FFT, FrequencyBands, Identity, Transform
from trimkit.transforms.fourier import dct_matrix

TRANSFORMS = sorted(available("transforms"))
SIZES = [(1, 4, 4), (2, 5, 4), (1, 4, 5), (1, 3, 7), (2, 6), (1, 5)]

transforms = pytest.mark.parametrize("name", TRANSFORMS)
sizes = pytest.mark.parametrize("size", SIZES, ids=str)


def double(*shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@transforms
@sizes
def test_the_round_trip_is_exact(name, size):
    transform = create("transform", name)
    x = double(3, *size)
    assert torch.allclose(transform.inverse(transform(x), size), x, atol=1e-12)
    assert transform.residual(x, transform(x)).abs().max() < 1e-12


@transforms
@sizes
def test_samples_do_not_mix(name, size):
    transform = create("transform", name)
    x = double(3, *size)
    assert torch.allclose(transform(x)[1:2], transform(x[1:2]), atol=1e-13)


@transforms
@sizes
def test_first_and_second_derivatives_are_right(name, size):
    transform = create("transform", name)
    x = double(1, *size).requires_grad_()
    s = transform(x).detach().requires_grad_()

    def back(s):
        return transform.inverse(s, size)

    assert gradcheck(transform, x, fast_mode=True)
    assert gradcheck(back, s, fast_mode=True)
    assert gradgradcheck(lambda x: transform(x).abs().square(), x, fast_mode=True)
    assert gradgradcheck(lambda s: back(s).pow(3), s, fast_mode=True)


@transforms
def test_float32_stays_float32(name):
    transform = create("transform", name)
    x = torch.randn(2, 1, 6, 6)
    s = transform(x)
    assert s.real.dtype == torch.float32
    assert transform.inverse(s, (1, 6, 6)).dtype == torch.float32


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
        (lambda: FFT(dims=3), "dims 1 or 2, got 3"),
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
    with pytest.raises((ShapeError, TransformError), match=says):
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
