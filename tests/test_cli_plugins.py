"""`trimkit list` and `trimkit plugins`."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys

import pytest

from trimkit import cli
from trimkit.cli._tables import plain_table
from trimkit.hooks import KINDS

GOOD = """
from trimkit.hooks import TransformSpec, hookimpl
TRIMKIT_API = 1
@hookimpl
def trimkit_transforms():
    yield TransformSpec("good", "trimkit.transforms.base:Identity", "One [red]good[/] transform.", "Good 2026")
"""
BROKEN = {
    "broken-import": "import no_such_module",
    "broken-value": "raise ValueError('some\\nlines')",
    "broken-api": "TRIMKIT_API = 7",
    "broken-target": GOOD.replace("trimkit.transforms.base:Identity", "/etc/passwd"),
}
"""A fault of each stage; tests/test_loader.py has them all."""


@pytest.fixture
def broken(site):
    site.add("acme-trim", GOOD, plugin="acme", version="3.1")
    for name, source in BROKEN.items():
        site.add(name, source)
    return site


def test_plugins_shows_every_state_and_its_reason(broken):
    done = broken.run("plugins", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    records = {record["name"]: record for record in json.loads(done.stdout)}
    assert all(records[name]["state"] == "failed" for name in BROKEN)
    assert all(records[name]["reason"] for name in BROKEN)
    assert records["acme"]["adds"] == ["transform:good"]


def test_plugins_in_plain_lines(broken):
    lines = broken.run("plugins").stdout.splitlines()
    assert lines[0].split()[:4] == ["name", "distribution", "version", "state"]
    rows = {line.split()[0]: line for line in lines}
    assert {"trimkit", "acme", *BROKEN} <= set(rows)
    assert len(rows) == len(lines)
    assert rows["acme"].split() == ["acme", "acme-trim", "3.1", "loaded", "transform", "good"]
    assert rows["broken-value"].endswith("raised ValueError: some lines")
    assert "transform identity, fft, dct" in rows["trimkit"]


def test_list_is_unhurt_by_broken_plugins(broken):
    done = broken.run("list", "transforms")
    assert done.returncode == 0
    assert done.stderr == f"trimkit: plugins that failed to load: {len(BROKEN)}; `trimkit plugins` says why\n"
    rows = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines()}
    assert rows["good"] == ["One", "[red]good[/]", "transform.", "Good", "2026", "acme-trim"]


def test_list_as_json_has_capabilities_and_origin(broken):
    listed = json.loads(broken.run("list", "transform", "--json").stdout)
    (good,) = [part for part in listed["transforms"] if part["name"] == "good"]
    assert good["exact"] is True
    assert (good["distribution"], good["version"]) == ("acme-trim", "3.1")


def test_list_without_a_kind_shows_all(broken):
    out = broken.run("list").stdout
    assert all(kind in out for kind in KINDS)
    assert "methods: none is installed" in out or "methods\nname" in out


def test_names_in_conflict_are_listed_with_their_distribution(site):
    site.add("acme-trim", GOOD)
    site.add("other-trim", GOOD)
    out = site.run("list", "transforms").stdout
    assert "\nacme-trim:good " in out
    assert "\nother-trim:good " in out


def test_the_selection_of_the_environment(broken):
    done = broken.run("plugins", "--json", TRIMKIT_PLUGINS="acme,absent")
    states = {record["name"]: record["state"] for record in json.loads(done.stdout)}
    assert states["trimkit"] == states["acme"] == "loaded"
    assert states["absent"] == "failed"
    assert all(states[name] == "blocked" for name in BROKEN)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["list", "penaltis"], "There is no kind of part 'penaltis'. Did you mean 'penalties'?"),
        (["list", "--jsom"], "Unexpected '--jsom'. Did you mean '--json'? See `trimkit list --help`."),
        (["list", "transforms", "fft"], "Unexpected 'fft'. See `trimkit list --help`."),
        (["plugins", "--js"], "Unexpected '--js'. Did you mean '--json'? See `trimkit plugins --help`."),
    ],
)
def test_mistakes_are_one_line(arguments, told, capsys):
    assert cli.main(arguments) == 2
    assert capsys.readouterr().err == f"trimkit: error: {told}\n"


@pytest.mark.parametrize("command", ["list", "plugins"])
def test_help_of_a_command(command, capsys):
    assert cli.main([command, "--help"]) == 0
    assert f"usage: trimkit {command}" in capsys.readouterr().out


def test_a_plain_table_aligns_and_never_breaks_a_row():
    text = plain_table(("name", "what"), [("a", "x\ny"), ("longer", "")], "title")
    assert text == "title\nname    what\na       x y\nlonger  -\n"


def on_a_terminal(*arguments: str, **environment: str) -> str:
    """What a command prints when its output is a terminal."""
    ours, its = pty.openpty()
    command = [sys.executable, "-m", "trimkit", *arguments]
    with subprocess.Popen(command, stdout=its, env={**os.environ, "TERM": "xterm", **environment}) as process:
        os.close(its)
        out = b""
        while chunk := _read(ours):
            out += chunk
    os.close(ours)
    assert process.returncode == 0
    return out.decode()


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # the other end of a terminal is closed
        return b""


def test_a_terminal_gets_a_table_of_its_width():
    out = on_a_terminal("list", "transforms", NO_COLOR="1", COLUMNS="70")
    assert "───" in out
    assert max(len(re.sub(r"\x1b\[\d*m", "", line)) for line in out.splitlines()) == 70
    assert "frequency_bands" in out


def test_a_dumb_terminal_gets_plain_lines():
    assert on_a_terminal("list", "penalties", TERM="dumb").startswith("name ")
