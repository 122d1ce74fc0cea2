"""ICE-BeeM: energies by hand, both losses in closed form, phases that keep to their own networks."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from trimkit_ica.icebeem import ICEBeeM

import trimkit
from trimkit.data import Dataset
from trimkit.errors import OptionError, TransformError, TrimkitWarning
from trimkit.methods import Batch, standard_normal

from .draws import generator


def make(**options) -> ICEBeeM:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        small = {"latent_dim": 2, "segments": 3, "hidden": 6, "layers": 2, "flow_layers": 2, "flow_hidden": 4}
        return ICEBeeM((2,), **{**small, **options}).double()


@pytest.fixture
def batch() -> Batch:
    return Batch(torch.randn(7, 2, generator=generator(), dtype=torch.float64), aux=torch.arange(7) % 3)


def linear(method: ICEBeeM, g: list[list[float]]) -> ICEBeeM:
    """f(x) = x, and g by hand."""
    method.network = nn.Identity()
    method.g.first.weight.data = torch.tensor(g, dtype=torch.float64)
    return method


G = [[1.0, 2.0], [0.5, 0.25], [3.0, 1.0]]


def test_energies_by_hand(batch):
    x, g = batch.x, torch.tensor(G, dtype=torch.float64)[batch.aux]
    torch.testing.assert_close(linear(make(form="plain"), G).energy(x, batch.aux), (x * g).sum(1))
    torch.testing.assert_close(linear(make(form="positive"), G).energy(x, batch.aux), (x.abs() * g).sum(1))
    squared = linear(make(), [[0.1, 0.2, *row] for row in G])
    expected = 0.1 * x[:, 0] + 0.2 * x[:, 1] + (x.square() * g).sum(1)
    torch.testing.assert_close(squared.energy(x, batch.aux), expected)
    assert (linear(make(form="positive"), G).encode(x).mean >= 0).all()


def gaussian(**options) -> ICEBeeM:
    """p(x|u) = N(0, diag 1/(2 g)): E = Σ g x², c = Σ ½ log(g/π)."""
    method = linear(make(**options), [[0.0, 0.0, *row] for row in G])
    if method.estimation == "flow":
        method.normaliser.first.weight.data = 0.5 * (torch.tensor(G) / math.pi).log().sum(1, keepdim=True).double()
    return method


def test_the_log_ratio_is_that_of_the_densities(batch):
    """Normalised by hand, and the untrained flow is a standard normal."""
    g = torch.tensor(G, dtype=torch.float64)[batch.aux]
    normal = torch.distributions.Normal
    expected = (normal(0.0, (2 * g).rsqrt()).log_prob(batch.x) - normal(0.0, 1.0).log_prob(batch.x)).sum(1)
    torch.testing.assert_close(gaussian().log_ratio(batch.x, batch.aux), expected)


def test_the_contrast_is_the_logistic_loss_of_the_log_ratio(batch):
    method = gaussian()
    drawn = standard_normal(batch.x, generator())  # the untrained flow's draws
    real, false = method.log_ratio(batch.x, batch.aux), method.log_ratio(drawn, batch.aux)
    expected = -torch.sigmoid(real).log() - (1 - torch.sigmoid(false)).log()
    result = method.contrast(batch, generator(), 0)
    torch.testing.assert_close(result.terms["contrast"].values, expected)
    hits = ((real > 0).double() + (false < 0).double()).mean() / 2
    assert float(result.diagnostics["accuracy"]) == pytest.approx(float(hits))


def test_a_model_that_is_its_flow_is_at_chance():
    method = linear(make(), [[0.0, 0.0, 0.5, 0.5]] * 3)
    method.normaliser.first.weight.data.fill_(-math.log(2 * math.pi))
    batch = Batch(torch.randn(9, 2, generator=generator(), dtype=torch.float64), aux=torch.arange(9) % 3)
    terms = method.contrast(batch, generator(), 0).terms
    torch.testing.assert_close(terms["contrast"].values.detach(), torch.full((9,), 2 * math.log(2)).double())


def test_the_score_term_is_that_of_a_hand_computed_energy(batch):
    """E = Σ g x², so ∇E = 2 g x̃ and the loss ½ ‖ε − 2 σ g (x + σ ε)‖²."""
    method = gaussian(estimation="score", noise=0.3)
    g = torch.tensor(G, dtype=torch.float64)[batch.aux]
    noise = standard_normal(batch.x, generator())
    expected = 0.5 * (noise - 0.3 * 2 * g * (batch.x + 0.3 * noise)).square().sum(1)
    found = method.match_score(batch, generator(), 0).terms["score"].values
    torch.testing.assert_close(found, expected)
    with torch.no_grad():  # an evaluation may be without gradients
        torch.testing.assert_close(method.match_score(batch, generator(), 0).terms["score"].values, expected)


def test_the_score_is_smallest_at_the_density_of_the_disturbed_data():
    """Data N(0, 1) with noise of σ: the best g of E = g x² is 1/(2 (1 + σ²))."""
    x = torch.randn(40_000, 2, generator=generator(1), dtype=torch.float64)
    batch, best = Batch(x, aux=torch.zeros(40_000, dtype=torch.long)), 0.5 / (1 + 0.5**2)

    def loss(g: float) -> float:
        method = linear(make(estimation="score", noise=0.5), [[0.0, 0.0, g, g]] * 3)
        return float(method.match_score(batch, generator(), 0).terms["score"].mean.detach())

    assert loss(best) < min(loss(best - 0.05), loss(best + 0.05))


def test_the_flow_is_fitted_by_its_likelihood(batch):
    method = make()
    found = method.fit_flow(batch, generator(), 0).terms["flow"].values
    torch.testing.assert_close(found, 0.5 * (batch.x.square() + math.log(2 * math.pi)).sum(1))


def test_each_loss_reaches_its_own_networks_alone(batch):
    method = make()
    energy, flow = method.phases()
    assert not {map(id, energy.parameters)} & {map(id, flow.parameters)}
    assert len(energy.parameters) + len(flow.parameters) == len(list(method.parameters()))
    energy.loss(batch, generator(), 0).terms["contrast"].mean.backward()
    assert all(parameter.grad is None for parameter in flow.parameters)
    assert all(parameter.grad is not None for parameter in energy.parameters)
    assert [phase.name for phase in make(estimation="score").phases()] == ["energy"]
    assert not hasattr(make(estimation="score"), "flow")


@pytest.mark.parametrize("estimation", ["flow", "score"])
def test_it_learns_the_spread_of_segments(estimation):
    """x|u ~ N(0, σ_u²): with f(x) = x the energy's g of x² tends to 1/(2 σ_u²)."""
    u, spread = torch.arange(6000) % 3, torch.tensor([0.5, 1.0, 2.0])
    x = spread[u][:, None] * torch.randn(6000, 2, generator=generator())
    method = make(estimation=estimation, learning_rate=5e-2, rate="cosine(1, 0, 400)").float()
    method.network = nn.Identity()
    trimkit.train(method, Dataset("s", x, aux=u), steps=400, batch_size=300, device="cpu")
    disturbed = spread.square() + (0.1**2 if estimation == "score" else 0.0)
    expected = (0.5 / disturbed)[:, None].expand(3, 2)
    torch.testing.assert_close(method.g.first.weight.detach()[:, 2:], expected, atol=0.05, rtol=0.25)


def test_score_matching_resumes_and_is_the_same_twice(tmp_path):
    data = Dataset("s", torch.rand(40, 2, generator=generator()), aux=torch.arange(40) % 3)
    quick = {"batch_size": 10, "precision": "64"}

    def weights(method):
        return torch.cat([p.detach().flatten() for p in method.parameters()])

    whole = trimkit.train(make(estimation="score"), data, steps=6, **quick).method
    trimkit.train(make(estimation="score"), data, steps=3, folder=tmp_path / "run", **quick)
    parts = trimkit.train(make(estimation="score"), data, steps=6, folder=tmp_path / "run", resume=True, **quick).method
    assert torch.equal(weights(whole), weights(parts))


def test_vectors_u_and_images():
    method = ICEBeeM((1, 2, 2), latent_dim=2, aux_dim=3, hidden=6, layers=2, estimation="score")
    batch = Batch(torch.rand(5, 1, 2, 2), aux=torch.rand(5, 3))
    assert method.match_score(batch, generator(), 0).terms["score"].values.shape == (5,)
    flow = ICEBeeM((1, 2, 2), latent_dim=2, aux_dim=3, hidden=6, layers=2)
    assert flow.contrast(batch, generator(), 0).terms["contrast"].values.shape == (5,)


def test_no_data_belong_to_its_codes():
    with pytest.raises(TransformError, match="an energy says how likely x is"):
        make().as_transform("h")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"estimation": "flows"}, "there is no estimation 'flows'. Did you mean 'flow'"),
        ({"form": "odd"}, "there is no form 'odd'. Known: even, plain, positive, squared"),
        ({"noise": 0.0}, "expected noise > 0, got 0.0"),
        ({"activation": "relu"}, "there is no activation 'relu'. Did you mean 'leaky_relu'"),
        ({"invertible": -0.1}, "expected invertible ≥ 0, got -0.1"),
        (
            {"estimation": "classes", "segments": 0, "aux_dim": 3},
            "estimation 'classes' needs labels u, got vectors of aux_dim=3; use 'flow' or 'score'",
        ),
        ({"flow_layers": 0}, "expected flow_layers ≥ 1, got 0"),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(OptionError, match=message):
        make(**options)


@pytest.mark.parametrize("offset", [3.0, 10.0, 30.0])
def test_rounding_of_the_features_is_no_component(offset):
    method = ICEBeeM((5,), latent_dim=8, segments=4, layers=1, estimation="score")  # 8 features of 5 directions
    x = torch.distributions.Laplace(0.0, 1.0).sample((2000, 5)) + offset
    with pytest.warns(TrimkitWarning, match="5 independent directions"):
        method.finish(x)
    assert method.unmixing[5:].eq(0).all()
    assert method.unmixing.abs().max() < 1e3
