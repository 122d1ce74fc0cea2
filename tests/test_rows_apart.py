"""Attributions of one forward, too, say where a model mixes the rows of a batch."""

import warnings

import pytest
import torch
from torch import nn

import trimkit

X = torch.randn(5, 6, generator=torch.Generator().manual_seed(0))
ONE_FORWARD = ["saliency", "input_x_gradient", "gradient_of_loss", "layerwise_relevance"]


class Centred(nn.Module):
    """Takes off the mean of its batch."""

    def __init__(self):
        super().__init__()
        self.last = nn.Linear(6, 3)

    def forward(self, x):
        return self.last(x - x.mean(0, keepdim=True)).tanh()


class Held(nn.Module):
    """Adds what it holds for each place of a batch of five, and takes no other."""

    def forward(self, x):
        return (x + torch.arange(30.0).reshape(5, 6)).tanh().sum(1)


@pytest.mark.parametrize("attribution", ONE_FORWARD)
def test_a_model_that_mixes_rows_is_named_once(attribution):
    model = Centred().eval()
    with pytest.warns(trimkit.TrimkitWarning, match="the rows of a batch: it gives other outputs .* beside other"):
        trimkit.Trim(model, attribution=attribution)(X, target=0)
    trimkit.Trim(model, attribution=attribution)(X, target=0)


def test_a_model_that_is_known_to_mix_rows_gets_whole_batches_on_a_path():
    model = Centred().eval()
    with pytest.warns(trimkit.TrimkitWarning, match="joins the rows"):
        trimkit.Trim(model, attribution="saliency")(X, target=0)
    result = trimkit.Trim(model)(X, target=0)
    assert torch.allclose(result.gap, result.gap[:1].expand(5))
    assert float(result.gap.abs().max()) < 1e-4


@pytest.mark.parametrize("attribution", ["saliency", "input_x_gradient"])
@pytest.mark.parametrize("training", [False, True])
def test_models_whose_rows_are_samples_are_left_alone(attribution, training):
    models = [nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.5), nn.LayerNorm(8), nn.Linear(8, 3)).train(training), Held()]
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        warnings.filterwarnings("ignore", "the model has dropout in train mode")
        for model, target in zip(models, (0, None), strict=True):
            trimkit.Trim(model, attribution=attribution)(X, target)
    assert said == []


def test_a_batch_of_one_has_nobody_to_mix_with():
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        trimkit.Trim(Centred().eval(), attribution="saliency")(X[:1], target=0)
    assert said == []
