"""Two audits: paired by sample, with an interval, and one of three outcomes."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import trimkit
from trimkit import cli
from trimkit.audit.compare import compare, exit_code
from trimkit.errors import DataError, OptionError


def report(tmp_path, name, sha="x", **measures):
    folder = tmp_path / name
    folder.mkdir()
    content = {"provenance": {"data": {"sha256": sha}}, "paired": measures}
    (folder / "results.json").write_text(json.dumps(content))
    return folder


def measure(values, ids=None, better="higher"):
    return {"ids": list(range(len(values)) if ids is None else ids), "values": list(values), "better": better}


BASE = np.random.default_rng(0).normal(size=200)


@pytest.mark.parametrize(
    ("shift", "better", "outcome"),
    [
        (-0.5, "higher", "worse"),
        (0.5, "higher", "not worse"),
        (0.0, "higher", "not worse"),
        (0.5, "lower", "worse"),
        (-0.5, "lower", "not worse"),
    ],
)
def test_a_shift_of_every_sample_is_seen_whatever_their_spread(tmp_path, shift, better, outcome):
    folders = [report(tmp_path, n, m=measure(BASE + s, better=better)) for n, s in (("a", 0.0), ("b", shift))]
    (found,) = compare(*folders)
    assert found.outcome == outcome
    assert found.change.value == pytest.approx(shift, abs=1e-12)
    assert found.change.half_width < 1e-9  # paired: the spread between samples plays no part


def test_noise_cannot_tell(tmp_path):
    other = BASE + np.random.default_rng(1).normal(size=200)
    folders = [report(tmp_path, n, m=measure(v)) for n, v in (("a", BASE), ("b", other))]
    (found,) = compare(*folders)
    assert found.outcome == "cannot tell"
    assert exit_code([found]) == 3
    expected = 1.96 * np.std(other - BASE) / np.sqrt(200)
    assert found.change.half_width == pytest.approx(expected, rel=0.15)


def test_samples_are_paired_by_id_in_any_order(tmp_path):
    order = np.random.default_rng(2).permutation(200)
    a = report(tmp_path, "a", m=measure(BASE))
    b = report(tmp_path, "b", m=measure((BASE - 0.3)[order][:150], ids=order.tolist()[:150]))
    (found,) = compare(a, b)
    assert found.n == 150
    assert found.change.value == pytest.approx(-0.3)


def test_the_margin_is_what_does_not_count(tmp_path):
    folders = [report(tmp_path, n, m=measure(BASE - s)) for n, s in (("a", 0.0), ("b", 0.05))]
    assert compare(*folders, margin=0.1)[0].outcome == "not worse"
    assert compare(*folders, margin=0.01)[0].outcome == "worse"


def test_few_samples_cannot_tell(tmp_path):
    folders = [report(tmp_path, n, m=measure(BASE[:10] - s)) for n, s in (("a", 0.0), ("b", 5.0))]
    assert compare(*folders)[0].outcome == "cannot tell"


def test_reports_that_cannot_be_paired_are_refused(tmp_path):
    a, other, empty = (report(tmp_path, n, s, m=measure(BASE)) for n, s in (("a", "x"), ("b", "y"), ("c", "x")))
    with pytest.raises(DataError, match="of different data"):
        compare(a, other)
    (empty / "results.json").write_text(json.dumps({"provenance": {"data": {"sha256": "x"}}, "paired": {}}))
    with pytest.raises(DataError, match="no measure of one sample in common"):
        compare(a, empty)
    with pytest.raises(DataError, match="expected the folder of a report"):
        compare(a, tmp_path / "gone")
    (empty / "results.json").write_text("{}")
    with pytest.raises(DataError, match="audit again with this version"):
        compare(a, empty)
    with pytest.raises(OptionError, match="margin ≥ 0"):
        compare(a, a, margin=-1)


def test_a_model_with_worse_weights_is_worse(tmp_path, model, data, capsys):
    from copy import deepcopy

    broken = deepcopy(model)
    with torch.no_grad():
        broken[1].weight[0] = 0
    for name, one in (("a", model), ("b", broken)):
        found = trimkit.audit(one, data, transform="fft", samples=120, checks=["completeness", "reliance"], forbid="dc")
        found.save(tmp_path / name / "report.html")
    assert cli.main(["compare", str(tmp_path / "a"), str(tmp_path / "a")]) == 0
    assert cli.main(["compare", str(tmp_path / "a"), str(tmp_path / "b")]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("accuracy") and " worse " in line for line in lines)
    assert any(line.startswith("reliance: share of dc [integrated_gradients]") for line in lines)
