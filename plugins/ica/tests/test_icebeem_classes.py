"""ICE-BeeM's conditional likelihood of classes: Bayes' rule, what it determines, and the decoder that forbids folds."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from trimkit_ica.icebeem import ICEBeeM

import trimkit
from trimkit.data import Dataset, load
from trimkit.errors import DataError
from trimkit.methods import Batch
from trimkit.metrics.independence import mean_correlation

from .draws import generator

G = torch.tensor([[1.0, 2.0], [0.5, 0.25], [3.0, 1.0]], dtype=torch.float64)


def make(**options) -> ICEBeeM:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        small = {"latent_dim": 2, "segments": 3, "hidden": 6, "layers": 2, "estimation": "classes", "form": "even"}
        return ICEBeeM((2,), **{**small, **options}).double()


def gaussian(**options) -> ICEBeeM:
    """p(x|u) = N(0, diag 1/(2 g_u)) with f(x) = x, and classes of one size: c_u = Σ ½ log g_u."""
    method = make(**options)
    method.network = nn.Identity()
    method.g.first.weight.data = G.clone()
    method.normaliser.first.weight.data = 0.5 * G.log().sum(1, keepdim=True)
    return method


@pytest.fixture
def batch() -> Batch:
    return Batch(torch.randn(7, 2, generator=generator(), dtype=torch.float64), aux=torch.arange(7) % 3)


def test_the_term_is_bayes_rule(batch):
    density = torch.distributions.Normal(0.0, (2 * G).rsqrt()).log_prob(batch.x[:, None]).sum(2)
    expected = density.logsumexp(1) - density[torch.arange(7), batch.aux]
    result = gaussian(invertible=0.0).classify(batch, generator(), 0)
    torch.testing.assert_close(result.terms["classes"].values, expected)
    hits = (density.argmax(1) == batch.aux).double().mean()
    assert float(result.diagnostics["accuracy"]) == pytest.approx(float(hits))


@pytest.mark.parametrize(("form", "width"), [("plain", 2), ("positive", 2), ("even", 2), ("squared", 4)])
def test_logits_are_normalisers_less_the_energies(batch, form, width):
    method = make(form=form)
    logits = method.logits(method.features(batch.x))
    for label in range(3):
        u = torch.full((7,), label)
        torch.testing.assert_close(logits[:, label], method.normaliser(u)[:, 0] - method.energy(batch.x, u))
    assert method.g.first.weight.shape == (3, width)


def test_what_all_classes_share_changes_nothing(batch):
    method = gaussian(invertible=0.0)
    before = method.classify(batch, generator(), 0).terms["classes"].values
    method.g.first.weight.data += torch.tensor([5.0, -0.3])
    method.normaliser.first.weight.data += 2.0
    torch.testing.assert_close(method.classify(batch, generator(), 0).terms["classes"].values, before)


def test_the_likelihood_does_not_see_a_fold(batch):
    """f = |x| is as likely as f = x, and one-to-one on no neighbourhood of 0: only the decoder tells them apart."""

    class Folded(nn.Module):
        def forward(self, x):
            return x.abs()

    method = gaussian()
    open_ = method.classify(batch, generator(), 0).terms
    method.network = Folded()
    folded = method.classify(batch, generator(), 0).terms
    torch.testing.assert_close(open_["classes"].values, folded["classes"].values)
    method.decoder = nn.Identity()
    assert float(method.classify(batch, generator(), 0).terms["inverse"].mean) > 0.5
    method.network = nn.Identity()
    assert float(method.classify(batch, generator(), 0).terms["inverse"].mean) == 0.0


def test_the_decoders_error_stands_beside_the_mean_variance_of_the_data(batch):
    method = make()
    x = torch.randn(5000, 2, generator=generator(1), dtype=torch.float64) * torch.tensor([1.0, 7.0]).double() + 3
    method.prepare(x, None, generator())
    assert float(method.spread) == pytest.approx(float(x.var(0, correction=0).mean()), rel=1e-6)
    expected = (method.decoder(method.features(batch.x)) - batch.x).square().sum(1) / method.spread
    torch.testing.assert_close(method.classify(batch, generator(), 0).terms["inverse"].values, expected)
    assert method.phases()[0].weights == {"classes": 1.0, "inverse": 0.3}


def test_without_a_decoder_the_likelihood_is_alone(batch):
    method = make(invertible=0.0)
    assert method.phases()[0].weights == {"classes": 1.0}
    assert list(method.classify(batch, generator(), 0).terms) == ["classes"]
    assert not any(name.startswith(("decoder", "flow", "spread")) for name in method.state_dict())


def test_whitened_features_see_white_data():
    method = make(whitened=True)
    method.network = nn.Identity()
    mixing = torch.tensor([[2.0, 1.0], [0.5, 3.0]], dtype=torch.float64)
    x = torch.randn(500, 2, generator=generator(), dtype=torch.float64) @ mixing + 9
    method.prepare(x, None, generator())
    torch.testing.assert_close(method.features(x).T.cov(correction=0), torch.eye(2, dtype=torch.float64))
    flat = torch.cat([x[:, :1], 2 * x[:, :1]], 1)
    method.prepare(flat, None, generator())
    assert method.features(flat)[:, 1].eq(0).all()  # of data of lower rank, what is not there is 0


def test_the_activation_is_that_of_features_and_decoder():
    layers = [*make(activation="leaky_relu").network, *make(activation="leaky_relu").decoder]
    assert [layer.negative_slope for layer in layers if isinstance(layer, nn.LeakyReLU)] == [0.2, 0.2]


def test_it_learns_how_spreads_differ():
    """x|u ~ N(0, σ_u²): with f(x) = x, the differences of g tend to those of 1/(2 σ_u²)."""
    u, spread = torch.arange(6000) % 3, torch.tensor([0.5, 1.0, 2.0])
    x = spread[u][:, None] * torch.randn(6000, 2, generator=generator())
    method = make(learning_rate=5e-2, rate="cosine(1, 0, 400)", invertible=0.0).float()
    method.network = nn.Identity()
    trimkit.train(method, Dataset("s", x, aux=u), steps=400, batch_size=300, device="cpu")
    g = method.g.first.weight.detach()
    expected = 0.5 / spread.square()
    torch.testing.assert_close(g - g[1:2], (expected - expected[1])[:, None].expand(3, 2), atol=0.05, rtol=0.15)


def test_it_finds_dependent_sources_with_their_signs():
    train, test = (load("imca:dim=2,segments=12,observations=500,layers=3", split) for split in ("train", "test"))
    options = {"whitened": True, "activation": "leaky_relu", "learning_rate": 1e-2, "hidden": 32, "layers": 3}
    method = make(segments=12, rate="one_cycle(0.04, 1, 500)", **options).float()
    trimkit.train(method, train, steps=500, batch_size=256, device="cpu")
    codes = method.eval().encode(test.x[:]).mean
    assert mean_correlation(codes, test.sources, draws=0).value > 0.9
    assert math.isfinite(float(method.spread))


def test_it_resumes_bit_for_bit(tmp_path):
    data = Dataset("s", torch.rand(40, 2, generator=generator()), aux=torch.arange(40) % 3)
    quick = {"batch_size": 10, "precision": "64"}

    def weights(method):
        return torch.cat([value.detach().flatten() for value in method.state_dict().values()])

    whole = trimkit.train(make(whitened=True), data, steps=6, **quick).method
    trimkit.train(make(whitened=True), data, steps=3, folder=tmp_path / "run", **quick)
    parts = trimkit.train(make(whitened=True), data, steps=6, folder=tmp_path / "run", resume=True, **quick).method
    assert torch.equal(weights(whole), weights(parts))


def test_data_that_are_all_alike_are_refused():
    data = Dataset("alike", torch.full((12, 2), 0.5), aux=torch.arange(12) % 3)
    method = ICEBeeM((2,), latent_dim=2, segments=3, estimation="classes", hidden=4)
    with pytest.raises(DataError, match="expected data that vary, got samples that are all alike"):
        trimkit.train(method, data, steps=1, batch_size=6)
