"""The lock where Python has no fcntl: with the locks of Windows, played by those of this system, and with none."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from trimkit.storage import files

WINDOWS = """
import fcntl, os, sys, types

def locking(descriptor, mode, count):
    assert mode == 2, "LK_NBLCK"
    fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, count, os.lseek(descriptor, 0, os.SEEK_CUR))

sys.modules |= {"fcntl": None, "msvcrt": types.SimpleNamespace(LK_NBLCK=2, locking=locking)}
"""

NOWHERE = """
import sys, warnings
sys.modules["fcntl"] = None
"""

TAKE = """
from pathlib import Path
from trimkit.storage import BusyError, locked

try:
    with locked(Path(sys.argv[1])):
        print("held", flush=True)
        sys.stdin.read()
except BusyError as error:
    print(error, flush=True)
"""


@pytest.fixture
def take(tmp_path):
    """A function that starts a process which takes the lock on the folder a, and gives it with the line it says."""
    started = []

    def start(system: str) -> tuple[subprocess.Popen[str], str]:
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        child = subprocess.Popen([sys.executable, "-c", system + TAKE, str(tmp_path / "a")], text=True, **pipes)
        started.append(child)
        return child, child.stdout.readline()

    yield start
    for child in started:
        child.kill()
        child.communicate()


def test_the_second_is_told_who_has_it(take):
    first, said = take(WINDOWS)
    assert said == "held\n"
    _, said = take(WINDOWS)
    assert f"a is in use by process {first.pid} on " in said


def test_it_goes_with_its_file_at_the_end(take, tmp_path):
    for _ in range(2):
        child, said = take(WINDOWS)
        assert said == "held\n"
        child.communicate()
        assert child.returncode == 0
        assert list(tmp_path.iterdir()) == []


def test_death_releases_it(take, tmp_path):
    first, _ = take(WINDOWS)
    first.kill()
    first.wait()
    assert [path.name for path in tmp_path.iterdir()] == [".a.lock"]
    assert take(WINDOWS)[1] == "held\n"


def test_a_python_without_locks_says_so_and_goes_on(take):
    child, said = take(NOWHERE)
    assert said == "held\n"
    _, errors = child.communicate()
    assert "a: this Python knows none" in errors
    assert child.returncode == 0


def test_a_folder_that_cannot_be_opened_is_not_flushed(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "O_DIRECTORY")
    monkeypatch.setattr(os, "open", lambda *_: pytest.fail("opened"))
    files.write_atomically(tmp_path / "a", b"x")
    assert (tmp_path / "a").read_bytes() == b"x"
