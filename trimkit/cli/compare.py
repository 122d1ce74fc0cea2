"""``trimkit compare A B``: two audits of the same samples, what became worse."""

from __future__ import annotations

import sys

from trimkit.cli._arguments import plain_parser
from trimkit.cli._tables import write_table

_DESCRIPTION = """\
Compare two audits of the same data, sample by sample: is B worse than A, is it not, or can these samples not tell?
Exit codes: 0 nothing is worse, 1 something is, 2 wrong usage, 3 these samples cannot tell."""


def run(argv: list[str]) -> int:
    """Print the differences of two reports: 0 where nothing is worse, 1 where something is, 3 where that is open."""
    p = plain_parser("trimkit compare", _DESCRIPTION)
    p.add_argument("before", metavar="A", help="folder of a report, or its results.json")
    p.add_argument("after", metavar="B", help="the same of another audit of the same data")
    p.add_argument("--margin", type=float, default=0.01, help="a loss that does not count as worse, ≥ 0 (0.01)")
    arguments = p.parse_args(argv)

    from trimkit.audit.compare import compare, exit_code
    from trimkit.report.verdicts import number

    found = compare(arguments.before, arguments.after, arguments.margin)
    rows = [
        (
            one.measure,
            one.outcome,
            number(one.before),
            number(one.after),
            f"{number(one.change.value)} [{number(one.change.low)}, {number(one.change.high)}]",
            f"{one.better} is better",
            str(one.n),
        )
        for one in found
    ]
    write_table(("measure", "B is", "A", "B", "B − A, 95 %", "side", "n"), rows)
    sys.stdout.flush()
    return exit_code(found)
