"""Conditional StyleGANs: the projection term and its gradient, the mapping, training, resuming, samples of classes."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import softplus
from trimkit_gan.alae import ALAE
from trimkit_gan.discriminator import Discriminator, project_on
from trimkit_gan.layers import pixel_norm
from trimkit_gan.mapping import Mapping
from trimkit_gan.stylegan import StyleGAN, StyleGAN2

import trimkit
from trimkit.cli import main
from trimkit.data import Dataset, load
from trimkit.errors import DataError, OptionError
from trimkit.methods import Batch, GeneratedTransform, load_method

from .draws import generator

SMALL = {"z_dim": 6, "w_dim": 8, "mapping_layers": 2, "channel_max": 6, "conditional": True}
OWN = {
    "stylegan2": {"ada_target": 0.6, "ada_images": 50, "r1_interval": 2, "path_weight": 2.0, "path_interval": 2},
    "stylegan": {"grow_steps": 1, "r1_interval": 2},
}
KINDS = {"stylegan2": StyleGAN2, "stylegan": StyleGAN}


def make(name="stylegan2", seed=0, **options):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return KINDS[name]((1, 8, 8), **{**SMALL, **OWN[name], "segments": 3, **options})


@pytest.fixture
def classed():
    x = torch.rand(24, 1, 8, 8, generator=generator())
    y = torch.arange(24) % 3
    return Dataset("classed", x, y, classes=("a", "b", "c"), aux=y)


@pytest.fixture
def predictor():
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))


def test_the_gradient_of_a_class_s_row_is_the_features_of_its_samples():
    discriminator = Discriminator((1, 8, 8), channel_max=6, condition_size=3).double()
    x, u = torch.rand(4, 1, 8, 8, dtype=torch.float64, generator=generator()), torch.tensor([2, 0, 2, 1])
    c = torch.eye(3, dtype=torch.float64)[u]
    seen = []
    discriminator.verdict.register_forward_pre_hook(lambda _, given: seen.append(given[0].detach()))
    weights = torch.randn(4, dtype=torch.float64, generator=generator(1))
    logits = discriminator(x, c=c)
    (gradient,) = torch.autograd.grad((weights * logits).sum(), discriminator.projection)
    torch.testing.assert_close(gradient, (weights[:, None] * c).T @ seen[0] / math.sqrt(6))
    plain = discriminator(x)
    torch.testing.assert_close(logits - plain, (discriminator.projection[u] * seen[0]).sum(1) / math.sqrt(6))


def test_the_projection_is_differentiable_twice():
    features, projection = (
        torch.randn(2, 3, dtype=torch.float64, generator=generator(s)).requires_grad_() for s in (0, 1)
    )
    c = torch.randn(2, 2, dtype=torch.float64, generator=generator(2)).requires_grad_()
    assert torch.autograd.gradcheck(project_on, (features, projection, c))
    assert torch.autograd.gradgradcheck(project_on, (features, projection, c))


def test_the_mapping_sees_noise_and_class_at_one_scale():
    mapping = Mapping(5, 7, depth=1, condition_size=3).double()
    z, c = (
        torch.randn(4, 5, dtype=torch.float64, generator=generator()),
        torch.eye(3, dtype=torch.float64)[[0, 2, 1, 1]],
    )
    embedded = pixel_norm(mapping.embedding(c))
    together = torch.cat([pixel_norm(z), embedded], 1)
    torch.testing.assert_close(mapping(z, c), torch.nn.functional.leaky_relu(mapping.layers[0](together), 0.2))
    torch.testing.assert_close(embedded.square().mean(1), torch.ones(4, dtype=torch.float64))


def test_both_players_losses_are_those_given_the_classes(classed):
    method = make(ada_target=None, mixing=0.0).double().eval()
    x, u = classed.x.double(), classed.aux
    c = torch.eye(3, dtype=torch.float64)[u]
    result = method.play_generator(Batch(x, aux=u), generator(1), 0)
    draws = generator(1)
    z = torch.randn(24, 6, dtype=torch.float64, generator=draws)
    torch.rand(2, generator=draws)  # the cutoff
    images = method.synthesis(method.synthesis.styles(method.synthesis.spread(method.mapping(z, c))), "random", draws)
    torch.testing.assert_close(result.terms["adversarial"].values, softplus(-method.discriminator(images, c=c)))
    assert torch.equal(result.labels, u)
    torch.testing.assert_close(result.reconstruction(None), (images + 1) / 2)
    real = method.play_discriminator(Batch(x, aux=u), generator(), 0).terms["real"].values
    torch.testing.assert_close(real, softplus(-method.discriminator(2 * x - 1, c=c)))


@pytest.mark.parametrize("name", KINDS)
def test_two_steps_move_what_sees_the_class_and_a_classifier_joins(name, classed, predictor):
    method = make(name)
    before = {key: value.clone() for key, value in method.state_dict().items()}
    asked = {"predictor": predictor, "prediction": "label", "trim": ["l1@z:0.1"]}
    run = trimkit.train(method, classed, steps=2, batch_size=12, log_every=1, **asked)
    for key in ("mapping.embedding.weight", "discriminator.projection"):
        assert not torch.equal(method.state_dict()[key], before[key])
    row = next(row for row in run.history if row["phase"] == "generator")
    assert row["prediction"] > 0
    assert row["l1@z"] > 0


@pytest.mark.parametrize("name", KINDS)
def test_resuming_gives_the_same_bits(name, classed, tmp_path):
    runs = {}
    for part, steps in (("whole", 4), ("parts", 2), ("parts", 4)):
        method, folder = make(name), tmp_path / part
        trimkit.train(method, classed, steps=steps, batch_size=12, folder=folder, resume=folder.exists())
        runs[part] = method.state_dict()
    assert all(torch.equal(value, runs["parts"][key]) for key, value in runs["whole"].items())
    assert load_method(tmp_path / "whole").condition.segments == 3


def test_samples_of_a_class_and_of_any():
    method = make().eval()
    u = torch.tensor([2, 0, 1, 2])
    z = method.draw_z(4, generator(3))
    c = torch.eye(3)[u]
    with torch.no_grad():
        torch.testing.assert_close(method.sample_codes(4, generator(3), "w", u), method.mapping(pixel_norm(z), c))
        torch.testing.assert_close(method.decode(z, "z", u), method.decode(method.mapping(pixel_norm(z), c), "w"))
        assert not torch.equal(method.decode(z, "z", u), method.decode(z, "z", (u + 1) % 3))
        assert method.sample(4, generator(), u).shape == (4, 1, 8, 8)
        assert torch.equal(method.sample(4, generator()), method.sample(4, generator()))


def test_codes_of_z_are_explained_with_their_class_held(predictor):
    method = make().eval()
    transform = GeneratedTransform(method, method.space("z"))
    u = torch.tensor([2, 0, 1])
    transform.codes, transform.aux = method.sample_codes(3, generator(), "z", u).detach(), u
    x = transform.inverse(transform.codes).detach()
    scores = trimkit.Trim(predictor, transform, "input_x_gradient")(x, target=1).scores
    for row in range(3):
        alone = GeneratedTransform(method, method.space("z"))
        alone.codes, alone.aux = transform.codes[row : row + 1], u[row : row + 1]
        one = trimkit.Trim(predictor, alone, "input_x_gradient")(x[row : row + 1], target=1)
        torch.testing.assert_close(one.scores, scores[row : row + 1], rtol=1e-4, atol=1e-6)


def test_vectors_are_seen_as_they_are():
    method = make(segments=0, aux_dim=2).eval()
    u = torch.randn(3, 2)
    z = method.draw_z(3, generator())
    torch.testing.assert_close(method.decode(z, "z", u), method.decode(method.mapping(pixel_norm(z), u), "w"))
    assert method.drawn_classes == 0
    with pytest.raises(DataError, match="StyleGAN2 needs the auxiliary variable u of each sample to draw, got none"):
        method.sample(2, generator())


@pytest.fixture
def alae():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return ALAE((1, 8, 8), w_dim=6, mapping_layers=2, conditional=True, segments=3).double().eval()


def test_alae_gives_u_to_f_and_d_alone(alae, classed):
    x, u = classed.x.double(), classed.aux
    c = torch.eye(3, dtype=torch.float64)[u]
    w = alae.encode(x).mean
    hidden = torch.nn.Sequential(*list(alae.discriminator)[:-1])(w)
    expected = alae.discriminator[-1](hidden)[:, 0] + (hidden * alae.discriminator.projection[u]).sum(1) / math.sqrt(6)
    torch.testing.assert_close(alae.judge(x, c), expected)
    z = alae.draw(x, generator())
    torch.testing.assert_close(alae.decode(z, "z", u), alae.decode(alae.mapping(z, c), "w"))
    terms = alae.generate(Batch(x, aux=u), generator(1), 0).terms["generator"].values
    made = alae.generator(alae.generator.spread(alae.mapping(alae.draw(x, generator(1)), c)))
    torch.testing.assert_close(terms, softplus(-alae.judge(made, c)))


def test_alae_s_w_is_a_transform_that_needs_no_class(alae, classed, predictor):
    assert alae.as_transform("w")(classed.x.double()).shape == (24, 6)
    method = ALAE((1, 8, 8), w_dim=6, mapping_layers=2, conditional=True, segments=3)
    before = {key: value.clone() for key, value in method.state_dict().items()}
    asked = {"predictor": predictor, "trim": ["l1@w:0.1"], "prediction": "label"}
    trimkit.train(method, classed, steps=2, batch_size=12, **asked)
    for key in ("mapping.embedding.weight", "discriminator.projection"):
        assert not torch.equal(method.state_dict()[key], before[key])
    assert method.sample(5, generator(), torch.tensor([0, 1, 2, 1, 0])).shape == (5, 1, 8, 8)


def test_from_the_command_line_samples_are_of_the_classes(tmp_path):
    small = [f"--method.{name}={value}" for name, value in {**SMALL, "channel_max": 4}.items()]
    run = str(tmp_path / "run")
    assert main(["train", "stylegan2", "--data", "digits:aux=labels", *small, "--steps", "1", "--out", run]) == 0
    assert main(["sample", run, "--n", "3", "--classes", "3,7"]) == 0
    assert load(f"{run}/drawn.npz").aux.tolist() == [3, 7, 3]
    assert main(["interpolate", run, "--space", "z", "--pairs", "2", "--frames", "3", "--classes", "5"]) == 0


def test_what_does_not_fit_is_refused_by_name(classed):
    with pytest.raises(OptionError, match="StyleGAN2 needs segments"):
        make(segments=0)
    with pytest.raises(OptionError, match="segments and aux_dim say what u is for conditional=True"):
        make(conditional=False)
    with pytest.raises(DataError, match="StyleGAN got data without auxiliary variables"):
        trimkit.train(make("stylegan"), classed.x, steps=1, batch_size=8)
    with pytest.raises(DataError, match="StyleGAN2 needs the auxiliary variable u to decode, got none"):
        make().decode(torch.zeros(1, 6), "z")
