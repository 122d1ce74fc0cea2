"""Docstrings of plain text become pages: code stays code, tables stay tables, and nothing is taken for markup."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="module")
def pages(import_from_docs):
    return import_from_docs("api_pages")


@pytest.fixture(scope="module")
def convert(pages):
    def converted(text):
        lines = text.splitlines()
        pages.as_restructured_text(lines)
        return "\n".join(lines)

    return converted


def test_what_would_be_markup_is_escaped_outside_of_code(convert):
    assert convert("a * b and |c| of name_ but `x * y`") == r"a \* b and \|c\| of name\_ but `x * y`"
    assert convert(">>> 2 * 3") == ">>> 2 * 3"


def test_a_magnitude_at_the_start_of_a_line_is_no_table(convert):
    assert (
        convert("|g| counts. Σ |a| and\n|b| are sums of |c|")
        == "\\|g\\| counts. Σ \\|a\\| and\n\\|b\\| are sums of \\|c\\|"
    )


def test_an_indented_paragraph_is_code(convert):
    assert convert("Use it so:\n\n    a = b * c\n    d\n\nText * again.") == (
        "Use it so:\n\n::\n\n    a = b * c\n    d\n\nText \\* again."
    )


def test_code_of_two_paragraphs_stays_one_text(convert):
    converted = convert("So:\n\n    a\n\n    b * c\nEnd.")
    assert converted == "So:\n\n::\n\n    a\n\n    b * c\nEnd."


def test_sections_and_their_items_are_left_to_napoleon(convert):
    text = "What it does.\n\nArgs:\n    x: (N, ...) data.\n    y: more,\n        continued.\nReturns:\n    z."
    assert convert(text) == text


def test_examples_are_left_to_doctest(convert):
    text = "What it does.\n\n    >>> f(1)\n    2\n"
    assert convert(text).splitlines() == text.splitlines()


def test_a_table_is_shown_as_it_is_written(convert):
    converted = convert("Values:\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\nEnd.")
    assert converted == "Values:\n\n::\n\n    | a | b |\n    |---|---|\n    | 1 | 2 |\n\nEnd."


@pytest.mark.parametrize("what", ["attribute", "property", "data"])
def test_a_sentence_with_a_colon_is_no_type(pages, what):
    napoleon = pytest.importorskip("sphinx.ext.napoleon")
    lines = ["Counted, not estimated: its interval is itself.", "", "More."]
    pages.keep_first_line(what, lines)
    shown = str(napoleon.GoogleDocstring(lines, what=what, name="exact"))
    assert "Counted, not estimated: its interval is itself." in shown
    assert ":type:" not in shown


def test_the_first_line_of_a_function_is_left_alone(pages):
    lines = ["Two parts: a and b."]
    pages.keep_first_line("function", lines)
    assert lines == ["Two parts: a and b."]
