"""β-TCVAE: α MI + β TC + γ dwKL, written with the KL in closed form."""

from __future__ import annotations

import pytest
import torch
from trimkit_vae.tcvae import BetaTCVAE
from trimkit_vae.vae import VAE

import trimkit
from trimkit.errors import OptionError
from trimkit.methods import Batch, decompose_kl
from trimkit.objective import Objective

from .draws import generator


def mean_loss(method, x, draws: int) -> float:
    phase = method.phases()[0]
    with torch.no_grad():
        losses = [Objective(phase.weights)(phase.loss(Batch(x), generator(i), 0).terms)[0] for i in range(draws)]
    return float(torch.stack(losses).mean())


@pytest.mark.parametrize("estimator", ["symmetric", "mss", "batch", "leave-one-out"])
def test_the_objective_is_the_papers_in_the_mean(make_vae, images, estimator):
    """recon + α MI + β TC + γ dwKL, averaged over draws of z."""
    method = make_vae(BetaTCVAE, dataset_size=48, alpha=0.5, beta=4.0, gamma=2.0, estimator=estimator).double()
    x = images.x[:12].double()
    paper = []
    with torch.no_grad():
        for i in range(300):
            q = method.encode(x)
            z = q.rsample(generator(i))
            parts = decompose_kl(z, q, estimator=estimator, dataset_size=48)
            recon = method.observation(method.decoder(z), x)
            information, correlation = parts.mutual_information, parts.total_correlation
            paper.append((recon + 0.5 * information + 4 * correlation + 2 * parts.dimension_wise_kl).mean())
    assert mean_loss(method, x, 300) == pytest.approx(float(torch.stack(paper).mean()), abs=0.05)


def test_all_weights_one_is_the_vae(make_vae, images):
    x = images.x[:6].double()
    method = make_vae(BetaTCVAE, dataset_size=48, beta=1.0).double()
    assert mean_loss(method, x, 1) == pytest.approx(mean_loss(make_vae(VAE).double(), x, 1))


def test_the_terms_are_those_of_the_shared_decomposition(make_vae, images):
    method = make_vae(BetaTCVAE, dataset_size=48).double()
    x = images.x[:6].double()
    terms = method.loss(Batch(x), generator(), 0).terms
    q = method.encode(x)
    parts = decompose_kl(q.rsample(generator()), q, dataset_size=48)
    torch.testing.assert_close(terms["tc"].values, parts.total_correlation)
    torch.testing.assert_close(terms["dwkl"].values, parts.dimension_wise_kl)
    torch.testing.assert_close(terms["kl"].values, q.kl().sum(1))


def test_the_weights(make_vae):
    weights = make_vae(BetaTCVAE, dataset_size=48).phases()[0].weights
    assert weights == {"recon": 1.0, "kl": 1.0, "tc": 5.0, "dwkl": 0.0}
    weights = make_vae(BetaTCVAE, dataset_size=48, alpha=0.5, beta="linear(0, 4, 10)", gamma=2.0).phases()[0].weights
    assert (weights["kl"], weights["tc"](5), weights["dwkl"]) == (0.5, 1.5, 1.5)


def test_a_larger_beta_gives_a_smaller_total_correlation(make_vae, images):
    found = []
    for beta in (1.0, 30.0):
        method = make_vae(BetaTCVAE, dataset_size=48, beta=beta, learning_rate=4e-3)
        trimkit.train(method, images, steps=80, batch_size=48)
        with torch.no_grad():
            q = method.encode(images.x)
            found.append(decompose_kl(q.rsample(generator()), q, dataset_size=48).total_correlation.mean())
    assert float(found[1]) < 0.5 * float(found[0])


def test_the_size_of_the_data_is_never_guessed(make_vae):
    with pytest.raises(OptionError, match="dataset_size"):
        trimkit.create("method", "beta-tcvae", shape=(6,), network="mlp")
    with pytest.raises(OptionError, match="expected dataset_size ≥ 2"):
        make_vae(BetaTCVAE, dataset_size=1)
    for size in (48.0, "48", None):
        with pytest.raises(
            OptionError, match=f"expected dataset_size as the number of samples, an integer, got {size!r}"
        ):
            make_vae(BetaTCVAE, dataset_size=size)
    with pytest.raises(OptionError, match="expected dataset_size ≥ 12, the size of the batch, got 5"):
        make_vae(BetaTCVAE, dataset_size=5).loss(Batch(torch.zeros(12, 1, 8, 8)), generator(), 0)


def test_options_out_of_range_are_refused(make_vae):
    for option in ("alpha", "beta", "gamma"):
        with pytest.raises(OptionError, match=f"expected {option} ≥ 0, got -1"):
            make_vae(BetaTCVAE, dataset_size=48, **{option: -1.0})
    with pytest.raises(OptionError, match="no estimator 'mas'"):
        make_vae(BetaTCVAE, dataset_size=48, estimator="mas")
