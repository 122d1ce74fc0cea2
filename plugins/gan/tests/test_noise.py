"""The share of variance that noise decides: 0, 1, and a value between that is known."""

from __future__ import annotations

import pytest
import torch
from trimkit_gan.alae import ALAE
from trimkit_gan.noise import noise_share
from trimkit_gan.stylegan import StyleGAN, StyleGAN2

from trimkit.errors import DataError, OptionError


def make(kind=StyleGAN2, strength: float = 0.0):
    method = kind((1, 8, 8), z_dim=6, w_dim=6, mapping_layers=1, channel_max=6).eval()
    for tap in method.synthesis.taps:
        if "conv" in tap.name:
            torch.nn.init.constant_(tap.module.noise_strength, strength)
    return method


def share(method, *args, **options):
    return noise_share(method, *args, generator=torch.Generator().manual_seed(0), **options)


@pytest.mark.parametrize("kind", [StyleGAN, StyleGAN2])
def test_without_strength_noise_decides_nothing_and_with_more_of_it_more(kind):
    found = [share(make(kind, strength)) for strength in (0.0, 0.1, 3.0)]
    assert found[0] == pytest.approx(0.0, abs=1e-12)
    assert found[0] < found[1] < found[2] < 1


def test_a_generator_that_ignores_w_leaves_everything_to_noise():
    method = make(strength=1.0)
    for tap in method.synthesis.taps:
        torch.nn.init.zeros_(tap.module.affine.weight)
    assert share(method) == pytest.approx(1.0, abs=0.02)


def test_an_output_of_known_parts_has_the_known_share(monkeypatch):
    """Image = w-part of variance 4 + noise of variance 1: a fifth."""
    method = make()
    generator = torch.Generator().manual_seed(1)

    def decode(w, space, *, noise, generator=generator):
        return 2 * part + torch.randn(part.shape, generator=generator)

    part = torch.randn(400, 1, 8, 8, generator=generator)
    monkeypatch.setattr(method, "decode", decode)
    assert share(method, samples=400, draws=4) == pytest.approx(0.2, abs=0.01)


def test_a_predictors_output_can_be_asked_about():
    assert share(make(strength=1.0), lambda x: x.mean((1, 2, 3))[:, None]) > 0
    assert share(make(strength=1.0), lambda x: torch.zeros(len(x), 2)) == 0.0


def test_a_style_based_autoencoder_has_noise_too_and_a_plain_one_none():
    style = ALAE((1, 8, 8), 4, network="style").eval()
    for tap in style.generator.synthesis.taps:
        torch.nn.init.constant_(tap.module.noise_strength, 1.0)
    assert 0.01 < share(style) < 1
    assert share(ALAE((1, 8, 8), 4).eval()) == pytest.approx(0.0, abs=1e-12)


def test_an_output_that_is_not_finite_is_no_good_share():
    with pytest.raises(DataError, match="expected finite outputs, got NaN or infinity"):
        share(make(strength=1.0), lambda x: x * float("nan"))


def test_one_sample_or_draw_has_no_variance():
    with pytest.raises(OptionError, match="expected samples and draws ≥ 2, got 1 and 4"):
        share(make(), samples=1)
