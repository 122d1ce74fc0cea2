"""Hashes of a folder's files: every change is found, and so is a change of the hashes."""

from __future__ import annotations

import json

import pytest

from trimkit.errors import TrimkitWarning
from trimkit.storage import MANIFEST, find_damage, list_damage, warn_of_damage, write_manifest


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "a.txt").write_text("alpha")
    (tmp_path / "inner" / "b.bin").write_bytes(bytes(range(100)))
    write_manifest(tmp_path, later={"DONE": b"3\n"}, leave_out=["gone"])
    (tmp_path / "DONE").write_bytes(b"3\n")
    return tmp_path


def test_a_folder_as_it_was_written(folder):
    assert find_damage(folder) is None
    assert sorted(json.loads((folder / MANIFEST).read_text())["files"]) == ["DONE", "a.txt", "inner/b.bin"]


@pytest.mark.parametrize("name", ["a.txt", "inner/b.bin", "DONE", MANIFEST])
def test_every_flipped_byte_is_found(folder, name):
    whole = (folder / name).read_bytes()
    for position in range(len(whole)):
        (folder / name).write_bytes(whole[:position] + bytes([whole[position] ^ 4]) + whole[position + 1 :])
        assert "is damaged" in str(find_damage(folder))


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"files": 3, "manifest_sha256": "x"}'])
def test_a_manifest_of_another_form_is_found(folder, content):
    (folder / MANIFEST).write_bytes(content)
    assert str(find_damage(folder)).startswith(f"{folder / MANIFEST} is damaged")


def test_what_is_missing_longer_or_new_is_named(folder):
    (folder / "a.txt").write_text("alphabet")
    assert find_damage(folder, ["a.txt"]) == f"{folder / 'a.txt'} is damaged: expected 5 bytes, got 8"
    (folder / "a.txt").unlink()
    assert find_damage(folder, ["a.txt"]) == f"{folder / 'a.txt'} cannot be read: No such file or directory"
    assert find_damage(folder, ["new"]) == f"{folder / 'new'} is not among the files that were written"
    assert find_damage(folder, ["DONE"]) is None


def test_a_folder_without_manifest_is_not_judged_and_says_so_once(tmp_path):
    assert find_damage(tmp_path, ["a"]) is None
    with pytest.warns(TrimkitWarning) as said:
        warn_of_damage(tmp_path, "read on")
    assert [str(warning.message) for warning in said] == [
        f"{tmp_path / MANIFEST} is missing, so that no file of the run is held against what was written, its weights "
        "and options among them"
    ]


def test_all_faults_are_listed(folder):
    for name in ("a.txt", "inner/b.bin"):
        (folder / name).write_bytes(b"x")
    assert [fault.partition(" is damaged")[0] for fault in list_damage(folder)] == [
        str(folder / "a.txt"),
        str(folder / "inner" / "b.bin"),
    ]


def test_each_damaged_file_is_named_in_a_warning_but_those_left_out_and_those_that_are_gone(folder):
    (folder / "inner" / "b.bin").write_bytes(b"x")
    (folder / "a.txt").unlink()
    with pytest.warns(TrimkitWarning) as said:
        warn_of_damage(folder, "read on")
    assert [str(warning.message) for warning in said] == [
        f"{folder / 'inner' / 'b.bin'} is damaged: expected 100 bytes, got 1; read on"
    ]
    warn_of_damage(folder, "read on", but=["inner/b.bin"])


def test_a_damaged_manifest_is_one_fault(folder):
    (folder / MANIFEST).write_bytes((folder / MANIFEST).read_bytes().replace(b"a.txt", b"b.txt"))
    with pytest.warns(TrimkitWarning, match=r"MANIFEST\.json is damaged: its sha256 .*; read on"):
        warn_of_damage(folder, "read on")
