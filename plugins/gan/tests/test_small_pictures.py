"""What style-based generators are made of below 64 pixels, and that one convolution a resolution is what is built."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional
from trimkit_gan.discriminator import Discriminator, HalvingConv
from trimkit_gan.resampling import halve
from trimkit_gan.stylegan import StyleGAN, StyleGAN2
from trimkit_gan.synthesis import Stage, Synthesis

from trimkit.methods import Batch

KINDS = {"stylegan2": StyleGAN2, "stylegan": StyleGAN}
LEAN = {"z_dim": 4, "w_dim": 4}
MODULATIONS = {"stylegan2": {}, "stylegan": {"modulation": "adaptive", "output": "last"}}


def usual(method) -> tuple[float, ...]:
    mapping = (method.mapping_layers, method.mapping_multiplier)
    return (*mapping, method.channel_max, method.mixing, method.r1_gamma, method.learning_rate)


@pytest.mark.parametrize("kind", KINDS.values())
@pytest.mark.parametrize(("size", "small"), [(8, True), (32, True), (64, False)])
def test_small_images_have_small_networks(kind, size, small):
    expected = (2, 0.1, 32, 0.0, kind.small_gamma, 4e-3) if small else (8, 0.01, 64, 0.9, 2e-4 * 64**2 / 16, 2e-3)
    assert usual(kind((1, size, size), **LEAN)) == pytest.approx(expected)


@pytest.mark.parametrize("kind", KINDS.values())
@pytest.mark.parametrize("size", [32, 64])
def test_options_that_are_given_are_taken_at_every_size(kind, size):
    given = {"mapping_layers": 3, "mapping_multiplier": 0.5, "channel_max": 5, "mixing": 0.3}
    method = kind((1, size, size), **LEAN, **given, r1_gamma=0.25, learning_rate=1e-3)
    assert usual(method) == (3, 0.5, 5, 0.3, 0.25, 1e-3)


def test_small_images_of_stylegan_have_a_larger_gamma():
    assert [kind((1, 8, 8), **LEAN, channel_max=4).r1_gamma for kind in KINDS.values()] == [1.0, 3.0]


def test_the_path_length_is_off_for_small_images_unless_it_is_given_a_weight():
    weights = [StyleGAN2((1, size, size), **LEAN, channel_max=4).path_weight for size in (32, 64)]
    assert weights == [0.0, 2.0]
    assert StyleGAN2((1, 32, 32), **LEAN, path_weight=3.0).path_weight == 3.0


@pytest.mark.parametrize("kind", KINDS.values())
def test_a_mapping_saved_with_another_multiplier_gives_the_same_w(kind):
    made = [kind((1, 8, 8), **LEAN, channel_max=4, mapping_multiplier=value) for value in (0.01, 0.1)]
    state = made[0].state_dict()
    z = torch.randn(5, 4)
    expected = made[0].mapping(z)
    made[1].load_state_dict(state)
    torch.testing.assert_close(made[1].mapping(z), expected)
    assert float(made[1].mapping.multiplier) == pytest.approx(0.1)
    state.pop("mapping.multiplier")  # a file from before it was an option
    made[1].load_state_dict(state)
    torch.testing.assert_close(made[1].mapping(z), expected)


@pytest.mark.parametrize("kind", KINDS.values())
def test_channels_and_layers_of_single_convolutions_at_32_pixels(kind):
    method = kind((3, 32, 32), convolutions=1, channel_base=512, channel_max=64)
    layers = [(tap.name, len(tap.module.bias)) for tap in method.synthesis.taps if "conv" in tap.name]
    assert layers == [("4px conv1", 64), ("8px conv1", 64), ("16px conv1", 32), ("32px conv1", 16)]
    assert len(method.mapping.layers) == 2
    assert tuple(method.discriminator.from_rgb["3"].weight.shape) == (32, 3, 4, 4)
    assert [tuple(block.weight.shape) for block in method.discriminator.blocks] == [(64, 64, 4, 4), (64, 32, 4, 4)]


@pytest.mark.parametrize("kind", KINDS.values())
def test_the_learning_rate_reaches_the_optimisers_of_both_players(kind):
    phases = {phase.name: phase for phase in kind((1, 8, 8), **LEAN, learning_rate=5e-3, r1_interval=4).phases()}
    rates = {
        name: phases[name].optimiser(list(phases[name].parameters)).defaults["lr"]
        for name in ("generator", "discriminator")
    }
    shared = 16 / 17 if "generator_path" in phases else 1.0
    assert rates == pytest.approx({"generator": 5e-3 * shared, "discriminator": 5e-3 * 4 / 5})


def test_a_halving_convolution_is_one_of_4_by_4_pixels_and_keeps_the_variance():
    block = HalvingConv(3, 5).double()
    x = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    windows = functional.unfold(x, 4, padding=1, stride=2)  # the 16 pixels of each output, for each channel
    y = (block.weight.flatten(1) / 48**0.5 @ windows).unflatten(2, (4, 4))
    torch.testing.assert_close(block(x), functional.leaky_relu(y, 0.2) * 2**0.5)


@pytest.mark.parametrize("size", [8, 16, 32])
def test_every_parameter_of_a_discriminator_of_single_convolutions_is_trained(size):
    network = Discriminator((3, size, size), channel_max=8, convolutions=1)
    logits = network(torch.randn(4, 3, size, size))
    assert logits.shape == (4,)
    logits.sum().backward()
    assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in network.parameters())


def test_a_growing_discriminator_of_single_convolutions_fades_from_one_resolution_to_the_next():
    network = Discriminator((2, 16, 16), growing=True, channel_max=8, convolutions=1).double()
    x = torch.randn(4, 2, 16, 16, dtype=torch.float64)
    small = network(halve(x), Stage(1))
    torch.testing.assert_close(network(x, Stage(2, 0.0)), small)
    torch.testing.assert_close(network(x, Stage(2, 1.0)), network(x))
    assert not torch.allclose(network(x, Stage(2, 0.5)), small)


@pytest.mark.parametrize("name", MODULATIONS)
def test_the_synthesis_of_one_convolution_keeps_the_first_layer_of_each_resolution(name):
    one, two = (
        Synthesis((3, 16, 16), 8, channel_max=8, convolutions=count, **MODULATIONS[name]).double() for count in (1, 2)
    )
    kept = {tap.name for tap in two.taps if "conv2" not in tap.name}
    assert {tap.name for tap in one.taps} == kept
    assert one.num_ws == 3 + (name == "stylegan2")  # StyleGAN2's last toRGB has a w of its own
    ws = torch.randn(2, one.num_ws, 8, dtype=torch.float64, requires_grad=True)
    image = one(one.styles(ws), "none")
    assert image.shape == (2, 3, 16, 16)
    (gradient,) = torch.autograd.grad(image.square().sum(), ws)
    assert (gradient.abs().sum((0, 2)) > 0).all()


@pytest.mark.parametrize("name", MODULATIONS)
def test_one_convolution_can_grow(name):
    network = Synthesis((3, 16, 16), 8, channel_max=8, convolutions=1, **MODULATIONS[name])
    judge = Discriminator((3, 16, 16), residual=False, growing=True, channel_max=8, convolutions=1)
    styles = network.styles(torch.randn(4, network.num_ws, 8))
    for stage in (Stage(1), Stage(2, 0.5), Stage(2)):
        image = network(styles, "none", None, stage)
        assert image.shape[-1] == stage.resolution
        assert judge(image, stage).shape == (4,)


@pytest.mark.parametrize("kind", KINDS.values())
@pytest.mark.parametrize("samples", [6, 8])
def test_data_and_samples_are_judged_apart(kind, samples):
    """What the deviation says of data does not depend on the samples that are judged in the same pass."""
    method = kind((3, 8, 8), **LEAN, mixing=0.0).double().eval()
    x = torch.rand(samples, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    result = method.play_discriminator(Batch(x), torch.Generator().manual_seed(1), 0)
    draws = torch.Generator().manual_seed(1)
    ws = method.draw(samples, draws).ws
    fake = method.discriminator(
        method.synthesis(method.synthesis.styles(ws), "random", draws, method.stage), method.stage
    )
    real = method.discriminator(x * 2 - 1, method.stage)
    torch.testing.assert_close(result.terms["fake"].values, functional.softplus(fake))
    torch.testing.assert_close(result.terms["real"].values, functional.softplus(-real))
