import itertools

import numpy as np
import ptwt
import pytest
import pywt
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck

from trimkit.coefficients import tree
from trimkit.errors import OptionError, ShapeError
from trimkit.transforms import AdaptiveWavelet, Wavelet
from trimkit.transforms.filterbank import FilterBank
from trimkit.transforms.wavelet import pywt_filters

from .draws import double

NAMES = pywt.wavelist(kind="discrete")
ORTHOGONAL = [name for name in NAMES if pywt.Wavelet(name).orthogonal and name != "dmey"]


def energy(s):
    return sum(leaf.square().flatten(1).sum(1) for leaf in tree.leaves(s))


def bank(name, dtype=torch.float64):
    return FilterBank(torch.tensor(pywt_filters(name, "")[:2], dtype=dtype))


@pytest.mark.filterwarnings("ignore:Level value:UserWarning")  # PyWavelets on filters longer than the data
@pytest.mark.parametrize("name", NAMES)
def test_coefficients_are_those_of_pywavelets_periodization(name):
    image, signal = double(2, 1, 16, 24), double(2, 320)
    expected = pywt.wavedec2(image.numpy(), name, mode="periodization", level=3)
    for ours, theirs in zip(tree.leaves(Wavelet(name, 3)(image)), _flat(expected), strict=True):
        assert np.allclose(ours, theirs, atol=1e-10)
    expected = pywt.wavedec(signal.numpy(), name, mode="periodization", level=3)
    for ours, theirs in zip(Wavelet(name, 3)(signal), expected, strict=True):
        assert np.allclose(ours, theirs, atol=1e-10)


def _flat(coefficients):
    first, *details = coefficients
    return [first, *itertools.chain.from_iterable(details)]


@pytest.mark.parametrize("name", ["haar", "db3", "db5"])
def test_coefficients_away_from_the_edges_are_those_of_ptwt(name):
    """ptwt pads, which gives more coefficients, and starts earlier: by an even number of samples where L/2 is odd."""
    x, shift = double(2, 128), (pywt.Wavelet(name).dec_len // 2 - 1) // 2
    for ours, theirs in zip(Wavelet(name, 1)(x), ptwt.wavedec(x, name, mode="zero", level=1), strict=True):
        assert torch.allclose(ours[:, 8:-8], theirs[:, 8 + shift :][:, :48], atol=1e-10)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "dmey"])
@pytest.mark.parametrize("size", [(1, 13, 6), (1, 600), (1, 599), (5,)], ids=str)
def test_the_round_trip_is_exact_for_every_family_and_size(name, size):
    transform, x = Wavelet(name), double(2, *size)
    s = transform(x)
    assert sum(leaf[0].numel() for leaf in tree.leaves(s)) == x[0].numel()
    assert torch.allclose(transform.inverse(s), x, atol=1e-9)


@given(st.sampled_from(ORTHOGONAL), st.integers(2, 40), st.integers(2, 40), st.integers(1, 6))
@settings(deadline=None, max_examples=50)
def test_orthogonal_families_keep_the_norm(name, height, width, levels):
    x = double(2, 1, height, width)
    levels = min(levels, int(np.ceil(np.log2(min(height, width)))))
    assert torch.allclose(energy(Wavelet(name, levels)(x)), energy(x), rtol=1e-8)


@pytest.mark.parametrize("name", ["haar", "db5", "bior3.5", "coif17"])
@pytest.mark.parametrize("n", [212, 258, 301, 1000])
def test_blocks_and_the_matrix_are_the_same_map(name, n):
    """One of the two is chosen by the length."""
    banks, x = bank(name), double(2, 3, n)
    low, high = banks.matrices(n)
    for one, other in zip(banks.analyse_blocks(x), (x @ low.T, x @ high.T), strict=True):
        assert torch.allclose(one, other, atol=1e-12)
    assert torch.allclose(banks.adjoint_blocks(x @ low.T, x @ high.T), x @ (low.T @ low + high.T @ high), atol=1e-12)
    for across, along in zip(banks.analyse(x.mT, -2), banks.analyse(x), strict=True):
        assert torch.allclose(across.mT, along, atol=1e-12)
        assert torch.allclose(
            banks.adjoint(*banks.analyse(x.mT, -2), -2).mT, banks.adjoint(*banks.analyse(x)), atol=1e-12
        )


def test_long_signals_have_first_and_second_derivatives():
    transform = Wavelet("db2", levels=1)
    x = double(1, 257).requires_grad_()
    assert gradcheck(lambda x: tuple(transform(x)), x, fast_mode=True)
    assert gradgradcheck(lambda x: transform.inverse([leaf**2 for leaf in transform(x)]), x, fast_mode=True)


def test_a_constant_has_no_details_where_all_lengths_are_even():
    low, *details = Wavelet("db3", 2)(torch.ones(1, 1, 8, 8, dtype=torch.float64))
    assert torch.allclose(low, torch.full_like(low, 4.0))
    assert max(leaf.abs().max() for leaf in tree.leaves(details)) < 1e-9


def test_stripes_lie_in_the_subband_of_their_direction():
    stripes = torch.tensor([1.0, -1.0]).repeat(4)[:, None].expand(8, 8)[None, None]
    transform = Wavelet("haar", 1)
    scores = transform.groups((1, 8, 8)).sums(tree.map_leaves(torch.square, transform(stripes)))[0]
    assert transform.groups((1, 8, 8)).names == ("approximation", "horizontal 1", "vertical 1", "diagonal 1")
    assert scores.tolist() == pytest.approx([0, 64, 0, 0])


def test_groups_go_from_coarse_to_fine():
    groups = Wavelet("haar", 3).groups((2, 16))
    assert groups.names == ("approximation", "detail 3", "detail 2", "detail 1")
    assert groups.sizes.tolist() == [4, 4, 8, 16]


def test_the_default_depth_keeps_the_filter_shorter_than_the_signal():
    assert [Wavelet("db5").depth((1, n)) for n in (4, 32, 40, 80)] == [1, 1, 2, 3]
    assert Wavelet("haar").depth((1, 28, 28)) == 4


def test_dmey_is_lossy_as_in_pywavelets():
    transform, x = Wavelet("dmey"), double(2, 64)
    assert not transform.exact
    assert 1e-3 < transform.residual(x, transform(x)).abs().max() < 0.1


class TestAdaptive:
    def test_it_starts_as_the_wavelet_it_is_made_of(self):
        x = double(2, 1, 16, 16)
        for name in ("haar", "db5", "sym5"):
            adaptive = AdaptiveWavelet(name, 2).double()
            for ours, theirs in zip(tree.leaves(adaptive(x)), tree.leaves(Wavelet(name, 2)(x)), strict=True):
                assert torch.allclose(ours, theirs, atol=1e-6)
            assert sum(adaptive.constraint_losses().values()) < 1e-12

    def test_its_constraints_are_the_published_ones(self):
        adaptive = AdaptiveWavelet("db2", unit_norm=False).double()
        h = torch.tensor([0.5, 1.0, 0.25, -0.5], dtype=torch.float64)
        adaptive.raw.data.copy_(h)
        g = torch.tensor([0.5, 0.25, -1.0, 0.5], dtype=torch.float64)
        assert torch.equal(adaptive.banks(h)[0].filters[1], g)
        power = [abs(sum(h[n] * np.exp(-1j * w * n) for n in range(4))) ** 2 for w in np.pi / 2 * np.arange(4)]
        expected = {
            "lowpass_sum": 0.5 * (1.25 - 2**0.5) ** 2,
            "highpass_sum": 0.5 * 0.25**2,
            "norm": 0.5 * (1.5625 - 1) ** 2,
            "conjugate_mirror": 0.5 * ((power[0] + power[2] - 2) ** 2 + (power[1] + power[3] - 2) ** 2),
            "double_shift": 0.5 * ((1.5625 - 1) ** 2 + 2 * (0.5 * 0.25 - 0.5) ** 2),
        }
        found = {name: float(value.detach()) for name, value in adaptive.constraint_losses().items()}
        assert found == pytest.approx({name: float(value) for name, value in expected.items()})

    def test_its_filter_has_first_and_second_derivatives(self):
        adaptive = AdaptiveWavelet("db2", 2).double()
        x = double(2, 1, 8)

        def loss(raw):
            s = torch.func.functional_call(adaptive, {"raw": raw}, (x,))
            return sum(leaf.pow(3).sum() for leaf in s)

        raw = adaptive.raw.detach().clone().requires_grad_()
        assert gradcheck(loss, raw)
        assert gradgradcheck(loss, raw)

    def test_the_transform_of_a_gradient_is_the_gradient_with_respect_to_coefficients(self):
        adaptive = AdaptiveWavelet("db3", 2).double()
        adaptive.raw.data += 0.3 * double(6)
        x, g = double(2, 1, 9, 8), double(2, 1, 9, 8).flip(0)
        s = [leaf.detach().requires_grad_() for leaf in tree.leaves(adaptive(x))]
        back = adaptive.inverse(tree.rebuild(adaptive(x), s))
        for ours, theirs in zip(tree.leaves(adaptive(g)), torch.autograd.grad(back, s, g), strict=True):
            assert torch.allclose(ours, theirs, atol=1e-12)

    def test_a_unit_norm_leaves_no_scale_to_shrink(self):
        x = double(2, 32)
        free, fixed = AdaptiveWavelet("db2", 2, unit_norm=False).double(), AdaptiveWavelet("db2", 2).double()
        before = energy(free(x)).sum(), energy(fixed(x)).sum()
        for adaptive in (free, fixed):
            adaptive.raw.data *= 0.5
        assert energy(free(x)).sum() < 0.5 * before[0]
        assert torch.allclose(energy(fixed(x)).sum(), before[1])
        assert fixed.norm_constrained
        assert not free.norm_constrained

    def test_it_is_saved_and_loaded(self):
        first, second = AdaptiveWavelet("db2"), AdaptiveWavelet("db2")
        first.raw.data += 1.0
        second.load_state_dict(first.state_dict())
        assert torch.equal(first.lowpass, second.lowpass)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Wavelet("db55"), "no discrete wavelet 'db55'. Did you mean 'db5'"),
        (lambda: Wavelet(dims=4), "dims 1, 2 or 3, got 4"),
        (lambda: Wavelet(levels=0), "levels ≥ 1, got 0"),
        (lambda: Wavelet(levels=4)(torch.ones(2, 1, 8, 9)), r"levels ≤ 3 for samples of size \(1, 8, 9\), got 4"),
        (lambda: Wavelet(dims=2)(torch.ones(2, 9)), "at least 2 axes"),
        (lambda: Wavelet()(torch.ones(2, 1)), "at least 2 entries along"),
        (lambda: Wavelet()(torch.ones(2, 4, dtype=torch.int64)), "floating data, got torch.int64"),
        (lambda: Wavelet().inverse(torch.ones(2, 4)), "a list .* got Tensor"),
        (lambda: Wavelet().inverse([torch.ones(2, 4), torch.ones(3, 4)]), "do not fit together"),
        (lambda: Wavelet().inverse([torch.ones(2, 4), torch.ones(2, 5)]), "do not fit together"),
        (lambda: Wavelet().inverse([torch.ones(2, 4), (torch.ones(2, 4),) * 2]), "do not fit together"),
        (lambda: AdaptiveWavelet("bior2.2"), "'bior2.2' is not orthogonal"),
    ],
)
def test_what_does_not_fit_says_what_would(make, says):
    with pytest.raises((OptionError, ShapeError), match=says):
        make()
