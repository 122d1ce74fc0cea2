"""A file is the old one or the new one, on the disk too."""

from __future__ import annotations

import os
import stat

import pytest

from trimkit.storage import write_atomically


def test_content_is_on_the_disk_before_the_name_and_the_name_before_it_returns(tmp_path, monkeypatch):
    events = []
    replace = os.replace

    def fsync(descriptor):
        seen = os.fstat(descriptor)
        events.append("folder" if stat.S_ISDIR(seen.st_mode) else f"{seen.st_size} bytes")

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", lambda *paths: (events.append("name"), replace(*paths)))
    write_atomically(tmp_path / "a", b"123")
    assert events == ["3 bytes", "name", "folder"]


def test_what_cannot_be_written_leaves_the_old_file_alone(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"old")

    def fsync(descriptor):
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="no space left"):
        write_atomically(tmp_path / "a", b"new")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"old"}
