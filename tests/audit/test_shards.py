"""Shards of an audit: the bits of one run in any number and order, on disk and back, and what is refused."""

from __future__ import annotations

import pytest
import torch

import trimkit
from trimkit.audit.shards import SUFFIX, parse_shard, read_header
from trimkit.errors import DataError, OptionError

from .conftest import planted_data
from .contents import results_of

OPTIONS = {"transform": "fft", "attributions": ["integrated_gradients", "saliency"], "samples": None, "batch_size": 4}


@pytest.fixture(scope="module")
def whole(conv, data):
    return trimkit.audit(conv, data, **OPTIONS)


def shards_of(model, data, count, **options):
    return [trimkit.audit(model, data, shard=(i, count), **{**OPTIONS, **options}) for i in range(1, count + 1)]


@pytest.mark.parametrize("count", [1, 7])
def test_results_are_those_of_one_run_to_the_bit(conv, data, whole, count, tmp_path):
    shards = shards_of(conv, data, count)
    assert results_of(trimkit.merge(shards[::-1])) == results_of(whole)
    files = [shard.save(tmp_path / f"{shard.number}{SUFFIX}") for shard in shards]
    merged = trimkit.merge(files[::-1], conv, data, **OPTIONS)
    assert results_of(merged) == results_of(whole)
    for label, several in whole.examples.items():
        assert [one.id for one in merged.examples[label]] == [one.id for one in several]
        assert all(torch.equal(a.scores, b.scores) for a, b in zip(merged.examples[label], several, strict=True))
    assert "<svg" in merged.to_html()


def test_forbidden_groups_are_sharded_too(model, data):
    options = {"checks": ["reliance"], "forbid": "0.354–0.442"}
    one = trimkit.audit(model, data, **{**OPTIONS, **options})
    assert results_of(trimkit.merge(shards_of(model, data, 3, **options))) == results_of(one)


def test_more_shards_than_batches_leave_some_empty(model, data, tmp_path):
    options = {"transform": "fft", "samples": 60, "batch_size": 30, "checks": ["reconstruction"]}
    shards = [trimkit.audit(model, data, shard=(i, 5), **options) for i in range(1, 6)]
    files = [shard.save(tmp_path / f"{shard.number}{SUFFIX}") for shard in shards]
    assert results_of(trimkit.merge(files, model, data, **options)) == results_of(trimkit.audit(model, data, **options))


@pytest.fixture(scope="module")
def files(model, data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    return [s.save(folder / f"{s.number}{SUFFIX}") for s in shards_of(model, data, 3, checks=["reconstruction"])]


def merged(files, model, data, **options):
    return trimkit.merge(files, model, data, **{**OPTIONS, "checks": ["reconstruction"], **options})


def test_gaps_and_doubles_are_named(files, model, data, tmp_path):
    with pytest.raises(DataError, match="1 of 3 shards are missing: 2; run them again with --shard 2/3"):
        merged([files[0], files[2]], model, data)
    copy = tmp_path / "copy"
    copy.write_bytes(files[0].read_bytes())
    with pytest.raises(DataError, match="shard 1 of 3 is there twice"):
        merged([*files, copy], model, data)
    with pytest.raises(DataError, match="named twice"):
        merged([*files, files[0]], model, data)


def test_shards_of_two_cuts_are_refused(files, model, data, tmp_path):
    other = trimkit.audit(model, data, shard=(1, 2), **{**OPTIONS, "checks": ["reconstruction"]})
    with pytest.raises(DataError, match="got some of 2 and some of 3"):
        merged([other.save(tmp_path / "other"), *files[1:]], model, data)


def test_shards_of_another_audit_are_refused(files, model, conv, data):
    for options, name in (({"seed": 1}, "audited"), ({"thresholds": {"reconstruction.tolerance": 0.5}}, "checks")):
        with pytest.raises(DataError, match=rf"belongs to another audit: its {name} differ"):
            merged(files, model, data, **options)
    with pytest.raises(DataError, match="its model differ"):
        merged(files, conv, data)
    with pytest.raises(DataError, match="its data differ"):
        merged(files, model, trimkit.data.Dataset("planted", data.x + 1, data.y, "test", data.classes))
    with pytest.raises(DataError, match="its baseline and coefficients differ"):
        merged(files, model, data, baseline=torch.zeros(8, 5, dtype=torch.complex64))


def test_torn_files_and_other_formats_are_refused(files, model, data, tmp_path):
    torn = tmp_path / "torn"
    torn.write_bytes(files[0].read_bytes()[:-100])
    with pytest.raises(DataError, match="is no shard of an audit"):
        merged([torn, *files[1:]], model, data)
    assert read_header(files[0])["shard"] == [1, 3]


def test_files_need_the_model_and_options_that_exist(files, model, data):
    with pytest.raises(OptionError, match="hold neither model nor data"):
        trimkit.merge(files)
    with pytest.raises(OptionError, match="Did you mean 'samples'"):
        trimkit.merge(files, model, data, sample=3)
    with pytest.raises(OptionError, match="got none"):
        trimkit.merge([])


@pytest.mark.parametrize("shard", [(0, 3), (4, 3)])
def test_shards_out_of_range_are_refused(model, data, shard):
    with pytest.raises(OptionError, match="count from 1"):
        trimkit.audit(model, data, shard=shard)
    with pytest.raises(OptionError, match="a shard runs by itself"):
        trimkit.audit(model, data, shard=(1, 2), until_decided=True)


def test_shards_are_spelled_with_a_slash():
    assert parse_shard("3/8") == (3, 8)
    for text in ("3", "a/b", "9/8", "-1/3"):
        with pytest.raises(OptionError, match="expected a shard"):
            parse_shard(text)


def test_more_than_the_first_samples_are_counted_and_bounded(model):
    large = planted_data(2500)
    options = {"transform": "fft", "samples": None, "batch_size": 250, "checks": ["completeness", "reconstruction"]}
    report = trimkit.audit(model, large, **options)
    assert report.performance.n == report.provenance["audited"]["n"] == 2500
    hits = (model(large.x).argmax(1) == large.y).double().mean()
    assert report.performance.accuracy.value == pytest.approx(float(hits))
    assert all(len(one["ids"]) == 1024 for one in report.paired.values())
    assert report.verdict("completeness").n == 2500
    assert results_of(trimkit.merge([trimkit.audit(model, large, shard=(i, 4), **options) for i in (4, 2, 3, 1)])) == (
        results_of(report)
    )
