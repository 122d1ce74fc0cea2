"""Tables: rich ones on a terminal, plain aligned lines elsewhere."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Sequence

from trimkit.registry.loader import printable


def write_table(headings: Sequence[str], rows: Sequence[Sequence[str]], title: str = "") -> None:
    """Write a table to stdout.

    On a terminal rich lays it out, in the width of COLUMNS or the terminal, without colour under NO_COLOR. Elsewhere
    every row is one line, never wrapped or cut, so that it can be searched and cut by other programs.

    Args:
        headings: one a column.
        rows: cells, as many a row as there are headings; control characters in them are left out.
        title: a line above, or "".
    """
    rows = [[printable(cell) for cell in row] for row in rows]
    if _is_rich():
        _write_rich(headings, rows, title)
    else:
        sys.stdout.write(plain_table(headings, rows, title))


def _is_rich() -> bool:
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def write_entries(headings: Sequence[str], rows: Sequence[Sequence[str]], title: str = "") -> None:
    """Write a table of long texts to stdout: as `write_table` on a terminal, elsewhere within 100 columns.

    There the first cell of a row begins its line. The others follow, and go on in lines that begin with spaces.
    """
    if _is_rich():
        write_table(headings, rows, title)
        return
    cells = [[" ".join(printable(cell).split()) or "-" for cell in row] for row in (headings, *rows)]
    indent = 2 + max(len(row[0]) for row in cells)
    lines = [f"{row[0]:<{indent}}" + f"\n{'':<{indent}}".join(_packed(row[1:], 100 - indent)) for row in cells]
    sys.stdout.write("\n".join([title, *lines] if title else lines) + "\n")


def _packed(cells: Sequence[str], columns: int) -> list[str]:
    """Cells in lines: beside the one before where they fit, else in lines of their own."""
    lines = [""]
    for cell in cells:
        beside = f"{lines[-1]}  {cell}" if lines[-1] else cell
        if len(beside) <= columns:
            lines[-1] = beside
        else:
            lines += textwrap.wrap(cell, max(columns, 20), break_long_words=False, break_on_hyphens=False)
    return [line for line in lines if line]


def verdict_line(head: str, text: str) -> str:
    """One line for other programs; on a terminal, wrapped below its own beginning at 100 columns or the terminal's."""
    if not sys.stdout.isatty():
        return f"{head}{text}\n"
    columns = min(100, shutil.get_terminal_size().columns)
    indent = len(head) if len(head) <= columns // 2 else 4
    lines = textwrap.wrap(text, columns, initial_indent=head, subsequent_indent=" " * indent, break_on_hyphens=False)
    return "\n".join(lines) + "\n"


def plain_table(headings: Sequence[str], rows: Sequence[Sequence[str]], title: str = "") -> str:
    """The table as aligned lines, two spaces between columns and ``-`` for an empty cell."""
    lines = [[" ".join(cell.split()) or "-" for cell in row] for row in [headings, *rows]]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return "\n".join([title, *text] if title else text) + "\n"


def _write_rich(headings: Sequence[str], rows: Sequence[Sequence[str]], title: str) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title or None, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold", no_wrap=heading == "name")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))  # Text: a plugin's brackets are not markup
    Console().print(table)
