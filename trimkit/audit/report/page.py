"""One self-contained page of sections: no script, no network, every text escaped."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from trimkit.audit.report.sections import Section


def render(title: str, lead: str, sections: Sequence[Section]) -> str:
    """A page as HTML.

    The page loads nothing: its content security policy forbids everything but its own styles and data-URI pictures.

    Args:
        title: of the page.
        lead: a paragraph below the title.
        sections: in order; see `trimkit.audit.report.sections`.
    Returns:
        HTML, UTF-8.

    Example:
        >>> from trimkit.audit.report import Text
        >>> "&lt;script&gt;" in render("<script>", "", [Text("Notes", paragraphs=("Calm.",))])
        True
    """
    page = _environment().get_template("page.html.jinja")
    return page.render(title=title, lead=lead, sections=list(sections), style=_style(), version=_version())


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("trimkit.audit", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["pretty"] = _pretty
    environment.filters["glue"] = _glue
    environment.filters["percent"] = lambda value: f"{value:.2f}%"
    return environment


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _glue(text: str) -> str:
    """Keep a number on one line with its sign of comparison and its unit."""
    return re.sub(r"(?<=[≤≥=]) | (?=[%=])", "\u00a0", text)


@cache
def _style() -> Markup:
    return Markup(files("trimkit.audit").joinpath("templates", "page.css").read_text(encoding="utf-8"))


def _version() -> str:
    from importlib.metadata import version

    return version("trimkit")
