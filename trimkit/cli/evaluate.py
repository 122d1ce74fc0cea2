"""``trimkit evaluate RUN``: how disentangled the codes of a trained run are, beside codes that cost nothing."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trimkit.cli._arguments import plain_parser
from trimkit.cli._tables import write_table
from trimkit.cli._warnings import one_line_warnings
from trimkit.errors import DataError, OptionError

if TYPE_CHECKING:
    from trimkit.cli._representation import Evaluation
    from trimkit.metrics.disentanglement import MetricResult

FILE = "evaluation.json"
"""What a run folder gains."""

_DESCRIPTION = """\
How disentangled the codes of a trained run are: MIG for each factor, FactorVAE and BetaVAE score, DCI, SAP, modularity,
explicitness, IRS, dependence between codes, and the parts of the KL; with 95 % intervals. Where the data have no
known factors, their labels are the one factor; without labels, the metrics that need none. Adds evaluation.json."""


def run(argv: list[str]) -> int:
    """Evaluate one run and write its evaluation.json.

    Args:
        argv: arguments after ``trimkit evaluate``.
    Returns:
        0.
    Raises:
        TrimkitError: an option, run or data that does not fit.
    """
    arguments = _checked(_parser().parse_args(argv))
    folder = Path(arguments.run)
    if (folder / FILE).exists() and not arguments.force:
        raise OptionError(f"{folder / FILE} exists; add --force to replace it")
    data = arguments.data or _recorded_data(folder)
    from trimkit.cli._device import device_of
    from trimkit.cli._representation import Settings, evaluate_run, load_for_evaluation
    from trimkit.training.checkpoint import write_atomically

    with one_line_warnings():
        settings = Settings(arguments.samples, arguments.protocol, arguments.seed, arguments.baselines)
        samples = load_for_evaluation(data, arguments.split)
        found = evaluate_run(folder, samples, settings, arguments.space, device_of(arguments.device))
    text = json.dumps(found.as_dict(), indent=2, allow_nan=False)
    write_atomically(folder / FILE, f"{text}\n".encode())
    if arguments.json:
        sys.stdout.write(f"{text}\n")
    else:
        _write(found)
        sys.stdout.write(f"{folder / FILE}\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    p = plain_parser("trimkit evaluate", _DESCRIPTION)
    p.formatter_class = argparse.RawDescriptionHelpFormatter
    p.add_argument("run", metavar="RUN", help="folder of a complete run, as `trimkit train` writes it")
    p.add_argument("--data", metavar="D", help="a dataset's name or file; that of the run's config.yaml by default")
    p.add_argument("--split", help="of the data; by default all, where a dataset has that, else test, else train")
    p.add_argument("--space", metavar="NAME", help="latent space of the codes; the method's first by default")
    p.add_argument("--samples", type=int, metavar="N", default=10_000, help="at most so many (10000)")
    p.add_argument(
        "--protocol",
        choices=["quick", "dlib"],
        default="quick",
        help="quick: 800 + 500 votes, random forest; dlib: as disentanglement_lib, 10000 + 5000 votes and gradient "
        "boosting, which takes many minutes",
    )
    p.add_argument("--seed", type=int, metavar="N", default=0, help="of every draw, ≥ 0 (0)")
    p.add_argument("--baselines", action="store_true", help="beside a random projection, PCA and ICA of the data")
    p.add_argument("--device", metavar="NAME", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    p.add_argument("--json", action="store_true", help="print what evaluation.json holds, instead of tables")
    p.add_argument("--force", action="store_true", help="replace an evaluation.json that is there")
    return p


def _checked(arguments: argparse.Namespace) -> argparse.Namespace:
    if arguments.samples < 20:
        raise OptionError(f"--samples: expected at least 20, got {arguments.samples}")
    if arguments.seed < 0:
        raise OptionError(f"--seed: expected a number ≥ 0, got {arguments.seed}")
    return arguments


def _recorded_data(folder: Path) -> str:
    """What the run was trained on."""
    import yaml

    try:
        data = yaml.safe_load((folder / "config.yaml").read_text("utf-8"))["data"]
    except (OSError, KeyError, TypeError, ValueError, yaml.YAMLError) as error:
        raise DataError(f"{folder}/config.yaml does not name the data of the run; give them with --data") from error
    return str(data)


def _write(found: Evaluation) -> None:
    """Tables of the metrics, of the gap for each factor, and of the KL; then the notes."""
    columns: dict[str, Mapping[str, MetricResult]] = {found.method: found.metrics, **found.baselines}
    rows = [
        (name, *(_value(results.get(name)) for results in columns.values()), _interval(result), _protocol(result))
        for name, result in found.metrics.items()
    ]
    first, *others = columns
    write_table(("metric", first, *others, "95 % interval", "protocol"), rows, found.title)
    gaps = {name: _gaps(results) for name, results in columns.items()}
    if gaps[first]:
        rows = [(f, *(f"{gap[f]:.3f}" if f in gap else "" for gap in gaps.values())) for f in gaps[first]]
        sys.stdout.write("\n")
        write_table(("factor", *columns), rows, "mutual information gap of each factor")
    if found.kl:
        sys.stdout.write("\n")
        write_table(("KL", "nats", "estimator"), _kl_rows(found.kl), "parts of the KL of posterior and prior")
    sys.stdout.write("\n")
    for note in found.notes:
        sys.stdout.write(f"note: {note}\n")


def _value(result: MetricResult | None) -> str:
    return "" if result is None else f"{result.value:.3f}"


def _interval(result: MetricResult) -> str:
    return "" if result.interval is None else f"{result.interval[0]:.3f} … {result.interval[1]:.3f}"


_IN_TITLE = ("samples", "seed", "draws", "left_out")


def _protocol(result: MetricResult) -> str:
    told = {name: value for name, value in result.protocol.items() if name not in _IN_TITLE}
    return ", ".join(f"{name} {value}" for name, value in told.items())


def _gaps(results: Mapping[str, MetricResult]) -> dict[str, float]:
    gap = results.get("mutual_information_gap")
    return {} if gap is None else gap.parts["per_factor"]


def _kl_rows(kl: Mapping[str, Any]) -> Sequence[tuple[str, str, str]]:
    rows = [("KL", f"{kl['total']:.3f}", "exact"), ("active codes", str(kl["active"]), "KL > 0.1 nats")]
    for part, name in (("mi", "mutual information"), ("tc", "total correlation"), ("dwkl", "dimension-wise KL")):
        rows += [
            (name, f"{found[part]:.3f}", f"{found['estimator']}, B {found['posteriors']}, N {found['dataset_size']}")
            for found in kl["parts"]
        ]
    return rows
