"""u: what is refused and why, and functions of it."""

from __future__ import annotations

import pytest
import torch
from trimkit_ica.auxiliary import Auxiliary, FunctionOfAux, accuracy

import trimkit
from trimkit.data import Dataset
from trimkit.errors import DataError, OptionError

LABELS = Auxiliary("IVAE", 4, 0)
VECTORS = Auxiliary("IVAE", 0, 3)


@pytest.mark.parametrize("name", ["ivae", "tcl", "icebeem"])
def test_no_nonlinear_method_is_made_without_u(name):
    with pytest.raises(OptionError, match=r"not identifiable.*Hyvärinen & Pajunen 1999.*--data\s+digits:aux=labels"):
        trimkit.create("method", name, shape=(6,))


@pytest.mark.parametrize("name", ["ivae", "tcl", "icebeem"])
def test_none_is_trained_on_data_without_u(name):
    method = trimkit.create("method", name, shape=(6,), segments=2, hidden=4)
    before = {key: value.clone() for key, value in method.state_dict().items()}
    with pytest.raises(DataError, match=r"without auxiliary variables: .* not identifiable.*aux=labels"):
        trimkit.train(method, Dataset("plain", torch.rand(40, 6)), steps=2, batch_size=8)
    assert all(torch.equal(value, before[key]) for key, value in method.state_dict().items())


def test_test_data_need_u_too():
    method = trimkit.create("method", "ivae", shape=(6,), segments=2, hidden=4)
    train = Dataset("known", torch.rand(16, 6), aux=torch.arange(16) % 2)
    with pytest.raises(DataError, match="without auxiliary variables"):
        trimkit.train(method, train, test=Dataset("plain", torch.rand(16, 6)), steps=1, batch_size=8)


@pytest.mark.parametrize(
    ("segments", "dim", "message"),
    [(3, 2, "segments=3 and aux_dim=2"), (1, 0, "expected segments ≥ 2"), (0, -1, "or aux_dim ≥ 1, got")],
)
def test_what_u_can_be(segments, dim, message):
    with pytest.raises(OptionError, match=message):
        Auxiliary("IVAE", segments, dim)


@pytest.mark.parametrize(
    ("aux", "u", "message"),
    [
        (LABELS, torch.zeros(5), r"labels u as integers \(N,\), segments=4, got torch.float32 \(5,\)"),
        (LABELS, torch.zeros(5, 3), "or make it for vectors"),
        (LABELS, torch.tensor([0, 4]), r"labels u in 0 … 3, got 0 … 4"),
        (LABELS, torch.tensor([-1, 2]), r"labels u in 0 … 3, got -1 … 2"),
        (VECTORS, torch.zeros(5, 2), r"vectors u as floats \(N, 3\), got torch.float32 \(5, 2\)"),
        (VECTORS, torch.zeros(5, dtype=torch.long), r"whole numbers are labels as u.long\(\)"),
    ],
)
def test_another_u_is_refused(aux, u, message):
    with pytest.raises(DataError, match=message):
        aux.check(u)


def test_u_that_fits_is_taken():
    assert LABELS.check(torch.tensor([0, 3])) is None
    assert LABELS.check(torch.tensor([0, 3], dtype=torch.int32)) is None
    assert VECTORS.check(torch.zeros(5, 3, dtype=torch.float64)) is None


def test_a_missing_u_is_named_with_what_it_is_for():
    with pytest.raises(DataError, match="IVAE needs the auxiliary variable u to encode, got none; give aux=u"):
        LABELS.needed(None, "to encode")
    with pytest.raises(DataError, match="got 2 for 3 samples"):
        LABELS.needed(torch.zeros(2), "of each sample", 3)


def test_a_u_that_nobody_has_checked_is():
    assert LABELS.needed(torch.tensor([0, 3], dtype=torch.uint8), "to encode", 2).dtype == torch.int64
    with pytest.raises(DataError, match=r"labels u as integers \(N,\)"):
        LABELS.needed(torch.zeros(2, 1, dtype=torch.long), "to encode", 2)


def test_functions_of_labels_start_from_a_table_and_those_of_vectors_from_a_linear_layer():
    table, u = FunctionOfAux(LABELS, 2), torch.tensor([3, 0, 3])
    assert torch.equal(table(u), table.first.weight[u])
    assert sum(p.numel() for p in table.parameters()) == 4 * 2
    assert 0.1 < float(table.first.weight.detach().abs().max()) <= 0.5  # 4 inputs, one of them 1
    network = FunctionOfAux(VECTORS, 2, hidden=5, layers=2)
    assert network(torch.zeros(3, 3, dtype=torch.float64)).shape == (3, 2)  # in the network's own type


def test_a_deep_function_of_labels_is_an_mlp_on_one_hot_labels():
    function, u = FunctionOfAux(LABELS, 2, hidden=5, layers=2).double(), torch.tensor([2, 1])
    h = torch.nn.functional.one_hot(u, 4).double() @ function.first.weight
    last = function.rest[1]
    torch.testing.assert_close(function(u), (h.tanh() + 0.1 * h) @ last.weight.T + last.bias)


def test_accuracy_by_hand():
    logits = torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 1.0], [0.0, 3.0]])
    assert float(accuracy(logits, torch.tensor([0, 1, 1, 1]))) == 0.75
