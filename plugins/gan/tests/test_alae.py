"""ALAE: its three updates written out, what each of them moves, its spaces, its networks, and refusals."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn.functional import softplus
from trimkit_gan.alae import ALAE
from trimkit_gan.autoencoding import LatentDiscriminator, StyleEncoder
from trimkit_gan.mapping import draw_cutoff, mix

import trimkit
from trimkit.errors import DataError, OptionError, ShapeError, TransformError
from trimkit.methods import Batch, standard_normal
from trimkit.metrics.generation import reciprocity_error

from .draws import generator


def tiny(shape, inputs):
    size = math.prod(shape)
    made = nn.Sequential(nn.Linear(inputs, 9), nn.Tanh(), nn.Linear(9, size), nn.Unflatten(1, shape))
    return made, nn.Sequential(nn.Flatten(), nn.Linear(size, 8), nn.Tanh())


def make(shape=(1, 3, 3), seed: int = 0, **options) -> ALAE:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ALAE(shape, **{"w_dim": 4, "network": tiny, "mapping_layers": 2, "discriminator_layers": 2, **options})


@pytest.fixture
def predictor():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return nn.Sequential(nn.Flatten(), nn.Linear(9, 6), nn.Tanh(), nn.Linear(6, 2))


def noise(method: ALAE, n: int, draw: torch.Generator) -> torch.Tensor:
    return standard_normal(torch.empty(n, method.w_dim, dtype=torch.float64), draw)


def test_the_three_updates_written_out(images):
    method = make().double()
    f, g, e, d = method.mapping, method.generator.network, method.encoder, method.discriminator
    x = images.x[:6].double().requires_grad_()
    w = f(noise(method, 6, generator(1)))
    real, made = d(e(x))[:, 0], d(e(g(w)))[:, 0]
    gradients = [torch.autograd.grad(logit, x, retain_graph=True)[0][i] for i, logit in enumerate(real)]
    penalty = torch.stack([gradient.square().sum() / 2 for gradient in gradients])
    first = method.discriminate(Batch(x.detach()), generator(1), 0).terms
    torch.testing.assert_close(first["discriminator"].values, softplus(made) + softplus(-real))
    torch.testing.assert_close(first["r1"].values, penalty)
    second = method.generate(Batch(x.detach()), generator(1), 0).terms
    torch.testing.assert_close(second["generator"].values, softplus(-made))
    third = method.reciprocate(Batch(x.detach()), generator(1), 0)
    torch.testing.assert_close(third.terms["reciprocity"].values, (w - e(g(w))).square().sum(1))
    torch.testing.assert_close(third.reconstruction, g(e(x)))
    torch.testing.assert_close(third.terms["recon"].values, (x - g(e(x))).square().sum((1, 2, 3)) / 2)


def test_the_weights_and_optimisers_of_the_phases():
    method = make(r1_weight=3.0)
    phases = {phase.name: phase for phase in method.phases()}
    assert {name: dict(phase.weights) for name, phase in phases.items()} == {
        "discriminator": {"discriminator": 1.0, "r1": 3.0},
        "generator": {"generator": 1.0},
        "reciprocity": {"reciprocity": 1.0, "recon": 0.0},
    }
    assert all(phase.shares is None for phase in phases.values())  # an optimiser each
    assert [name for name, phase in phases.items() if phase.trains_decoder] == ["reciprocity"]


def test_a_lazy_r1_shares_the_discriminators_optimiser():
    method = make(r1_weight=3.0, r1_interval=4)
    discriminator, penalty = method.phases()[:2]
    assert (penalty.name, penalty.shares, penalty.lazy, penalty.interval) == ("r1", "discriminator", True, 4)
    assert dict(penalty.weights) == {"r1": 3.0}
    assert "r1" not in discriminator.weights
    assert discriminator.optimiser(list(discriminator.parameters)).defaults["lr"] == pytest.approx(2e-3 * 4 / 5)


PARTS = ("mapping", "generator", "encoder", "discriminator")


@pytest.mark.parametrize(
    ("kept", "moved"),
    [
        ("discriminator", {"encoder", "discriminator"}),
        ("generator", {"mapping", "generator"}),
        ("reciprocity", {"encoder", "generator"}),
    ],
)
def test_a_phase_moves_its_own_networks_only(images, kept, moved):
    """Training with this phase alone leaves the other networks as they were, bit for bit."""
    method = make()
    before = copy.deepcopy(method)
    phases = [phase for phase in method.phases() if phase.name == kept]
    method.phases = lambda: phases
    trimkit.train(method, images, steps=2, batch_size=16)
    changed = {
        part
        for part in PARTS
        if not all(map(torch.equal, getattr(method, part).parameters(), getattr(before, part).parameters()))
    }
    assert changed == moved


def test_reciprocity_does_not_reach_the_mapping(images):
    method = make()
    result = method.reciprocate(Batch(images.x[:6]), generator(), 0)
    result.terms["reciprocity"].mean.backward()
    assert all(parameter.grad is None for parameter in method.mapping.parameters())
    assert all(parameter.grad is not None for parameter in method.encoder.parameters())


def test_an_encoder_that_inverts_the_generator_has_no_reciprocity_error(images):
    method = make(shape=(4,), output="linear").double()
    method.generator.network, method.encoder = nn.Identity(), nn.Identity()
    result = method.reciprocate(Batch(torch.rand(5, 4, dtype=torch.float64)), generator(), 0)
    assert float(result.terms["reciprocity"].mean) == 0
    assert float(result.terms["recon"].mean) == 0


def test_training_brings_the_reciprocity_error_down(images):
    method = make(learning_rate=5e-3, r1_weight=1.0)
    z = torch.randn(200, 4, generator=generator(3))

    def error() -> float:
        with torch.no_grad():
            w = method.mapping(z)
            return reciprocity_error(w, method.encoder(method.decode(w)), draws=0).value

    before = error()
    trimkit.train(method, images, steps=200, batch_size=20, log_every=200)
    assert error() < 0.3 * before


def test_the_average_of_a_step_counts_all_its_phases_once(images):
    """E, of the first and the last phase, and F, of the second: each 0.1 of what it was and 0.9 of where it came to."""
    raw, averaged, asked = make(), make(ema=0.9), make()
    start = copy.deepcopy(raw)
    for method, more in ((raw, {}), (averaged, {}), (asked, {"ema": 0.9})):
        trimkit.train(method, images, steps=1, batch_size=12, **more)
    for name, first in start.named_parameters():
        expected = 0.1 * first + 0.9 * raw.get_parameter(name)
        torch.testing.assert_close(averaged.get_parameter(name), expected, msg=name)
        torch.testing.assert_close(asked.get_parameter(name), expected, msg=name)


@pytest.mark.parametrize(
    "options",
    [{}, {"r1_interval": 3, "ema": 0.5}, {"network": "style", "shape": (1, 8, 8), "style_mixing": 1.0}],
    ids=["plain", "lazy, averaged", "style"],
)
def test_a_resumed_run_is_an_uninterrupted_one(images, predictor, tmp_path, options):
    data, steps = images, 10
    train = {"batch_size": 12, "checkpoint_every": 4, "predictor": predictor, "trim": ["l1@w:0.01"]}
    if options.get("network") == "style":
        data, steps = torch.rand(24, 1, 8, 8, generator=generator()), 4
        train = {"batch_size": 4, "checkpoint_every": 1}
    whole, parts = make(**options), make(**options, seed=9)
    trimkit.train(whole, data, steps=steps, **train)
    trimkit.train(make(**options), data, steps=steps // 2, folder=tmp_path / "run", **train)
    trimkit.train(parts, data, steps=steps, folder=tmp_path / "run", resume=True, **train)
    for a, b in zip(whole.state_dict().values(), parts.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_a_predictor_joins_on_what_the_encoder_reads(images, predictor):
    """The prediction loss trains E and G: f reads G(E(x)) more as it reads x than without it."""
    with torch.no_grad():
        predictor[1].weight *= 20
    loss = trimkit.PredictionLoss(predictor, match="kl")
    found = []
    for options in ({}, {"predictor": predictor, "weights": {"prediction": 30.0}}):
        method = make(learning_rate=5e-3)
        trimkit.train(method, images, steps=80, batch_size=20, log_every=80, **options)
        with torch.no_grad():
            found.append(float(loss(method.decode(method.encode(images.x).mean), images.x)))
    assert found[1] < 0.5 * found[0]


def test_the_space_w_explains_a_predictor(images, predictor):
    method = make().double().eval()
    f, x = predictor.double(), images.x[:5].double()
    result = trimkit.Trim(f, transform=method.as_transform(), attribution="integrated_gradients")(x, target=1)
    torch.testing.assert_close(result.output, f(x))
    torch.testing.assert_close(f(method.decode(result.coefficients) + result.residual), f(x))
    torch.testing.assert_close(result.scores.sum(1), result.change, atol=2e-3, rtol=0)
    assert method.as_transform().groups((1, 3, 3)).names == ("w0", "w1", "w2", "w3")


@pytest.mark.parametrize("network", [tiny, "style"], ids=["plain", "style"])
def test_samples_come_from_the_generator(network):
    method = make((1, 8, 8), network=network).double().eval()
    first, second = method.sample(4, generator(1)), method.sample(4, generator(1))
    assert (first.shape, first.dtype) == ((4, 1, 8, 8), torch.float64)
    assert torch.equal(first, second)
    assert not torch.equal(first, method.sample(4, generator(2)))
    z = method.draw(first, generator(1))
    torch.testing.assert_close(method.decode(z, "z"), first)
    torch.testing.assert_close(method.decode(method.mapping(z), "w"), first)


def test_the_baseline_is_the_mean_of_w():
    method = make((1, 8, 8), network="style")
    method.mapping.w_mean += torch.arange(4.0)
    assert torch.equal(method.baseline(), torch.arange(4.0)[None])
    assert torch.equal(method.baseline("w+"), torch.arange(4.0).expand(1, 4, 4))
    assert method.baseline("z") is None


def test_truncation_goes_to_the_mean_of_w():
    method = make(truncation_psi=0.0).double()
    method.mapping.w_mean += 0.7
    samples = method.sample(3, generator())
    torch.testing.assert_close(samples, method.decode(method.mapping.w_mean.expand(3, -1)))
    half = make(truncation_psi=0.5).double()
    w = half.mapping(half.draw(samples, generator()))
    torch.testing.assert_close(half.sample(3, generator()), half.decode(w / 2))  # its running mean is still 0


def test_the_mean_of_w_is_tracked_in_training_only(images):
    method = make()
    method.eval().generate(Batch(images.x), generator(), 0)
    assert not method.mapping.w_mean.any()
    method.train().generate(Batch(images.x), generator(), 0)
    w = method.mapping(method.draw(images.x, generator()))
    torch.testing.assert_close(method.mapping.w_mean, 0.005 * w.detach().mean(0))


def test_style_mixing_in_the_adversarial_phases_only():
    method = make((1, 8, 8), network="style", style_mixing=1.0).double().eval()
    for block in method.generator.synthesis.blocks:
        for layer in block.layers:
            layer.noise_strength.data.zero_()
    x, draw = torch.zeros(3, 1, 8, 8, dtype=torch.float64), generator(2)
    first, second = (method.generator.spread(method.mapping(method.draw(x, draw))) for _ in range(2))
    cutoff = draw_cutoff(method.generator.num_ws, 1.0, draw)
    assert 1 <= cutoff < method.generator.num_ws
    expected = method.generator(mix(first, second, cutoff), "none")
    torch.testing.assert_close(method.imagine(x, generator(2)), expected)
    w = first[:, 0]
    again = method.encoder(method.generator(first, "none"))
    found = method.reciprocate(Batch(x), generator(2), 0).terms["reciprocity"].values
    torch.testing.assert_close(found, (w - again).square().sum(1))


def test_the_spaces_of_a_style_based_autoencoder():
    method = make((3, 16, 16), network="style").eval()
    w, w_plus, z = method.latent_spaces()
    assert [space.name for space in (w, w_plus, z)] == ["w", "w+", "z"]
    assert w_plus.shape == (6, 4)
    assert w_plus.groups.names == ("4px conv1", "4px conv2", "8px conv1", "8px conv2", "16px conv1", "16px conv2")
    x = torch.rand(2, 3, 16, 16)
    code = method.encode(x).mean
    torch.testing.assert_close(method.encode(x, space="w+").mean, code[:, None].expand(-1, 6, -1))
    torch.testing.assert_close(
        method.decode(method.encode(x, space="w+").mean, "w+"), method.decode(code), atol=1e-5, rtol=1e-5
    )


def test_what_cannot_be_encoded_or_decoded_is_refused(images):
    method = make()
    with pytest.raises(TransformError, match=r"data cannot be encoded to it .*encode in the space 'w'"):
        method.as_transform("z")
    with pytest.raises(OptionError, match="F, which maps z to w, has no inverse"):
        method.encode(images.x, space="z")
    with pytest.raises(ShapeError, match=r"expected codes \(N, 4\) of 'w', got \(2, 5\)"):
        method.decode(torch.zeros(2, 5))


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32)])
def test_the_style_encoder_reads_means_and_spreads(shape):
    """Equal to the sum written out, block by block, in float64."""
    encoder = StyleEncoder(shape, 5).double()
    x = torch.randn(2, *shape, generator=generator(), dtype=torch.float64)
    found, w = encoder(x), torch.zeros(2, 5, dtype=torch.float64)
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=torch.float64) / 8
    h = torch.nn.functional.leaky_relu(encoder.from_image(x), 0.2)
    for number, (convolve, read) in enumerate(zip(encoder.convolutions, encoder.readings, strict=True)):
        if number % 2:
            filters = taps.outer(taps).expand(h.shape[1], 1, 4, 4)
            h = torch.nn.functional.conv2d(h, filters, stride=2, padding=1, groups=h.shape[1])
        h = torch.nn.functional.leaky_relu(convolve(h), 0.2)
        flat = h.flatten(2)
        mean, deviation = flat.mean(2), (flat.var(2, correction=0) + 1e-8).sqrt()
        w = w + read(torch.cat([mean, deviation], 1))
        h = (h - mean[:, :, None, None]) / deviation[:, :, None, None]
    assert h.shape[-1] == 4
    torch.testing.assert_close(found, w + encoder.last(h.flatten(1)))


def test_the_latent_discriminator_is_not_linear():
    """The published code's is: f(a) + f(b) = f(a + b) + f(0) for all a and b."""
    a, b = torch.randn(2, 50, 4, generator=generator(), dtype=torch.float64)
    for depth, linear in ((1, True), (3, False)):
        d = LatentDiscriminator(4, depth, 0.1).double()
        gap = (d(a) + d(b) - d(a + b) - d(torch.zeros_like(a))).abs().max()
        assert bool(gap < 1e-12) is linear


def test_r1_can_be_trained_through_style_based_networks():
    """The gradient of R1, a gradient of a gradient, against finite differences in one weight of E."""
    method = make((1, 8, 8), network="style").double()
    x = torch.rand(2, 1, 8, 8, generator=generator(), dtype=torch.float64)
    weight = method.encoder.convolutions[0].weight
    (gradient,) = torch.autograd.grad(method.regularise(Batch(x), generator(), 0).terms["r1"].mean, weight)
    index = torch.unravel_index(gradient.abs().argmax(), gradient.shape)
    values = []
    for step in (1e-6, -2e-6):
        with torch.no_grad():
            weight[index] += step
        values.append(method.regularise(Batch(x), generator(), 0).terms["r1"].mean.item())
    assert (values[0] - values[1]) / 2e-6 == pytest.approx(float(gradient[index]), rel=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"w_dim": 0}, "expected w_dim ≥ 1, got 0"),
        ({"mapping_layers": 0}, "expected mapping_layers ≥ 1"),
        ({"discriminator_layers": 0}, "expected discriminator_layers ≥ 1"),
        ({"r1_interval": 0}, "expected r1_interval ≥ 1"),
        ({"r1_weight": -1.0}, "expected r1_weight ≥ 0, got -1.0"),
        ({"reconstruction_weight": -0.5}, "expected reconstruction_weight ≥ 0"),
        ({"learning_rate": 0.0}, "expected learning_rate > 0"),
        ({"learning_rate_multiplier": 0.0}, "expected learning_rate_multiplier > 0"),
        ({"style_mixing": 1.5}, r"expected style_mixing in \[0, 1\], got 1.5"),
        ({"network": "styled"}, "there is no network 'styled'"),
        ({"output": "relu"}, "expected output as one of"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(OptionError, match=message):
        make(**options)


def test_data_that_do_not_fit_are_refused(images):
    with pytest.raises(DataError, match="'sigmoid' needs data in"):
        trimkit.train(make(), images.x * 3, steps=1)
    with pytest.raises(ShapeError, match="square images"):
        make((1, 12, 12), network="style")


def test_by_name_with_options():
    method = trimkit.create("method", "alae", shape=(6,), w_dim=3, network="mlp", r1_weight=1.0)
    assert type(method) is ALAE
    assert (method.options["w_dim"], method.options["r1_weight"]) == (3, 1.0)


def test_the_specification_says_what_the_method_is():
    from trimkit.registry import specification

    spec = specification("method", "alae")
    assert spec.family == "gan"
    assert spec.reference
    space = make().space()
    assert (space.can_encode, space.can_decode) == (True, True)
