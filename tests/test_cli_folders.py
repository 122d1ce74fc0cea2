import os

import pytest

from trimkit.cli._folders import written_aside


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
