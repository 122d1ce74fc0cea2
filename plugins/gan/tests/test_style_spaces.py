"""z, w, w+ and s: round trips, names, invariance to scale, and TRIM terms on generated samples."""

from __future__ import annotations

import pytest
import torch
from trimkit_gan.spaces import join, scale_groups, split
from trimkit_gan.stylegan import StyleGAN, StyleGAN2

import trimkit
from trimkit.errors import ShapeError, UnknownNameError
from trimkit.methods import Batch, GeneratedTransform
from trimkit.training.guidance import TrimTerm, make_guidance

SMALL = {"z_dim": 6, "w_dim": 6, "mapping_layers": 2, "channel_max": 6, "convolutions": 2}
SPACES = ("z", "w", "w+", "s")


def make(kind=StyleGAN2, shape=(2, 16, 16)):
    method = kind(shape, **SMALL).double().eval()
    for tap in method.synthesis.taps:
        if "conv" in tap.name:
            torch.nn.init.constant_(tap.module.noise_strength, 0.3)
    method.mapping.w_mean.normal_(generator=torch.Generator().manual_seed(5))
    return method


@pytest.fixture
def predictor():
    layers = [torch.nn.Flatten(), torch.nn.Linear(512, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3)]
    return torch.nn.Sequential(*layers).double()


@pytest.mark.parametrize("kind", [StyleGAN, StyleGAN2])
def test_the_same_image_from_every_space(kind):
    method = make(kind)
    z = method.draw_z(3)
    codes = method.codes(z, "z")
    assert {name: tuple(code.shape[1:]) for name, code in codes.items()} == {
        space.name: space.shape for space in method.latent_spaces()
    }
    styles = method.synthesis.styles(method.synthesis.spread(method.mapping(z)))
    expected = method.synthesis(styles, stage=method.stage)
    for name in SPACES:
        image = method.decode(codes[name], name)
        torch.testing.assert_close(image, (enlarged(expected, image) + 1) / 2)


def enlarged(image: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.interpolate(image, like.shape[-1], mode="nearest")


def test_s_round_trips_exactly_with_the_styles_of_w():
    method = make()
    ws = torch.randn(4, method.synthesis.num_ws, 6, dtype=torch.float64)
    s = method.codes(ws, "w+")["s"]
    again = method.codes(s, "s")["s"]
    torch.testing.assert_close(again, s, rtol=1e-14, atol=0)
    torch.testing.assert_close(method.decode(s, "s"), method.decode(ws, "w+"), rtol=1e-12, atol=1e-12)
    styles = split(s, method.synthesis)
    assert torch.equal(join(styles), s)
    for tap, style in zip(method.synthesis.taps, styles, strict=True):
        if tap.module.scale_free:
            torch.testing.assert_close(style.square().mean(1), torch.ones(4, dtype=torch.float64))


def test_groups_name_layer_and_scale():
    method = make()
    names = ("4px conv1", "4px toRGB", "8px conv1", "8px conv2", "8px toRGB", "16px conv1", "16px conv2", "16px toRGB")
    s, layers = method.space("s").groups, method.space("w+").groups
    assert s.names == names
    assert s.sizes.tolist() == [6] * 8
    assert layers.names == ("4px conv1", "8px conv1", "8px conv2", "16px conv1", "16px conv2", "16px toRGB")
    assert layers.labels.shape == (6, 6)
    scales = scale_groups(method.synthesis)
    assert scales.names == ("4px", "8px", "16px")
    assert scales.sizes.tolist() == [12, 18, 18]


def test_decoding_is_deterministic_and_unmixed_also_in_train_mode():
    method = make().train()
    w = torch.randn(2, 6, dtype=torch.float64)
    assert torch.equal(method.decode(w), method.decode(w, "w"))
    assert not torch.equal(method.decode(w), method.decode(w, noise="none"))


def rescaled(method: StyleGAN2) -> StyleGAN2:
    """The same generator with styles of other sizes in each layer that takes the scale out."""
    other = make()
    other.load_state_dict(method.state_dict())
    with torch.no_grad():
        for n, tap in enumerate(other.synthesis.taps):
            if tap.module.scale_free:
                tap.module.affine.weight *= 0.2 + n
                tap.module.affine.bias *= 0.2 + n
    return other


@pytest.mark.parametrize("penalty", ["l1", "hoyer", "group_l1"])
@pytest.mark.parametrize("space", ["s", "w+", "w"])
def test_a_rescaled_generator_has_the_same_scores_and_penalties(space, penalty, predictor):
    method = make()
    found = []
    for generator in (method, rescaled(method)):
        transform = GeneratedTransform(generator, generator.space(space))
        transform.codes = generator.codes(torch.randn(3, 6, dtype=torch.float64, generator=seeded()), "w")[space]
        x = transform.inverse(transform.codes)
        trim = trimkit.Trim(predictor, transform, "input_x_gradient")
        scores = trim(x, target=1, baseline=generator.baseline(space)).scores
        term = trimkit.TrimPenalty(penalty, transform=transform, baseline=generator.baseline(space))
        found.append((scores, term.penalise(predictor, x, 1)))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-10)
    assert found[0][0].abs().max() > 0


def seeded(seed: int = 2) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_integrated_gradients_on_s_are_complete_from_the_mean_image(predictor):
    method = make()
    transform = GeneratedTransform(method, method.space("s"))
    transform.codes = method.codes(torch.randn(3, 6, dtype=torch.float64), "w")["s"].detach()
    x = transform.inverse(transform.codes).detach()
    trim = trimkit.Trim(predictor, transform, ("integrated_gradients", {"n_steps": 64, "tolerance": None}))
    result = trim(x, target=0, baseline=method.baseline("s"))
    mean = predictor(method.decode(method.mapping.w_mean[None], "w"))[0, 0]
    torch.testing.assert_close(result.change, predictor(x)[:, 0].detach() - mean.detach())
    assert result.gap.abs().max() < 0.02 * result.change.abs().max()


def test_baselines():
    method = make()
    assert method.baseline("z") is None
    torch.testing.assert_close(method.baseline("w"), method.mapping.w_mean[None])
    assert method.baseline("w+").shape == (1, 6, 6)
    torch.testing.assert_close(method.decode(method.baseline("s"), "s"), method.decode(method.baseline(), "w"))


@pytest.mark.parametrize("kind", [StyleGAN, StyleGAN2])
@pytest.mark.parametrize("space", SPACES)
def test_the_penalty_on_generated_codes_has_the_right_gradient(space, kind, predictor):
    """Of the whole term, through codes and decoder, against finite differences in a weight of mapping and synthesis."""
    method = make(kind)
    z = method.draw_z(2, seeded())
    transform = GeneratedTransform(method, method.space(space))
    baseline = method.baseline(space)
    term = trimkit.TrimPenalty("hoyer", transform=transform, baseline=baseline)

    def value() -> torch.Tensor:
        transform.codes = method.codes(z, "z")[space]
        return term.penalise(predictor, transform.inverse(transform.codes).detach(), 1)

    weights = [method.mapping.layers[1].weight, method.synthesis.blocks[1].layers[0].affine.weight]
    gradients = torch.autograd.grad(value(), weights, allow_unused=True)
    for weight, gradient in zip(weights, gradients, strict=True):
        index = divmod(int(gradient.abs().argmax()), weight.shape[1])
        ends = []
        for step in (1e-6, -2e-6):
            with torch.no_grad():
                weight[index] += step
            ends.append(value().item())
        assert (ends[0] - ends[1]) / 2e-6 == pytest.approx(gradient[index].item(), rel=1e-3)


def test_a_term_of_training_is_the_penalty_at_the_codes_of_the_generated_samples(predictor):
    method = make()
    phases = method.phases()
    guidance = make_guidance(method, phases, predictor, "kl", [TrimTerm("l1", "s"), TrimTerm("l1", "w", target=2)])
    assert set(guidance.weights) == {"l1@s", "l1@w"}
    batch = Batch(torch.rand(3, 2, 16, 16, dtype=torch.float64))
    result = phases[0].loss(batch, seeded(), 0)
    terms = guidance.terms(batch, None, seeded(), result.codes)
    for name, target in (("s", None), ("w", 2)):
        transform = GeneratedTransform(method, method.space(name))
        transform.codes = result.codes[name].detach()
        x = transform.inverse(transform.codes).detach()
        wanted = predictor(x).argmax(1) if target is None else target
        trim = trimkit.Trim(predictor, transform, "input_x_gradient")
        scores = trim(x, target=wanted, baseline=method.baseline(name)).scores
        torch.testing.assert_close(terms[f"l1@{name}"].values.detach(), trimkit.penalties.l1(scores))


def test_codes_of_other_shapes_and_spaces_that_do_not_exist_are_refused():
    method = make()
    with pytest.raises(ShapeError, match=r"expected codes of w\+, \(N, 6, 6\), got \(2, 6\)"):
        method.decode(torch.zeros(2, 6, dtype=torch.float64), "w+")
    with pytest.raises(UnknownNameError, match="has no latent space 'v'"):
        method.decode(torch.zeros(2, 6, dtype=torch.float64), "v")
