"""Samples that have ids of their own: the same report in any order, and names where places stood."""

import json

import numpy as np
import pytest
import torch
from torch import nn

import trimkit
from trimkit.audit.exchange import schema
from trimkit.cli import main
from trimkit.errors import DataError, ModelError, OptionError

from .contents import results_of

N = 90
CHECKS = ["completeness", "controls", "reliance"]


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Linear(6, 3).eval()


@pytest.fixture
def data(model):
    x = torch.randn(N, 6, generator=torch.Generator().manual_seed(1))
    return x, model(x).argmax(1)


@pytest.fixture
def order():
    return torch.randperm(N, generator=torch.Generator().manual_seed(2))


NAMES = [f"p{100 + i}" for i in range(N)]


def shuffled(data, order):
    return (data[0][order], data[1][order]), [NAMES[int(i)] for i in order]


def test_any_order_gives_the_same_bits(model, data, order):
    there, ids = shuffled(data, order)
    one = trimkit.audit(model, data, id_of=NAMES, checks=CHECKS)
    other = trimkit.audit(model, there, id_of=ids, checks=CHECKS)
    assert results_of(one) == results_of(other)
    shown = [[e.called for e in report.examples["integrated_gradients"]] for report in (one, other)]
    assert shown[0] == shown[1]


def test_without_ids_the_order_matters(model, data, order):
    reports = [trimkit.audit(model, d, checks=["controls"]) for d in (data, shuffled(data, order)[0])]
    assert results_of(reports[0]) != results_of(reports[1])


def test_shards_in_different_orders_merge(model, data, order):
    there, ids = shuffled(data, order)
    first = trimkit.audit(model, data, id_of=NAMES, checks=CHECKS, batch_size=16, shard=(1, 2))
    second = trimkit.audit(model, there, id_of=ids, checks=CHECKS, batch_size=16, shard=(2, 2))
    whole = trimkit.audit(model, data, id_of=NAMES, checks=CHECKS, batch_size=16)
    assert results_of(trimkit.merge([first, second])) == results_of(whole)


def test_files_of_shards_keep_the_names(model, data, order, tmp_path):
    there, ids = shuffled(data, order)
    shards = [trimkit.audit(model, data, id_of=NAMES, checks=CHECKS, batch_size=16, shard=(i, 2)) for i in (1, 2)]
    files = [shard.save(tmp_path / f"{shard.number}.trimkit-shard") for shard in shards]
    report = trimkit.merge(files, model, there, id_of=ids, checks=CHECKS, batch_size=16)
    assert {e.name for e in report.examples["integrated_gradients"]} <= set(NAMES)
    assert results_of(report) == results_of(trimkit.merge(shards))


def test_masks_with_a_row_for_each_sample_follow_their_samples(model, data, order):
    mask = torch.rand(N, 6, generator=torch.Generator().manual_seed(3)) < 0.2
    there, ids = shuffled(data, order)
    one = trimkit.audit(model, data, id_of=NAMES, checks=["reliance"], forbid=mask)
    other = trimkit.audit(model, there, id_of=ids, checks=["reliance"], forbid=mask[order])
    assert one.verdict("reliance") == other.verdict("reliance")


def test_the_report_names_samples(model, data):
    report = trimkit.audit(model, data, id_of=lambda place: f"scan-{place}", checks=CHECKS)
    page, content = report.to_html(), json.loads(report.to_json())
    assert "Sample scan-" in page
    assert content["names"]["7"] == "scan-7"
    pytest.importorskip("jsonschema").validate(content, json.loads(schema()))


def test_samples_without_ids_have_their_places(model, data):
    report = trimkit.audit(model, data, checks=CHECKS)
    assert "names" not in json.loads(report.to_json())
    assert [e.name for e in report.examples["integrated_gradients"]] == [
        str(e.id) for e in report.examples["integrated_gradients"]
    ]


def test_errors_name_the_sample(model, data):
    class Breaks(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = model

        def forward(self, x):
            return self.inner(x).masked_fill((x == data[0][40]).all(1, keepdim=True), torch.nan)

    with pytest.raises(ModelError, match="sample p140 is NaN"):
        trimkit.audit(Breaks().eval(), data, id_of=NAMES, checks=CHECKS)


@pytest.mark.parametrize(("ids", "message"), [(NAMES[:5], "expected 90 ids"), (["a"] * N, "'a' twice")])
def test_ids_are_one_for_each_sample_and_different(model, data, ids, message):
    with pytest.raises(DataError, match=message):
        trimkit.audit(model, data, id_of=ids)


def test_ids_of_a_dataset_are_used_and_selected():
    data = trimkit.data.Dataset("scans", torch.eye(4), ids=("d", "b", "c", "a"))
    assert data.select(torch.tensor([3, 1])).ids == ("a", "b")
    assert data.take(2).ids == ("d", "b")
    assert data.select(torch.tensor([False, True, False, True])).ids == ("b", "a")
    assert data.sha256 != trimkit.data.Dataset("scans", torch.eye(4)).sha256


def table(path, order):
    x = np.random.default_rng(0).normal(size=(N, 4))
    y = (x[:, 0] > 0).astype(int)
    rows = [f"{NAMES[i]},{','.join(f'{v:.6f}' for v in x[i])},{y[i]}" for i in order]
    path.write_text("\n".join(["patient,age,dose,weight,height,ill", *rows]))
    return path


FACTORY = """
import torch


def net():
    torch.manual_seed(0)
    return torch.nn.Linear(4, 2).eval()
"""


def test_a_column_of_a_table_names_its_rows(tmp_path, order):
    (tmp_path / "net.py").write_text(FACTORY)
    found = []
    for name, rows in (("one", range(N)), ("other", order.tolist())):
        path = table(tmp_path / f"{name}" / "rows.csv", rows) if (tmp_path / name).mkdir() is None else None
        arguments = ["audit", "--model", f"{tmp_path / 'net.py'}:net", "--data", f"{path}:target=ill"]
        arguments += ["--checks", "controls", "reliance", "--id-column", "patient", "--out", str(tmp_path / f"r{name}")]
        main(arguments)
        content = json.loads((tmp_path / f"r{name}" / "results.json").read_text())
        found.append({key: content[key] for key in ("verdicts", "names", "paired")})
    assert found[0] == found[1]
    assert found[0]["names"]["0"] == "p100"


def test_the_column_of_ids_is_no_feature_and_must_exist(tmp_path):
    path = table(tmp_path / "rows.csv", range(N))
    data = trimkit.data.load(f"{path}:target=ill,id=patient")
    assert data.feature_names == ("age", "dose", "weight", "height")
    assert data.ids == tuple(NAMES)
    with pytest.raises(OptionError, match="no column 'patiend'"):
        trimkit.data.load(f"{path}:target=ill,id=patiend")
