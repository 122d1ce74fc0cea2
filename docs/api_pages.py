"""One page of reference for each public module, written before the site is built."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

MODULES = {
    "trimkit": "What most programs need",
    "trimkit.transforms": "Spaces: x ⇄ s",
    "trimkit.attributions": "Attributions: (output, s) → scores",
    "trimkit.penalties": "Penalties: scores → (N,)",
    "trimkit.targets": "What is explained",
    "trimkit.predictor": "The user's model, frozen",
    "trimkit.methods": "Generative methods: learned spaces",
    "trimkit.training": "Training",
    "trimkit.data": "Data",
    "trimkit.audit": "Audits",
    "trimkit.evaluation": "Evaluation of runs and encoders",
    "trimkit.metrics": "Metrics",
    "trimkit.metrics.disentanglement": "Metrics of disentanglement",
    "trimkit.metrics.generation": "Metrics of generated samples",
    "trimkit.metrics.independence": "Metrics of independent components",
    "trimkit.report": "Pages",
    "trimkit.coefficients": "Trees of coefficients and their groups",
    "trimkit.hooks": "The door for plugins",
    "trimkit.deprecation": "What is going, and until when",
    "trimkit.cli.commands": "What a command is written with",
    "trimkit.registry": "Parts by name",
    "trimkit.errors": "Errors",
    "trimkit.testing": "The conformance suite of plugins",
}
"""Public module → the heading of its page."""


_MARKUP = re.compile(r"(``.+?``|`[^`]+`)|([|*\\]|(?<=\w)_(?!\w))")


def public_names(module: str) -> list[str]:
    """The functions and classes that a module exports and trimkit made."""
    loaded = importlib.import_module(module)
    names = getattr(loaded, "__all__", vars(loaded))
    return [name for name in names if not name.startswith("_") and _is_ours(getattr(loaded, name), loaded)]


def write_pages(folder: Path) -> None:
    """Write ``index.md`` and a page a module into a folder, replacing those of an earlier build."""
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.md"):
        old.unlink()
    installed = [module for module in MODULES if _exists(module)]
    for module in installed:
        (folder / f"{module}.md").write_text(_page(module), encoding="utf-8")
    entries = "\n".join(installed)
    (folder / "index.md").write_text(f"# Reference\n\n```{{toctree}}\n{entries}\n```\n", encoding="utf-8")


def as_restructured_text(lines: list[str]) -> None:
    """Turn, in place, a docstring of plain text into reStructuredText.

    What would be taken for markup is escaped outside of code: bars, stars, trailing underscores. What stands deeper
    than the paragraph before it, behind a blank line, is code; a table of bars is shown as it is written.
    """
    written: list[str] = []
    level, code = 0, False  # indentation of the last paragraph of text; whether this is code below it
    for before, line in zip(["", *lines], lines, strict=False):
        text = line.lstrip()
        indent = len(line) - len(text)
        if not text:
            written.append("")
            continue
        is_table = _is_row(text)
        began = not before.strip() or (is_table and not _is_row(before.lstrip()))
        goes_on = code
        code = indent > level if began and not is_table else (code and indent > level) or is_table
        if code and began and not goes_on and not text.startswith(">>>"):
            written += [" " * level + "::", ""]
        if not code:
            level = indent
        shown = line if code or text.startswith((">>>", "...")) else _MARKUP.sub(_escaped, line)
        written.append("    " + shown if is_table else shown)
    lines[:] = written


def keep_first_line(what: str, lines: list[str]) -> None:
    """Keep, in place, "A: b" of an attribute or a property a sentence; napoleon would read a type and its meaning."""
    if what in ("attribute", "data", "property"):
        lines[:0] = ["..", ""]


def _is_row(text: str) -> bool:
    """Whether a line is one of a table: bars at both ends, and one between."""
    return text.startswith(("| ", "|-")) and text.endswith("|") and text.count("|") > 2


def _escaped(match: re.Match[str]) -> str:
    return match[1] or "\\" + match[2]


def _page(module: str) -> str:
    parts = [_entry(module, name) for name in public_names(module)]
    return "\n\n".join([f"# {module}\n\n{MODULES[module]}.", *parts, ""])


def _entry(module: str, name: str) -> str:
    """A name's description, or where that stands: on the first page of those that export the name."""
    value = getattr(importlib.import_module(module), name)
    described = [other for other in _earlier(module) if name in public_names(other)]
    if described:
        return f"`{name}`: see [{described[0]}]({described[0]}.md)."
    kind = "function" if not isinstance(value, type) else "exception" if issubclass(value, BaseException) else "class"
    options = ["   :members:"] if kind == "class" else []
    return "\n".join(["```{eval-rst}", f".. auto{kind}:: {module}.{name}", *options, "```"])


def _earlier(module: str) -> list[str]:
    """The pages before a module's, on one of which a name that both export is described."""
    installed = [other for other in MODULES if _exists(other)]
    return installed[: installed.index(module)]


def _is_ours(value: object, module: object) -> bool:
    made_by = getattr(value, "__module__", "") or ""
    is_part = callable(value)
    is_own = made_by == module.__name__ or hasattr(module, "__all__")
    return is_part and is_own and made_by.startswith("trimkit") and not isinstance(value, type(importlib))


def _exists(module: str) -> bool:
    try:
        importlib.import_module(module)
    except ModuleNotFoundError:
        return False
    return True
