import numpy as np
import pytest
import scipy.signal
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trimkit.errors import OptionError, ShapeError
from trimkit.transforms import STFT

from .draws import double


@given(
    st.integers(2, 70),
    st.sampled_from([4, 8, 16, 32]),
    st.integers(1, 8),
    st.sampled_from(["hann", "hamming", "blackman"]),
)
@settings(deadline=None, max_examples=80)
def test_every_length_comes_back(length, n_fft, hop, window):
    hop = min(hop, max(1, n_fft // 4))
    stft, x = STFT(n_fft, hop, window), double(2, 3, length)
    assert torch.allclose(stft.inverse(stft(x), (3, length)), x, atol=1e-10)
    single = stft.inverse(stft(x.float()), (3, length))
    assert torch.allclose(single, x.float(), atol=1e-4)


def test_frames_are_scipys():
    stft, x = STFT(16, 4), double(1, 64)
    window = scipy.signal.get_window("hann", 16)
    theirs = scipy.signal.ShortTimeFFT(window, 4, fs=1.0).stft(x[0].numpy(), p0=0, p1=17)
    assert np.allclose(stft(x)[0].abs(), np.abs(theirs), atol=1e-10)  # scipy counts phase from the frame's middle


def test_a_chirp_moves_through_the_bands():
    t = torch.arange(1024) / 1024
    chirp = torch.cos(2 * torch.pi * (20 * t + 200 * t**2))[None, None]  # 20 → 420 cycles in 1024 samples
    stft = STFT(64)
    peaks = stft(chirp)[0, 0].abs().argmax(0)[4:-4]
    assert (peaks.diff() >= 0).float().mean() > 0.95
    assert int(peaks[-1]) > 4 * int(peaks[0])


def test_groups_are_bands_of_all_frames_and_count_conjugate_bins_twice():
    stft = STFT(8, bands=2)
    groups = stft.groups((2, 20))
    assert groups.names == ("dc", "0.000–0.250", "0.250–0.500")
    frames = 20 // 2 + 1
    assert groups.sizes.tolist() == [2 * frames, 2 * 4 * frames, 2 * 3 * frames]
    t = torch.arange(64) / 64
    wave = torch.cos(2 * torch.pi * 24 * t)[None, None]  # 0.375 cycles a sample
    energy = stft.groups((1, 64)).sums(stft(wave).abs().square())[0]
    assert energy.argmax() == 2


def test_without_a_size_the_shortest_signal_comes_back():
    stft, x = STFT(8), double(1, 1, 21)
    assert torch.allclose(stft.inverse(stft(x)), x[..., :20], atol=1e-10)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: STFT(7), "n_fft even and ≥ 4, got 7"),
        (lambda: STFT(bands=0), "bands ≥ 1, got 0"),
        (lambda: STFT(window="hanning"), "no window 'hanning'. Did you mean 'hann'"),
        (lambda: STFT(16, 9), "1 ≤ hop ≤ n_fft / 2 = 8, got 9"),
        (lambda: STFT(32, 16), "cannot be inverted; lower hop, e.g. to 8"),
        (lambda: STFT()(torch.ones(2, 1, 8, 8)), r"\(N, C, L\), float32 or float64, got torch.float32 \(2, 1, 8, 8\)"),
        (lambda: STFT().inverse(torch.ones(2, 33, 4)), r"complex coefficients \(N, ..., 33, frames\)"),
    ],
)
def test_what_does_not_fit_says_what_would(make, says):
    with pytest.raises((OptionError, ShapeError), match=says):
        make()
