"""SIGTERM in each phase of a run and of an audit: the exit code is 143, no half file stays, and nothing is lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

PROGRAM = '''
import contextlib, importlib, io, json, os, shutil, signal, sys
from pathlib import Path

import numpy as np

from trimkit.cli import main
from trimkit.storage import find_damage

NOISE = np.random.default_rng(0).random((32, 6), np.float32)
TRAIN = "train vae --data d.npz --out run --steps 4 --checkpoint-every 2 --batch-size 8 --method.network mlp".split()
TRAIN += ["--method.latent_dim", "2"]
AUDIT = "audit --model terminated.py:net --data d.npz --checks reconstruction --samples 20".split()
SOURCE = "from torch import nn\\n\\ndef net():\\n    return nn.Linear(6, 2)\\n"

def apart(work):
    """The exit code of work in a copy of this process, and what it said."""
    process = os.fork()
    if not process:
        descriptor = os.open("said", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        code = work()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    said = Path("said").read_text()
    Path("said").unlink()
    return code, said

def signalled(place, turn, argv):
    """The command, which is sent SIGTERM as it calls a function for the turn-th time."""
    owner, _, name = place.rpartition(".")
    module, _, inner = owner.partition(":")
    holder = importlib.import_module(module)
    holder = getattr(holder, inner) if inner else holder
    call, calls = getattr(holder, name), []

    def called(*given, **named):
        calls.append(name)
        if len(calls) == turn:
            os.kill(os.getpid(), signal.SIGTERM)
        return call(*given, **named)

    setattr(holder, name, called)
    return main(argv)

def enter(name):
    folder = Path(sys.argv[1], name)
    folder.mkdir()
    os.chdir(folder)
    np.savez("d.npz", x=NOISE)
    Path("terminated.py").write_text(SOURCE)

def listed():
    return sorted(path.as_posix() for path in Path().rglob("*") if "__pycache__" not in path.parts)

def half_done():
    return [name for name in listed() if ".tmp" in name or ".lock" in name or ".before" in name or ".old" in name]

def train(place, turn):
    code, said = apart(lambda: signalled(place, turn, TRAIN))
    left = half_done()
    again = TRAIN + (["--resume"] if Path("run.partial").exists() or Path("run").exists() else [])
    resumed, _ = apart(lambda: main(again))
    whole = Path("run/COMPLETE").exists() and find_damage(Path("run")) is None
    weights = Path("run/model.safetensors").read_bytes() == undisturbed
    return {"code": code, "said": said, "left": left, "resumed": resumed, "whole": whole, "same": weights}

def audit(place, turn):
    before = listed()
    code, said = apart(lambda: signalled(place, turn, AUDIT))
    return {"code": code, "said": said, "left": [name for name in listed() if name not in before]}

enter("undisturbed")
assert main(TRAIN) == 0
assert main(AUDIT) in (0, 3)
undisturbed = Path("run/model.safetensors").read_bytes()
seen = {}
for number, (command, phase, place, turn) in enumerate(json.loads(sys.argv[2])):
    enter(str(number))
    seen[f"{command}: {phase}"] = {"train": train, "audit": audit}[command](place, turn)
Path(sys.argv[1], "seen.json").write_text(json.dumps(seen))
'''

TRAIN = {
    "import": ("trimkit.registry.parts.import_target", 1),
    "data": ("trimkit.data.load", 1),
    "method": ("trimkit.training.train", 1),
    "rehearsal": ("trimkit.training.session:Session._rehearse", 1),
    "settings being written": ("os.fsync", 1),
    "first checkpoint being written": ("os.fsync", 5),
    "first checkpoint being renamed": ("trimkit.training.checkpoint.write_atomically", 2),
    "first step": ("trimkit.training.loop:Loop._advance", 1),
    "later checkpoint being written": ("trimkit.training.checkpoint.write_atomically", 3),
    "last step": ("trimkit.training.loop:Loop._advance", 4),
    "evaluation": ("trimkit.training.session.conclude", 1),
    "files being written": ("trimkit.training.plan.write_outcome", 1),
    "hashes being written": ("trimkit.training.run_folder.write_manifest", 1),
    "end of the last write": ("trimkit.training.run_folder:RunFolder._put_in_place", 1),
}
AUDIT = {
    "data": ("trimkit.data.load", 1),
    "explanation": ("trimkit.audit.run:Run.measure", 1),
    "report being drawn": ("trimkit.audit.report:Report.to_html", 1),
    "report being written": ("os.fsync", 1),
    "report being renamed": ("os.replace", 3),
}


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """What was seen in each phase; copies of one process are signalled, so that torch is imported once."""
    folder = tmp_path_factory.mktemp("terminated")
    phases = [("train", name, *at) for name, at in TRAIN.items()] + [("audit", name, *at) for name, at in AUDIT.items()]
    command = [sys.executable, "-c", PROGRAM, str(folder), json.dumps(phases)]
    alone = {**os.environ, "OMP_NUM_THREADS": "1"}  # a copy of a process has none of its threads, and waits for them
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=alone)
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "seen.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("phase", TRAIN)
def test_a_run_ends_with_143_and_goes_on_to_the_same_weights(seen, phase):
    trial = seen[f"train: {phase}"]
    in_steps = phase in ("first step", "later checkpoint being written", "last step")
    assert trial["code"] == 143, trial["said"]
    assert (
        trial["said"]
        .splitlines()[-1]
        .startswith("trimkit: SIGTERM: stopped after step " if in_steps else "trimkit: SIGTERM: stopped")
    )
    assert trial["left"] == []
    complete_already = phase == "end of the last write"
    assert trial["resumed"] == (2 if complete_already else 0)
    assert trial["whole"]
    assert trial["same"]


@pytest.mark.slow
@pytest.mark.parametrize("phase", AUDIT)
def test_an_audit_ends_with_143_and_leaves_nothing(seen, phase):
    trial = seen[f"audit: {phase}"]
    assert trial["code"] == 143, trial["said"]
    assert trial["said"].splitlines()[-1] == "trimkit: SIGTERM: stopped"
    assert trial["left"] == []
