"""The synthesis network: shapes, layers, noise, outputs, and where a growing one stops."""

from __future__ import annotations

import pytest
import torch
from trimkit_gan.resampling import double
from trimkit_gan.synthesis import Stage, Synthesis

from trimkit.errors import OptionError, ShapeError

KINDS = {"stylegan2": {}, "stylegan": {"modulation": "adaptive", "output": "last"}}
MIXED = {**KINDS, "mixed": {"modulation": "demodulated", "output": "last"}, "other": {"modulation": "adaptive"}}


def make(shape=(3, 16, 16), kind="stylegan2", **options) -> Synthesis:
    return Synthesis(shape, 8, channel_max=8, **MIXED[kind], **options).double()


def image(network: Synthesis, ws: torch.Tensor, *more) -> torch.Tensor:
    return network(network.styles(ws), *more)


def some_ws(network: Synthesis, n: int = 2) -> torch.Tensor:
    return torch.randn(n, network.num_ws, 8, dtype=torch.float64)


@pytest.mark.parametrize("kind", MIXED)
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("size", [8, 16, 32, 64])
def test_shapes(kind, channels, size):
    network = make((channels, size, size), kind)
    levels = size.bit_length() - 3
    assert network.num_ws == 2 * levels + 2
    x = image(network, some_ws(network, 1))
    assert x.shape == (1, channels, size, size)
    assert torch.isfinite(x).all()


@pytest.mark.parametrize(("size", "layers", "conv", "rgb"), [(256, 14, 5760, 2944), (1024, 18, 6048, 3040)])
def test_the_published_sizes(size, layers, conv, rgb):
    """Of w+ and of the style space, Wu et al. 2020, table 1."""
    with torch.device("meta"):
        network = Synthesis((3, size, size), 512, channel_base=32768, channel_max=512)
    assert network.num_ws == layers
    assert sum(tap.size for tap in network.taps if "conv" in tap.name) == conv
    assert sum(tap.size for tap in network.taps if "toRGB" in tap.name) == rgb


def test_a_map_to_image_channels_shares_its_w_with_the_next_resolution():
    taps = {tap.name: tap.w_index for tap in make().taps}
    assert taps["4px toRGB"] == taps["8px conv1"] == 1
    assert taps["8px toRGB"] == taps["16px conv1"] == 3
    assert taps["16px toRGB"] == 5
    assert [tap.w_index for tap in make(kind="stylegan").taps] == list(range(6))


@pytest.mark.parametrize("kind", KINDS)
def test_each_w_reaches_the_image(kind):
    network = make(kind=kind)
    ws = some_ws(network).requires_grad_()
    (gradient,) = torch.autograd.grad(image(network, ws).square().sum(), ws)
    assert (gradient.abs().sum((0, 2)) > 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_is_trained(kind):
    network = make(kind=kind)
    image(network, some_ws(network), "random").square().sum().backward()
    unused = {name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum()}
    last_only = {"blocks.0.to_rgb.weight", "blocks.0.to_rgb.bias", "blocks.1.to_rgb.weight", "blocks.1.to_rgb.bias"}
    assert unused == (last_only if kind == "stylegan" else set())


def test_noise():
    network = make()
    for tap in network.taps:
        if "conv" in tap.name:
            torch.nn.init.constant_(tap.module.noise_strength, 0.5)
    ws = some_ws(network, 1).expand(2, -1, -1)
    constant, none = image(network, ws), image(network, ws, "none")
    torch.testing.assert_close(constant[0], constant[1])
    assert torch.equal(constant, image(network, ws))
    assert not torch.equal(constant, none)
    draws = [image(network, ws, "random", torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    assert not torch.equal(draws[0][0], draws[0][1])
    drawn = network.draw_noise(2, torch.Generator().manual_seed(0))
    assert torch.equal(image(network, ws, drawn), draws[0])
    torch.testing.assert_close(image(network, ws[1:], [rows[1:] for rows in drawn]), image(network, ws, drawn)[1:])
    with pytest.raises(OptionError, match="expected noise 'random', 'constant' or 'none', got 'off'"):
        image(network, ws, "off")


@pytest.mark.parametrize("kind", MIXED)
def test_fading_in_starts_at_the_resolution_before_and_ends_at_its_own(kind):
    network = make(kind=kind)
    ws = some_ws(network)
    small, start, middle, end = (
        image(network, ws, "none", None, Stage(*stage)) for stage in [(1, 1.0), (2, 0.0), (2, 0.5), (2, 1.0)]
    )
    assert small.shape[-1] == 8
    torch.testing.assert_close(start, double(small))
    torch.testing.assert_close(middle, (start + end) / 2)
    torch.testing.assert_close(end, image(network, ws, "none"))


def test_a_demodulated_network_does_not_see_the_scale_of_its_convolutions_styles():
    network = make()
    styles = network.styles(some_ws(network))
    scaled = [
        style * (3.0 + n) if tap.module.scale_free else style
        for n, (tap, style) in enumerate(zip(network.taps, styles, strict=True))
    ]
    torch.testing.assert_close(network(scaled), network(styles))
    assert [tap.module.scale_free for tap in network.taps] == ["conv" in tap.name for tap in network.taps]


def test_choices_and_shapes_are_checked():
    with pytest.raises(OptionError, match="there is no modulation 'adain'"):
        Synthesis((3, 8, 8), modulation="adain")
    with pytest.raises(OptionError, match="there is no output 'sum'"):
        Synthesis((3, 8, 8), output="sum")
    network = make()
    with pytest.raises(ShapeError, match=r"expected one w a layer, \(N, 6, D\), got \(2, 8\)"):
        network.styles(torch.zeros(2, 8))


@pytest.mark.parametrize("kind", KINDS)
def test_the_second_derivative_is_right(kind):
    """Of a scalar of the image in w, along one direction, against central differences of the gradient."""
    network = make((1, 8, 8), kind)
    ws = some_ws(network, 1).requires_grad_()
    direction = torch.randn_like(ws)

    def gradient(at: torch.Tensor, **options) -> torch.Tensor:
        return torch.autograd.grad(image(network, at).square().sum(), at, **options)[0]

    (product,) = torch.autograd.grad((gradient(ws, create_graph=True) * direction).sum(), ws)
    step = 1e-6
    ends = [gradient((ws + sign * step * direction).detach().requires_grad_()) for sign in (1, -1)]
    torch.testing.assert_close(product, (ends[0] - ends[1]) / (2 * step), rtol=1e-4, atol=1e-5)
