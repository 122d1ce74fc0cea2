"""``trimkit check-ica DATA``: can the data be unmixed by linear ICA? Verdicts on its assumptions, and a report."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from trimkit.cli.commands import (
    one_line_warnings,
    plain_parser,
    reserved_folder,
    verdict_line,
    write_table,
    written_aside,
)
from trimkit.errors import OptionError

if TYPE_CHECKING:
    from torch import Tensor

    from trimkit.data import Dataset
    from trimkit_ica.assumptions.report import IcaReport

DEFAULT_FOLDER = "trimkit-check-ica"
"""Where a report goes without --out; a number is added where one is there already."""

_DESCRIPTION = """\
Do the data meet the assumptions of linear ICA? Unmixes one half of the samples and asks the other half: are the
components non-Gaussian, independent, stable; do they carry the data; are there enough samples? Writes report.html and
results.json into a new folder.
Exit codes: 0 pass, 1 fail, 2 wrong usage, 3 inconclusive."""


def run(argv: list[str]) -> int:
    """Check the assumptions of ICA on data and write a report.

    Args:
        argv: arguments after ``trimkit check-ica``.
    Returns:
        0 pass, 1 fail, 3 inconclusive.
    Raises:
        TrimkitError: options or data that do not fit.
    """
    arguments = _checked(_parser().parse_args(argv))
    with reserved_folder(arguments.out, DEFAULT_FOLDER, replace=arguments.force) as folder:
        report = _check(arguments)
        with written_aside(folder, replace=arguments.force) as aside:
            report.save(aside / "report.html")
    _write(report, folder / "report.html", arguments.json)
    return report.exit_code


def _parser() -> argparse.ArgumentParser:
    p = plain_parser("trimkit check-ica", _DESCRIPTION)
    p.formatter_class = argparse.RawDescriptionHelpFormatter
    p.add_argument("data", metavar="DATA", help="a dataset's name, .npz, .safetensors, .pt, or pkg.mod:function")
    p.add_argument("--split", default="train", help="of the data (train)")
    p.add_argument(
        "--components",
        type=int,
        metavar="K",
        help="number of components; by default the rank of the data, and at most 16",
    )
    p.add_argument("--samples", type=int, metavar="N", default=20_000, help="at most so many, drawn at random (20000)")
    p.add_argument("--bootstraps", type=int, metavar="B", default=20, help="fits to resampled rows (20)")
    p.add_argument("--seed", type=int, metavar="N", default=0, help="of every draw, ≥ 0 (0)")
    p.add_argument("--out", metavar="FOLDER", help=f"folder of the report ({DEFAULT_FOLDER}, numbered where it exists)")
    p.add_argument("--json", action="store_true", help="print what results.json holds, instead of tables")
    p.add_argument("--force", action="store_true", help="replace the report in an existing --out folder")
    return p


def _checked(arguments: argparse.Namespace) -> argparse.Namespace:
    """Refuse wrong numbers before anything heavy is imported."""
    least = {"samples": 80, "bootstraps": 2, "seed": 0, "components": 2}
    for name, number in least.items():
        given = getattr(arguments, name)
        if given is not None and given < number:
            raise OptionError(f"--{name}: expected a number ≥ {number}, got {given}")
    return arguments


def _check(arguments: argparse.Namespace) -> IcaReport:
    from trimkit.data import load
    from trimkit_ica.assumptions import check_ica

    with one_line_warnings():
        data = load(arguments.data, arguments.split, double=True)
    if not arguments.json:
        sys.stdout.write(f"{'data':<12} {_described(data)}\n")
        sys.stdout.flush()
    report = check_ica(
        _samples(data, arguments.samples),
        arguments.components,
        samples=arguments.samples,
        bootstraps=arguments.bootstraps,
        seed=arguments.seed,
        name=data.name,
    )
    return replace(report, record={**report.record, "split": data.split, "available": len(data)})


def _samples(data: Dataset, most: int) -> Tensor:
    """All samples, of which the check draws some; of those that are made when asked for, no more than it needs."""
    from torch import Tensor

    if isinstance(data.x, Tensor):
        return data.x
    some = data.some(most)
    return some.x[: len(some)]


def _described(data: Dataset) -> str:
    return f"{data.name}, split {data.split}: {len(data)} samples of {'×'.join(map(str, data.shape))}"


def _write(report: IcaReport, page: Path, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(report.to_json())
        return
    width = max(len(v.check) for v in report.verdicts)
    sys.stdout.write("\n")
    for v in report.verdicts:
        figures = f"  ({v.figures})" if v.figures else ""
        sys.stdout.write(verdict_line(f"{v.status:<14} {v.check:<{width}}  ", v.sentence + figures))
    sys.stdout.write(f"{report.overall:<14} overall\n\n")
    write_table(("component", "variance", "negentropy", "kurtosis", "Anderson–Darling p", "stability"), _rows(report))
    sys.stdout.write(f"\n{page}\n")


def _rows(report: IcaReport) -> list[tuple[str, ...]]:
    from trimkit.report.verdicts import number
    from trimkit_ica.assumptions.gaussianity import p_text

    return [
        (
            str(i + 1),
            f"{number(one.variance, '%')} %",
            number(one.shape.negentropy.value),
            f"{one.shape.kurtosis.value:.2f}".replace("-", "−"),
            p_text(one.shape.anderson_darling_p),
            f"{one.stability:.3f}" + ("" if one.stable else " (moves)"),
        )
        for i, one in enumerate(report.components)
    ]
