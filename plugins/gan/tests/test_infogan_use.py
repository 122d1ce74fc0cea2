"""InfoGAN once it is trained: its spaces, samples and runs, and a predictor that takes part."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import trimkit
from trimkit.errors import ModelError, OptionError, ShapeError, TransformError
from trimkit.methods import Batch

from .draws import generator
from .small_infogan import ARRANGEMENTS, make


@pytest.mark.parametrize("recogniser", ARRANGEMENTS)
def test_a_resumed_run_is_an_uninterrupted_one(images, tmp_path, recogniser):
    options = {"batch_size": 12, "checkpoint_every": 4}  # 3 steps an epoch
    whole, parts = make(recogniser=recogniser), make(seed=9, recogniser=recogniser)
    trimkit.train(whole, images, steps=10, **options)
    trimkit.train(make(recogniser=recogniser), images, steps=5, folder=tmp_path / "run", **options)
    trimkit.train(parts, images, steps=10, folder=tmp_path / "run", resume=True, **options)
    for a, b in zip(whole.state_dict().values(), parts.state_dict().values(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_samples_come_from_the_generator(dtype):
    method = make().to(dtype).eval()
    first, second = method.sample(4, generator(1)), method.sample(4, generator(1))
    assert (first.shape, first.dtype) == ((4, 1, 3, 3), dtype)
    assert torch.equal(first, second)
    assert not torch.equal(first, method.sample(4, generator(2)))
    assert first.min() >= 0
    assert first.max() <= 1
    assert method.sample(0, generator()).shape == (0, 1, 3, 3)
    torch.testing.assert_close(method.decode(method.draw(first, generator(1)), "z"), first)


def test_codes_of_data_are_probabilities_and_centres(images):
    method = make().eval()
    code = method.encode(images.x).mean
    assert code.shape == (40, 5)
    torch.testing.assert_close(code[:, :3].sum(1), torch.ones(40))
    torch.testing.assert_close(method.encode(images.x[:1]).mean, code[:1])


def test_the_spaces_say_what_they_can_and_refuse_the_rest(images):
    method = make()
    c, z = method.latent_spaces()
    assert (c.name, c.shape, c.can_encode, c.can_decode) == ("c", (5,), True, False)
    assert (z.name, z.shape, z.can_encode, z.can_decode) == ("z", (9,), False, True)
    assert z.groups.names == ("noise", "category 0", "continuous 0", "continuous 1")
    with pytest.raises(TransformError, match=r"codes cannot be decoded .*codes_alone=True"):
        method.as_transform("c")
    with pytest.raises(TransformError, match=r"data cannot be encoded to it .*no network infers the noise"):
        method.as_transform("z")
    with pytest.raises(OptionError, match="needs beside c; make the method with codes_alone=True"):
        method.decode(torch.zeros(2, 5))
    with pytest.raises(OptionError, match="no network infers the noise"):
        method.encode(images.x, space="z")
    with pytest.raises(ShapeError, match=r"expected codes \(N, 9\) of 'z', got \(2, 5\)"):
        method.decode(torch.zeros(2, 5), "z")


def test_codes_alone_are_a_transform_that_explains_a_predictor(images):
    method = make(codes_alone=True).double().eval()
    x = images.x[:5].double()
    predictor = nn.Sequential(nn.Flatten(), nn.Linear(9, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    space = method.as_transform("c")
    torch.testing.assert_close(
        space.inverse(space(x)), method.decode(torch.cat([torch.zeros(5, 4).double(), space(x)], dim=1), "z")
    )
    result = trimkit.Trim(predictor, transform=space, attribution="integrated_gradients")(x, target=1)
    torch.testing.assert_close(result.output, predictor(x))
    torch.testing.assert_close(result.scores.sum(1), result.change, atol=2e-3, rtol=0)
    assert space.groups((1, 3, 3)).names == ("category 0", "continuous 0", "continuous 1")


def test_a_run_with_codes_alone_is_stored_with_its_traversals(images, tmp_path):
    trimkit.train(make(codes_alone=True), images, steps=1, batch_size=20, folder=tmp_path / "run")
    assert (tmp_path / "run" / "traversals.png").exists()


@pytest.fixture
def reader():
    """A predictor that tells dark from bright: logits ∓ 9 (mean − ½)."""
    head = nn.Linear(9, 2)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[-1.0], [1.0]]).expand(2, 9))
        head.bias.copy_(torch.tensor([4.5, -4.5]))
    return nn.Sequential(nn.Flatten(), head)


def test_the_conditional_prediction_loss_is_the_cross_entropy_with_the_code(images, reader):
    """KL(code ‖ f(G(z, c))): named "prediction", in the generator phase, and only where prediction="label"."""
    method = make(categories=(2,)).eval()
    options = {"predictor": reader, "prediction": "label", "batch_size": 40, "log_every": 1}
    (row,) = [row for row in trimkit.train(method, images, steps=1, **options).history if row["phase"] == "generator"]
    assert row["loss"] == pytest.approx(
        row["generator"] + row["category"] + 0.1 * row["continuous"] + row["prediction"], rel=1e-5
    )
    batch = Batch(images.x)
    result = method.generate(batch, generator(), 0)
    labels = result.codes["c"][:, :2].argmax(1)
    assert torch.equal(result.labels, labels)
    assert torch.equal(result.codes["z"][:, 4:], result.codes["c"])
    expected = nn.functional.cross_entropy(reader(result.reconstruction), labels, reduction="none")
    loss = trimkit.PredictionLoss(reader, match="label")
    torch.testing.assert_close(loss.per_sample(result.reconstruction, result.labels), expected)


def test_with_a_predictor_the_codes_mean_its_classes(images, reader):
    method = make(categories=(2,), learning_rate=5e-3)
    trimkit.train(method, images, steps=150, batch_size=20, log_every=150, predictor=reader, prediction="label")
    z = method.eval().draw(images.x, generator())
    assert torch.equal(reader(method.decode(z, "z")).argmax(1), z[:, 4:6].argmax(1))


def test_a_penalty_joins_at_the_drawn_codes(images, reader):
    method = make(categories=(2,), codes_alone=True)
    for space in ("z", "c"):
        run = trimkit.train(
            method, images, steps=2, batch_size=20, log_every=1, predictor=reader, trim=[f"l1@{space}:0.1"]
        )
        values = [row[f"l1@{space}"] for row in run.history if row["phase"] == "generator"]
        assert all(math.isfinite(value) and value > 0 for value in values)
        assert "prediction" not in run.history[-1]


def test_a_prediction_loss_without_labels_is_refused(images, reader):
    with pytest.raises(OptionError, match="which have no original to compare predictions with"):
        trimkit.train(make(), images, steps=1, predictor=reader)
    with pytest.raises(
        ModelError, match="the predictor has 2 classes, and InfoGAN draws samples of 3; make it with as"
    ):
        trimkit.train(make(categories=(3,)), images, steps=1, predictor=reader, prediction="label")
    with pytest.raises(
        TransformError, match=r"'c' of InfoGAN is no transform: its codes cannot be decoded: .*codes_alone"
    ):
        trimkit.train(make(), images, steps=1, predictor=reader, trim=["l1@c:1"])
    with pytest.raises(OptionError, match="meant to be of no class"):
        trimkit.train(make(categories=()), images, steps=1, predictor=reader, prediction="label")
