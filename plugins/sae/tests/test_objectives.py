"""Each objective against its paper's formula, written out sample by sample."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.testing import assert_close
from trimkit_sae.topk import largest

import trimkit
from trimkit.errors import OptionError


def weights_of(method):
    """E, c, D, b as arrays."""
    encoder, dictionary = method.encoder, method.dictionary
    bias = np.zeros(method.features) if encoder.bias is None else encoder.bias.detach().numpy()
    return (
        encoder.weight.detach().numpy(),
        bias,
        dictionary.directions.detach().numpy(),
        dictionary.bias.detach().numpy(),
    )


def relu(values):
    return np.maximum(values, 0)


def test_the_l1_objective_of_bricken(make, x, terms):
    method = make("sae")
    encoder, c, directions, b = weights_of(method)
    for sample, error, l1 in zip(x.numpy(), *(t.tolist() for t in terms(method, x).values()), strict=True):
        z = relu(encoder @ (sample - b) + c)
        assert error == pytest.approx(np.sum((sample - b - directions.T @ z) ** 2))
        assert l1 == pytest.approx(np.abs(z).sum())


def test_the_l1_objective_of_cunningham_is_tied_and_has_no_pre_bias(make, x, terms):
    method = make("sae", tied=True, pre_bias=False)
    encoder, c, directions, b = weights_of(method)
    assert np.array_equal(encoder, directions)
    assert len(list(method.parameters())) == 3
    found = terms(method, x)
    z = relu(x.numpy() @ directions.T + c)
    assert_close(found["recon"].detach().numpy(), np.sum((x.numpy() - z @ directions - b) ** 2, 1))


def test_the_topk_objective_keeps_the_k_largest(make, x, terms):
    method = make("topk-sae", k=3)
    encoder, _, directions, b = weights_of(method)
    assert method.encoder.bias is None
    for sample, error in zip(x.numpy(), terms(method, x)["recon"].tolist(), strict=True):
        pre = encoder @ (sample - b)
        kept = np.argsort(pre)[-3:]
        assert error == pytest.approx(np.sum((sample - b - relu(pre[kept]) @ directions[kept]) ** 2))


def test_the_largest_are_kept_where_they_are_positive():
    pre = torch.tensor([[3.0, -1.0, 2.0, 1.0], [-3.0, -1.0, -2.0, 1.0]])
    assert largest(pre, 2).tolist() == [[3.0, 0.0, 2.0, 0.0], [0.0, 0.0, 0.0, 1.0]]


def test_the_auxiliary_loss_is_the_error_left_by_the_dead_features(make, x, terms):
    method = make("topk-sae", k=3, dead_after=10)
    dead = [1, 4, 7, 8]
    method.silent[dead] = 10
    encoder, _, directions, b = weights_of(method)
    found = terms(method, x)["auxiliary"].tolist()
    for sample, auxiliary in zip(x.numpy(), found, strict=True):
        pre = encoder @ (sample - b)
        kept = np.argsort(pre)[-3:]
        error = sample - b - relu(pre[kept]) @ directions[kept]
        most = sorted(dead, key=lambda j: -pre[j])[:2]  # the power of two nearest to 5 / 2
        assert auxiliary == pytest.approx(np.sum((error - relu(pre[most]) @ directions[most]) ** 2))


def test_the_auxiliary_loss_trains_dead_features_alone(make, x, terms):
    method = make("topk-sae", k=3, dead_after=10)
    method.silent[[1, 4]] = 10
    terms(method, x)["auxiliary"].sum().backward()
    moved = method.dictionary.directions.grad.abs().sum(1) > 0
    assert moved.nonzero()[:, 0].tolist() == [1, 4]
    assert set((method.encoder.weight.grad.abs().sum(1) > 0).nonzero()[:, 0].tolist()) <= {1, 4}


def test_without_dead_features_the_auxiliary_loss_is_zero(make, x, terms):
    assert terms(make("topk-sae"), x)["auxiliary"].tolist() == [0.0] * 7


def test_batch_topk_keeps_the_largest_of_the_whole_batch(make, x, terms):
    method = make("batch-topk-sae", k=2).train()
    encoder, c, directions, b = weights_of(method)
    pre = (x.numpy() - b) @ encoder.T + c
    lowest = np.sort(pre.ravel())[-14]
    z = relu(pre) * (pre >= lowest)
    assert_close(terms(method, x)["recon"].detach().numpy(), np.sum((x.numpy() - b - z @ directions) ** 2, 1))
    assert (z > 0).sum() == 14
    assert method.threshold.item() == pytest.approx(lowest)


def test_the_threshold_is_the_mean_over_batches_of_the_smallest_active_value(make, x, monkeypatch):
    method = make("batch-topk-sae", k=2)
    monkeypatch.setattr("trimkit_sae.batch_topk.CALIBRATED", 4)
    encoder, c, _, b = weights_of(method)
    pre = (x.numpy() - b) @ encoder.T + c
    lowest = [np.sort(pre[:4].ravel())[-8], np.sort(pre[4:].ravel())[-6]]
    method.finish(x)
    assert method.threshold.item() == pytest.approx(np.mean(lowest))
    assert_close(method.encode(x).mean.detach().numpy(), relu(pre) * (pre > np.mean(lowest)))


def test_with_few_positive_values_all_of_them_are_active(make, x):
    method = make("batch-topk-sae", k=12).train()
    pre = method.preactivate(x)
    assert_close(method.activate(pre), pre.relu())
    assert method.threshold == 0


def test_the_matryoshka_objective_is_the_sum_over_nested_dictionaries(make, x, terms):
    method = make("matryoshka-sae", k=2, nested=(3, 7)).train()
    encoder, c, directions, b = weights_of(method)
    pre = (x.numpy() - b) @ encoder.T + c
    z = relu(pre) * (pre >= np.sort(pre.ravel())[-14])
    expected = sum(np.sum((x.numpy() - b - z[:, :m] @ directions[:m]) ** 2, 1) for m in (3, 7, 12))
    assert_close(terms(method, x)["recon"].detach().numpy(), expected)


def test_nested_sizes_double_from_a_sixteenth(make):
    sizes = [part.shape for part in make("matryoshka-sae", features=32).reconstruct(torch.zeros(1, 32).double())]
    assert len(sizes) == 5
    assert make("matryoshka-sae", features=32)._sizes == [2, 4, 8, 16, 32]


@pytest.mark.parametrize("nested", [(4, 4), (0, 3), (3, 99)])
def test_nested_sizes_grow(make, nested):
    with pytest.raises(OptionError, match=r"expected nested as growing sizes up to 12, got"):
        make("matryoshka-sae", nested=nested)


def test_the_jumprelu_objective(make, x, terms):
    method = make("jumprelu-sae", threshold=0.4)
    encoder, c, directions, b = weights_of(method)
    pre = (x.numpy() - b) @ encoder.T + c
    z = pre * (pre > 0.4)
    found = terms(method, x)
    assert_close(found["recon"].detach().numpy(), np.sum((x.numpy() - b - z @ directions) ** 2, 1))
    assert_close(found["l0"].detach().numpy(), (pre > 0.4).sum(1).astype(float))


def test_the_threshold_has_the_papers_pseudo_derivative(make):
    method = make("jumprelu-sae", features=4, threshold=0.5, bandwidth=0.2)
    pre = torch.tensor([[0.45, 0.55, 0.7, 0.3]], dtype=torch.float64, requires_grad=True)
    given = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)
    (method.activate(pre) @ given).sum().backward()
    near = torch.tensor([1.0, 1.0, 0.0, 0.0], dtype=torch.float64)  # |π − θ| < ε / 2
    assert_close(method.log_threshold.grad, 0.5 * (-0.5 / 0.2) * near * given)  # θ = exp(log θ)
    assert pre.grad.tolist() == [[0.0, 2.0, 3.0, 0.0]]
    method.log_threshold.grad = None
    method.regularise(pre, method.activate(pre), pre)["l0"].values.sum().backward()
    assert_close(method.log_threshold.grad, 0.5 * (-1 / 0.2) * near)


def test_the_pseudo_derivative_is_that_of_the_expected_loss():
    method = trimkit.create("method", "jumprelu-sae", shape=(1,), features=1, threshold=0.5, bandwidth=0.05).double()
    pre = 1.5 * torch.rand(400_000, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    values = {}
    for theta in (0.45, 0.5, 0.55):
        with torch.no_grad():
            method.log_threshold.fill_(np.log(theta))
        values[theta] = method.regularise(pre, pre, pre)["l0"].values.mean()
    with torch.no_grad():
        method.log_threshold.fill_(np.log(0.5))
    method.regularise(pre, pre, pre)["l0"].values.mean().backward()
    slope = (values[0.55] - values[0.45]).item() / 0.1
    assert float(method.log_threshold.grad) / 0.5 == pytest.approx(slope, rel=0.02)
    assert slope == pytest.approx(-1 / 1.5, rel=0.02)  # the density of π


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("sae", {"l1": -1.0}, "expected l1 ≥ 0"),
        ("sae", {"features": 0}, "expected features ≥ 1"),
        ("sae", {"axis": 3}, r"expected axis as one of the 1 of \(5,\), got 3"),
        ("topk-sae", {"k": 13}, "expected k ≤ 12, the number of features, got 13"),
        ("topk-sae", {"dead_after": 0}, "expected dead_after ≥ 1"),
        ("jumprelu-sae", {"bandwidth": 0.0}, "expected bandwidth > 0"),
        ("sae", {"normalise": "layer"}, "normalise"),
    ],
)
def test_options_out_of_range_are_refused(make, kind, options, message):
    with pytest.raises(OptionError, match=message):
        make(kind, **options)
