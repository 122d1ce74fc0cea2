import os
from pathlib import Path

import pytest

from trimkit.cli._folders import free_folder, reserved_folder, written_aside
from trimkit.errors import DataError, OptionError


def test_the_folder_appears_whole_at_the_end(tmp_path):
    with written_aside(tmp_path / "out") as aside:
        (aside / "page").write_text("new")
        assert not (tmp_path / "out").exists()
    assert (tmp_path / "out" / "page").read_text() == "new"
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("replace", [True, False])
def test_a_failure_leaves_what_was_there(tmp_path, replace):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "page").write_text("old")

    def write_half():
        with written_aside(tmp_path / "out", replace=replace) as aside:
            (aside / "page").write_text("new")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half()
    assert (tmp_path / "out" / "page").read_text() == "old"
    assert os.listdir(tmp_path) == ["out"]


def test_an_older_folder_is_replaced_or_back_where_that_fails(tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "page").write_text("old")
    with written_aside(tmp_path / "out", replace=True) as aside:
        (aside / "page").write_text("new")
    assert (tmp_path / "out" / "page").read_text() == "new"

    real = os.replace

    def failing(source, target):
        if ".tmp-" in str(source):
            raise OSError("no space")
        real(source, target)

    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(OSError, match="no space"), written_aside(tmp_path / "out", replace=True) as aside:
        (aside / "page").write_text("newer")
    assert (tmp_path / "out" / "page").read_text() == "new"


def test_a_folder_that_is_there_is_not_replaced_unasked(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "page").write_text("old")
    with pytest.raises(OSError), written_aside(tmp_path / "out") as aside:  # noqa: PT011 (the system's own words)
        (aside / "page").write_text("new")
    assert (tmp_path / "out" / "page").read_text() == "old"


def test_folders_above_are_made(tmp_path):
    with written_aside(tmp_path / "a" / "b" / "out") as aside:
        (aside / "page").write_text("new")
    assert (tmp_path / "a" / "b" / "out" / "page").read_text() == "new"


def test_other_files_beside_a_report_are_counted(older):
    for name in ("notes.txt", "zebra.txt"):
        (older / name).write_text("precious")
    with pytest.raises(DataError, match=r"it holds 'notes\.txt' and 1 more beside"):
        free_folder("old", "report", replace=True)


def test_two_reports_at_once_get_a_folder_each(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with reserved_folder(None, "report") as one, reserved_folder(None, "report") as two:
        for folder, text in ((two, "second"), (one, "first")):
            with written_aside(folder) as aside:
                (aside / "page").write_text(text)
    assert {str(path): path.read_text() for path in Path().rglob("page")} == {
        "report/page": "first",
        "report-2/page": "second",
    }


def test_a_reserved_folder_goes_where_nothing_was_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RuntimeError), reserved_folder(None, "report"):
        raise RuntimeError
    assert os.listdir(tmp_path) == []


@pytest.fixture
def older(tmp_path, monkeypatch):
    """A report folder in the working folder."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "old"
    folder.mkdir()
    for name in ("report.html", "results.json"):
        (folder / name).write_text("old")
    return folder


def test_a_report_is_replaced_on_request_only(older):
    with pytest.raises(OptionError, match="--out old exists"):
        free_folder("old", "report")
    assert free_folder("old", "report", replace=True) == Path("old")
    assert free_folder(None, "old") == Path("old-2")


@pytest.mark.parametrize("name", ["method.json", "COMPLETE", "notes.txt", ".git"])
def test_a_folder_with_anything_beside_a_report_is_never_replaced(older, name):
    (older / name).write_text("precious")
    with pytest.raises(DataError, match=f"is no report folder: it holds '{name}' beside a report's files"):
        free_folder("old", "report", replace=True)


def test_a_folder_that_is_called_as_a_reports_file_is_not_one(older):
    (older / "results.json").unlink()
    (older / "results.json").mkdir()
    with pytest.raises(DataError, match=r"it holds 'results\.json'"):
        free_folder("old", "report", replace=True)


def test_links_files_and_the_working_folder_are_never_replaced(older, tmp_path, monkeypatch):
    (tmp_path / "link").symlink_to(older)
    (tmp_path / "file").write_text("precious")
    for out, says in (
        ("link", "but a link"),
        ("file", "but a file"),
        (".", "work in it"),
        ("/", "work in it"),
        ("~", "live or work"),
    ):
        with pytest.raises(DataError, match=says):
            free_folder(os.path.expanduser(out), "report", replace=True)
    monkeypatch.chdir(older)
    for out in (".", "../old", "..", str(older)):
        with pytest.raises(DataError, match="work in it"):
            free_folder(out, "report", replace=True)
