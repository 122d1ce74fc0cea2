"""What a command is written with, trimkit's own or a plugin's: parsers, folders, tables, warnings. Imports no torch."""

from __future__ import annotations

from trimkit.cli._arguments import add_part, make_part, parser, plain_parser
from trimkit.cli._folders import free_folder, reserved_folder, written_aside
from trimkit.cli._tables import plain_table, verdict_line, write_table
from trimkit.cli._warnings import one_line_warnings

__all__ = [
    "add_part",
    "free_folder",
    "make_part",
    "one_line_warnings",
    "parser",
    "plain_parser",
    "plain_table",
    "reserved_folder",
    "verdict_line",
    "write_table",
    "written_aside",
]
