"""Tables: features and target from CSV, TSV and Parquet; what is no number or missing is named; columns name groups."""

from __future__ import annotations

import sys

import pytest
import torch

import trimkit
from trimkit import cli
from trimkit.data import Dataset, as_dataset, load
from trimkit.data.files import names_code
from trimkit.data.tables import read_table
from trimkit.errors import DataError, OptionError

PRICES = "rooms,price\n1,2.5\n3,4\n"
ROWS = "age,height,city,sick\n30,1.5,Oslo,0\n41,1.75,Bonn,1\n\n52,2,Oslo,1\n"


@pytest.fixture
def write(tmp_path):
    def call(name, text):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return call


def test_columns_become_features_and_labels(write):
    data = load(f"{write('t.csv', ROWS)}:target=sick,drop=city")
    assert data.feature_names == ("age", "height")
    assert torch.equal(data.x, torch.tensor([[30, 1.5], [41, 1.75], [52, 2]]))
    assert data.y.tolist() == [0, 1, 1]
    assert data.classes == ("0", "1")


def test_without_a_target_every_column_is_a_feature(write):
    data = load(str(write("t.csv", "a,b\n1,2\n3,4\n")))
    assert (data.feature_names, data.y, data.x.tolist()) == (("a", "b"), None, [[1, 2], [3, 4]])


def test_numbers_without_a_heading_are_no_table(write):
    data = load(str(write("t.csv", "1,2\n3,4\n")))
    assert (data.feature_names, data.x.tolist()) == ((), [[1, 2], [3, 4]])


@pytest.mark.parametrize(("name", "sign"), [("t.csv", ";"), ("t.csv", "\t"), ("t.tsv", "\t")])
def test_other_separators_are_seen(write, name, sign):
    data = load(str(write(name, ROWS.replace(",", sign))), drop=["city", "sick"])
    assert data.x.tolist() == [[30, 1.5], [41, 1.75], [52, 2]]


def test_text_in_the_target_names_classes(write):
    data = load(f"{write('t.csv', ROWS)}:target=city")
    assert (data.classes, data.y.tolist()) == (("Bonn", "Oslo"), [1, 0, 1])


def test_measured_values_in_the_target_are_no_classes(write):
    assert read_table(write("t.csv", "a,b\n1,2.5\n3,-4\n"), target="b").y.tolist() == [2.5, -4]


def test_quotes_and_a_byte_order_mark_are_read(write):
    data = load(str(write("t.csv", '\ufeff"a, b",c\n1,"2"\n')))
    assert (data.feature_names, data.x.tolist()) == (("a, b", "c"), [[1, 2]])


def test_python_takes_the_same_options(write):
    path = write("t.csv", ROWS)
    assert load(str(path), target="sick", drop=["city"]).y.tolist() == [0, 1, 1]
    assert as_dataset(f"{path}:target=sick,drop=city").feature_names == ("age", "height")


@pytest.mark.parametrize("double", [False, True])
def test_double_precision_is_kept_where_asked(write, double):
    data = load(str(write("t.csv", "a\n0.1\n")), double=double)
    assert data.x.dtype == (torch.float64 if double else torch.float32)


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        (ROWS, {}, r"column 'city' holds text, such as 'Oslo' in row 1.*get_dummies.*drop=\[city\]"),
        ("a,b\n1,2\n3,\n", {}, r"row 2 has no value in column 'b' \(''\)"),
        ("a,b\n1,NA\n", {}, "row 1 has no value in column 'b'"),
        ("a,b\n1,inf\n", {}, "row 1 has no value in column 'b'"),
        ("a,b\n1,2\n3,\n", {"target": "b"}, "row 2 has no value in the target 'b'"),
        ("a,b\n1,2,3\n", {}, "expected 2 cells in row 1, got 3"),
        ("a,a\n1,2\n", {}, "got 'a' twice"),
        ("a,b\n", {}, "got 1 lines"),
        ("1,2\n3,4\n", {"target": "y"}, "expected a heading"),
        ("a\n1\n", {"target": "a"}, "at least one feature"),
    ],
)
def test_what_cannot_be_used_is_named(write, text, options, words):
    with pytest.raises(DataError, match=words):
        load(str(write("t.csv", text)), **options)


@pytest.mark.parametrize(
    ("options", "words"),
    [({"target": "sik"}, "Did you mean 'sick'"), ({"drop": "town"}, "no column 'town'"), ({"size": 3}, "got 'size'")],
)
def test_wrong_options_are_refused(write, options, words):
    with pytest.raises(OptionError, match=words):
        load(str(write("t.csv", ROWS)), **options)


def test_missing_files_and_other_encodings_are_refused(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        load(f"{tmp_path / 'none.csv'}:target=y")
    (tmp_path / "latin.csv").write_bytes("größe,b\n1,2\n".encode("latin-1"))
    with pytest.raises(DataError, match="UTF-8"):
        load(str(tmp_path / "latin.csv"))


def test_unknown_kinds_are_answered_with_those_that_are_read(write):
    with pytest.raises(DataError, match=r"got \.xlsx") as refused:
        load(str(write("t.xlsx", "")))
    assert all(kind in str(refused.value) for kind in (".npz", ".csv", ".parquet"))
    with pytest.raises(DataError, match=r"mine\.py:NAME"):
        load(str(write("mine.py", "")))


def test_parquet_is_read_like_text(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = pyarrow.table({"a": [1, 2], "b": [True, False], "c": [0.5, None], "y": ["no", "yes"]})
    parquet.write_table(table, tmp_path / "t.parquet")
    data = load(f"{tmp_path / 't.parquet'}:target=y,drop=c")
    assert (data.feature_names, data.x.tolist(), data.classes) == (("a", "b"), [[1, 1], [2, 0]], ("no", "yes"))
    with pytest.raises(DataError, match="row 2 has no value in column 'c'"):
        load(f"{tmp_path / 't.parquet'}:target=y")


def test_a_damaged_parquet_file_is_refused(write):
    pytest.importorskip("pyarrow")
    with pytest.raises(DataError, match="expected a Parquet file"):
        load(str(write("t.parquet", "no")))


def test_parquet_without_its_library_says_what_to_install(write, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(DataError, match="pip install pyarrow"):
        load(str(write("t.parquet", "")))


def test_a_table_names_no_code():
    assert not names_code("table.parquet:target=y")


def test_names_and_values_must_fit():
    with pytest.raises(DataError, match="one feature name for each value"):
        Dataset("d", torch.zeros(3, 2), feature_names=("a",))


def test_names_belong_to_the_data():
    x = torch.zeros(3, 2)
    assert Dataset("d", x, feature_names=("a", "b")).sha256 != Dataset("d", x, feature_names=("a", "c")).sha256
    assert Dataset("d", x, feature_names=("a", "b")).take(2).feature_names == ("a", "b")


@pytest.fixture
def audited():
    x = torch.randn(40, 2, generator=torch.Generator().manual_seed(0))
    model = torch.nn.Sequential(torch.nn.Linear(2, 2)).eval()
    return model, Dataset("table", x, feature_names=("age", "height"))


def test_groups_of_an_audit_are_the_columns(audited):
    report = trimkit.audit(*audited, checks=["reliance"], forbid="height", samples=40)
    assert report.evidence["integrated_gradients"]["bands"]["names"] == ["age", "height"]
    assert report.evidence["integrated_gradients"]["reliance"]["forbidden"][0]["name"] == "height"


def test_another_space_keeps_its_own_names(audited):
    report = trimkit.audit(*audited, transform="dct", checks=["reconstruction"], samples=40)
    assert "age" not in report.evidence["integrated_gradients"]["bands"]["names"]


def test_the_command_line_takes_a_table(tmp_path, monkeypatch, capsys):
    x = torch.randn(40, 2, generator=torch.Generator().manual_seed(0))
    rows = [f"{a:.6f},{b:.6f},{'high' if a + b > 0 else 'low'}" for a, b in x.tolist()]
    (tmp_path / "t.csv").write_text("\n".join(["age,height,risk", *rows]))
    (tmp_path / "net.py").write_text("import torch\n\ndef build():\n    return torch.nn.Linear(2, 2).eval()\n")
    monkeypatch.chdir(tmp_path)
    options = ["--samples", "40", "--checks", "reliance", "--forbid", "age", "--out", "page"]
    code = cli.main(["audit", "--model", "net.py:build", "--data", "t.csv:target=risk", *options])
    printed = capsys.readouterr().out
    assert code in (0, 1, 3)
    assert "2 classes (high, low)" in printed
    assert "'age'" in printed


def test_measured_targets_are_values_of_a_regression(write):
    data = load(f"{write('t.csv', PRICES)}:target=price")
    assert (data.y.tolist(), data.y.dtype, data.classes) == ([2.5, 4.0], torch.float32, ())


def test_whole_numbers_are_a_regression_where_that_is_said(write):
    path = write("t.csv", PRICES.replace("2.5", "250000"))
    data = load(f"{path}:target=price,regression=true")
    assert (data.y.tolist(), data.classes) == ([250000.0, 4.0], ())
    with pytest.raises(DataError, match="column 'city' holds text"):
        load(str(write("u.csv", ROWS)), target="city", drop="sick", regression=True)


@pytest.mark.parametrize("cell", ["", " ", "NA"])
def test_a_row_without_the_name_that_it_is_to_have_is_named(tmp_path, cell):
    path = tmp_path / "rows.csv"
    path.write_text(f"who,a\nfirst,1\n{cell},2\n")
    with pytest.raises(DataError, match="row 2 has no value in 'who', which is to name it; fill it in"):
        read_table(path, id="who")
