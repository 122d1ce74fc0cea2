"""FactorVAE: two phases that do not leak into each other, and a discriminator that estimates the total correlation."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from trimkit_vae.factor import FactorVAE, make_discriminator, permuted

from trimkit.errors import OptionError, ShapeError
from trimkit.methods import Batch, gaussian_decomposition

from .draws import generator


@pytest.fixture
def method(make_vae):
    return make_vae(FactorVAE, discriminator_width=16).double()


@pytest.fixture
def batch(images):
    x = images.x.double()
    return Batch(x[:10], other=Batch(x[10:20]))


def second_phase(method: FactorVAE, batch: Batch, z: torch.Tensor) -> torch.Tensor:
    handed = Batch(batch.x, other=batch.other, carried={"z": z})
    return method.discriminate(handed, generator(1), 0).terms["discriminator"].values


def test_the_first_phase_is_recon_kl_and_the_difference_of_the_logits(method, batch):
    result = method.loss(batch, generator(), 0)
    q = method.encode(batch.x)
    z = q.rsample(generator())
    logits = method.discriminator(z)
    torch.testing.assert_close(result.terms["tc"].values, logits[:, 0] - logits[:, 1])
    torch.testing.assert_close(result.terms["kl"].values, q.kl().sum(1))
    torch.testing.assert_close(result.carried["z"], z)
    assert method.phases()[0].weights == {"recon": 1.0, "kl": 1.0, "tc": 35.0}


def test_the_second_phase_is_the_cross_entropy_of_codes_and_permuted_codes(method, batch):
    z = torch.randn(10, 3, generator=generator(), dtype=torch.float64)
    found = second_phase(method, batch, z)
    draw = generator(1)
    product = permuted(method.encode(batch.other.x).rsample(draw), draw)
    joint, shuffled = (method.discriminator(codes).softmax(1) for codes in (z, product))
    torch.testing.assert_close(found, -0.5 * (joint[:, 0].log() + shuffled[:, 1].log()))


def test_the_discriminators_loss_reaches_the_discriminator_alone(method, batch):
    """The leak of other implementations: half the cross-entropy also moved the encoder."""
    first = method.loss(batch, generator(), 0)
    sum(term.mean for term in first.terms.values()).backward()
    before = {name: parameter.grad.clone() for name, parameter in method.encoder.named_parameters()}
    method.discriminator.zero_grad()
    second_phase(method, batch, first.carried["z"].detach()).mean().backward()
    for name, parameter in method.encoder.named_parameters():
        assert torch.equal(parameter.grad, before[name])
    assert all(float(parameter.grad.abs().max()) > 0 for parameter in method.discriminator.parameters())


def test_the_phases_share_no_parameter_and_leave_none_out(method):
    first, second = ({id(parameter) for parameter in phase.parameters} for phase in method.phases())
    assert not first & second
    assert first | second == {id(parameter) for parameter in method.parameters()}
    assert [phase.draws for phase in method.phases()] == [1, 2]
    assert second == {id(parameter) for parameter in method.discriminator.parameters()}
    assert method.phases()[1].optimiser([nn.Parameter(torch.zeros(1))]).defaults["betas"] == (0.5, 0.9)


def test_the_discriminator_is_that_of_the_paper():
    """Six hidden layers of 1000, two logits."""
    discriminator = make_discriminator(10)
    sizes = [(layer.in_features, layer.out_features) for layer in discriminator if isinstance(layer, nn.Linear)]
    assert sizes == [(10, 1000), *[(1000, 1000)] * 5, (1000, 2)]
    assert [layer.negative_slope for layer in discriminator if isinstance(layer, nn.LeakyReLU)] == [0.2] * 6


def test_columns_are_permuted_over_the_batch_each_by_itself():
    codes = torch.arange(40.0).view(10, 4)
    found = permuted(codes, generator())
    assert torch.equal(found.sort(0).values, codes)  # columns keep their values
    assert len({tuple((found[:, i] // 4).tolist()) for i in range(4)}) == 4  # each in an order of its own
    assert not torch.equal(permuted(codes, generator(1)), found)


def test_a_batch_of_one_is_refused(method, batch):
    one = Batch(batch.x[:1], other=Batch(batch.x[:1]))
    with pytest.raises(ShapeError, match="expected at least 2 samples a batch, got 1"):
        second_phase(method, one, torch.zeros(1, 3, dtype=torch.float64))


def test_at_its_optimum_the_discriminator_knows_the_total_correlation():
    """Codes of a Gaussian with correlation .8: TC = −½ log(1 − .8²) = .511 nats, as mean of D₀ − D₁."""
    correlation = 0.8
    covariance = torch.tensor([[1.0, correlation], [correlation, 1.0]])
    truth = float(gaussian_decomposition(covariance - 0.01 * torch.eye(2), 0.01).total_correlation)
    factor, draw = torch.linalg.cholesky(covariance), generator()

    def codes(n: int) -> torch.Tensor:
        return torch.randn(n, 2, generator=draw) @ factor.T

    method = FactorVAE((2,), latent_dim=2, network="mlp", discriminator_width=32)
    method.gaussian = lambda x, aux=None: Draws(x)
    optimiser = torch.optim.Adam(method.discriminator.parameters(), 2e-3)
    for _ in range(400):
        optimiser.zero_grad()
        second_phase_loss = method.discriminate(
            Batch(torch.zeros(512, 2), other=Batch(codes(512)), carried={"z": codes(512)}), draw, 0
        ).terms["discriminator"]
        second_phase_loss.mean.backward()
        optimiser.step()
    z = codes(20_000)
    with torch.no_grad():
        estimate = float(method.regularise(method.encode(torch.zeros(1, 2)), z, draw, 0)["tc"].mean)
    assert truth == pytest.approx(0.511, abs=1e-3)
    assert estimate == pytest.approx(truth, abs=0.06)


class Draws:
    """A posterior whose draw is the data."""

    def __init__(self, x: torch.Tensor) -> None:
        self.x = x

    def rsample(self, generator: torch.Generator) -> torch.Tensor:
        return self.x

    def kl(self) -> torch.Tensor:
        return torch.zeros_like(self.x)


def test_options_out_of_range_are_refused(make_vae):
    with pytest.raises(OptionError, match="expected gamma ≥ 0, got -1"):
        make_vae(FactorVAE, gamma=-1.0)
    with pytest.raises(OptionError, match="expected discriminator_width ≥ 1, got 0"):
        make_vae(FactorVAE, discriminator_width=0)
    with pytest.raises(OptionError, match="expected discriminator_learning_rate > 0, got 0"):
        make_vae(FactorVAE, discriminator_width=8, discriminator_learning_rate=0.0)
