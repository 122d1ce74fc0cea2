"""Every module can be imported, and a run be made, where Python has nothing that Windows does not have."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import importlib, os, pkgutil, signal, sys

import numpy as np

import trimkit
from trimkit.cli import main

def train(out):
    return main(["train", "fastica", "--data", "x.npz", "--out", out, "--method.components", "2"])

walked = pkgutil.walk_packages(trimkit.__path__, "trimkit.", onerror=lambda name: None)
modules = [name for _, name, _ in walked if not name.startswith("trimkit.integrations") and "__main__" not in name]
for name in modules:  # with what they need of others, which knows the system that it is on
    importlib.import_module(name)
np.savez("x.npz", x=np.random.default_rng(0).random((64, 4)))
assert train("first") == 0
for name in [name for name in sys.modules if name.startswith("trimkit")]:
    del sys.modules[name]

sys.modules |= dict.fromkeys(["fcntl", "grp", "pty", "pwd", "resource", "syslog", "termios", "tty"])
gone = {
    os: "O_DIRECTORY chown fork getegid geteuid getgid getpgid getpgrp getuid killpg mkfifo nice register_at_fork "
        "sched_getaffinity setsid statvfs sysconf uname wait4",
    signal: "SIGALRM SIGHUP SIGKILL SIGPIPE SIGQUIT SIGUSR1 SIGUSR2 alarm pthread_sigmask setitimer",
}
for module, names in gone.items():
    for name in names.split():
        delattr(module, name)
for name in modules:
    importlib.import_module(name)
from trimkit.cli import main
print(f"{len(modules)} modules, code {train('second')}")
"""


@pytest.mark.slow
def test_every_module_is_imported_and_a_run_is_made(tmp_path):
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    count, _, rest = done.stdout.splitlines()[-1].partition(" ")
    assert int(count) > 200
    assert rest == "modules, code 0"
    assert "no lock on second: this Python knows none" in done.stderr
    first, second = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("first", "second"))
    assert first == second
