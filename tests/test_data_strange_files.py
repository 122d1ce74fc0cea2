"""Tables and arrays as other programs write them: read, or refused by what is wrong with them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from trimkit.data import load
from trimkit.errors import DataError

ROWS = np.random.default_rng(0).normal(size=(6, 3)).round(3)
LINES = ["{},{},{}".format(*row) for row in ROWS]


def written(path, lines, encoding="utf-8"):
    path.write_bytes("\n".join([*lines, ""]).encode(encoding))
    return str(path)


@pytest.mark.parametrize(
    ("change", "encoding"),
    [
        (lambda line: line, "utf-8"),
        (lambda line: line, "utf-8-sig"),
        (lambda line: line.replace(",", ";"), "utf-8"),
        (lambda line: line.replace(",", "\t"), "utf-8"),
        (lambda line: '"' + line.replace(",", '","') + '"', "utf-8"),
        (lambda line: line.replace(",", " , "), "utf-8"),
        (lambda line: line + "\r", "utf-8"),
    ],
)
@pytest.mark.parametrize("heading", [[], ["a,b,c"]])
def test_numbers_are_read_as_other_programs_write_them(tmp_path, change, encoding, heading):
    path = written(tmp_path / "x.csv", [change(line) for line in [*heading, *LINES]], encoding)
    assert torch.equal(load(path).x, torch.from_numpy(ROWS).float())


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([], "x.csv is empty: expected a row of numbers a sample"),
        ([*LINES, "1,,2"], r"row 7 has no value in column '2' \(''\)"),
        ([*LINES, "1,nan,2"], "row 7 has no value in column '2'"),
        ([*LINES, "1,2"], "expected 3 cells in row 7, got 2"),
        ([*LINES, "1,two,3"], "column '2' holds text, such as 'two' in row 7"),
        (["0,5;1,5", "2,5;3,5"], "column '1' holds '0,5' in row 1: write decimals with a point"),
        (["a;b", "0,5;1,5"], "column 'a' holds '0,5' in row 1: write decimals with a point"),
        (["a,b", '"1,000",2'], "column 'a' holds '1,000' in row 1: .* thousands without a mark"),
    ],
)
def test_what_is_wrong_with_a_table_is_named(tmp_path, lines, says):
    with pytest.raises(DataError, match=says):
        load(written(tmp_path / "x.csv", lines))


def test_suffixes_may_be_in_capitals(tmp_path):
    np.savez(tmp_path / "x.npz", x=ROWS)
    (tmp_path / "x.npz").rename(tmp_path / "X.NPZ")
    np.save(tmp_path / "x.npy", ROWS)
    (tmp_path / "x.npy").rename(tmp_path / "X.NPY")
    for path in (tmp_path / "X.NPZ", tmp_path / "X.NPY", written(tmp_path / "X.CSV", ["a,b,c", *LINES])):
        assert torch.equal(load(str(path)).x, torch.from_numpy(ROWS).float())


@pytest.mark.parametrize(("written_as", "named"), [("npz", "npy"), ("npy", "npz")])
def test_arrays_under_another_suffix_are_no_samples(tmp_path, written_as, named):
    (np.savez if written_as == "npz" else np.save)(tmp_path / f"a.{written_as}", ROWS)
    (tmp_path / f"a.{written_as}").rename(tmp_path / f"b.{named}")
    with pytest.raises(DataError, match=rf"expected a \.{named} file .*, got another format or a damaged file"):
        load(str(tmp_path / f"b.{named}"))


def test_values_too_small_for_float32_stay_what_they_are(tmp_path):
    np.save(tmp_path / "x.npy", ROWS * 1e-42)
    assert torch.equal(load(str(tmp_path / "x.npy")).x, torch.from_numpy(ROWS * 1e-42))
