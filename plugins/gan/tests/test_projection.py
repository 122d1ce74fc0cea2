"""Codes of data by optimisation: they come back where they exist, and make a transform that explains a predictor."""

from __future__ import annotations

import copy
import math

import pytest
import torch
import trimkit_gan.projection as projecting
from trimkit_gan.projection import Projection, project, projection, ramp
from trimkit_gan.stylegan import StyleGAN2

import trimkit
from trimkit.errors import DataError, OptionError, ShapeError, TransformError

SMALL = {"z_dim": 6, "w_dim": 6, "mapping_layers": 1, "channel_max": 6}


@pytest.fixture
def method():
    return StyleGAN2((1, 8, 8), **SMALL).eval()


@pytest.fixture
def images(method):
    with torch.no_grad():
        return method.decode(0.4 * torch.randn(3, 6, generator=torch.Generator().manual_seed(1)), "w")


@pytest.fixture
def predictor():
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 5), torch.nn.Tanh(), torch.nn.Linear(5, 3))


def error(method, codes, x, space):
    return (method.decode(codes, space) - x).square().flatten(1).mean(1)


@pytest.mark.parametrize("space", ["w", "w+", "s"])
def test_generated_images_are_found_again(method, images, space):
    codes = method.project(images, space, steps=80)
    assert codes.shape[1:] == method.space(space).shape
    assert not codes.requires_grad
    start = error(method, method.baseline(space).expand_as(codes), images, space)
    assert (error(method, codes, images, space) < 0.02 * start).all()


def test_w_plus_fits_data_of_no_generator_better_than_w(method):
    x = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(3))
    errors = {space: error(method, project(method, x, space, steps=40), x, space).mean() for space in ("w", "w+")}
    assert errors["w+"] < errors["w"]


def test_the_predictors_outputs_fit_better_where_they_count(method, predictor):
    x = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(3))
    gaps = []
    for weight in (0.0, 100.0):
        codes = project(method, x, "w", steps=40, predictor=predictor, feature_weight=weight)
        gaps.append(float((predictor(method.decode(codes)) - predictor(x)).square().mean().detach()))
    assert gaps[1] < 0.5 * gaps[0]
    features = trimkit.PredictionLoss(predictor, "features", ["1"])
    assert project(method, x, "w", steps=2, predictor=features).shape == (2, 6)


def test_each_sample_is_found_as_if_it_were_alone(method, images):
    together = project(method, images, steps=10)
    alone = torch.cat([project(method, image[None], steps=10) for image in images])
    torch.testing.assert_close(together, alone, rtol=1e-3, atol=1e-3)


def test_the_method_is_left_as_it_was(method, images):
    before = {name: tensor.clone() for name, tensor in method.state_dict().items()}
    with torch.no_grad():
        project(method, images, steps=3)
    assert all(torch.equal(before[name], tensor) for name, tensor in method.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in method.parameters())


@pytest.mark.parametrize("guard", [torch.no_grad, torch.inference_mode])
def test_it_works_where_gradients_are_off(method, images, predictor, guard):
    expected = method.project(images, "w", steps=3, predictor=predictor)
    with guard():
        found = method.project(images.clone(), "w", steps=3, predictor=predictor)
    assert torch.equal(found, expected)


def test_progress_is_shown_when_wanted(method, images, capsys):
    project(method, images, steps=4)
    assert capsys.readouterr().err == ""
    project(method, images, steps=4, progress=True)
    assert "step 4/4  loss" in capsys.readouterr().err


def test_the_learning_rate_rises_stays_and_falls_to_nothing():
    assert ramp(0.0) < 0.03
    assert ramp(0.1) == ramp(0.7) == 1.0
    assert 0.0 < ramp(0.95) < 0.15
    assert ramp(1.0) == pytest.approx(0.0)


def test_what_cannot_be_projected_is_refused(method, images):
    with pytest.raises(OptionError, match="expected a projection to w, w\\+ or s, got 'z'"):
        project(method, images, "z")
    with pytest.raises(OptionError, match="expected steps ≥ 1, a whole number, got 0"):
        project(method, images, steps=0)
    with pytest.raises(ShapeError, match=r"floating data of shape \(1, 8, 8\) a sample"):
        project(method, images[:, :, :4, :4])
    with pytest.raises(DataError, match="NaN"):
        project(method, images * math.nan)
    with pytest.raises(DataError, match=r"expected images about in \[0, 1\], as the method was trained on, got .* 50"):
        project(method, images.clamp(0, 1) * 0 + 50)
    for options, message in (
        ({"learning_rate": -1.0}, "learning_rate > 0, got -1"),
        ({"feature_weight": -1.0}, "feature_weight ≥ 0, got -1"),
        ({"steps": 2.5}, "a whole number, got 2.5"),
    ):
        with pytest.raises(OptionError, match=message):
            project(method, images, **options)
    with pytest.raises(OptionError, match="a whole number, got 0"):
        Projection(method, steps=0)
    with pytest.raises(TransformError, match="expected a style-based generator, got Linear"):
        Projection(torch.nn.Linear(2, 2))


@pytest.mark.parametrize("space", ["w", "s"])
def test_a_projection_explains_a_predictor(method, predictor, images, space):
    transform = Projection(method, space, steps=20)
    result = trimkit.Trim(predictor, transform, "integrated_gradients")(
        images, target=1, baseline=method.baseline(space)
    )
    torch.testing.assert_close(result.output, predictor(images))
    rebuilt = method.decode(result.coefficients, space) + result.residual
    torch.testing.assert_close(rebuilt, images)
    assert result.scores.shape == (3, *method.space(space).shape)
    assert transform.groups((1, 8, 8)).names == method.space(space).groups.names


def test_known_samples_cost_nothing_until_the_method_changes(method, images, monkeypatch):
    calls = []

    def counted(method, x, *args, **options):
        calls.append(len(x))
        return found(method, x, *args, **options)

    found = projecting._projected
    monkeypatch.setattr(projecting, "_projected", counted)
    transform = Projection(method, steps=3)
    first = transform(images[:2])
    assert torch.equal(transform(images[[1, 0, 1]]), first[[1, 0, 1]])
    transform(images)
    assert calls == [2, 1]
    with torch.no_grad():
        method.synthesis.constant += 1
    assert not torch.equal(transform(images[:2]), first)
    assert calls == [2, 1, 2]
    transform.steps = 4
    transform(images[:2])
    other = copy.deepcopy(method)
    transform.method = other
    transform(images[:2])
    transform(images[:2])
    assert calls == [2, 1, 2, 2, 2]


def test_codes_are_of_the_methods_type(method, images):
    transform = Projection(method, steps=2)
    codes = transform(images.double())
    assert codes.dtype == torch.float32
    assert transform.inverse(codes).shape == images.shape


def test_a_projection_of_a_stored_run_by_name(images, tmp_path):
    method = StyleGAN2((1, 8, 8), **SMALL)
    trimkit.train(method, images.clamp(0, 1), steps=1, batch_size=3, folder=tmp_path / "run")
    transform = trimkit.create("transform", "projection", run=str(tmp_path / "run"), space="w+", steps=2)
    torch.testing.assert_close(transform(images), projection(str(tmp_path / "run"), "w+", 2)(images))


@pytest.mark.parametrize("directions", ["ganspace", "sefa"])
def test_coordinates_along_directions_of_w_by_name(directions, images, predictor, tmp_path):
    method = StyleGAN2((1, 8, 8), **SMALL)
    trimkit.train(method, images.clamp(0, 1), steps=1, batch_size=3, folder=tmp_path / "run")
    options = {"run": str(tmp_path / "run"), "steps": 2}
    plain = trimkit.create("transform", "projection", **options)
    turned = trimkit.create("transform", "projection", directions=directions, **options)
    again = trimkit.create("transform", "projection", directions=directions, **options)
    coordinates = turned(images)
    assert coordinates.shape == (3, 6)
    torch.testing.assert_close(turned.inverse(coordinates, (1, 8, 8)), plain.inverse(plain(images)))
    torch.testing.assert_close(again(images), coordinates)
    result = trimkit.Trim(predictor, turned, "input_x_gradient")(images, target=0)
    assert result.scores.shape == (3, 6)
    torch.testing.assert_close(result.output, predictor(images))


def test_directions_that_do_not_exist_are_refused(images, tmp_path):
    trimkit.train(StyleGAN2((1, 8, 8), **SMALL), images.clamp(0, 1), steps=1, batch_size=3, folder=tmp_path / "run")
    with pytest.raises(OptionError, match=r"no directions 'gan_space'.*ganspace"):
        projection(str(tmp_path / "run"), directions="gan_space")
    with pytest.raises(OptionError, match="expected space w, whose directions 'sefa' are, got 's'"):
        projection(str(tmp_path / "run"), "s", directions="sefa")
