"""What a run would train in vain is refused before its first step."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import trimkit
from trimkit.errors import OptionError, PenaltyError, TrainingError
from trimkit.training import train


class Cut(nn.Module):
    """A linear predictor whose output does not tell its input the way."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.layer = how, nn.Linear(6, 2)

    def forward(self, x):
        if self.how == "rounding":
            return self.layer(x.mul(4).round())
        if self.how == "numpy":
            return self.layer(torch.from_numpy(x.detach().numpy()))
        if self.how == "no_grad":
            with torch.no_grad():
                return self.layer(x)
        return self.layer(x).detach()


@pytest.mark.parametrize("how", ["detach", "no_grad", "numpy"])
def test_a_predictor_without_gradient_is_refused(toy, data, tmp_path, how):
    method = toy()
    before = {name: value.clone() for name, value in method.state_dict().items()}
    with pytest.raises(PenaltyError, match="PredictionLoss would train nothing: no gradient comes back"):
        train(method, data, predictor=Cut(how), folder=tmp_path / "run", steps=3, batch_size=8)
    assert all(torch.equal(before[name], value) for name, value in method.state_dict().items())
    assert list(tmp_path.iterdir()) == []


def test_a_predictor_whose_gradient_is_zero_everywhere_is_refused(toy, data):
    with pytest.raises(TrainingError, match=r"term 'prediction' would train nothing: the gradient .* is 0 everywhere"):
        train(toy(), data, predictor=Cut("rounding"), steps=3, batch_size=8)


@pytest.mark.parametrize("match", ["kl", "mse", "label"])
def test_one_with_gradient_is_not(toy, data, predictor, match):
    assert train(toy(), data, predictor=predictor, prediction=match, steps=1, batch_size=8).steps == 1


@pytest.mark.parametrize(
    ("setting", "value"),
    [("clip", 1.0), ("accumulate", 2), ("precision", "bf16"), ("ema", 0.5), ("checkpoint_minutes", 1.0)],
)
def test_a_method_in_closed_form_refuses_what_it_would_ignore(setting, value, tmp_path):
    method = trimkit.create("method", "fastica", shape=(6,), components=3)
    option = f"--{setting.replace('_', '-')}"
    with pytest.raises(OptionError, match=f"in closed form, without steps: it takes no {option}, got {value}"):
        train(method, torch.rand(60, 6), folder=tmp_path / "run", **{setting: value})
    assert list(tmp_path.iterdir()) == []
