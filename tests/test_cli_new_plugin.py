"""`trimkit new-plugin` writes a distribution that keeps every promise from its first minute."""

from __future__ import annotations

import ast
import os
import pty
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from trimkit import cli
from trimkit.cli.new_plugin import EXAMPLES, LICENCES, write_plugin
from trimkit.errors import OptionError
from trimkit.hooks import KINDS
from trimkit.testing import items_of

ALL = list(EXAMPLES)
CASES = [[kind] for kind in ALL] + [ALL]
cases = pytest.mark.parametrize("kinds", CASES, ids=lambda kinds: "+".join(kinds) if len(kinds) == 1 else "all")


@pytest.fixture
def importable(tmp_path, monkeypatch):
    """Writes a plugin whose package can be imported until the test ends."""
    before = set(sys.modules)

    def write(name, kinds, **options):
        write_plugin(name, kinds, tmp_path / name, **options)
        monkeypatch.syspath_prepend(str(tmp_path / name / "src"))
        return tmp_path / name

    yield write
    for name in set(sys.modules) - before:
        if name.startswith(("trimkit_fresh", "acme_fresh")):
            del sys.modules[name]


def run_in(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", *command], cwd=folder, capture_output=True, text=True)


def test_there_is_an_example_of_every_kind():
    assert set(EXAMPLES) == {record.kind for record in KINDS.values()}


@cases
def test_it_has_the_parts_that_were_asked_for_and_no_others(importable, kinds):
    folder = importable("trimkit-fresh", kinds)
    modules = {path.stem for path in (folder / "src" / "trimkit_fresh").glob("*.py")}
    assert modules == {"__init__", "plugin", *kinds}
    items = items_of("trimkit_fresh.plugin", light=True)
    assert {item.trial.part.spec.kind for item in items} == set(kinds)
    for item in items:
        item()


def test_it_is_a_whole_distribution(importable):
    folder = importable("trimkit-fresh", ["check"], author="Ada")
    written = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    expected = {"LICENSE", "README.md", ".gitignore", ".pre-commit-config.yaml", ".github/workflows/test.yml"}
    assert expected | {"pyproject.toml", "tests/test_conformance.py", "src/trimkit_fresh/py.typed"} <= written
    project = tomllib.loads((folder / "pyproject.toml").read_text())
    assert project["project"]["entry-points"]["trimkit"] == {"fresh": "trimkit_fresh.plugin"}
    assert "Ada" in (folder / "LICENSE").read_text()
    assert "[[" not in "".join((folder / name).read_text() for name in expected)


def test_its_test_is_one_line(importable):
    folder = importable("acme-fresh", ["transform"])
    tree = ast.parse((folder / "tests" / "test_conformance.py").read_text())
    assert [type(node).__name__ for node in tree.body] == ["Expr", "ImportFrom", "Assign"]


@pytest.mark.parametrize("licence", LICENCES)
def test_the_licence_is_the_one_that_was_chosen(importable, licence):
    folder = importable("acme-fresh", ["penalty"], licence=licence)
    assert licence.split("-")[0] in (folder / "LICENSE").read_text().splitlines()[0]
    assert f'license = "{licence}"' in (folder / "pyproject.toml").read_text()


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("1st", {}, "that starts with a letter, got '1st'"),
        ("a--b", {}, "expected a name of letters"),
        ("json", {}, "is taken by a module"),
        ("trimkit", {}, "is taken by a module"),
        ("class", {}, "expected a name"),
        ("fresh", {"kinds": ["transfrom"]}, "expected --kind as one of transform, attribution"),
        ("fresh", {"licence": "GPL"}, "expected --licence as one of MIT, BSD-3-Clause, got 'GPL'"),
    ],
)
def test_what_cannot_be_written_is_refused_before_any_work(tmp_path, name, options, says):
    with pytest.raises(OptionError, match=says):
        write_plugin(name, options.pop("kinds", ["transform"]), tmp_path / "new", **options)
    assert not (tmp_path / "new").exists()


def test_a_folder_that_exists_is_kept(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fresh").mkdir()
    assert cli.main(["new-plugin", "fresh", "--kind", "transform"]) == 2
    assert "fresh exists; name another folder with --out" in capsys.readouterr().err
    assert cli.main(["new-plugin", "fresh", "--kind", "check", "--out", "other"]) == 0
    assert (tmp_path / "other" / "src" / "fresh" / "check.py").exists()


def test_nothing_is_asked_without_a_terminal(tmp_path):
    command = [sys.executable, "-m", "trimkit", "new-plugin", "fresh"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "fresh" / "src" / "fresh" / "transform.py").exists()


def test_kinds_are_asked_for_on_a_terminal(tmp_path):
    ours, its = pty.openpty()
    command = [sys.executable, "-m", "trimkit", "new-plugin", "fresh"]
    with subprocess.Popen(command, cwd=tmp_path, stdin=its, stdout=its, env={**os.environ, "TERM": "dumb"}) as process:
        os.close(its)
        os.write(ours, b"penalty, dataset\n")
        process.wait(60)
    os.close(ours)
    assert {path.stem for path in (tmp_path / "fresh" / "src" / "fresh").glob("*.py")} >= {"penalty", "dataset"}


@pytest.mark.slow
@cases
def test_its_own_suite_and_linter_pass(tmp_path, kinds):
    folder = tmp_path / "trimkit-fresh"
    write_plugin(folder.name, kinds, folder)
    done = run_in(folder, "pytest", "-q", "-p", "no:cacheprovider")
    assert done.returncode == 0, done.stdout
    for command in (["check"], ["format", "--check"]):
        assert run_in(folder, "ruff", *command, "--no-cache", ".").returncode == 0
