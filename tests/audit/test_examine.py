"""Bad data and bad models are told apart before any work, and the reason is said."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import trimkit
from trimkit.audit.examine import as_dataset, examine, logits, resolve_target
from trimkit.errors import DataError, ModelError, OptionError, TrimkitWarning

X = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))
NAN = X.clone().index_fill_(0, torch.tensor([2]), float("nan"))


class Fixed(nn.Module):
    """A module with a given output."""

    def __init__(self, output):
        super().__init__()
        self.output = output

    def forward(self, x):
        return self.output(x)


def fixed(output) -> nn.Module:
    return Fixed(output).eval()


def flat(x):
    return x.flatten(1)[:, :3]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (NAN, "1 of 6 samples hold NaN or infinity, the first is number 2"),
        (X[:0], "is empty"),
        ([[1.0]], "expected a Dataset, a tensor x"),
        ((X, torch.rand(6) + 1j), "expected class labels"),
        ((X, torch.zeros(5, dtype=torch.long)), r"int64 \(6,\), got torch.int64 \(5,\)"),
    ],
)
def test_data_that_no_audit_can_use(data, message):
    with pytest.raises(DataError, match=message):
        as_dataset(data)


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (lambda x: torch.rand(len(x), 3), "two outputs for one input"),
        (lambda x: x, r"expected logits \(N, K\) from the model, got \(2, 1, 8, 8\)"),
        (lambda x: flat(x) / 0, "NaN or infinite on the first two samples"),
        (lambda x: flat(x)[:1], "got 1 rows for 2 samples"),
        (lambda x: "logits", "got str"),
        (
            lambda x: nn.functional.conv2d(x, torch.rand(4, 3, 3, 3)),
            r"does not take samples of shape \(1, 8, 8\): .*channels",
        ),
    ],
)
def test_models_that_no_audit_can_use(output, message):
    state = torch.random.get_rng_state()
    with pytest.raises(ModelError, match=message):
        examine(fixed(output), as_dataset(X))
    assert torch.equal(state, torch.random.get_rng_state())


def test_train_mode_is_named_down_to_the_part():
    model = nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(64, 3)).eval()
    model[1].train()
    with pytest.raises(ModelError, match=r"train mode \(its part '1' \(Dropout\)\).*call model.eval\(\)"):
        examine(model, as_dataset(X))
    with pytest.raises(ModelError, match="expected a callable model, got int"):
        examine(3, as_dataset(X))


def test_channels_last_is_recognised():
    model = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten()).eval()
    with pytest.raises(ModelError, match="channels last"):
        examine(model, as_dataset(torch.rand(4, 8, 8, 3)))


def test_whole_numbers_up_to_255_are_suspicious():
    data = as_dataset((X * 255).round())
    assert "divided by 255" in examine(fixed(flat), data).notes[0]
    with pytest.warns(TrimkitWarning, match="divided by 255"):
        report = trimkit.audit(fixed(flat), data, checks=["reconstruction"])
    assert "divided by 255" in report.to_html()


def test_a_constant_is_suspicious():
    assert examine(fixed(flat), as_dataset(torch.ones(4, 1, 8, 8))).notes == ("all values of the data equal 1",)


@pytest.mark.parametrize(
    ("target", "kind", "message"),
    [
        ("label", DataError, "needs labels, and data 'data' has none"),
        (3, DataError, "target 3 is out of range: the model has 3 outputs"),
        (None, DataError, "target None does not fit 3 outputs"),
        ("logit", OptionError, "expected target 'predicted', 'label', .* or None, got 'logit'"),
    ],
)
def test_targets_that_do_not_fit(target, kind, message):
    with pytest.raises(kind, match=message):
        examine(fixed(flat), as_dataset(X), target)


def test_labels_beyond_the_outputs():
    with pytest.raises(DataError, match="labels go up to 5, but the model has 3 outputs"):
        examine(fixed(flat), as_dataset((X, torch.arange(6))), "label")


def test_what_was_understood_is_said():
    found = examine(fixed(flat), as_dataset((X, torch.arange(6) % 3), "mine"))
    lines = dict(found.lines)
    assert "mine: 6 samples of 1×8×8, range" in lines["data"]
    assert lines["labels"] == "3 classes (0, 1, 2)"
    assert "(1, 8, 8) → 3 outputs" in lines["model"]
    assert "out (2, 3)" in lines["two samples"]


@pytest.mark.parametrize("wrap", [lambda t: t, lambda t: {"logits": t}, lambda t: (t, None), lambda t: {"out": t}])
def test_logits_are_found_in_what_models_return(wrap):
    expected = torch.rand(2, 3)
    assert torch.equal(logits(wrap(expected)), expected)
    assert logits(wrap(expected[:, 0])).shape == (2, 1)


def test_targets_are_resolved_from_the_audited_model():
    output = torch.tensor([[0.0, 2.0], [3.0, 1.0]])
    labels = torch.tensor([1, 1])
    assert resolve_target("predicted", output, labels).tolist() == [1, 0]
    assert resolve_target("label", output, labels).tolist() == [1, 1]
    assert resolve_target(0, output, labels).tolist() == [0, 0]
    assert resolve_target(0, output, None) == 0  # no labels: the output may be no logit, and is measured itself
    assert resolve_target("predicted", output[:, :1], None) is None
    assert resolve_target(len, output, None) is len


def test_audits_check_samples_and_batch_size():
    with pytest.raises(DataError, match="samples ≥ 1 and batch_size ≥ 1"):
        trimkit.audit(fixed(flat), X, samples=0)
