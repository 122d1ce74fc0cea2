"""Amari distance against its definition and its extremes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trimkit.errors import DataError, ShapeError
from trimkit.metrics.independence import amari_distance


def by_definition(unmixing: np.ndarray, mixing: np.ndarray) -> float:
    p = np.abs(unmixing @ mixing)
    k = len(p)
    rows = sum(sum(p[i, j] / max(p[i]) for j in range(k)) - 1 for i in range(k))
    columns = sum(sum(p[i, j] / max(p[:, j]) for i in range(k)) - 1 for j in range(k))
    return (rows + columns) / (2 * k * (k - 1))


@given(k=st.integers(2, 6), extra=st.integers(0, 3), seed=st.integers(0, 2**31))
@settings(max_examples=40, deadline=None)
def test_it_is_its_definition_and_knows_no_order_sign_or_scale(k, extra, seed):
    g = np.random.default_rng(seed)
    w, a = g.standard_normal((k, k + extra)), g.standard_normal((k + extra, k))
    found = amari_distance(w, a)
    assert found == pytest.approx(by_definition(w, a))
    assert 0 <= found <= 1
    scales = g.choice([-1, 1], k) * g.uniform(0.1, 10, k)
    true = scales[:, None] * np.linalg.pinv(a)[g.permutation(k)]
    assert amari_distance(true, a) == pytest.approx(0, abs=1e-10)
    assert amari_distance(w[g.permutation(k)] * -3, a) == pytest.approx(found)


def test_the_extremes():
    assert amari_distance(np.ones((3, 3)), np.eye(3)) == pytest.approx(1)
    assert amari_distance([[2.0]], [[-3.0]]) == 0
    assert amari_distance(torch.eye(2).bfloat16(), torch.eye(2)) == 0
    assert amari_distance(np.zeros((2, 2)), np.eye(2)) == 1  # dead components know nothing
    dead = np.diag([1.0, 1.0, 0.0])
    assert amari_distance(dead, np.eye(3)) == pytest.approx(4 / 12)


@pytest.mark.parametrize(
    ("unmixing", "mixing", "error", "says"),
    [
        (np.eye(2), np.eye(3), ShapeError, r"unmixing \(k, p\) and a mixing \(p, k\), got \(2, 2\) and \(3, 3\)"),
        (np.ones((2, 3)), np.ones((2, 3)), ShapeError, r"got \(2, 3\) and \(2, 3\)"),
        (np.ones(3), np.eye(3), ShapeError, r"unmixing: expected a real matrix, got float64 \(3,\)"),
        (np.eye(2), np.eye(2) * 1j, ShapeError, "mixing: expected a real matrix, got complex128"),
        (np.ones((0, 2)), np.ones((2, 0)), ShapeError, r"got float64 \(0, 2\)"),
        (np.full((2, 2), np.nan), np.eye(2), DataError, "unmixing: expected finite entries"),
    ],
)
def test_matrices_that_do_not_fit_are_refused(unmixing, mixing, error, says):
    with pytest.raises(error, match=says):
        amari_distance(unmixing, mixing)
