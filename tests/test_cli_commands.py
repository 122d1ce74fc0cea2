"""Commands of plugins: the same door as every part, and nothing that a broken one could break."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from trimkit import cli
from trimkit.registry import plugins

DOC = (Path(__file__).parents[1] / "docs" / "commands.md").read_text(encoding="utf-8")
SOURCE = """
from trimkit.hooks import CommandSpec, hookimpl
TRIMKIT_API = 1
CALLS = []
def run(argv):
    CALLS.append(argv)
    return 3
def silent(argv):
    print("hello")
@hookimpl
def trimkit_commands():
    yield CommandSpec("greet", f"{__name__}:run", "Say hello to data.")
    yield CommandSpec("list", f"{__name__}:run", "Another list.")
    yield CommandSpec("silent", f"{__name__}:silent", "Says \\x1b[2Jno code.")
    yield CommandSpec("lost", "no_such_module:run", "Leads nowhere.")
"""


@pytest.fixture
def acme(site, use_site):
    """A distribution with commands; gives its module's name."""
    module = site.add("acme-trim", SOURCE)
    use_site()
    return module


def test_a_command_gets_what_follows_its_name_and_gives_the_exit_code(acme):
    assert cli.main(["greet", "digits", "--loud"]) == 3
    assert sys.modules[acme].CALLS == [["digits", "--loud"]]


def test_help_names_it_after_trimkits_own(acme):
    lines = cli.help_text().splitlines()
    names = [line.split()[0] for line in lines[lines.index("commands:") + 1 : lines.index("options:")] if line]
    assert names[:3] == ["demo", "list", "plugins"]
    assert names[-4:] == ["greet", "acme-trim:list", "silent", "lost"]
    assert any(re.fullmatch(r"  greet +Say hello to data\.", line) for line in lines)


def test_a_summary_cannot_move_the_cursor(acme):
    assert "\x1b" not in cli.help_text()
    assert "Says [2Jno code." in cli.help_text()


def test_a_name_of_trimkits_own_stays_its_own(acme, capsys):
    assert cli.main(["list", "commands"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^list .*trimkit$", out, re.MULTILINE)
    assert re.search(r"^greet +Say hello to data\. +- +acme-trim$", out, re.MULTILINE)
    assert sys.modules[acme].CALLS == []
    assert cli.main(["acme-trim:list"]) == 3
    assert cli.main(["plugins"]) == 0
    assert "the command 'list' is trimkit's own: use 'acme-trim:list' for this one" in capsys.readouterr().out


def test_plugins_and_list_as_json_know_commands(acme, capsys):
    assert cli.main(["plugins", "--json"]) == 0
    (record,) = [r for r in json.loads(capsys.readouterr().out) if r["distribution"] == "acme-trim"]
    assert record["adds"] == ["command:greet", "command:list", "command:silent", "command:lost"]
    assert cli.main(["list", "command", "--json"]) == 0
    (greet,) = [c for c in json.loads(capsys.readouterr().out)["commands"] if c["name"] == "greet"]
    assert greet == {
        "name": "greet",
        "target": f"{acme}:run",
        "summary": "Say hello to data.",
        "reference": "",
        "distribution": "acme-trim",
        "version": "1.0",
    }


def test_a_name_that_two_distributions_claim_belongs_to_neither(site, use_site, capsys):
    site.add("acme-trim", SOURCE)
    other = site.add("other-trim", SOURCE)
    use_site()
    assert cli.main(["greet"]) == 2
    assert "The command 'greet' is claimed by acme-trim 1.0 and other-trim 1.0" in capsys.readouterr().err
    assert cli.main(["other-trim:greet", "x"]) == 3
    assert sys.modules[other].CALLS == [["x"]]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("lost", "command 'lost' of acme-trim 1.0 cannot be imported from 'no_such_module:run': ModuleNotFoundError"),
        ("silent", "command 'silent' of acme-trim must return its exit code, 0 for done, got NoneType"),
    ],
)
def test_a_faulty_command_is_one_line_and_code_2(acme, name, told, capsys):
    assert cli.main([name]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"trimkit: error: {told}")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "fault",
    [
        "raise SystemExit(0)",
        "import no_such_module",
        SOURCE.replace("yield", "1 / 0; yield", 1),
        SOURCE.replace('"no_such_module:run"', '"/etc/passwd"'),
        SOURCE.replace('"greet"', '"--help"'),
        SOURCE.replace("TRIMKIT_API = 1", "TRIMKIT_API = 99"),
        SOURCE.replace("CommandSpec(", "dict(name="),
    ],
)
def test_a_broken_plugin_leaves_help_as_it_is(site, use_site, fault):
    use_site()
    before = cli.help_text()
    site.add("broken-trim", fault)
    use_site()
    assert [record.state for record in plugins()] == ["loaded", "failed"]
    assert cli.help_text() == before


def test_a_command_of_a_distribution_that_is_missing_says_so(use_site, capsys):
    use_site()
    assert cli.main(["check-ica", "digits"]) == 2
    assert "It comes with trimkit-ica: pip install trimkit-ica." in capsys.readouterr().err


def test_help_needs_neither_torch_nor_numpy():
    program = "import sys, trimkit.cli as c; c.help_text(); sys.exit(any(m in sys.modules for m in ('torch', 'numpy')))"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


def test_the_documented_command_works(site, use_site, monkeypatch, capsys, tmp_path):
    plugin, command = re.findall(r"```python\n(.*?)```", DOC, re.DOTALL)
    (site.folder / "fake_acme_count.py").write_text(command)
    site.add("acme-trim", plugin.replace("acme_trim.count", "fake_acme_count"))
    use_site()
    monkeypatch.chdir(tmp_path)
    assert cli.main(["count", "digits"]) == 0
    assert capsys.readouterr().out == "digits  1200\n"
    assert cli.main(["count", "digits", "--splt", "test"]) == 2
    assert "Unexpected '--splt'. Did you mean '--split'? See `trimkit count --help`." in capsys.readouterr().err
