"""``trimkit audit``: verdicts on a model and on its explanations in a space, and a report."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trimkit.cli._arguments import plain_parser
from trimkit.cli._folders import free_folder, reserved_folder, written_aside
from trimkit.cli._intake import said_once, take_in
from trimkit.cli._progress import show_progress
from trimkit.cli._tables import verdict_line
from trimkit.errors import OptionError
from trimkit.registry.spelling import parse_spec, parse_values

if TYPE_CHECKING:
    from trimkit.audit.report import Report
    from trimkit.cli._intake import Intake

DEFAULT_FOLDER = "trimkit-audit"
"""Where a report goes without --out; a number is added where one is there already."""

_DESCRIPTION = """\
Two verdicts: is the explanation to be trusted, and does the model rely on what it must not? With a report: report.html
and results.json in a new folder. Exit codes: 0 both pass, 1 one fails, 2 wrong usage, 3 inconclusive."""


def run(argv: list[str]) -> int:
    """Audit a model and write its report.

    Args:
        argv: arguments after ``trimkit audit``.
    Returns:
        0 pass, 1 fail, 3 inconclusive.
    Raises:
        TrimkitError: an option, model or data that does not fit.
    """
    if "--schema" in argv:
        return _write_schema()
    if "--selftest" in argv:
        from trimkit.cli._selftest import run as selftest

        return selftest([argument for argument in argv if argument != "--selftest"])
    arguments = _parser().parse_args(argv)
    options = audit_options(arguments)
    if arguments.shard:
        from trimkit.cli._shards import run_shard

        return run_shard(arguments, options)
    if arguments.resume:
        raise OptionError("--resume goes on with a shard, so it needs --shard i/n")
    free_folder(arguments.out, DEFAULT_FOLDER, replace=arguments.force)  # refused before any work
    intake = take_in(arguments, options)
    with reserved_folder(arguments.out, DEFAULT_FOLDER, replace=arguments.force) as folder:
        intake.write(f"{folder}{os.sep}")
        return write_report(_audit(arguments, intake), arguments, folder)


def write_report(report: Report, arguments: argparse.Namespace, folder: Path) -> int:
    """Print the verdicts, write the report and what other tools read.

    Args:
        report: what to write.
        arguments: force, junit, summary and fail_on are read.
        folder: of the report.
    Returns:
        The exit code.
    """
    _write_verdicts(report)
    path = save(report, folder, replace=arguments.force)
    _exchange(report, arguments)
    sys.stdout.write(f"{path}\n")
    return _exit_code(report, arguments.fail_on)


def _write_schema() -> int:
    from trimkit.audit.exchange import schema

    sys.stdout.write(schema())
    return 0


def _exchange(report: Report, arguments: argparse.Namespace) -> None:
    from trimkit.audit.exchange import junit, summary
    from trimkit.report import write_text

    if arguments.junit:
        write_text(Path(arguments.junit), junit(report, arguments.fail_on))
    if arguments.summary:
        write_text(Path(arguments.summary), summary(report))


def save(report: Report, folder: Path, *, replace: bool = False) -> Path:
    """Write a report folder aside and rename it, so that a reader sees all of it or nothing.

    Args:
        report: what to write.
        folder: must not exist, unless ``replace``.
        replace: put it in the place of an older report folder.
    Returns:
        Path of the page.
    """
    with written_aside(folder, replace=replace) as aside:
        report.save(aside / "report.html")
    return folder / "report.html"


def parse_choice(text: str) -> str | tuple[str, dict[str, Any]]:
    """A part as typed: ``fft`` or ``fft:bands=4,dims=1``; a name may be qualified, ``distribution:name``.

    Example:
        >>> parse_choice("fft"), parse_choice("acme:mellin:scale=2,kind=log")
        ('fft', ('acme:mellin', {'scale': 2, 'kind': 'log'}))
    """
    name, options = parse_spec(text)
    return (name, options) if options else text


def _parser() -> argparse.ArgumentParser:
    p = plain_parser("trimkit audit", _DESCRIPTION)
    p.formatter_class = argparse.RawDescriptionHelpFormatter
    add_model_and_data(p)
    p.add_argument("--transform", metavar="T", default="identity", help="the space: NAME or NAME:option=value,…")
    p.add_argument("--at", metavar="LAYER", help="a layer by its path: its activation is explained, not the input")
    p.add_argument(
        "--attribution", metavar="A", nargs="+", action="extend", help="one or several, as --transform; by default "
        "integrated_gradients"
    )  # fmt: skip
    p.add_argument(
        "--target",
        default="predicted",
        help="what is explained: predicted (the largest output), label, a class number, or an index such as 2,7,7",
    )
    p.add_argument(
        "--task",
        metavar="TASK",
        help="what the outputs mean, told from output and labels by default: classification, binary, multilabel, "
        "regression, segmentation, tagging or language-modelling",
    )
    p.add_argument(
        "--samples",
        type=_count,
        default=256,
        help="audit at most so many samples (256), or all; completeness needs 72 to be decided, other checks 20",
    )
    p.add_argument("--batch-size", type=int, default=64, help="samples in one forward (64)")
    p.add_argument("--seed", type=int, default=0, help="of every draw, ≥ 0 (0)")
    p.add_argument("--device", metavar="NAME", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    p.add_argument("--checks", metavar="CHECK", nargs="+", help="only these; by default all of `trimkit list checks`")
    p.add_argument(
        "--threshold",
        metavar="CHECK.OPTION=VALUE",
        action="append",
        default=[],
        help="such as completeness.tolerance=0.02",
    )
    _add_reliance(p)
    _add_scale(p)
    add_outputs(p)
    p.add_argument("--schema", action="store_true", help="print the JSON Schema of results.json, and do no more")
    p.add_argument("--selftest", action="store_true", help="audit planted models instead; see --selftest --help")
    return p


def _add_scale(p: argparse.ArgumentParser) -> None:
    p.add_argument("--shard", metavar="i/n", help="measure the i-th of n shards alone, into --out; see `trimkit merge`")
    p.add_argument("--resume", action="store_true", help="with --shard: do nothing where the shard is there already")
    p.add_argument("--engine", metavar="E", help="shards side by side: processes:8, or dask://host:port")
    p.add_argument(
        "--until-decided",
        action="store_true",
        help="take more and more samples, up to --samples, until every verdict is decided",
    )


def add_outputs(p: argparse.ArgumentParser) -> None:
    """The options that say where a report goes, and how the command exits."""
    p.add_argument(
        "--fail-on",
        choices=["fail", "warn", "not-judged"],
        default="fail",
        help="warn: a warning also exits with 1; not-judged: also a model without a verdict with 3",
    )
    p.add_argument("--junit", metavar="FILE", help="also write the verdicts as JUnit XML, for CI servers")
    p.add_argument("--summary", metavar="FILE", help="also write both answers and a table as Markdown")
    p.add_argument("--out", metavar="DIR", help=f"folder of the report ({DEFAULT_FOLDER}, numbered where it exists)")
    p.add_argument("--force", action="store_true", help="replace the report in an existing --out folder")


def add_model_and_data(p: argparse.ArgumentParser, split: str = "test") -> None:
    """The options that name a model, and data with a split."""
    p.add_argument("--model", required=True, metavar="SPEC", help="package.module:factory or file.py:factory")
    p.add_argument("--weights", metavar="FILE", help=".safetensors, or a state dict in .pt")
    p.add_argument(
        "--model.arg",
        metavar="K=V",
        dest="model_arguments",
        action="append",
        default=[],
        help="argument of the factory",
    )
    p.add_argument(
        "--allow-pickle", action="store_true", help="let --model be a pickled module: runs code from the file"
    )
    p.add_argument(
        "--data",
        required=True,
        metavar="D",
        help="a dataset's name, .npz, .safetensors, .pt, table.csv:target=y, or pkg.mod:function",
    )
    p.add_argument("--id-column", metavar="COLUMN", help="of a table: names the samples in reports, and orders them")
    p.add_argument("--split", default=split, help=f"of the data: test or train ({split})")


def _add_reliance(p: argparse.ArgumentParser) -> None:
    named = "name, wildcard or number of a group, 'bin 5,3', or an .npy mask; GROUP:share=.05,effect=.02 sets limits"
    p.add_argument(
        "--forbid", metavar="GROUP", action="append", help=f"the model must not rely on this, may be repeated: {named}"
    )
    p.add_argument(
        "--allow", metavar="GROUP", action="append", help="the model may rely on this alone, in the same forms"
    )


def audit_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """The keyword arguments of `trimkit.audit`; refuses wrong ones before anything heavy is imported."""
    if arguments.seed < 0:
        raise OptionError(f"--seed: expected a number ≥ 0, got {arguments.seed}")
    from trimkit.audit.selection import parse_forbidden
    from trimkit.targets import parse_target

    named = {
        key: [parse_forbidden(text) for text in getattr(arguments, key)]
        for key in ("forbid", "allow")
        if getattr(arguments, key)
    }
    return {
        **named,
        "transform": parse_choice(arguments.transform),
        "attributions": [parse_choice(a) for a in arguments.attribution or ["integrated_gradients"]],
        "target": parse_target(arguments.target),
        "task": arguments.task,
        "checks": arguments.checks,
        "thresholds": parse_values(arguments.threshold, "--threshold"),
        "samples": arguments.samples,
        "batch_size": arguments.batch_size,
        "seed": arguments.seed,
    }


def _audit(arguments: argparse.Namespace, intake: Intake) -> Report:
    import trimkit

    slow = bool(arguments.engine) or arguments.until_decided
    with said_once(), show_progress(lines=slow) as progress:
        return trimkit.audit(
            intake.model,
            intake.data,
            progress=progress,
            executor=arguments.engine,
            until_decided=arguments.until_decided,
            **intake.options,
        )


def _count(text: str) -> int | None:
    """A number of samples; None for all."""
    return None if text == "all" else int(text)


def _write_verdicts(report: Report) -> None:
    several = len(report.labels) > 1
    width = max(len(_name(v, several)) for v in report.verdicts)
    sys.stdout.write("\n")
    for v in report.verdicts:
        figures = f"  ({v.figures})" if v.figures else ""
        sys.stdout.write(verdict_line(f"{v.status:<14} {_name(v, several):<{width}}  ", v.sentence + figures))
    from trimkit.audit.headlines import explanation_sentence, model_sentence

    measured = report.performance
    sys.stdout.write(f"\n{measured.title}: {measured.line}\n" if measured else "\nAccuracy: not measured\n")
    sys.stdout.write(
        verdict_line(f"Explanation: {report.overall}  ", explanation_sentence(report.verdicts, report.labels))
    )
    sys.stdout.write(verdict_line(f"Model: {report.model}  ", model_sentence(report.verdicts, report.performance)))
    sys.stdout.write("\n")


def _name(verdict: Any, several: bool) -> str:
    return verdict.label if several else verdict.check


def _exit_code(report: Report, fail_on: str) -> int:
    from trimkit.audit.headlines import audit_exit_code

    return audit_exit_code(report.overall, report.model, fail_on)
