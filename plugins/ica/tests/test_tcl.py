"""TCL: its loss, and what every method of features has: components that are part of the trained state, no way back."""

from __future__ import annotations

import math
import warnings

import pytest
import torch
from trimkit_ica.tcl import TCL

import trimkit
from trimkit.data import Dataset
from trimkit.errors import TrainingError, TransformError, TrimkitWarning
from trimkit.methods import Batch, load_method

from .draws import generator


def make(**options) -> TCL:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return TCL((3,), **{"latent_dim": 2, "segments": 4, "hidden": 8, **options})


class Known(TCL):
    """Its features are |x| of the first two entries."""

    def features(self, x):
        return x[:, :2].abs()


def known(x: torch.Tensor) -> Known:
    method = Known((3,), latent_dim=2, segments=4)
    method.finish(x)
    return method


def sources(n: int = 4000) -> torch.Tensor:
    """Two independent columns whose sizes are far from Gaussian, of different spread, and a third."""
    normal = torch.randn(n, 3, generator=generator())
    return normal.pow(3) * torch.tensor([1.0, 3.0, 1.0])


def test_the_loss_is_the_cross_entropy():
    method = make().double()
    x = torch.randn(6, 3, generator=generator(), dtype=torch.float64)
    u = torch.tensor([0, 1, 2, 3, 0, 1])
    h = method.network(x).abs()
    log_odds = h @ method.classifier.weight.T + method.classifier.bias
    expected = torch.stack([-(row[k].exp() / row.exp().sum()).log() for row, k in zip(log_odds, u, strict=True)])
    result = method.loss(Batch(x, aux=u), generator(), 0)
    torch.testing.assert_close(result.terms["segments"].values, expected)
    assert float(result.diagnostics["accuracy"]) == float((log_odds.argmax(1) == u).double().mean())


def test_at_chance_it_is_the_logarithm_of_the_number_of_segments():
    method = make()
    torch.nn.init.zeros_(method.classifier.weight)
    torch.nn.init.zeros_(method.classifier.bias)
    terms = method.loss(Batch(torch.rand(5, 3), aux=torch.zeros(5, dtype=torch.long)), generator(), 0).terms
    torch.testing.assert_close(terms["segments"].values.detach(), torch.full((5,), math.log(4)))


def test_components_are_white_and_undo_a_linear_map_of_the_features():
    x = sources()
    straight = known(x)
    assert bool(straight.converged)
    s = straight.encode(x, space="components").mean
    torch.testing.assert_close(s.T.cov(correction=0), torch.eye(2), atol=1e-4, rtol=0.0)
    correlation = torch.corrcoef(torch.cat([s, x[:, :2].abs()], 1).T)[:2, 2:]
    assert correlation.abs().max(1).values.min() > 0.99

    class Mixed(Known):
        def features(self, x):
            return super().features(x) @ torch.tensor([[1.0, 0.5], [-0.4, 1.0]])

    mixed = Mixed((3,), latent_dim=2, segments=4)
    mixed.finish(x)
    torch.testing.assert_close(mixed.encode(x, space="components").mean, s, atol=0.05, rtol=0.05)


def test_both_spaces_and_their_flags():
    method = make()
    assert [space.name for space in method.latent_spaces()] == ["h", "components"]
    x = torch.rand(5, 3)
    assert (method.encode(x).mean >= 0).all()
    assert torch.equal(method.encode(x).mean, method.encode(x, space="components").mean)  # before training
    for space in ("h", "components"):
        assert not method.space(space).needs_aux
        with pytest.raises(TransformError, match=r"cannot be decoded .*the sign of a source is lost"):
            method.as_transform(space)
    with pytest.raises(TrainingError, match="TCL has no decoder"):
        method.decode(x)
    with pytest.raises(TrainingError, match="no prior to sample from"):
        method.sample(2)


def test_features_that_depend_on_each_other_leave_components_of_zero():
    x = sources(500)

    class Twice(Known):
        def features(self, x):
            return x[:, :1].abs() * torch.tensor([1.0, -2.0])

    method = Twice((3,), latent_dim=2, segments=4)
    with pytest.warns(TrimkitWarning, match="Twice: its 2 features have 1 independent directions; the other are 0"):
        method.finish(x)
    s = method.encode(x, space="components").mean
    assert float(s[:, 0].std()) == pytest.approx(1.0, abs=1e-2)
    assert float(s[:, 1].abs().max()) == 0.0

    class Constant(Known):
        def features(self, x):
            return torch.ones(len(x), 2)

    dead = Constant((3,), latent_dim=2, segments=4)
    with pytest.warns(TrimkitWarning, match="its components are all 0: whiten: expected data that vary"):
        dead.finish(x)
    assert float(dead.encode(x, space="components").mean.abs().max()) == 0.0


def test_an_ica_that_does_not_converge_is_said_so(monkeypatch):
    from functools import partial

    from trimkit_ica.unmixing import fastica

    monkeypatch.setattr("trimkit_ica.features.fastica", partial(fastica, max_iter=1, tol=1e-12))
    method = Known((3,), latent_dim=2, segments=4)
    with pytest.warns(TrimkitWarning, match="did not converge in 1 iterations"):
        method.finish(sources(500))
    assert not bool(method.converged)
    assert float(method.unmixing.abs().max()) > 0


def test_the_components_come_back_from_a_run(tmp_path):
    x = sources(400)
    data = Dataset("s", x, aux=torch.arange(400) % 4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TrimkitWarning)  # forty steps do not make features for an ICA to agree on
        run = trimkit.train(make(), data, test=data.take(40), steps=40, batch_size=40, folder=tmp_path / "run")
    stored = load_method(run.folder)
    run.method.eval()
    expected = run.method.encode(x, space="components").mean
    assert torch.equal(stored.encode(x, space="components").mean, expected)
    assert not torch.equal(expected, run.method.encode(x).mean)
    assert run.results["test"]["segments"] > 0


def test_it_learns_sizes_of_sources():
    """Two sources whose spread differs between eight segments, mixed linearly: one layer can undo it."""
    of, u = generator(), torch.arange(4000) % 8
    spread = (1.5 * torch.randn(8, 2, generator=of)).exp()
    s = spread[u] * torch.randn(4000, 2, generator=of)
    x = s @ torch.tensor([[1.0, 0.6, 0.0], [-0.5, 1.0, 0.3]])
    method = make(segments=8, layers=1, rate="cosine(1, 0, 300)")
    trimkit.train(method, Dataset("s", x, aux=u), steps=300, batch_size=128, device="cpu")
    for space in ("h", "components"):
        codes = method.eval().encode(x, space=space).mean.detach()
        found = torch.corrcoef(torch.cat([codes, s.abs()], 1).T)[:2, 2:].abs()
        assert found.amax(1).min() > 0.98
        assert found.amax(0).min() > 0.98  # each source has a code of its own
