"""Known plugins with their own tests against this checkout: ``python downstream/run.py [DISTRIBUTION …]``.

A recipe ``downstream/NAME.toml`` says what is tried:

    distribution = "trimkit-graph"
    project = "examples/plugins/trimkit-graph"      # a folder of the checkout; or  requirement = "trimkit-graph>=1"
    commands = [["trimkit", "plugins", "--check", "graph"], ["python", "-m", "pytest", "-q", "tests"]]

Each is installed into an environment of its own on top of this one, in which trimkit is the checkout's. Its commands
run in a copy of the project outside the checkout. The exit code is 1 where one fails, with its last lines.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "downstream"
OFFLINE = ("--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check")
BUILT = shutil.ignore_patterns("*.egg-info", "build", "__pycache__", ".*_cache")


@dataclass(frozen=True)
class Recipe:
    """How a plugin is tried.

    Attributes:
        distribution: its name.
        commands: that must end with 0, as lists of words; "python" and "trimkit" are the environment's.
        project: its folder in the checkout, or "".
        requirement: what pip installs where it stands elsewhere, or "".
    """

    distribution: str
    commands: Sequence[Sequence[str]]
    project: str = ""
    requirement: str = ""


class Overlay:
    """A virtual environment on top of this one: it has everything that this one has, and what is installed in it.

    Args:
        folder: empty; its ``work`` is where commands run.
    """

    def __init__(self, folder: Path) -> None:
        self.work = folder / "work"
        self.work.mkdir()
        venv.create(folder / "env", symlinks=True)
        self.python = folder / "env" / ("Scripts" if sys.platform == "win32" else "bin") / "python"
        below = sysconfig.get_path("purelib")
        own = self.run("python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").stdout.strip()
        # addsitedir, not a bare path: trimkit's own editable install is a .pth file, which must be processed too
        (Path(own) / "below.pth").write_text(f"import site; site.addsitedir({below!r})\n")

    def install(self, project: Path) -> Path:
        """Install a project offline, from a copy: building leaves files beside the sources.

        Returns:
            The copy, in ``work``.
        """
        copy = Path(shutil.copytree(project, self.work / project.name, ignore=BUILT))
        self._must("python", "-m", "pip", "install", *OFFLINE, str(copy))
        return copy

    def install_from_index(self, requirement: str) -> Path:
        """Install what pip finds elsewhere, without its dependencies, which this environment has; returns ``work``."""
        self._must("python", "-m", "pip", "install", "--quiet", "--no-deps", requirement)
        return self.work

    def run(self, *words: str, inside: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run ``python …`` or ``trimkit …`` of the environment."""
        start = [str(self.python)] if words[0] == "python" else [str(self.python), "-m", words[0]]
        return subprocess.run(
            [*start, *words[1:]], cwd=inside or self.work, env=_environment(), capture_output=True, text=True
        )

    def _must(self, *words: str) -> None:
        done = self.run(*words)
        if done.returncode:
            raise RuntimeError(f"{' '.join(words)} ends with {done.returncode}: {done.stderr[-2000:]}")


def _environment() -> dict[str, str]:
    """This process's, with the checkout's trimkit before any other."""
    inherited = {name: value for name, value in os.environ.items() if name != "TRIMKIT_PLUGINS"}
    path = os.pathsep.join(filter(None, (str(ROOT), inherited.get("PYTHONPATH"))))
    return {**inherited, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}


def read_recipes(names: Sequence[str] = (), folder: Path = FOLDER) -> list[Recipe]:
    """The recipes of a folder, or those of some distributions.

    Raises:
        ValueError: a name without recipe, or a recipe with neither or both of project and requirement.
    """
    recipes = [Recipe(**tomllib.loads(path.read_text(encoding="utf-8"))) for path in sorted(folder.glob("*.toml"))]
    for recipe in recipes:
        if bool(recipe.project) == bool(recipe.requirement):
            raise ValueError(f"{recipe.distribution}: expected a project or a requirement, got both or none")
    unknown = sorted(set(names) - {recipe.distribution for recipe in recipes})
    if unknown:
        raise ValueError(f"there is no recipe for {', '.join(unknown)} in {folder}")
    return [recipe for recipe in recipes if not names or recipe.distribution in names]


def try_plugin(recipe: Recipe) -> str:
    """Install a plugin and run its commands; "" where all end with 0, else the last lines of the one that does not."""
    with tempfile.TemporaryDirectory() as folder:
        overlay = Overlay(Path(folder))
        if recipe.project:
            inside = overlay.install(ROOT / recipe.project)
        else:
            inside = overlay.install_from_index(recipe.requirement)
        for words in recipe.commands:
            done = overlay.run(*words, inside=inside)
            if done.returncode:
                shown = "\n".join((done.stdout + done.stderr).strip().splitlines()[-20:])
                return f"{' '.join(words)} ends with {done.returncode}:\n{shown}"
    return ""


def main(names: Sequence[str]) -> int:
    """Try recipes and print a line each; 1 where one fails."""
    failed = 0
    for recipe in read_recipes(names):
        trouble = try_plugin(recipe)
        failed += bool(trouble)
        sys.stdout.write(f"{recipe.distribution:20} {'FAILS: ' + trouble if trouble else 'passes'}\n")
        sys.stdout.flush()
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
