"""One self-contained page of sections: no script, no network, every text escaped."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from trimkit.report.sections import Section
from trimkit.storage import installed_version, write_atomically


def render(title: str, lead: str, sections: Sequence[Section], *, brand: str = "trimkit audit") -> str:
    """A page as HTML.

    The page loads nothing: its content security policy forbids everything but its own styles and data-URI pictures.

    Args:
        title: of the page.
        lead: a paragraph below the title.
        sections: in order; see `trimkit.report.sections`.
        brand: the command that makes such pages, above the title.
    Returns:
        HTML, UTF-8.

    Example:
        >>> from trimkit.report import Text
        >>> "&lt;script&gt;" in render("<script>", "", [Text("Notes", paragraphs=("Calm.",))])
        True
    """
    page = _environment().get_template("page.html.jinja")
    shown = {"title": title, "lead": lead, "sections": list(sections), "brand": brand}
    return page.render(**shown, style=_style(), version=installed_version("trimkit"))


def write_text(path: Path, text: str) -> None:
    """Write a file aside, in the same folder, and rename it: a reader sees the old file or the new one."""
    write_atomically(path, text.encode())


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("trimkit.report", "templates"),
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
    return Markup(files("trimkit.report").joinpath("templates", "page.css").read_text(encoding="utf-8"))
