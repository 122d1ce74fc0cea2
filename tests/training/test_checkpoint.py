"""Checkpoints: whole or refused, whatever happens to them."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch

from trimkit.errors import CheckpointError, TrimkitWarning
from trimkit.storage import write_atomically
from trimkit.storage.manifest import signed
from trimkit.training.checkpoint import Checkpoints, DamagedError

IDENTITY = {"method": "a:B", "options": {"latent_dim": 3}, "seed": 0}


def state(step: int) -> dict:
    return {
        "networks": {"w": torch.full((100,), float(step))},
        "step": step,
        "optimisers": {"a": {"betas": (0.9, 0.99)}},
    }


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "checkpoints"


@pytest.fixture
def kept(folder):
    checkpoints = Checkpoints(folder, IDENTITY)
    for step in (1, 2, 3):
        checkpoints.save(state(step))
    return checkpoints


def flip(path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


def test_the_newest_comes_back_as_it_was(kept, same):
    assert same(kept.newest(), state(3))


def test_the_newest_two_are_kept_each_with_its_manifest(kept, folder):
    assert sorted(path.name for path in folder.iterdir()) == [
        "step-00000002.json",
        "step-00000002.pt",
        "step-00000003.json",
        "step-00000003.pt",
    ]
    manifest = json.loads((folder / "step-00000003.json").read_text())
    assert (manifest["step"], manifest["identity"]) == (3, IDENTITY)
    assert manifest["bytes"] == (folder / "step-00000003.pt").stat().st_size


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.999])
def test_a_flipped_bit_is_found_and_the_one_before_is_taken(kept, folder, share):
    path = folder / "step-00000003.pt"
    flip(path, int(share * path.stat().st_size))
    with pytest.warns(
        TrimkitWarning, match=r"step-00000003\.pt is damaged: its sha256 .*; going on from step-00000002"
    ):
        found = kept.newest()
    assert found["step"] == 2


@pytest.mark.parametrize("length", [0, 1, 500])
def test_a_truncated_file_is_found(kept, folder, length):
    path = folder / "step-00000003.pt"
    path.write_bytes(path.read_bytes()[:length])
    with pytest.warns(TrimkitWarning, match=rf"expected \d+ bytes, got {length}"):
        assert kept.newest()["step"] == 2


@pytest.mark.parametrize("content", ["", "{", "[]", '{"bytes": 1}'])
def test_a_damaged_manifest_is_found(kept, folder, content):
    (folder / "step-00000003.json").write_text(content)
    with pytest.warns(TrimkitWarning, match=r"manifest .*step-00000003\.json is damaged"):
        assert kept.newest()["step"] == 2


def test_a_manifest_with_another_value_is_found_by_its_own_hash(kept, folder):
    path = folder / "step-00000003.json"
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 1'))
    with pytest.warns(TrimkitWarning, match=r"step-00000003\.json is damaged: its sha256 is not the one that was"):
        assert kept.newest()["step"] == 2


def test_a_damaged_older_one_is_named_though_the_newest_is_whole(kept, folder):
    flip(folder / "step-00000002.pt", 700)
    with pytest.warns(TrimkitWarning, match=r"step-00000002\.pt is damaged.*step-00000003\.pt, which is gone on from"):
        assert kept.newest()["step"] == 3


def test_a_missing_file_is_found(kept, folder):
    (folder / "step-00000003.pt").unlink()
    with pytest.warns(TrimkitWarning, match=r"step-00000003\.pt cannot be read: No such file"):
        assert kept.newest()["step"] == 2


def test_a_damaged_one_is_set_aside_and_written_anew(kept, folder, same):
    flip(folder / "step-00000003.pt", 700)
    with pytest.warns(TrimkitWarning):
        kept.newest()
    assert (folder / "step-00000003.damaged").exists()
    kept.save(state(3))
    assert same(kept.newest(), state(3))


def test_a_file_without_manifest_was_never_committed(kept, folder):
    (folder / "step-00000003.json").unlink()
    assert kept.newest()["step"] == 2


def test_nothing_whole_names_every_fault(kept, folder):
    for step in (2, 3):
        flip(folder / f"step-0000000{step}.pt", 400)
    with pytest.raises(CheckpointError, match=r"nothing to resume .*00003\.pt is damaged.*00002\.pt is damaged.*anew"):
        kept.newest()


def test_an_empty_folder(folder):
    with pytest.raises(CheckpointError, match="no checkpoint was written"):
        Checkpoints(folder, IDENTITY).newest()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "a:C"}, "method was 'a:B', is 'a:C'"),
        ({"options": {"latent_dim": 4}}, "options.latent_dim was 3, is 4"),
        ({"trim": {}, "predictor": "f00"}, "predictor was None, is 'f00'"),
    ],
)
def test_another_runs_checkpoint_is_refused_not_skipped(kept, folder, change, message):
    with pytest.raises(CheckpointError, match=f"step-00000003.pt is of another run: {message}"):
        Checkpoints(folder, {**IDENTITY, **change}).newest()


def test_another_format_is_refused(kept, folder):
    path = folder / "step-00000003.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 99}))
    with pytest.raises(CheckpointError, match="has format 99, expected 2"):
        kept.newest()


def test_code_in_a_checkpoint_is_not_run(kept, folder, tmp_path):
    """Also where somebody has made a manifest for it."""
    marker = tmp_path / "ran"
    path = folder / "step-00000003.pt"

    class Exploit:
        def __reduce__(self):
            return (os.mkdir, (str(marker),))

    torch.save({"step": 3, "networks": Exploit()}, path)
    manifest = folder / "step-00000003.json"
    content = path.read_bytes()
    honest = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    written = json.loads(manifest.read_text())
    del written["manifest_sha256"]
    manifest.write_text(json.dumps(signed({**written, **honest})))
    with pytest.warns(TrimkitWarning, match="cannot be read: Weights only load failed"):
        assert kept.newest()["step"] == 2
    assert not marker.exists()


def test_a_full_disk_leaves_the_one_before(kept, folder, monkeypatch, same):
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match=r"cannot write .*step-00000004\.pt: No space left on device"):
        kept.save(state(4))
    monkeypatch.undo()
    assert same(kept.newest(), state(3))
    assert not list(folder.glob("*.tmp-*"))


def test_what_a_killed_writer_left_is_removed(kept, folder):
    (folder / "step-00000004.pt.tmp-123").write_bytes(b"half")
    kept.save(state(4))
    assert not list(folder.glob("*.tmp-*"))


def test_files_are_never_overwritten(kept, folder):
    before = (folder / "step-00000003.pt").stat().st_mtime_ns
    kept.save(state(3))
    assert (folder / "step-00000003.pt").stat().st_mtime_ns == before


def test_another_number_of_threads_is_said(kept, folder, monkeypatch):
    threads = torch.get_num_threads()
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads + 1)
    with pytest.warns(TrimkitWarning, match=f"written with {threads} threads and goes on with {threads + 1}"):
        kept.newest()


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def fail(source, target) -> None:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="broken"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


MEBIBYTES = 16
SAVER = """
import sys, torch
from pathlib import Path
from trimkit.training.checkpoint import Checkpoints

checkpoints = Checkpoints(Path(sys.argv[1]), {"method": "a:B"})
step = int(sys.argv[2])
while True:
    values = torch.full((MEBIBYTES * 2**18,), float(step))
    checkpoints.save({"values": values, "step": step})
    print(step, flush=True)
    step += 1
""".replace("MEBIBYTES", str(MEBIBYTES))


def run_and_kill(folder: Path, first: int, seconds: float) -> int:
    """Save checkpoints in another process and kill it; returns the last step it said was saved, or the one before."""
    child = subprocess.Popen([sys.executable, "-c", SAVER, str(folder), str(first)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    saved = int(child.stdout.readline())
    try:
        child.wait(seconds)
    except subprocess.TimeoutExpired:
        os.kill(child.pid, signal.SIGKILL)
    rest = child.stdout.read().split()
    child.stdout.close()
    child.wait()
    return int(rest[-1]) if rest else saved


@pytest.mark.slow
def test_no_kill_loses_a_checkpoint(folder):
    """`kill -9` at random times; a trial in which it hits no write proves nothing, so some must hit one."""
    chance, last, in_a_write = random.Random(0), 0, 0
    for _ in range(40):
        last = run_and_kill(folder, last + 1, chance.uniform(0.0, 0.15))
        in_a_write += bool(list(folder.glob("*.tmp-*")))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".* was written with", TrimkitWarning)  # the child has its own threads
            found = Checkpoints(folder, {"method": "a:B"}).newest()
        assert found["step"] >= last
        assert torch.equal(found["values"], torch.full((MEBIBYTES * 2**18,), float(found["step"])))
        last = found["step"]
    assert in_a_write >= 1


FILLER = """
import resource, sys, torch
from pathlib import Path
from trimkit.errors import CheckpointError
from trimkit.training.checkpoint import Checkpoints
import signal

checkpoints = Checkpoints(Path(sys.argv[1]), {"method": "a:B"})
checkpoints.save({"values": torch.zeros(10), "step": 1})
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    checkpoints.save({"values": torch.zeros(100_000), "step": 2})
except CheckpointError as error:
    print(error)
print(checkpoints.newest()["step"], *sorted(path.name for path in Path(sys.argv[1]).iterdir()))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs limits on the size of files")
def test_a_file_that_cannot_grow_leaves_the_checkpoint_before(folder):
    """The kernel refuses the write half-way, as a full disk does."""
    done = subprocess.run([sys.executable, "-c", FILLER, str(folder)], capture_output=True, text=True)
    error, rest = done.stdout.splitlines()
    assert error == f"cannot write checkpoint {folder / 'step-00000002.pt'}: File too large; the one before it is whole"
    assert rest == "1 step-00000001.json step-00000001.pt"


@pytest.mark.parametrize("length", [0, 1, 100])
def test_every_truncation_and_flip_is_found(kept, folder, length):
    """Of the manifest too."""
    path = folder / "step-00000003.json"
    path.write_bytes(path.read_bytes()[:length])
    with pytest.warns(TrimkitWarning, match="manifest .* is damaged; going on from step-00000002"):
        assert kept.newest()["step"] == 2


@pytest.mark.slow
def test_a_thousand_flips_and_truncations_are_found(kept, folder):
    chance, path = random.Random(0), folder / "step-00000003.pt"
    whole = path.read_bytes()
    for _ in range(1000):
        position = chance.randrange(len(whole))
        flipped = bytes([whole[position] ^ (1 << chance.randrange(8))])
        path.write_bytes(whole[:position] + (flipped + whole[position + 1 :] if chance.random() < 0.5 else b""))
        with pytest.raises(DamagedError):
            kept.load(path)
    path.write_bytes(whole)
    assert kept.load(path)["step"] == 3


def test_it_tells_what_a_step_was_written_with(kept):
    assert kept.recorded(3) == IDENTITY


@pytest.mark.parametrize(
    ("names", "started"),
    [
        ([], False),
        (["step-00000000.pt"], False),
        (["step-00000000.pt.tmp-7"], False),
        (["step-00000001.pt"], True),
        (["step-00000000.pt", "else"], True),
    ],
)
def test_a_run_has_started_once_more_is_there_than_a_torn_first_checkpoint(folder, names, started):
    folder.mkdir()
    for name in names:
        (folder / name).touch()
    assert Checkpoints(folder, IDENTITY).started is started


def test_a_run_with_a_whole_first_checkpoint_has_started(folder):
    checkpoints = Checkpoints(folder, IDENTITY)
    checkpoints.save(state(0))
    assert checkpoints.started
