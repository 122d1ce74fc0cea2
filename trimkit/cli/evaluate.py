"""``trimkit evaluate RUN``: how disentangled the codes of a trained run are, beside codes that cost nothing."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trimkit.cli._arguments import plain_parser
from trimkit.cli._tables import write_table
from trimkit.cli._warnings import one_line_warnings
from trimkit.errors import DataError, OptionError
from trimkit.registry import available

if TYPE_CHECKING:
    from trimkit.evaluation.representation import Evaluation
    from trimkit.metrics import MetricResult

FILE = "evaluation.json"
"""What a run folder gains."""

_DESCRIPTION = """\
How disentangled the codes of a trained run are: MIG for each factor, FactorVAE and BetaVAE score, DCI, SAP, modularity,
explicitness, IRS, dependence between codes, and the parts of the KL; with 95 % intervals. Where the data have no
known factors, their labels are the one factor; without labels, the metrics that need none. Where their true sources
are known, how well the codes correlate with them (MCC), beside PCA, FastICA and random rotations of the sources; of
runs of ICA, how independent the components are. With --predictor, how near what the run generates is to the data
instead, in the features of that predictor: Frechet and kernel distance, precision, recall, path length. Adds
evaluation.json."""


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
    with one_line_warnings():
        found = _evaluate(folder, arguments)
    from trimkit.methods.stored import finite
    from trimkit.training.checkpoint import write_atomically

    text = json.dumps(finite(found.as_dict()), indent=2, allow_nan=False)
    write_atomically(folder / FILE, f"{text}\n".encode())
    if arguments.json:
        sys.stdout.write(f"{text}\n")
    else:
        _write(found)
        sys.stdout.write(f"{folder / FILE}\n")
    return 0


def _evaluate(folder: Path, arguments: argparse.Namespace) -> Evaluation:
    data = _recorded_data(folder) if arguments.data is None else arguments.data
    from trimkit.cli._device import device_of
    from trimkit.evaluation.representation import Settings, evaluate_run, load_for_evaluation
    from trimkit.methods import load_method

    settings = Settings(arguments.samples, arguments.protocol, arguments.seed, arguments.baselines)
    method = load_method(folder, allow_code=arguments.allow_code)
    samples = load_for_evaluation(data, arguments.split)
    where = {"space": arguments.space, "device": device_of(arguments.device)}
    if arguments.predictor is None:
        from trimkit.evaluation.independence import add_independence, training_data

        found = evaluate_run(folder, method, samples, settings, **where)
        return add_independence(found, method, samples, settings, training_data(data, samples), **where)
    from trimkit.evaluation.generation import evaluate_samples, make_features
    from trimkit.predictor.loading import load_model

    model = load_model(arguments.predictor, arguments.predictor_weights)
    features = make_features(model, arguments.predictor, arguments.predictor_layer)
    return evaluate_samples(folder, method, samples, settings, features, **where)


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
    p.add_argument(
        "--allow-code", action="store_true", help="import the functions that the run was made with, such as networks"
    )
    p.add_argument("--predictor", metavar="SPEC", help="of samples: pkg.mod:function that makes the frozen predictor")
    p.add_argument("--predictor-weights", metavar="FILE", help="its weights: .safetensors, .pt")
    p.add_argument("--predictor-layer", metavar="NAME", help="the layer that gives the features; its output by default")
    p.add_argument("--device", metavar="NAME", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    p.add_argument("--json", action="store_true", help="print what evaluation.json holds, instead of tables")
    p.add_argument("--force", action="store_true", help="replace an evaluation.json that is there")
    return p


def _checked(arguments: argparse.Namespace) -> argparse.Namespace:
    if arguments.samples < 20:
        raise OptionError(f"--samples: expected at least 20, got {arguments.samples}")
    if arguments.seed < 0:
        raise OptionError(f"--seed: expected a number ≥ 0, got {arguments.seed}")
    if arguments.predictor is None and (arguments.predictor_weights or arguments.predictor_layer) is not None:
        raise OptionError(
            "--predictor-weights and --predictor-layer need --predictor, the function that makes the model"
        )
    if arguments.predictor is not None and arguments.baselines:
        raise OptionError("--baselines are other codes of the data, and --predictor is about samples; take one of them")
    return arguments


def _recorded_data(folder: Path) -> str:
    """What the run was trained on, where that can be loaded without running anything that the folder names.

    Raises:
        DataError: nothing is named, a function, data that only the program knew, or other data than then.
    """
    import yaml

    try:
        config = yaml.safe_load((folder / "config.yaml").read_text("utf-8"))
        data, known = str(config["data"]), config.get("data_sha256")
    except (OSError, KeyError, TypeError, ValueError, AttributeError, yaml.YAMLError) as error:
        raise DataError(f"{folder}/config.yaml does not name the data of the run; give them with --data") from error
    from trimkit.data.files import load, names_code

    if names_code(data):
        raise DataError(
            f"{folder}/config.yaml names {data!r} as the data, which would be imported and run; if you trust it: "
            f"--data {shlex.quote(data)}"
        )
    if known is not None and (data not in available("datasets") or load(data).sha256 != known):
        raise DataError(
            f"{folder} was trained by a program on data that it called {data!r}, and no dataset of that name is the "
            "same; give them with --data"
        )
    return data


def _write(found: Evaluation) -> None:
    """Tables of the metrics, of the gap for each factor, of the true sources, and of the KL; then the notes."""
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
    if found.sources:
        sys.stdout.write("\n")
        headings = ("codes", *found.sources[found.method])
        rows = [(name, *map(_correlation, results.values())) for name, results in found.sources.items()]
        write_table(headings, rows, "mean correlation of codes with the true sources s, matched one to one")
    if found.kl:
        sys.stdout.write("\n")
        write_table(("KL", "nats", "estimator"), _kl_rows(found.kl), "parts of the KL of posterior and prior")
    sys.stdout.write("\n")
    for note in found.notes:
        sys.stdout.write(f"note: {note}\n")


def _value(result: MetricResult | None) -> str:
    return "" if result is None else _digits(result.value)


def _interval(result: MetricResult) -> str:
    return "" if result.interval is None else " … ".join(map(_digits, result.interval))


def _digits(value: float) -> str:
    """Three decimals, or two significant digits of what they would hide: a negentropy of .0013."""
    return f"{value:.3f}" if abs(value) >= 0.01 or abs(value) < 5e-7 else f"{value:.2g}"


def _correlation(result: MetricResult) -> str:
    """With its interval; of random rotations, from the lowest to the highest."""
    low, high = result.interval or (result.parts["lowest"], result.parts["highest"])
    return f"{result.value:.3f} ({low:.3f} … {high:.3f})"


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
