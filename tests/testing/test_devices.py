"""The promise about accelerators, tried where there is none: on the CPU itself, and on a device without values."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from trimkit.coefficients import tree
from trimkit.hooks import PenaltySpec
from trimkit.registry import Part, default
from trimkit.testing import BrokenPromise, Trial, promises
from trimkit.testing.devices import accelerator, require_same

CPU, META = torch.device("cpu"), torch.device("meta")


def trial(kind, name):
    return Trial(default().find(kind, name), default())


def trial_of(penalty):
    """A trial of a function of this file."""

    class One:
        def create(self, *_, **__):
            return penalty

    return Trial(Part("mine", PenaltySpec("mine", "x:y", "Mine."), default().plugins()[0]), One())


def with_constants(scores) -> Tensor:
    rows = tree.rows(scores)
    return rows.abs() @ torch.arange(rows.shape[1]).float()


def back_on_the_cpu(scores) -> Tensor:
    rows = tree.rows(scores)
    return torch.zeros(len(rows))


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("transform", "fft"),
        ("transform", "wavelet"),
        ("transform", "dct"),
        ("attribution", "integrated_gradients"),
        ("attribution", "saliency"),
        ("penalty", "hoyer"),
        ("penalty", "group_l1"),
        ("method", "beta-vae"),
        ("method", "topk-sae"),
    ],
)
def test_on_the_cpu_everything_equals_itself(kind, name):
    assert require_same(trial(kind, name), CPU) is None


@pytest.mark.parametrize("name", ["l1", "hoyer", "gini", "group_l1"])
def test_a_penalty_that_follows_its_scores_is_sound_on_another_device(name):
    assert require_same(trial("penalty", name), META) is None


@pytest.mark.parametrize("name", ["fft", "dct"])
def test_a_transform_that_follows_its_data_is_sound_on_another_device(name, monkeypatch):
    monkeypatch.setattr(
        "trimkit.transforms.base.require_samples", lambda *_: None
    )  # it refuses a device without values
    assert require_same(trial("transform", name), META) is None


@pytest.mark.parametrize(
    ("penalty", "says"), [(with_constants, "device=x.device"), (back_on_the_cpu, "are on cpu; make them with device")]
)
def test_constants_that_stay_on_the_cpu_are_told(penalty, says):
    with pytest.raises(BrokenPromise, match=f"values (on|of tensors on) meta .*{says}"):
        require_same(trial_of(penalty), META)


def test_it_is_promised_where_there_is_an_accelerator_alone():
    (devices,) = [each for each in promises("transform") if each.name == "devices"]
    assert devices.when(object) is (accelerator() is not None)
