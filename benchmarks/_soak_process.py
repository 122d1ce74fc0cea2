"""One piece of work in a process of its own, which may be killed at any moment."""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

HUNG = 300.0
"""Seconds of the processor that no piece of work needs, and of the clock for one that waits: 4 times as many."""


@dataclass(frozen=True)
class Ending:
    """How a process ended.

    Attributes:
        code: its exit code; None where it was killed.
        seconds: of the processor until then.
        hung: it did not end by itself.
        said: what it wrote on stdout and stderr.
        process: its number.
    """

    code: int | None
    seconds: float
    hung: bool
    said: str
    process: int = 0


@dataclass(frozen=True)
class When:
    """The moment at which SIGKILL hits a process and its children.

    Attributes:
        seconds: of the processor, children included.
        delay: seconds of the clock after these, so that the signal also falls into waiting for the disk.
        writing: in this folder, or below, the process is writing a file then; None for any moment.
    """

    seconds: float
    delay: float = 0.0
    writing: Path | None = None


def is_writing(folder: Path, process: int) -> bool:
    """Whether a temporary file of a process is in a folder or below."""
    ending = f".tmp-{process}"
    return any(name.endswith(ending) for _, folders, files in os.walk(folder) for name in (*folders, *files))


def run_apart(work: Callable[[], int], log: Path, when: When | None = None) -> Ending:
    """Run a function in a forked process.

    Args:
        work: returns the exit code.
        log: takes what it writes on stdout and stderr.
        when: it is killed; None for never.
    """
    sys.stdout.flush()
    process = os.fork()
    if not process:
        _run_and_leave(work, log)
    return _watch(process, log, when)


def _run_and_leave(work: Callable[[], int], log: Path) -> None:
    code = 70
    try:
        os.setsid()
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        code = work()
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)


def _watch(process: int, log: Path, when: When | None) -> Ending:
    started, used, hung = time.monotonic(), 0.0, False
    while True:
        ended, status, usage = os.wait4(process, os.WNOHANG)
        if ended:
            break
        used = _processor_seconds(process)
        hung = used > HUNG or time.monotonic() - started > 4 * HUNG
        if hung or (when is not None and used >= when.seconds and _is_time(when, process)):
            os.killpg(process, signal.SIGKILL)
            _, status, usage = os.wait4(process, 0)
            break
        time.sleep(0.002)
    code = os.waitstatus_to_exitcode(status)
    seconds = max(used, usage.ru_utime + usage.ru_stime)
    return Ending(code if code >= 0 else None, seconds, hung, log.read_text("utf-8", "replace"), process)


def _is_time(when: When, process: int) -> bool:
    if when.writing is not None:
        return is_writing(when.writing, process)
    time.sleep(when.delay)
    return True


def _processor_seconds(process: int) -> float:
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def kill_one_of(command: list[str], log: Path, kill_after: float, second: bool) -> tuple[Ending, bool]:
    """Start a program of two processes, kill one, and let the other end by itself.

    Args:
        command: of the program.
        log: takes what both write.
        kill_after: seconds of the clock.
        second: kill the process that the first has started, where there is one by then.
    Returns:
        The ending of the first process, and whether one was killed.
    """
    import subprocess

    with log.open("w") as file:
        program = subprocess.Popen(command, stdout=file, stderr=file, start_new_session=True)
    killed = False
    try:
        program.wait(kill_after)
    except subprocess.TimeoutExpired:
        children = Path(f"/proc/{program.pid}/task/{program.pid}/children").read_text().split()
        os.kill(int(children[0]) if second and children else program.pid, signal.SIGKILL)
        killed = True
    hung = not _ends(program.pid, program, HUNG)
    code = program.returncode
    return Ending(
        code if code is not None and code >= 0 else None, 0.0, hung, log.read_text("utf-8", "replace")
    ), killed


def _ends(group: int, program: object, seconds: float) -> bool:
    """Whether all of a group of processes end; those that do not are killed."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        program.poll()  # type: ignore[attr-defined]
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    os.killpg(group, signal.SIGKILL)
    program.wait()  # type: ignore[attr-defined]
    return False
