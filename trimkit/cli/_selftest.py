"""``trimkit audit --selftest``: does the auditor tell right explanations from wrong ones?"""

from __future__ import annotations

import sys

from trimkit.cli._arguments import plain_parser
from trimkit.cli._tables import write_table

_DESCRIPTION = """\
Audit planted models, whose exact contributions are known, with right and wrong explanations, and count the verdicts.
Rates have exact 95 % intervals. Exit codes: 0 few wrong ones pass and few right ones fail, 1 many do, 3 open."""


def run(argv: list[str]) -> int:
    """Run the self-test and print its tables: see `trimkit.audit.selftest.SelfTest.exit_code`.

    Numbers out of range, and names that do not exist, are refused.
    """
    p = plain_parser("trimkit audit --selftest", _DESCRIPTION)
    p.add_argument(
        "--attributions", metavar="A", nargs="+", default=["all"], help="registered ones to judge: names, all, or none"
    )
    p.add_argument("--models", metavar="M", nargs="+", help="only these planted models")
    p.add_argument("--seeds", type=int, default=5, help="weights, data and draws of each model (5)")
    p.add_argument("--first-seed", type=int, default=0, help="where the seeds begin (0)")
    p.add_argument("--samples", type=int, default=80, help="in each audit, at least 72 (80)")
    p.add_argument("--json", action="store_true", help="print every verdict as JSON, no tables")
    arguments = p.parse_args(argv)
    names = {"all": None, "none": ()}.get(arguments.attributions[0], arguments.attributions)

    from trimkit.audit.selftest.outcomes import tables
    from trimkit.audit.selftest.runner import selftest

    options = {name: getattr(arguments, name) for name in ("seeds", "first_seed", "samples", "models")}
    result = selftest(names, progress=_progress, **options)
    if arguments.json:
        sys.stdout.write(result.to_json())
        return result.exit_code
    for title, headings, rows in tables(result):
        write_table(headings, rows, title)
        sys.stdout.write("\n")
    return result.exit_code


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"  {text}\n")
