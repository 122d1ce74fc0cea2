"""One self-contained page of sections: no network, every text escaped, at most its own script."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from trimkit.report.pictures import Figure
from trimkit.report.sections import Section
from trimkit.storage import installed_version, write_atomically


def render(
    title: str, lead: str, sections: Sequence[Section], *, brand: str = "trimkit audit", interactive: bool = False
) -> str:
    """A page as HTML.

    The page loads nothing: its content security policy forbids everything but its own styles, data-URI pictures and,
    by its hash, its own script. All that the script shows can be read without it.

    Args:
        title: of the page.
        lead: a paragraph below the title.
        sections: in order; see `trimkit.report.sections`.
        brand: the command that makes such pages, above the title.
        interactive: with a script, by which a reader points at pictures and charts, chooses samples and sorts them.
    Returns:
        HTML, UTF-8.

    Example:
        >>> from trimkit.report import Text
        >>> "&lt;script&gt;" in render("<script>", "", [Text("Notes", paragraphs=("Calm.",))])
        True
    """
    script = _file("page.js")
    return fill(
        "page.html.jinja",
        title=title,
        lead=lead,
        sections=list(sections),
        brand=brand,
        style=_file("page.css"),
        script=script if interactive else "",
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        readout=Readout() if interactive else None,
        version=installed_version("trimkit"),
    )


def fill(template: str, **values: Any) -> str:
    """One of the package's templates with its values; every text that is not markup is escaped."""
    return _environment().get_template(template).render(**values)


class Readout:
    """What the script tells of pictures: gathered while a page is drawn, written at its end."""

    def __init__(self) -> None:
        self._places: dict[str, int] = {}
        self._figures: list[dict[str, Any]] = []

    def add(self, figure: Figure) -> int | None:
        """The number by which the script finds a picture's scores; None for a picture without."""
        if figure.places is None:
            return None
        number = self._places.setdefault(json.dumps(figure.places.as_json()), len(self._places))
        scores = np.asarray(figure.scores, dtype=float)
        finite = np.isfinite(scores)
        largest = float(np.abs(scores[finite]).max(initial=0.0)) or 1.0
        steps = np.where(finite, np.round(np.where(finite, scores, 0.0) / largest * 32767), -32768).astype("<i2")
        packed = base64.b64encode(steps.tobytes()).decode()
        self._figures.append({"places": number, "largest": largest, "scores": packed})
        return len(self._figures) - 1

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values: what lies where, once for each space, and the scores of each picture in 16 bits.

        A score is its number over 32767, times the largest; −32768 stands for one that is not finite.
        """
        return {"places": [json.loads(places) for places in self._places], "figures": self._figures}


def write_text(path: Path, text: str) -> None:
    """Write a file aside, in the same folder, and rename it: a reader sees the old file or the new one.

    A byte of a file's name that is no UTF-8 is written as JSON has it, so that it comes back from there.
    """
    write_atomically(path, text.encode("utf-8", "backslashreplace"))


@functools.cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("trimkit.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["pretty"] = functools.partial(json.dumps, indent=2, ensure_ascii=False)
    environment.filters["glue"] = _glue
    environment.filters["percent"] = lambda value: f"{value:.2f}%"
    return environment


def _glue(text: str) -> str:
    """Keep a number on one line with its sign of comparison and its unit, and an interval with its two ends."""
    return re.sub(r"(?<=[≤≥=]) | (?=[%=])|(?<=\S,) (?=[^][]*\])", "\u00a0", text)


@functools.cache
def _file(name: str) -> Markup:
    return Markup(files("trimkit.report").joinpath("templates", name).read_text(encoding="utf-8"))
