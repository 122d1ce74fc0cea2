"""``trimkit revise``: reveal what a model must not rely on, correct it, audit again."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from trimkit.cli._arguments import plain_parser
from trimkit.cli._folders import free_folder, written_aside
from trimkit.cli._intake import ids_of_table
from trimkit.cli._warnings import one_line_warnings
from trimkit.cli.audit import add_model_and_data, parse_choice
from trimkit.registry.spelling import parse_values

if TYPE_CHECKING:
    from trimkit.revise.result import Revision

DEFAULT_FOLDER = "trimkit-revision"
"""Where a revision goes without --out; a number is added where one is there already."""

_DESCRIPTION = """\
Searches for what a classifier must not rely on, or takes it from --forbid; corrects the model; audits it again. A
folder with report.html, results.json and the corrected weights, weights.safetensors. Exit codes: 0 the corrected model
passes, 1 it fails, 2 wrong usage, 3 it stays open, or the search showed nothing to correct."""


def run(argv: list[str]) -> int:
    """Revise a model and write the report and the weights: 0 pass, 1 fail, 3 open."""
    arguments = _parser().parse_args(argv)
    folder = free_folder(arguments.out, DEFAULT_FOLDER)
    revision = _revise(arguments)
    with written_aside(folder) as aside:
        revision.save(aside)
    _write(revision)
    sys.stdout.write(f"{folder / 'report.html'}\n")
    return revision.exit_code


def _parser() -> argparse.ArgumentParser:
    p = plain_parser("trimkit revise", _DESCRIPTION)
    p.formatter_class = argparse.RawDescriptionHelpFormatter
    add_model_and_data(p, split="train")
    p.add_argument("--test", metavar="D", help="data of both audits; by default the test split of --data")
    p.add_argument("--transform", metavar="T", default="identity", help="the space: NAME or NAME:option=value,…")
    p.add_argument("--forbid", metavar="GROUP", action="append", help="as of `trimkit audit`; by default a search")
    p.add_argument("--by", default="last-layer", help="last-layer, penalty or projection (last-layer)")
    p.add_argument("--groups", metavar="FACTOR", help="factor of the test data, for the worst group's accuracy")
    p.add_argument("--epochs", type=int, default=20, help="of training (20)")
    p.add_argument("--weight", type=float, help="of the penalty; by default so large that it starts at 10 log K")
    p.add_argument("--learning-rate", type=float, default=3e-3, help="of training (0.003)")
    p.add_argument("--samples", type=int, default=256, help="audit at most so many samples (256)")
    p.add_argument("--batch-size", type=int, default=64, help="samples in one step (64)")
    p.add_argument("--seed", type=int, default=0, help="of every draw, ≥ 0 (0)")
    p.add_argument("--device", metavar="NAME", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    p.add_argument("--out", metavar="DIR", help=f"folder of the result ({DEFAULT_FOLDER}, numbered where it exists)")
    return p


def _revise(arguments: argparse.Namespace) -> Revision:
    import trimkit
    from trimkit.audit.selection import parse_forbidden
    from trimkit.cli._device import device_of
    from trimkit.data import load
    from trimkit.predictor.loading import load_model

    given: dict[str, Any] = parse_values(arguments.model_arguments, "--model.arg")
    model = load_model(arguments.model, arguments.weights, arguments=given, allow_pickle=arguments.allow_pickle)
    ids = ids_of_table(arguments)
    names = ("by", "groups", "epochs", "weight", "learning_rate", "samples", "batch_size", "seed")
    with one_line_warnings():
        return trimkit.revise(
            model.to(device_of(arguments.device)),
            load(arguments.data, arguments.split, **ids),
            test=load(arguments.test or arguments.data, "test", **ids),
            transform=parse_choice(arguments.transform),
            forbid=[parse_forbidden(text) for text in arguments.forbid] if arguments.forbid else None,
            **{name: getattr(arguments, name) for name in names},
        )


def _write(revision: Revision) -> None:
    corrected = ", ".join(revision.forbidden) or "nothing"
    sys.stdout.write(f"{'corrected for':<24} {corrected}, by {revision.by}\n")
    for what, before, after in revision.lines():
        sys.stdout.write(f"{what:<24} {before}\n{'':<24} → {after}\n")
