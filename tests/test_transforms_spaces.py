"""Wavelet packets, polar, mel, constant-Q, channels by bands, segments, graphs: against closed forms."""

import math

import numpy as np
import pytest
import pywt
import scipy.fft
import torch

import trimkit
from trimkit.coefficients import tree
from trimkit.errors import OptionError, ShapeError, TransformError
from trimkit.transforms import (
    CQT,
    PCA,
    ChannelsXBands,
    Color,
    Each,
    GraphFourier,
    Mel,
    Polar,
    Segments,
    Superpixels,
    WaveletPacket,
)
from trimkit.transforms.graph import laplacian
from trimkit.transforms.mel import hertz, mel, mel_filters
from trimkit.transforms.segments import superpixels

from .draws import double


def tone(frequency, n=512, rate=512):
    return torch.cos(2 * torch.pi * frequency * torch.arange(n, dtype=torch.float64) / rate)


def power(transform, x):
    size = tuple(x.shape[1:])
    return transform.groups(size).sums(tree.map_leaves(lambda leaf: leaf.abs().square(), transform(x)))[0]


class TestWaveletPacket:
    @pytest.mark.parametrize("wavelet", ["haar", "db3", "bior2.2"])
    @pytest.mark.parametrize("levels", [1, 2, 3])
    def test_bands_are_those_of_pywavelets_in_order_of_frequency(self, wavelet, levels):
        x = double(64)
        theirs = pywt.WaveletPacket(x.numpy(), wavelet, "periodization", maxlevel=levels).get_level(levels, "freq")
        ours = WaveletPacket(wavelet, levels)(x[None])
        for band, node in zip(ours, theirs, strict=True):
            assert np.allclose(band[0], node.data, atol=1e-10)

    @pytest.mark.parametrize("frequency", [16, 112, 144, 240])
    def test_a_tone_lies_in_the_band_that_names_it(self, frequency):
        packet = WaveletPacket("db10", 3, sample_rate=512)
        groups = packet.groups((1, 512))
        found = power(packet, tone(frequency)[None, None])
        low, high = groups.spans[int(found.argmax())]
        assert low <= frequency <= high
        assert found.max() > 0.8 * found.sum()

    @pytest.mark.parametrize("n", [4, 5, 7, 33, 600])
    def test_it_is_orthonormal_for_every_length(self, n):
        x = double(2, n)
        s = WaveletPacket("db2", 2)(x)
        assert sum(leaf.shape[-1] for leaf in s) == n
        assert torch.allclose(sum(leaf.square().sum() for leaf in s), x.square().sum())

    def test_too_many_levels_are_refused(self):
        with pytest.raises(OptionError, match="levels ≤ 2 for 5 entries, got 3"):
            WaveletPacket(levels=3)(double(1, 5))


class TestPolar:
    def test_the_gradient_of_an_amplitude_is_the_wave_it_stands_for(self):
        n, x, weight = 8, double(1, 8), double(8)
        polar = Polar()
        s = {key: leaf.detach().requires_grad_() for key, leaf in polar(x).items()}
        (polar.inverse(s, (n,)) * weight).sum().backward()
        t, k = torch.arange(n, dtype=torch.float64), torch.arange(5, dtype=torch.float64)[:, None]
        count = torch.tensor([1.0, 2, 2, 2, 1], dtype=torch.float64)[:, None]
        angle = 2 * torch.pi * k * t / n + s["phase"][0].detach()[:, None]
        wave = count * angle.cos() / math.sqrt(n)
        shifted = -count * angle.sin() / math.sqrt(n) * s["amplitude"][0].detach()[:, None]
        shifted[[0, -1]] = 0  # a real bin has no phase to turn
        assert torch.allclose(s["amplitude"].grad[0], wave @ weight, atol=1e-12)
        assert torch.allclose(s["phase"].grad[0], shifted @ weight, atol=1e-12)

    def test_scores_do_not_depend_on_the_batch(self):
        model = torch.nn.Sequential(torch.nn.Linear(16, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2)).double()
        x = double(6, 16)
        explain = trimkit.Trim(model, "polar", "saliency")
        together, alone = explain(x, target=1).scores, explain(x[2:3], target=1).scores
        for key in ("amplitude", "phase"):
            assert torch.allclose(together[key][2:3], alone[key], atol=1e-12)

    def test_a_shift_moves_phases_and_leaves_amplitudes(self):
        x = double(1, 32)
        one, other = Polar()(x), Polar()(x.roll(3, -1))
        assert torch.allclose(one["amplitude"], other["amplitude"])
        turned = (other["phase"] - one["phase"])[0, 1]
        assert float(torch.remainder(turned + 2 * torch.pi * 3 / 32, 2 * torch.pi)) == pytest.approx(0, abs=1e-9)

    def test_an_empty_bin_has_a_phase_without_gradient(self):
        x = torch.zeros(1, 8, dtype=torch.float64, requires_grad=True)
        sum(leaf.sum() for leaf in Polar()(x).values()).backward()
        assert torch.equal(x.grad, torch.zeros_like(x))

    def test_groups_are_bands_of_both(self):
        names = Polar(bands={"alpha": (8, 13)}, sample_rate=64).groups((1, 64)).names
        assert names == ("amplitude, alpha", "amplitude, other", "phase, alpha", "phase, other")


class TestMel:
    def test_the_scale_is_the_usual_one(self):
        assert mel(1000) == pytest.approx(1000, abs=0.02)
        assert hertz(mel(440)) == pytest.approx(440)

    def test_triangles_add_up_to_one_between_the_first_and_last_peak(self):
        filters = mel_filters(10, 512, 16000)
        frequencies = torch.fft.rfftfreq(512) * 16000
        peaks = filters.argmax(1)
        inside = (frequencies > frequencies[peaks[0]] + 32) & (frequencies < frequencies[peaks[-1]] - 32)
        assert torch.allclose(filters.sum(0)[inside], torch.ones(int(inside.sum()), dtype=torch.float64))

    def test_amplitudes_are_the_filters_of_the_short_time_spectrum(self):
        transform, x = Mel(8, 64).double(), double(1, 300)
        spectrum = torch.stft(
            x, 64, 16, window=torch.hann_window(64).double(), pad_mode="constant", return_complex=True
        )
        assert torch.allclose(transform(x)["amplitude"], mel_filters(8, 64, 16000) @ spectrum.abs(), atol=1e-5)

    def test_the_pseudo_inverse_gives_mel_amplitudes_back(self):
        transform = Mel(20, 256)
        assert torch.allclose(transform.filters @ transform.spread, torch.eye(20), atol=1e-5)

    def test_a_tone_lies_in_the_triangle_of_its_frequency(self):
        transform = Mel(32, 512, sample_rate=8000)
        groups = transform.groups((1, 4000))
        amplitude = transform(tone(700, 4000, 8000)[None, None].float())["amplitude"].sum((0, 1, 3))
        low, high = (hertz(end) for end in groups.spans[int(amplitude.argmax())])
        assert low <= 700 <= high

    def test_what_does_not_fit_is_refused(self):
        with pytest.raises(OptionError, match="holds no frequency of 64 samples; raise n_fft"):
            Mel(60, 64)
        with pytest.raises(OptionError, match="sample_rate in Hz"):
            Mel(sample_rate="10/mm")
        with pytest.raises(ShapeError, match="a dict of amplitude and phase"):
            Mel().inverse(torch.ones(1, 40, 3))


class TestCQT:
    @pytest.mark.parametrize("n", [2, 3, 5, 64, 333, 1000])
    @pytest.mark.parametrize("bins", [1, 3, 12])
    def test_windows_add_up_so_every_length_comes_back(self, n, bins):
        transform, x = CQT(bins), double(2, n)
        total = torch.zeros(n // 2 + 1, dtype=torch.float64)
        for first, window in transform.windows(n):
            total[first : first + len(window)] += window**2
        assert torch.allclose(total, torch.ones_like(total))
        assert torch.allclose(transform.inverse(transform(x), (n,)), x, atol=1e-12)

    @pytest.mark.parametrize("note", [110.0, 130.81, 220.0, 415.3])
    def test_a_note_lies_in_its_semitone(self, note):
        transform = CQT(12, lowest=55, sample_rate=2000)
        x = tone(note, 4000, 2000)[None, None]
        groups = transform.groups((1, 4000))
        octaves = math.log2(note / 55)
        low, high = groups.spans[int(power(transform, x).argmax())]
        assert low - 1e-3 <= octaves <= high + 1e-3

    def test_the_axis_counts_octaves(self):
        groups = CQT(1, lowest=110, sample_rate=1000).groups((1, 1000))
        assert groups.axis == "pitch (octaves above 110 Hz)"
        assert groups.spans == (None, (-0.5, 0.5), (0.5, 1.5), (1.5, 2.5))

    def test_a_click_is_found_in_time_where_it_is(self):
        x = torch.zeros(1, 1024, dtype=torch.float64)
        x[0, 256] = 1
        high = CQT(1)(x)[-1][0].abs()
        assert int(high.argmax()) / len(high) == pytest.approx(0.25, abs=0.01)

    def test_what_does_not_fit_is_refused(self):
        with pytest.raises(OptionError, match="no frequency of 64 entries lies in band"):
            CQT(24, lowest=0.02)(double(1, 64))
        with pytest.raises(ShapeError, match="expected the size of a sample"):
            CQT().inverse(CQT()(double(1, 64)))
        with pytest.raises(ShapeError, match=r"expected \d+ bands"):
            CQT().inverse(CQT()(double(1, 64)), (63,))


class TestChannelsXBands:
    @pytest.mark.parametrize("layout", ["channel time", "time channel"])
    def test_a_rhythm_of_one_channel_lies_in_its_cell(self, layout):
        space = ChannelsXBands({"alpha": (8, 13), "beta": (13, 30)}, ["Fz", "Cz", "Pz"], "time", layout, 128)
        x = torch.zeros(1, 3, 256, dtype=torch.float64)
        x[0, 1] = tone(10, 256, 128)
        x = x if layout.startswith("channel") else x.mT
        found = power(space, x)
        names = space.groups(tuple(x.shape[1:])).names
        assert names[int(found.argmax())] == "alpha, Cz"
        assert found.max() > 0.99 * found.sum()

    def test_what_does_not_fit_is_refused(self):
        with pytest.raises(OptionError, match="a list of different names"):
            ChannelsXBands(channels=["Cz", "Cz"])
        with pytest.raises(ShapeError, match="expected 1 channels, as are named"):
            ChannelsXBands(channels=["Cz"]).groups((2, 8))
        with pytest.raises(ShapeError, match="samples of channels and time"):
            ChannelsXBands().groups((8,))


class TestSegments:
    def test_each_token_is_a_group(self):
        groups = Segments(axes="token", layout="token width").groups((3, 4))
        assert groups.names == ("token 0", "token 1", "token 2")
        assert groups.labels.tolist() == [[0] * 4, [1] * 4, [2] * 4]

    def test_windows_are_named_in_seconds(self):
        groups = Segments(2, sample_rate=8).groups((1, 8))
        assert groups.names == ("0–0.5 s", "0.5–1 s")
        assert groups.spans == ((0.0, 0.5), (0.5, 1.0))
        assert groups.labels.tolist() == [[0] * 4 + [1] * 4]

    def test_ranges_of_a_spectrum_are_named_in_nanometres(self):
        groups = Segments({"blue": (450, 500), "red": (600, 700)}, sample_rate="0.1/nm", start=400).groups((31,))
        assert groups.names == ("blue", "red", "other")
        assert [400 + 10 * int(i) for i in (groups.labels == 0).nonzero()] == [450, 460, 470, 480, 490, 500]
        assert groups.axis == "position (nm)"

    def test_patches_are_combinations_of_parts(self):
        groups = Segments(2).groups((1, 4, 4))
        assert groups.names == ("height 0, width 0", "height 0, width 1", "height 1, width 0", "height 1, width 1")
        assert groups.labels[0].tolist() == [[0, 0, 1, 1]] * 2 + [[2, 2, 3, 3]] * 2

    def test_superpixels_follow_an_edge(self):
        picture = torch.zeros(1, 12, 12, dtype=torch.float64)
        picture[:, :, 7:] = 1.0
        labels = superpixels(picture, 4, compactness=0.3)
        assert not set(labels[:, :7].flatten().tolist()) & set(labels[:, 7:].flatten().tolist())
        assert labels.unique().tolist() == list(range(int(labels.max()) + 1))

    def test_superpixels_are_fitted_saved_and_say_what_they_need(self):
        with pytest.raises(TransformError, match="call fit"):
            Superpixels().groups((1, 8, 8))
        fitted = Superpixels(4).fit(torch.rand(3, 3, 8, 8))
        assert fitted.groups((3, 8, 8)).labels.shape == (3, 8, 8)
        with pytest.raises(ShapeError, match=r"fitted to pictures of \(8, 8\)"):
            fitted.groups((3, 9, 8))


class TestGraphFourier:
    def test_on_a_path_it_is_the_cosine_transform(self):
        n = 9
        path = torch.diag(torch.ones(n - 1), 1) + torch.diag(torch.ones(n - 1), -1)
        x = double(4, n)
        ours, theirs = GraphFourier(path)(x).abs(), np.abs(scipy.fft.dct(x.numpy(), norm="ortho"))
        assert np.allclose(ours, theirs)
        expected = 2 - 2 * np.cos(np.pi * np.arange(n) / n)
        assert np.allclose(GraphFourier(path).eigenvalues, expected)

    def test_nodes_may_lie_on_any_axis(self):
        ring = torch.eye(5).roll(1, 0) + torch.eye(5).roll(-1, 0)
        x = double(2, 5, 3)
        transform = GraphFourier(ring, axes="node", layout="node feature")
        assert torch.allclose(transform(x), GraphFourier(ring)(x.mT).mT)
        assert torch.allclose(transform.inverse(transform(x)), x)

    def test_each_part_of_the_graph_has_a_constant_pattern(self):
        two = torch.block_diag(torch.ones(3, 3) - torch.eye(3), torch.ones(2, 2) - torch.eye(2))
        assert (GraphFourier(two).eigenvalues == 0).sum() == 2
        assert GraphFourier(two).groups((5,)).sizes[0] == 2

    def test_the_normalised_laplacian_lies_between_zero_and_two(self):
        ring = torch.eye(6).roll(1, 0) + torch.eye(6).roll(-1, 0)
        values = GraphFourier(ring, normalized=True).eigenvalues
        assert values.min() == 0
        assert float(values.max()) == pytest.approx(2)
        assert torch.equal(laplacian(torch.zeros(2, 2), True), torch.zeros(2, 2))

    def test_what_does_not_fit_is_refused(self):
        with pytest.raises(OptionError, match="a symmetric matrix"):
            GraphFourier(torch.triu(torch.ones(3, 3)))
        with pytest.raises(ShapeError, match="expected 3 nodes along one axis"):
            GraphFourier(torch.ones(3, 3))(double(2, 4))
        with pytest.raises(ShapeError, match="expected 3 nodes along one axis"):
            GraphFourier(torch.ones(3, 3)).groups((4,))


class TestEach:
    def test_components_of_each_pixels_spectrum_are_those_of_all_spectra(self):
        x = double(6, 5, 3, 4)
        each, plain = Each(("pca", {"components": 2}), "channel").fit(x), PCA(2).fit(x.movedim(1, -1).reshape(-1, 5))
        expected = plain(x.movedim(1, -1).reshape(-1, 5)).reshape(6, 3, 4, 2).movedim(-1, 1)
        assert torch.allclose(each(x), expected)
        back = each.inverse(each(x), (5, 3, 4))
        assert torch.allclose(each(back), expected)
        assert torch.allclose(back + each.residual(x, each(x)), x)
        assert not each.exact

    def test_colours_may_be_the_last_axis(self):
        x = double(2, 4, 5, 3).sigmoid()
        each = Each(("color", {"space": "lab"}), ["channel", "height", "width"], "height width channel")
        assert torch.allclose(each(x), Color("lab")(x.movedim(-1, 1)).movedim(1, -1))
        assert torch.allclose(each.inverse(each(x), (4, 5, 3)), x)
        assert each.groups((4, 5, 3)).labels[0, 0].tolist() == [0, 1, 2]

    def test_leaves_with_other_axes_have_them_last(self):
        x = double(2, 12, 3)
        each = Each(("stft", {"n_fft": 4}), "time", "time channel")
        assert each(x).shape == (2, 3, 3, 13)
        assert torch.allclose(each.inverse(each(x), (12, 3)), x)
        assert each.groups((12, 3)).labels.shape == (3, 3, 13)

    def test_what_does_not_fit_is_refused(self):
        with pytest.raises(ShapeError, match="expected the size of a sample"):
            Each("dct").inverse(double(1, 4))
