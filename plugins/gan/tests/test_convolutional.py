"""The plain networks: every size and shape they promise, and what they refuse."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from trimkit_gan.convolutional import check_range, make_output, make_plain

from trimkit.errors import DataError, ModelError, OptionError, ShapeError


def own(shape, inputs):
    generator = nn.Sequential(nn.Linear(inputs, 12), nn.Unflatten(1, (3, 2, 2)))
    return generator, nn.Sequential(nn.Flatten(), nn.Linear(12, 5))


@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize("size", [8, 16, 32, 64])
def test_convolutions_for_every_size(size, channels):
    plain = make_plain("conv", (channels, size, size), 6)
    x = plain.generator(torch.randn(2, 6))
    assert x.shape == (2, channels, size, size)
    assert plain.trunk(x).shape == (2, plain.features)
    assert not any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in plain.trunk.modules())


@pytest.mark.parametrize("shape", [(7,), (2, 9), (3, 5, 4)])
def test_fully_connected_layers_for_every_shape(shape):
    plain = make_plain("mlp", shape, 3)
    x = plain.generator(torch.randn(4, 3))
    assert x.shape == (4, *shape)
    assert plain.trunk(x).shape == (4, plain.features)
    assert make_plain("mlp", shape, 3).generator(torch.randn(1, 3)).shape == (1, *shape)


def test_convolutions_start_small():
    weights = [m.weight for m in make_plain("conv", (1, 32, 32), 6).trunk.modules() if isinstance(m, nn.Conv2d)]
    assert all(float(weight.detach().std()) == pytest.approx(0.02, rel=0.1) for weight in weights[1:])


@pytest.mark.parametrize("shape", [(1, 16, 8), (1, 12, 12), (1, 4, 4), (16, 16), (1, 128, 128)])
def test_other_sizes_are_refused(shape):
    with pytest.raises(ShapeError, match=r"square images \(C, S, S\) with S = 8, 16, 32 or 64"):
        make_plain("conv", shape, 4)


def test_own_networks():
    plain = make_plain(own, (3, 2, 2), 4)
    assert plain.features == 5
    assert make_plain(f"{__file__}:own", (3, 2, 2), 4).features == 5


@pytest.mark.parametrize(
    ("function", "error", "message"),
    [
        (lambda shape, inputs: nn.Linear(1, 1), OptionError, r"pair of modules \(generator, trunk\), got Linear"),
        (lambda shape, inputs: (own(shape, inputs)[0],), OptionError, "pair of modules"),
        (lambda shape, inputs: own(shape, inputs + 1), ShapeError, "own generator: does not take"),
        (
            lambda shape, inputs: (nn.Linear(inputs, 9), nn.Identity()),
            ShapeError,
            r"own generator: expected \(N, 4\) → \(N, 3, 2, 2\), got \(N, 9\)",
        ),
        (
            lambda shape, inputs: (own(shape, inputs)[0], nn.Identity()),
            ShapeError,
            r"own trunk: expected \(N, 3, 2, 2\) → \(N, features\), got \(N, 3, 2, 2\)",
        ),
        (
            lambda shape, inputs: (own(shape, inputs)[0], nn.Flatten(0)),
            ShapeError,
            "own trunk: expected a batch of 2",
        ),
    ],
)
def test_own_networks_that_do_not_fit_are_refused(function, error, message):
    with pytest.raises(error, match=message):
        make_plain(function, (3, 2, 2), 4)


def test_unknown_names_are_refused():
    with pytest.raises(OptionError, match=r"there is no network 'convolution'\. Did you mean 'conv'"):
        make_plain("convolution", (1, 8, 8), 4)
    with pytest.raises(ModelError, match="no module 'nowhere'"):
        make_plain("nowhere:make", (1, 8, 8), 4)
    with pytest.raises(OptionError, match="expected output as one of 'sigmoid', 'tanh', 'linear', got 'relu'"):
        make_output("relu")


def test_one_sample_has_no_batch_to_be_normalised_by():
    generator = make_plain("conv", (1, 8, 8), 3).generator
    assert generator.eval()(torch.zeros(1, 3)).shape == (1, 1, 8, 8)
    with pytest.raises(ShapeError, match="at least 2 samples a turn in training, got 1; take larger batches, or"):
        generator.train()(torch.zeros(1, 3))


def test_outputs_stay_in_their_range_and_data_outside_it_are_refused():
    x = torch.linspace(-50, 50, 9)[:, None]
    torch.testing.assert_close(make_output("sigmoid")(x), 1 / (1 + (-x).exp()))
    torch.testing.assert_close(make_output("tanh")(x), x.tanh())
    assert torch.equal(make_output("linear")(x), x)
    check_range(torch.tensor([[0.0], [1.0]]), "sigmoid")
    check_range(x, "linear")
    with pytest.raises(DataError, match=r"'sigmoid' needs data in \[0, 1\], got -50 … 50; rescale them"):
        check_range(x, "sigmoid")
    with pytest.raises(DataError, match=r"'tanh' needs data in \[-1, 1\]"):
        check_range(x, "tanh")
