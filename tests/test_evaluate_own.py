"""Methods that bring metrics of their own to `trimkit.evaluate`."""

from __future__ import annotations

import pytest
import torch

import trimkit
from trimkit.data import Dataset
from trimkit.errors import DataError, TrainingError
from trimkit.methods import Delta, LatentSpace, Method
from trimkit.metrics import MetricResult


class Halves(Method):
    """Codes are halves of the data; the metric is their mean."""

    def latent_spaces(self):
        return [LatentSpace("z", self.shape)]

    def encode(self, x, aux=None, space=None):
        return Delta(x / 2)

    def measure(self, data, train, *, seed=0, baselines=False):
        assert not self.training
        assert not torch.is_grad_enabled()
        own = {"mean": MetricResult("mean", self.encode(data.x).mean.mean().item(), None, {"seed": seed})}
        fitted = {"mean": MetricResult("mean", train.x.mean().item(), None, {})}
        return {"own": own, **({"train": fitted} if baselines else {})}


@pytest.fixture
def data():
    return Dataset("ones", torch.ones(50, 3))


def test_their_metrics_are_the_evaluation(data):
    found = trimkit.evaluate(Halves((3,)), data, samples=30, seed=7)
    assert list(found.metrics) == ["mean"]
    assert found.metrics["mean"].value == 0.5
    assert found.metrics["mean"].protocol == {"seed": 7}
    assert found.baselines == {}
    assert (found.settings["samples"], found.settings["space"]) == (30, "z")
    assert found.notes == ("the samples are those that the run was trained on",)


def test_their_baselines_stand_beside_when_asked_for(data):
    found = trimkit.evaluate(Halves((3,)), data, samples=30, baselines=True)
    assert found.baselines["train"]["mean"].value == 1.0
    assert found.as_dict()["baselines"]["train"]["mean"]["value"] == 1.0


def test_data_of_another_shape_are_refused(data):
    with pytest.raises(DataError, match=r"trained on samples \(4,\), got \(3,\) of 'ones'"):
        trimkit.evaluate(Halves((4,)), data, samples=30)


def test_a_method_without_metrics_of_its_own_says_so(data):
    method = trimkit.create("method", "vae", shape=(3,), latent_dim=2, network="mlp")
    with pytest.raises(TrainingError, match="brings no metrics of its own"):
        method.measure(data, data)
    assert "l0" not in trimkit.evaluate(method, data, samples=30).metrics
