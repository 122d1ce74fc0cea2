"""What a newcomer types wrong, and the way out that the message names."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from captum.attr import IntegratedGradients
from torch import nn

import trimkit
from trimkit.audit.selection import forbidden
from trimkit.data import load
from trimkit.errors import DataError, ModelError, OptionError, PenaltyError, ShapeError, UnknownNameError, nearest
from trimkit.trim.penalty import TrimPenalty

X = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))


class Estimator:
    """What predicts as scikit-learn's estimators do, and cannot be called."""

    def predict_proba(self, x):
        return x


@pytest.mark.parametrize("explain", [trimkit.Trim, lambda model: trimkit.audit(model, X)])
def test_an_estimator_is_to_be_wrapped(explain):
    with pytest.raises(ModelError, match=r"got Estimator; give lambda x: torch.as_tensor\(model.predict_proba"):
        explain(Estimator())


def test_what_predicts_nothing_is_no_model():
    with pytest.raises(ModelError, match="got str; pass a torch module or a function of tensors"):
        trimkit.Trim("resnet")


def test_a_model_that_returns_numpy_is_to_return_a_tensor():
    with pytest.raises(ShapeError, match=r"got ndarray; return torch.as_tensor"):
        trimkit.Trim(lambda x: x.detach().numpy(), attribution="feature_ablation")(X, 1)


@pytest.mark.parametrize("given", [IntegratedGradients, IntegratedGradients(nn.Linear(6, 2))])
def test_captums_own_class_has_a_name(given):
    with pytest.raises(OptionError, match="IntegratedGradients; its name is 'captum:IntegratedGradients'"):
        trimkit.Trim(nn.Linear(6, 2), attribution=given)


def test_a_class_is_no_part():
    with pytest.raises(OptionError, match=r"got trimkit.transforms.fourier.FFT; make one: FFT\(\.\.\.\)"):
        trimkit.Trim(nn.Linear(6, 2), transform=type(trimkit.create("transform", "fft")))


def test_a_frozen_model_is_to_be_thawed():
    with pytest.raises(PenaltyError, match=r"frozen; call requires_grad_\(True\) on those that shall learn"):
        TrimPenalty("l1")(nn.Linear(6, 2).requires_grad_(False), X, target=1)


def test_arrays_of_other_names_are_to_be_renamed(tmp_path):
    np.savez(tmp_path / "pictures.npz", images=X.numpy(), labels=np.arange(4))
    with pytest.raises(DataError, match=r"got \['images', 'labels'\]; save samples as x and labels as y"):
        load(str(tmp_path / "pictures.npz"))


def test_names_that_hold_commas_are_told_apart():
    assert nearest("zzz", ["row 0, column 1", "row 0, column 0"]) == "Known: row 0, column 0; row 0, column 1."


def test_a_group_that_is_not_there_names_the_other_forms():
    groups = trimkit.create("transform", "identity").groups((1, 8, 8))
    with pytest.raises(UnknownNameError, match=r"a wildcard such as 'row 1\*', or one place .* 'bin 5,3'"):
        forbidden("zzz", None, groups, 4)
