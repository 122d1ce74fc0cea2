"""docs/commands.md has every option of every command, as its help has it."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="module")
def listing(import_from_docs):
    return import_from_docs("list_commands")


def test_the_page_has_the_options_of_today(listing):
    written = listing.PAGE.read_text(encoding="utf-8")
    assert written == listing.page(written), "run `python docs/list_commands.py`"


def test_every_option_says_what_it_is(listing):
    options = [(title, *option) for title, words in listing.commands().items() for option in listing.options_of(words)]
    assert len(options) > 100
    assert [(title, option) for title, option, says, _ in options if not says] == []


def test_defaults_are_those_of_the_parsers(listing):
    options = {option: default for option, _, default in listing.options_of(["audit"])}
    assert options["--model SPEC"] == "required"
    assert options["--seed SEED"] == "`0`"
    assert options["--samples SAMPLES"] == "`256`"
    assert options["--force"] == options["--task TASK"] == ""


def test_what_makes_no_parser_is_refused(listing, monkeypatch):
    monkeypatch.setattr("trimkit.cli.list.run", lambda argv: 0)
    with pytest.raises(ValueError, match="`trimkit list --help` makes no parser"):
        listing.parser_of(["list"])
