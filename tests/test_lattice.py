"""Wavelets by angles, and the search among them: against PyWavelets and closed forms."""

import math

import pytest
import pywt
import torch
from torch.autograd import gradcheck

from trimkit.errors import OptionError, TrainingError
from trimkit.transforms import AdaptiveWavelet, Wavelet
from trimkit.transforms.lattice import angles_of_filter, filter_of_angles
from trimkit.trim.distill import AwdWeights, awd_terms, search

from .draws import double

ORTHOGONAL = [
    name
    for name in pywt.wavelist(kind="discrete")
    if pywt.Wavelet(name).orthogonal and pywt.Wavelet(name).dec_len > 2 and name != "dmey"
]


def lattice(wavelet="db3", levels=2):
    return AdaptiveWavelet(wavelet, levels, lattice=True).double()


@pytest.mark.parametrize("name", ORTHOGONAL)
def test_every_orthogonal_wavelet_has_its_angles(name):
    taps = torch.tensor(pywt.Wavelet(name).dec_lo, dtype=torch.float64)
    assert torch.allclose(filter_of_angles(angles_of_filter(taps.tolist())), taps, atol=1e-6)


@pytest.mark.parametrize("count", [1, 2, 5, 9])
def test_any_angles_are_a_wavelet(count):
    h = filter_of_angles(3 * double(count))
    shifts = [float((h[2 * k :] * h[: len(h) - 2 * k]).sum()) for k in range(count + 1)]
    assert shifts == pytest.approx([1.0, *[0.0] * count], abs=1e-12)
    assert float(h.sum()) == pytest.approx(math.sqrt(2))
    assert float(h[::2].sum()) == pytest.approx(float(h[1::2].sum()))


def test_the_filter_has_derivatives():
    assert gradcheck(filter_of_angles, double(4).requires_grad_())


@pytest.mark.parametrize("taps", [pywt.Wavelet("haar").dec_lo, pywt.Wavelet("bior2.2").dec_lo, [0.5, 0.5, 0.5, 0.5]])
def test_what_has_no_angles_is_refused(taps):
    with pytest.raises(OptionError, match=r"an orthogonal filter of at least 4 taps that sums to √2, got \d taps"):
        angles_of_filter(taps)


def test_a_lattice_is_exact_for_odd_lengths_and_its_constraints_are_met_wherever_its_angles_are():
    transform = lattice("coif2")
    transform.raw.data += double(5)
    x = double(2, 1, 37)
    assert torch.allclose(transform.inverse(transform(x)), x)
    assert float(sum(transform.constraint_losses().values()).detach()) == pytest.approx(0, abs=1e-20)
    assert transform.filter_length == 12


def test_a_lattice_of_haar_has_nothing_to_learn():
    with pytest.raises(OptionError, match=r"adaptive_wavelet: expected a wavelet of at least 4 taps .*'haar' with 2"):
        AdaptiveWavelet("haar", lattice=True)


def test_a_lattice_starts_as_its_wavelet():
    x = double(2, 1, 32)
    for ours, theirs in zip(lattice()(x), Wavelet("db3", 2)(x), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-6)


def read_by(wavelet, positions):
    """The gradient of a function that sums coefficients of the coarsest details: (1, 32)."""
    s = [torch.zeros_like(leaf) for leaf in Wavelet(wavelet, 2)(double(1, 1, 32))]
    s[1][..., positions] = 2.0
    return Wavelet(wavelet, 2).inverse(s)


def test_the_search_recovers_a_wavelet_from_another_one():
    x = double(20, 1, 32)
    gradients = read_by("db3", slice(3, 6)).expand_as(x)
    transform = lattice("coif1")
    losses = search(transform, x, gradients, AwdWeights(0.0, 1.0), starts=64, generator=torch.Generator())
    assert torch.allclose(transform.lowpass, torch.tensor(pywt.Wavelet("db3").dec_lo, dtype=torch.float64), atol=0.02)
    assert float(losses.min()) == pytest.approx(3 * 2.0 / 3, rel=0.02)


def test_its_losses_are_those_of_the_terms_and_the_best_is_kept():
    x, gradients, transform = double(1, 1, 16), double(1, 1, 16, seed=1), lattice("db2")
    weights = AwdWeights(0.5, 1.0)
    losses = search(transform, x, gradients, weights, starts=7, steps=3, generator=torch.Generator())
    assert losses.shape == (7,)
    assert torch.allclose(weights.total(awd_terms(transform, x, gradients)), losses.min())


def test_the_search_draws_from_its_generator_alone():
    before, runs = torch.get_rng_state(), []
    for _ in range(2):
        transform = lattice()
        search(transform, double(9, 1, 16), double(9, 1, 16), starts=3, steps=2, generator=torch.Generator())
        runs.append(transform.raw.detach())
    assert torch.equal(*runs)
    assert torch.equal(torch.get_rng_state(), before)


def test_what_cannot_be_searched_says_why():
    x = double(3, 1, 16)
    with pytest.raises(OptionError, match="expected a lattice, whose angles can be drawn"):
        search(AdaptiveWavelet("db3", 2), x, x)
    with pytest.raises(OptionError, match="starts"):
        search(lattice(), x, x, starts=0)
    with pytest.raises(TrainingError, match="no start of the search ends with a finite loss"):
        search(lattice(), x, x * torch.nan, starts=2, steps=1)
