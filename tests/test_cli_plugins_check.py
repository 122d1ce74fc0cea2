"""`trimkit plugins --check`: the quick promises of everything that is installed."""

from __future__ import annotations

import re

import pytest

from trimkit import cli

SOURCE = '''
from trimkit.hooks import PenaltySpec, hookimpl

TRIMKIT_API = 1

def sound(scores):
    """Sum of squares."""
    return scores.flatten(1).square().sum(1)

def mixing(scores):
    """Sum of squares around the batch's mean."""
    return (scores - scores.mean(0)).flatten(1).square().sum(1)

def needing(scores, *, mask: int):
    """Sum of squares of some."""
    return scores.flatten(1)[:, mask].square()

@hookimpl
def trimkit_penalties():
    for name in NAMES:
        yield PenaltySpec(name, f"{__name__}:{name}", "A penalty.")
'''


@pytest.fixture
def check(site, monkeypatch, capsys):
    """Runs the command on a plugin with some of the penalties; gives its exit code and what it prints."""

    def run(*names):
        site.add("acme", SOURCE.replace("NAMES", repr(names)))
        monkeypatch.setattr("trimkit.cli.plugins.default", lambda: site.registry(core=False))
        code = cli.main(["plugins", "--check"])
        return code, capsys.readouterr().out

    return run


def test_parts_that_keep_their_promises(check):
    code, out = check("sound")
    assert code == 0
    assert re.search(r"^acme +penalty +sound +\d+ kept$", out, re.MULTILINE)


def test_a_broken_promise_is_told_with_what_to_change(check):
    code, out = check("sound", "mixing")
    assert code == 1
    assert re.search(r"^acme +penalty +mixing +\d+ kept, \d broken$", out, re.MULTILINE)
    assert "a mean or norm over the batch?" in out


def test_a_part_whose_options_cannot_be_guessed_is_not_accused(check):
    code, out = check("needing")
    assert code == 0
    assert "the rest was not tried: penalty 'needing': missing a required argument: 'mask'" in out


def test_only_the_parts_of_plugins_that_are_named(check, capsys):
    assert check("mixing")[0] == 1
    assert cli.main(["plugins", "--check", "acme"]) == 1
    assert cli.main(["plugins", "--check", "acmee"]) == 2
    assert "There is no plugin 'acmee'. Did you mean 'acme'?" in capsys.readouterr().err
    assert cli.main(["plugins", "acme"]) == 2
