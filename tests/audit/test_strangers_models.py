"""Audits of models and data as people have them."""

import warnings

import pytest
import torch
from torch import nn

import trimkit
from trimkit.errors import ModelError, TrimkitWarning

X = torch.randn(48, 6, generator=torch.Generator().manual_seed(0))
Y = X.argmax(1) % 3


def network(kind=torch.float32):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)).to(kind).eval()


class WritesToInput(nn.Module):
    """Doubles its own input."""

    def forward(self, x):
        return x.mul_(2)[:, :3]


def test_a_model_may_write_to_its_input():
    given, options = X.clone(), {"samples": 32, "checks": ["completeness", "controls"]}
    one = trimkit.audit(WritesToInput().eval(), (given, Y), **options)
    other = trimkit.audit(lambda x: 2 * x[:, :3], (X, Y), **options)
    assert torch.equal(given, X)
    assert [v.estimate for v in one.verdicts] == [v.estimate for v in other.verdicts]


def test_one_sample_leaves_everything_undecided():
    report = trimkit.audit(network(), (X[:1], Y[:1]))
    assert "PASS" not in {str(verdict.status) for verdict in report.verdicts}


def test_labels_that_the_model_has_no_output_for_are_told():
    with pytest.warns(TrimkitWarning, match="numbered from 1"):
        report = trimkit.audit(network(), (X, Y + 1), samples=16, checks=["completeness"])
    assert report.performance.accuracy is None


def test_arrays_of_numpy_are_data():
    one, other = (
        trimkit.audit(network(), data, samples=32, checks=["completeness"]) for data in ((X, Y), (X.numpy(), Y.numpy()))
    )
    assert one.performance == other.performance


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_rounding_of_half_precision_is_no_dependence_on_the_batch(kind):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TrimkitWarning)
        report = trimkit.audit(network(kind), (X, Y), checks=["reproducibility"])
    assert str(report.verdict("reproducibility").status) == "PASS"


def test_a_model_that_counts_its_calls_is_refused():
    class Counts(nn.Module):
        calls = 0

        def forward(self, x):
            self.calls += 1
            return x * self.calls

    with pytest.raises(ModelError, match="keeps from call to call"):
        trimkit.audit(Counts().eval(), (X, Y))
