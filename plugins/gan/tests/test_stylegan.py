"""StyleGAN and StyleGAN2 as methods: the two players' losses, training, resuming, sampling, refusing."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch.nn.functional import softplus
from trimkit_gan.stylegan import StyleGAN, StyleGAN2
from trimkit_gan.synthesis import Stage

import trimkit
from trimkit.errors import DataError, OptionError, ShapeError, TrainingError, TransformError, TrimkitWarning
from trimkit.methods import Batch

from .draws import generator

SMALL = {"z_dim": 6, "w_dim": 6, "mapping_layers": 2, "channel_max": 6, "learning_rate": 2e-3, "mixing": 0.9}
PATHS = {"path_weight": 2.0, "path_interval": 2}
METHODS = {
    "stylegan2": (StyleGAN2, {"ada_target": 0.6, "ada_images": 50, "r1_interval": 2, **PATHS}),
    "stylegan": (StyleGAN, {"grow_steps": 1, "r1_interval": 2}),
}


def make(name="stylegan2", shape=(3, 8, 8), seed=0, **options):
    kind, own = METHODS[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return kind(shape, **{**SMALL, **own, **options})


@pytest.fixture
def images():
    return torch.rand(24, 3, 8, 8, generator=generator())


@pytest.fixture
def predictor():
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))


def test_the_generators_loss_is_the_softplus_of_minus_the_logits(images):
    method = make(ada_target=None, mixing=0.0).double().eval()
    result = method.play_generator(Batch(images.double()), generator(1), 0)
    draws = generator(1)
    z = torch.randn(24, 6, dtype=torch.float64, generator=draws)
    torch.rand(2, generator=draws)  # the cutoff
    styles = method.synthesis.styles(method.synthesis.spread(method.mapping(z)))
    logits = method.discriminator(method.synthesis(styles, "random", draws))
    torch.testing.assert_close(result.terms["adversarial"].values, softplus(-logits))


def test_the_discriminators_loss_on_data_is_on_their_range_of_minus_1_to_1(images):
    method = make(ada_target=None, low=-2.0, high=4.0).double().eval()
    x = images.double() * 6 - 2
    result = method.play_discriminator(Batch(x), generator(), 0)
    torch.testing.assert_close(result.terms["real"].values, softplus(-method.discriminator(images.double() * 2 - 1)))
    assert (result.terms["fake"].values > 0).all()


def test_r1_is_half_the_squared_gradient_and_gamma_its_weight(images):
    method = make(ada_target=None).double().eval()
    values = method.penalise_discriminator(Batch(images.double()), generator(), 0).terms["r1"].values
    x = (images.double() * 2 - 1).requires_grad_()
    (gradient,) = torch.autograd.grad(method.discriminator(x).sum(), x)
    torch.testing.assert_close(values, gradient.square().sum((1, 2, 3)) / 2)
    weights = {phase.name: phase.weights for phase in method.phases()}
    assert weights["discriminator_r1"]["r1"] == 1.0
    large = {phase.name: phase.weights for phase in make(shape=(3, 64, 64)).phases()}
    assert large["discriminator_r1"]["r1"] == pytest.approx(2e-4 * 64**2 / 16)
    assert {p.name: p.weights for p in make(r1_gamma=3.0).phases()}["discriminator_r1"] == {"r1": 3.0}


@pytest.mark.parametrize("name", METHODS)
def test_an_option_that_no_class_has_is_refused_by_name(name):
    with pytest.raises(OptionError, match=r"has no option 'chanel_max'\. Did you mean 'channel_max'"):
        trimkit.create("method", name, shape=(1, 8, 8), chanel_max=4)


def test_path_lengths_are_held_to_their_running_mean(images):
    method = make(mixing=0.0).double().train()
    method.path_mean.fill_(2.0)
    result = method.penalise_paths(Batch(images.double()), generator(), 0)
    mean = method.path_mean
    values = result.terms["path_length"].values
    assert values.shape == (12,)
    roots = values.sqrt()
    candidates = torch.stack([mean + roots, mean - roots])  # lengths, up to the side of the mean they are on
    shortest, longest = candidates.min(0).values.mean(), candidates.max(0).values.mean()
    step = (mean - 2.0 * 0.99) / 0.01  # the mean length that moved it
    assert shortest - 1e-9 <= step <= longest + 1e-9
    assert torch.equal(result.diagnostics["path_mean"], mean)


def test_phases_share_optimisers_are_lazy_and_leave_the_other_player_alone():
    method = make(r1_interval=16, path_interval=4)
    phases = {phase.name: phase for phase in method.phases()}
    assert list(phases) == ["generator", "generator_path", "discriminator", "discriminator_r1"]
    assert [phases[name].interval for name in phases] == [1, 4, 1, 16]
    assert [phases[name].shares for name in phases] == [None, "generator", None, "discriminator"]
    optimiser = phases["discriminator"].optimiser(list(phases["discriminator"].parameters))
    assert optimiser.defaults["lr"] == pytest.approx(2e-3 * 16 / 17)
    assert optimiser.defaults["betas"] == pytest.approx((0.0, 0.99 ** (16 / 17)))
    own = {id(p) for p in phases["generator"].parameters}
    assert own.isdisjoint(id(p) for p in phases["discriminator"].parameters)
    assert len(own) + len(phases["discriminator"].parameters) == len(list(method.parameters()))


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize(("precision", "dtype"), [("32", torch.float32), ("64", torch.float64)])
def test_a_short_run(name, precision, dtype, images):
    method = make(name)
    before = copy.deepcopy(method.state_dict())
    run = trimkit.train(method, images, steps=3, batch_size=8, log_every=1, precision=precision)
    assert run.steps == 3
    for part in ("mapping.layers.0.weight", "synthesis.constant", "discriminator.hidden.weight"):
        assert not torch.equal(before[part].to(dtype), method.state_dict()[part])
    assert all(torch.isfinite(value).all() for value in method.state_dict().values())
    phases = {row["phase"] for row in run.history}
    assert {"generator", "discriminator", "discriminator_r1"} <= phases
    assert method.sample(2, generator()).dtype == dtype


@pytest.mark.parametrize("trim", [(), ("l1@s:0.1", "monotone_order@w+:0.1")])
@pytest.mark.parametrize("name", METHODS)
def test_a_resumed_run_is_an_uninterrupted_one(name, images, predictor, tmp_path, trim):
    guided = {"predictor": predictor, "trim": trim} if trim else {}
    options = {**guided, "batch_size": 8, "checkpoint_every": 2}
    shape = (3, 16, 16) if name == "stylegan" and not trim else (3, 8, 8)
    x = images if shape[1] == 8 else images.repeat_interleave(2, 2).repeat_interleave(2, 3)
    whole, parts = make(name, shape), make(name, shape, seed=9)
    trimkit.train(whole, x, steps=5, **options)
    trimkit.train(make(name, shape), x, steps=3, folder=tmp_path / "run", **options)
    trimkit.train(parts, x, steps=5, folder=tmp_path / "run", resume=True, **options)
    for (key, a), b in zip(whole.state_dict().items(), parts.state_dict().values(), strict=True):
        assert torch.equal(a, b), key


def test_a_trained_generator_is_stored_and_loaded(images, tmp_path):
    from trimkit.methods import load_method

    method = make()
    trimkit.train(method, images, steps=2, batch_size=8, folder=tmp_path / "run")
    loaded = load_method(tmp_path / "run")
    assert type(loaded) is StyleGAN2
    torch.testing.assert_close(loaded.sample(2, generator()), method.eval().sample(2, generator()))


def test_a_path_weight_of_zero_costs_nothing(images):
    phases = {phase.name: phase for phase in make(path_weight=0.0).phases()}
    assert list(phases) == ["generator", "discriminator", "discriminator_r1"]
    optimiser = phases["generator"].optimiser(list(phases["generator"].parameters))
    assert optimiser.defaults["lr"] == 2e-3  # no lazy phase shares it


def test_the_saved_generator_is_the_running_average(images):
    """After one step: 0.1 of the initial weights and 0.9 of the new ones; the discriminator is as it is."""
    initial, raw, averaged = (make("stylegan", ema_decay=decay) for decay in (0.5, 0.0, 0.9))
    for method in (raw, averaged):
        trimkit.train(method, images, steps=1, batch_size=8)
    for name, start in initial.named_parameters():
        end, found = raw.get_parameter(name), averaged.get_parameter(name)
        expected = end if name.startswith("discriminator") else 0.1 * start + 0.9 * end
        torch.testing.assert_close(found, expected, msg=name)
    assert not torch.equal(initial.synthesis.constant, raw.synthesis.constant)


def test_training_moves_the_buffers_and_evaluation_does_not(images):
    method = make()
    batch = Batch(images)
    for mode in (False, True):
        method.train(mode)
        for play in (method.play_generator, method.penalise_paths, method.play_discriminator):
            play(batch, generator(), 0)
        buffers = (method.path_mean, method.mapping.w_mean, method.augmentation.signs)
        assert [bool((buffer != 0).any()) for buffer in buffers] == [mode] * 3


def test_a_growing_generator_decodes_at_full_size_from_where_it_is(images):
    method = make("stylegan", (3, 32, 32), grow_steps=2).train()
    stages = {step: method.reach(step) for step in (0, 3, 5, 99)}
    assert stages == {0: Stage(1), 3: Stage(2, 0.5), 5: Stage(2), 99: Stage(3)}
    method.reach(0)
    x = method.eval().sample(2, generator())
    assert x.shape == (2, 3, 32, 32)
    assert torch.equal(x, x[:, :, ::4, ::4].repeat_interleave(4, 2).repeat_interleave(4, 3))
    assert method.reach(99) == Stage(1)  # evaluation does not grow it
    restored = make("stylegan", (3, 32, 32), grow_steps=2)
    method.train().reach(3)
    restored.load_state_dict(method.state_dict())
    assert restored.stage == Stage(2, 0.5)


def test_growing_can_be_off():
    method = make("stylegan", (3, 16, 16), grow_steps=0)
    assert method.stage == Stage(2)
    assert list(method.discriminator.from_rgb) == ["2"]


@pytest.mark.parametrize("name", METHODS)
def test_truncation(name):
    method = make(name).double().eval()
    method.mapping.w_mean.normal_(generator=generator())
    mean = method.decode(method.mapping.w_mean[None], "w")
    none = method.sample(3, generator(), truncation_psi=0.0, noise="constant")
    torch.testing.assert_close(none, mean.expand(3, -1, -1, -1))
    full = method.sample(3, generator(), truncation_psi=1.0, noise="constant")
    torch.testing.assert_close(full, method.decode(method.draw_z(3, generator()), "z"))


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("size", [8, 16, 64])
@pytest.mark.parametrize("name", METHODS)
def test_samples_of_any_shape(name, channels, size):
    method = make(name, (channels, size, size))
    assert method.sample(2, generator()).shape == (2, channels, size, size)
    assert method.sample(0, generator()).shape == (0, channels, size, size)


@pytest.mark.parametrize("name", METHODS)
def test_what_needs_an_encoder_is_refused_with_the_way_out(name, images, predictor):
    method = make(name)
    for space in ("z", "w", "w+", "s"):
        with pytest.raises(TransformError, match="has no encoder: find codes by projection"):
            method.as_transform(space)
        with pytest.raises(TrainingError, match="find codes by projection"):
            method.encode(images, space=space)
    with pytest.raises(OptionError, match="which have no original to compare predictions with"):
        trimkit.train(method, images, steps=1, predictor=predictor)
    with pytest.raises(OptionError, match="which have no label"):
        trimkit.train(method, images, steps=1, predictor=predictor, trim=["l1@s"], target="label")


def test_data_and_options_are_checked(images):
    with pytest.raises(DataError, match=r"expected data in \[0, 1\], got .* … 2"):
        make().check(images * 2)
    with pytest.raises(ShapeError, match="expected square images"):
        StyleGAN2((3, 12, 12))
    for option, message in (
        ({"mixing": 1.5}, r"expected mixing in \[0, 1\], got 1.5"),
        ({"low": 1.0, "high": 1.0}, "expected finite low < high"),
        ({"low": -math.inf}, "expected finite low < high, got -inf and 1"),
        ({"r1_gamma": -1.0}, "expected r1_gamma ≥ 0, or null for the usual one, got -1"),
        ({"r1_interval": 2.5}, "expected r1_interval as a whole number ≥ 1, got 2.5"),
        ({"convolutions": 3}, "expected convolutions as 1 or 2, got 3"),
        ({"mapping_layers": 1.5}, "expected z_dim, w_dim and mapping_layers ≥ 1, whole numbers, got .*, 1.5"),
    ):
        with pytest.raises(OptionError, match=message):
            make(**option)
    for option, message in (
        ({"mapping_multiplier": 0.0}, "expected mapping_multiplier > 0, got 0"),
        ({"path_interval": 0}, "expected path_interval ≥ 1, got 0"),
        ({"path_weight": -1.0}, "expected path_weight ≥ 0, got -1"),
        ({"ada_target": 2.0}, r"expected ada_target in \[−1, 1\] and ada_images > 0, got 2.0 and 50"),
        ({"ada_images": 0.0}, "ada_images > 0, got 0.6 and 0"),
    ):
        with pytest.raises(OptionError, match=message):
            make("stylegan2", **option)


def test_without_r1_there_is_no_phase_for_it(images):
    method = make(r1_gamma=0.0)
    assert "discriminator_r1" not in [phase.name for phase in method.phases()]
    (optimiser,) = [phase.optimiser for phase in method.phases() if phase.name == "discriminator"]
    assert optimiser([torch.nn.Parameter(torch.zeros(1))]).defaults["lr"] == 2e-3
    trimkit.train(method, images, steps=1, batch_size=8)


def test_a_run_that_ends_before_it_has_grown_says_so(images):
    large = images.repeat_interleave(2, 2).repeat_interleave(2, 3)
    options = {**SMALL, "grow_steps": 2}
    with pytest.warns(TrimkitWarning, match=r"StyleGAN has grown to 8 of 16 pixels; it has all of them from step 4 on"):
        trimkit.train(StyleGAN((3, 16, 16), **options), large, steps=1, batch_size=8)
    grown = StyleGAN((3, 16, 16), **options)
    trimkit.train(grown, large, steps=5, batch_size=8)
    assert grown.unfinished() == ""


def test_one_step_with_nan_leaves_the_running_means_as_they_are(images, monkeypatch):
    method = make("stylegan2", path_interval=1).train()
    before = method.path_mean.clone(), method.mapping.w_mean.clone()
    with monkeypatch.context() as patched:
        patched.setattr(method.mapping, "forward", lambda z, c: (z * math.nan)[:, : method.w_dim].requires_grad_())
        method.penalise_paths(Batch(images), generator(), 0)
        method.play_generator(Batch(images), generator(), 0)
    assert torch.equal(method.path_mean, before[0])
    assert torch.equal(method.mapping.w_mean, before[1])
    assert method.penalise_paths(Batch(images), generator(), 0).terms["path_length"].mean.isfinite()


@pytest.mark.parametrize("frozen", [True, False])
def test_path_lengths_need_no_mapping_that_is_trained(images, frozen):
    method = make("stylegan2")
    method.mapping.requires_grad_(not frozen)
    weights = method.mapping.layers[0].weight.detach().clone()
    trimkit.train(method, images, steps=2, batch_size=8)
    assert torch.equal(method.mapping.layers[0].weight, weights) is frozen
    with torch.no_grad():
        assert method.penalise_paths(Batch(images), generator(), 0).terms["path_length"].mean.isfinite()


@pytest.mark.parametrize("name", METHODS)
def test_by_name_with_its_specification(name):
    from trimkit.registry import specification

    method = trimkit.create("method", name, shape=(1, 8, 8), **SMALL)
    assert type(method) is METHODS[name][0]
    spec = specification("method", name)
    assert spec.family == "gan"
    assert not any(space.can_encode for space in method.latent_spaces())
    assert all(space.can_decode for space in method.latent_spaces())
    assert method.options["channel_max"] == 6
