"""Help ends with an example whose options exist; lists fit the page."""

from __future__ import annotations

import re
import shlex

import pytest

from trimkit import cli
from trimkit.hooks import KINDS
from trimkit.registry import available

COMMANDS = available("commands")


def help_of(command, capsys):
    assert cli.main([*command, "--help"]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("name", COMMANDS)
def test_help_ends_with_the_example_of_the_command(name, capsys):
    example = COMMANDS[name].example
    assert shlex.split(example)[:2] == ["trimkit", name]
    assert help_of([name], capsys).endswith(f"\nexample:\n  {example}\n")


@pytest.mark.parametrize("name", COMMANDS)
def test_the_options_of_the_example_are_those_of_the_command(name, capsys):
    words = shlex.split(COMMANDS[name].example)[1:]
    named = words[:2] if name == "train" else [name]
    options = set(re.findall(r"--[\w.-]+", help_of(named, capsys).partition("\nexample:")[0]))
    assert {word for word in words if word.startswith("--")} <= options


def test_help_of_a_method_ends_with_the_example_of_training(capsys):
    method = next(iter(available("methods")))
    assert help_of(["train", method], capsys).endswith(f"  {COMMANDS['train'].example}\n")


@pytest.mark.parametrize("kind", [*KINDS, ""])
def test_a_list_fits_100_columns(kind, capsys):
    assert cli.main(["list", kind] if kind else ["list"]) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 100


@pytest.mark.parametrize("kind", KINDS)
def test_a_list_begins_a_line_for_each_part_and_says_all_of_it(kind, capsys):
    cli.main(["list", kind])
    out = capsys.readouterr().out
    begun = [line.split()[0] for line in out.splitlines()[1:] if not line.startswith(" ")]
    assert begun == list(available(kind))
    words = " ".join(out.split())
    for spec in available(kind).values():
        assert " ".join(spec.summary.split()) in words
        assert spec.reference in words


def test_a_list_says_what_is_going(site, use_site, capsys):
    site.add(
        "acme",
        "from trimkit.hooks import Deprecated, PenaltySpec, hookimpl\nTRIMKIT_API = 1\n@hookimpl\n"
        "def trimkit_penalties():\n"
        "    yield PenaltySpec('old', 'trimkit.penalties:l1', 'Sums.', deprecated=Deprecated('l1', '1.2'))\n",
    )
    use_site()
    cli.main(["list", "penalties"])
    assert re.search(r"^old +Sums\. Going: use 'l1'\.", capsys.readouterr().out, re.MULTILINE)
