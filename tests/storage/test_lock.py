"""One process at a time works on a folder; a dead one holds nothing."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys

import pytest

from trimkit.errors import TrimkitWarning
from trimkit.storage import BusyError, locked

HOLDER = """
import sys, time
from pathlib import Path
from trimkit.storage import locked

with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that has the lock on the folder a."""
    child = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path / "a")], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    yield child
    child.kill()
    child.wait()
    child.stdout.close()


def test_the_second_is_told_who_has_it(holder, tmp_path):
    with pytest.raises(BusyError, match=rf"a is in use by process {holder.pid} on {socket.gethostname()}; wait"):
        locked(tmp_path / "a").__enter__()
    with locked(tmp_path / "b"):
        pass


def test_death_releases_it(holder, tmp_path):
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    with locked(tmp_path / "a"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_the_same_process_does_not_get_it_twice(tmp_path, monkeypatch):
    with locked(tmp_path / "a"):
        with pytest.raises(BusyError, match="in use by this process already"):
            locked(tmp_path / "a").__enter__()
        monkeypatch.chdir(tmp_path)
        with pytest.raises(BusyError, match="in use by this process already"):
            locked(tmp_path.__class__("a")).__enter__()
    with locked(tmp_path / "a"):
        pass


def test_nothing_stays_of_it_but_what_was_made_within(tmp_path):
    with locked(tmp_path / "runs" / "more" / "a"):
        assert (tmp_path / "runs" / "more" / ".a.lock").exists()
    assert list(tmp_path.iterdir()) == []
    with locked(tmp_path / "runs" / "a"):
        (tmp_path / "runs" / "a").mkdir()
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["a"]


def test_it_says_who_holds_it(tmp_path):
    with locked(tmp_path / "a"):
        holder = json.loads((tmp_path / ".a.lock").read_text())
    assert holder == {"process": os.getpid(), "host": socket.gethostname()}


def test_a_lock_that_its_last_holder_removes_meanwhile_is_made_anew(tmp_path, monkeypatch):
    path, lockf = tmp_path / ".a.lock", fcntl.lockf
    attempts = []

    def remove_once(descriptor, operation):
        if not attempts:
            path.unlink()
        attempts.append(descriptor)
        return lockf(descriptor, operation)

    monkeypatch.setattr(fcntl, "lockf", remove_once)
    with locked(tmp_path / "a"):
        assert path.exists()
    assert len(attempts) == 2


def test_a_lock_that_somebody_removed_is_no_error_at_the_end(tmp_path):
    with locked(tmp_path / "a"):
        (tmp_path / ".a.lock").unlink()
    with locked(tmp_path / "a"):
        assert (tmp_path / ".a.lock").exists()
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_without_locks_warns_whoever_asked(tmp_path, monkeypatch):
    def lockf(descriptor, operation):
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(fcntl, "lockf", lockf)
    with pytest.warns(TrimkitWarning, match="its file system knows none") as caught, locked(tmp_path / "a"):
        pass
    assert caught[0].filename == __file__
