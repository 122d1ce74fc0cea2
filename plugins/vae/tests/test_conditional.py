"""Conditional VAEs: what the networks see of u, training, resuming, transforms, refusals."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from trimkit_vae.networks import Beside
from trimkit_vae.vae import VAE

import trimkit
from trimkit.cli import main
from trimkit.errors import DataError, OptionError, ShapeError, TransformError
from trimkit.methods import Batch, load_method
from trimkit.registry import available
from trimkit.testing import Example, conformance

from .draws import generator

SMALL = {"network": "mlp", "latent_dim": 3, "conditional": True, "segments": 2}
NAMES = [name for name, spec in available("methods").items() if spec.family == "vae"]
OWN = {"beta-tcvae": {"dataset_size": 40}, "factor-vae": {"discriminator_width": 16}}

test_promises = conformance("vae", examples={name: Example({**SMALL, **OWN.get(name, {})}) for name in NAMES})


@pytest.fixture
def classed(images):
    """The images, with their classes as auxiliary variables."""
    return replace(images, aux=images.y)


@pytest.fixture
def vae(make_vae):
    return make_vae(VAE, conditional=True, segments=2).double().eval()


def test_the_encoder_sees_a_plane_of_u_and_the_decoder_u_beside_z(vae, classed):
    x, u = classed.x[:5].double(), classed.aux[:5]
    one_hot = torch.eye(2, dtype=torch.float64)[u]
    linear = vae.beside.plane[0]
    plane = (one_hot @ linear.weight.T + linear.bias).view(5, 1, 8, 8)
    mean = vae.encoder(torch.cat([x, plane], 1))[:, :3]
    torch.testing.assert_close(vae.encode(x, u).mean, mean)
    expected = vae.observation.mean(vae.decoder(torch.cat([mean, one_hot], 1)))
    torch.testing.assert_close(vae.decode(mean, aux=u), expected)


def test_data_without_axes_have_u_at_their_end():
    x, c = torch.rand(3, 6), torch.eye(2)[torch.tensor([0, 1, 1])]
    assert torch.equal(Beside((6,), 2)(x, c), torch.cat([x, c], 1))


@pytest.mark.parametrize(("network", "shape"), [("burgess", (1, 16, 16)), ("conv", (3, 20, 17)), ("conv", (2, 33))])
def test_every_network_is_conditional(network, shape):
    method = VAE(shape, latent_dim=3, network=network, conditional=True, aux_dim=4)
    x, u = torch.rand(2, *shape), torch.randn(2, 4)
    assert method.decode(method.encode(x, u).mean, aux=u).shape == x.shape


def test_own_networks_are_made_for_data_with_u_and_for_codes_with_u():
    asked = []

    def pair(shape, d):
        asked.append((shape, d))
        size = torch.Size(shape).numel()
        decoder = torch.nn.Sequential(torch.nn.Linear(d, size), torch.nn.Unflatten(1, shape))
        return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(size, 2 * d)), decoder

    VAE((1, 4, 4), latent_dim=3, network=pair, conditional=True, segments=5)
    assert asked == [((2, 4, 4), 3), ((1, 4, 4), 8)]


def test_the_loss_is_that_of_codes_and_data_given_u(vae, classed):
    x, u = classed.x[:6].double(), classed.aux[:6]
    terms = vae.loss(Batch(x, aux=u), generator(1), 0).terms
    q = vae.encode(x, u)
    z = q.rsample(generator(1))
    r = vae.decoder(torch.cat([z, torch.eye(2, dtype=torch.float64)[u]], 1))
    torch.testing.assert_close(terms["recon"].values, vae.observation(r, x))
    torch.testing.assert_close(terms["kl"].values, q.kl().sum(1))


@pytest.mark.parametrize("name", NAMES)
def test_trains_with_a_penalty_and_a_prediction_loss(name, classed, predictor):
    method = trimkit.create("method", name, shape=(1, 8, 8), **{**SMALL, **OWN.get(name, {})})
    before = method.beside.plane[0].weight.detach().clone()
    run = trimkit.train(method, classed, predictor=predictor, trim=["l1@z:0.1"], steps=3, batch_size=16, log_every=1)
    row = next(row for row in run.history if row["phase"] == "vae")
    assert row["l1@z"] > 0
    assert not torch.equal(method.beside.plane[0].weight, before)
    assert run.results["train"]["squared_error"] > 0
    assert run.results["train"]["predictor"]["agreement"] >= 0


def test_a_penalty_in_training_holds_each_samples_own_u(vae, classed, predictor):
    predictor = predictor.double()
    x, u = classed.x[:8].double(), classed.aux[:8]
    penalty = trimkit.TrimPenalty("l1", transform=vae.as_transform("z", aux=u), attribution="input_x_gradient")
    values = penalty.per_sample(predictor, x, 1)
    for row in range(8):
        one = slice(row, row + 1)
        alone = trimkit.TrimPenalty("l1", transform=vae.as_transform("z", aux=u[one]), attribution="input_x_gradient")
        torch.testing.assert_close(alone.per_sample(predictor, x[one], 1), values[one])


def test_resuming_gives_the_same_bits_and_a_run_is_loaded_with_its_pictures(make_vae, classed, tmp_path):
    runs = {}
    for name, steps in (("whole", 4), ("parts", 2), ("parts", 4)):
        method = make_vae(VAE, conditional=True, segments=2)
        folder = tmp_path / name
        trimkit.train(method, classed, steps=steps, batch_size=16, folder=folder, resume=folder.exists())
        runs[name] = method
    for one, other in zip(runs["whole"].parameters(), runs["parts"].parameters(), strict=True):
        assert torch.equal(one, other)
    assert {"reconstructions.png", "traversals.png", "traversals.gif"} <= {p.name for p in folder.iterdir()}
    loaded = load_method(folder)
    assert loaded.options == runs["parts"].options
    with torch.no_grad():
        codes = [trained.eval().encode(classed.x, classed.aux).mean for trained in (loaded, method)]
        assert torch.equal(*codes)


@pytest.mark.filterwarnings("ignore:integrated_gradients")  # of networks that nobody trained
@pytest.mark.parametrize("attribution", ["integrated_gradients", "saliency", "feature_ablation"])
def test_u_is_held_and_explained_by_nothing(vae, classed, predictor, attribution):
    predictor = predictor.double()
    x, u = classed.x[:6].double(), classed.aux[:6]
    all_at_once = trimkit.Trim(predictor, vae.as_transform("z", aux=u), attribution)(x, target=1)
    torch.testing.assert_close(all_at_once.output, predictor(x))
    for label in (0, 1):
        one = u == label
        alone = trimkit.Trim(predictor, vae.as_transform("z", aux=label), attribution)(x[one], target=1)
        torch.testing.assert_close(all_at_once.scores[one], alone.scores)


def test_rows_that_are_selected_keep_their_u(vae, classed):
    u = classed.aux[:6]
    transform = vae.as_transform("z", aux=u)
    numbers = torch.tensor([5, 0, 0, 3])
    z = torch.randn(4, 3, generator=generator(), dtype=torch.float64)
    torch.testing.assert_close(transform.at_rows(numbers).inverse(z), vae.decode(z, aux=u[numbers]))
    both = trimkit.create("transform", "compose", of=["identity", transform])
    with pytest.raises(TransformError, match="Compose: a part of it holds aux of each sample"):
        both.at_rows(numbers)


def test_an_audit_explains_the_samples_of_one_class(make_vae, classed, predictor):
    space = make_vae(VAE, conditional=True, segments=2).eval().as_transform("z", aux=1)
    ones = classed.select(classed.aux == 1)
    report = trimkit.audit(predictor.eval(), ones, transform=space, samples=12, attributions=["saliency"])
    assert report.verdicts


def test_samples_are_of_the_classes_asked_for_or_of_all(vae):
    aux = torch.tensor([1, 0, 1])
    z = vae.sample_codes(3, generator(2))
    torch.testing.assert_close(vae.sample(3, generator(2), aux), vae.decode(z, aux=aux))
    assert vae.sample(3, generator(2)).shape == (3, 1, 8, 8)


def test_from_the_command_line_the_data_tell_the_classes(tmp_path, capsys):
    small = ["--method.network", "mlp", "--method.latent_dim", "2", "--steps", "2"]
    conditional = ["--method.conditional", "true"]
    out = str(tmp_path / "run")
    assert main(["train", "vae", "--data", "digits:aux=labels", *small, *conditional, "--out", out]) == 0
    assert load_method(out).condition.segments == 10
    plain = str(tmp_path / "plain")
    assert main(["train", "vae", "--data", "digits:aux=labels", *small, "--out", plain]) == 0
    assert load_method(plain).condition is None
    assert main(["train", "vae", "--data", "digits", *small, *conditional, "--out", str(tmp_path / "no")]) == 2
    assert "VAE needs segments" in (err := capsys.readouterr().err)
    assert "digits:aux=labels" in err
    assert not (tmp_path / "no").exists()


def test_what_does_not_fit_is_refused_by_name(vae, images, classed):
    with pytest.raises(OptionError, match="BetaVAE needs segments, the number of values of u"):
        trimkit.create("method", "beta-vae", shape=(6,), network="mlp", conditional=True)
    with pytest.raises(OptionError, match="segments and aux_dim say what u is for conditional=True"):
        VAE((6,), network="mlp", segments=3)
    with pytest.raises(DataError, match="VAE got data without auxiliary variables"):
        trimkit.train(vae, images, steps=1, batch_size=16)
    with pytest.raises(DataError, match=r"labels u in 0 … 1, got 0 … 2"):
        vae.encode(classed.x[:3].double(), torch.arange(3))
    with pytest.raises(DataError, match="VAE needs the auxiliary variable u to decode, got none"):
        vae.decode(torch.zeros(1, 3, dtype=torch.float64))
    with pytest.raises(TransformError, match=r"encoding and decoding needs auxiliary variables: hold them"):
        vae.as_transform("z")
    with pytest.raises(ShapeError, match=r"holds aux of 3 samples, got 4 rows"):
        vae.as_transform("z", aux=torch.tensor([0, 1, 1]))(classed.x[:4].double())
    with pytest.raises(OptionError, match="VAE sees no auxiliary variables"):
        VAE((6,), network="mlp").as_transform("z", aux=1)
