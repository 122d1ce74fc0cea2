"""How long a newcomer takes: wheels into a fresh environment, the tutorial to its end, a plugin whose tests are green.

Everything happens in a folder of its own outside the checkout, as on another machine; pip takes packages from where it
is configured to. Each step is a command that a newcomer would type, and fails the script where it fails.

    python benchmarks/newcomer.py                        # with this Python
    python benchmarks/newcomer.py --python python3.12    # with another
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
AIMS = {"tutorial": 300.0, "new plugin": 60.0}
"""Seconds that a step should take at most."""


class Place:
    """A folder outside the checkout with an environment of its own.

    Args:
        folder: empty.
        python: that makes the environment.
    """

    def __init__(self, folder: Path, python: str) -> None:
        self.folder, self.maker = folder, python
        self.environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "TRIMKIT_PLUGINS")}
        self.environment["PATH"] = f"{folder / 'env' / 'bin'}{os.pathsep}{os.environ['PATH']}"

    def run(self, *command: str | Path, inside: str = ".") -> str:
        """What a command prints, run in the folder with the environment's programs first.

        Raises:
            SystemExit: it fails; with its output.
        """
        words = [
            shutil.which(str(command[0]), path=self.environment["PATH"]) or str(command[0]),
            *map(str, command[1:]),
        ]
        done = subprocess.run(
            words,
            cwd=self.folder / inside,
            env=self.environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        if done.returncode:
            raise SystemExit(f"{' '.join(words)} ends with {done.returncode}:\n{done.stdout[-4000:]}")
        return done.stdout


def steps(place: Place) -> Iterator[tuple[str, float, float]]:
    """Each step, its seconds, and those that its processes computed, as it is done."""
    for name, work in (
        ("wheels", make_wheels),
        ("environment", lambda place: place.run(place.maker, "-m", "venv", "env")),
        ("installation", install),
        ("first look", look),
        ("tutorial", follow_tutorial),
        ("new plugin", make_plugin),
    ):
        began, computed = time.perf_counter(), _computed()
        work(place)
        yield name, time.perf_counter() - began, _computed() - computed


def _computed() -> float:
    """CPU seconds of all processes that were started and have ended."""
    times = os.times()
    return times.children_user + times.children_system


def make_wheels(place: Place) -> None:
    """What `make dist` does, from a copy of the sources, into the place."""
    sources = place.folder / "sources"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file() and not name.startswith(("docs/images", "tests/")):
            (sources / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, sources / name)
    projects = [sources, *sorted((sources / "plugins").iterdir())]
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", "dist")
    place.run(sys.executable, "-m", "pip", "wheel", *options, *projects)
    shutil.rmtree(sources)


def install(place: Place) -> None:
    """All wheels, and pytest for the tests of a plugin."""
    shutil.copyfile(ROOT / "constraints.txt", place.folder / "constraints.txt")
    wheels = sorted((place.folder / "dist").glob("*.whl"))
    place.run("python", "-m", "pip", "install", "--quiet", "-c", "constraints.txt", *wheels, "pytest")
    place.run("python", "-m", "pip", "check")


def look(place: Place) -> None:
    """The commands that show what there is; every plugin is loaded, and every part keeps its quick promises."""
    place.run("trimkit", "--help")
    place.run("trimkit", "list")
    place.run("trimkit", "plugins", "--check")


def follow_tutorial(place: Place) -> None:
    """Every line of code in docs/tutorial.md, with the output that it shows."""
    shutil.copyfile(ROOT / "docs" / "tutorial.md", place.folder / "tutorial.md")
    place.run("python", "-W", "error", "-m", "doctest", "tutorial.md")


def make_plugin(place: Place) -> None:
    """A plugin with a part of each kind, and its conformance suite."""
    kinds = ("transform", "attribution", "penalty", "method", "check", "dataset", "command")
    place.run("trimkit", "new-plugin", "trimkit-haar", *(word for kind in kinds for word in ("--kind", kind)))
    printed = place.run("python", "-m", "pytest", "-q", inside="trimkit-haar")
    if not re.search(r"\d+ passed", printed) or "failed" in printed:
        raise SystemExit(printed)


def main() -> None:
    """Take the steps, and print their minutes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=sys.executable, help="that makes the environment (this one)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="newcomer-") as folder:
        place = Place(Path(folder), arguments.python)
        print(f"{place.run(arguments.python, '--version').strip()}, {os.cpu_count()} cores")
        print("step            minutes  of CPU")
        for name, seconds, computed in steps(place):
            aim = AIMS.get(name)
            verdict = "" if aim is None else f"  aim {aim / 60:.0f}: {'kept' if seconds <= aim else 'missed'}"
            print(f"{name:14}  {seconds / 60:7.2f} {computed / 60:7.2f}{verdict}", flush=True)


if __name__ == "__main__":
    main()
