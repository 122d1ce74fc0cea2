import pytest
import torch
from torch import nn
from trimkit_vae.initialisation import fan_in, he_uniform
from trimkit_vae.networks import make_networks


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        yield


@pytest.mark.parametrize(
    ("layer", "inputs"),
    [
        (nn.Linear(7, 3), 7),
        (nn.Conv1d(4, 6, 3, groups=2), 6),
        (nn.Conv2d(5, 2, (4, 3)), 60),
        (nn.ConvTranspose2d(8, 2, 4, stride=2, padding=1), 32),
        (nn.ConvTranspose1d(8, 2, 4, stride=4), 8),
    ],
)
def test_fan_in_counts_the_inputs_of_an_output(layer, inputs):
    """By what an output of ones gives: with weights of 1 and no bias, its sum over inputs of 1."""
    assert fan_in(layer) == inputs
    layer.weight.data.fill_(1.0)
    layer.bias.data.zero_()
    shape = (7,) if isinstance(layer, nn.Linear) else (layer.in_channels, *[32] * (layer.weight.ndim - 2))
    output = layer(torch.ones(1, *shape))
    middle = tuple(n // 2 for n in output.shape[1:])
    assert output[(0, *middle)] == inputs


@pytest.mark.parametrize("slope", [0.0, 0.2])
def test_weights_have_the_variance_of_he_and_biases_are_zero(slope):
    layer = he_uniform(nn.Sequential(nn.Linear(200, 300)), slope)[0]
    assert torch.allclose(layer.weight.var(), torch.tensor(2 / ((1 + slope**2) * 200)), rtol=0.03)
    assert layer.bias.abs().max() == 0


@pytest.mark.parametrize(("network", "shape"), [("burgess", (1, 64, 64)), ("conv", (1, 64, 64)), ("mlp", (30,))])
def test_what_a_decoder_gives_depends_on_the_code_from_the_start(network, shape):
    """PyTorch's own weights leave less than a hundredth of the code's spread after nine layers."""
    decoder = make_networks(network, shape, 10).decoder
    with torch.no_grad():
        spread = decoder(torch.randn(64, 10)).std(0).mean()
    assert 0.2 < spread < 5


def test_own_networks_keep_their_weights():
    own = nn.Linear(6, 4), nn.Linear(2, 6)
    before = own[0].weight.clone()
    assert torch.equal(make_networks(lambda shape, latent_dim: own, (6,), 2).encoder.weight, before)
