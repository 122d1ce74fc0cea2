"""``trimkit evaluate RUN``: how disentangled the codes of a trained run are, beside codes that cost nothing."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from trimkit.cli._arguments import plain_parser
from trimkit.cli._evaluation_tables import write_evaluation
from trimkit.cli._warnings import one_line_warnings
from trimkit.errors import OptionError

if TYPE_CHECKING:
    from trimkit.evaluation import Evaluation

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
        evaluation = _evaluate(folder, arguments)
    from trimkit.methods.stored import finite
    from trimkit.storage import write_atomically

    text = json.dumps(finite(evaluation.as_dict()), indent=2, allow_nan=False)
    write_atomically(folder / FILE, f"{text}\n".encode())
    if arguments.json:
        sys.stdout.write(f"{text}\n")
    else:
        write_evaluation(evaluation)
        sys.stdout.write(f"{folder / FILE}\n")
    return 0


def _evaluate(folder: Path, arguments: argparse.Namespace) -> Evaluation:
    from trimkit.cli._device import device_of
    from trimkit.evaluation import evaluate, make_features, recorded_data

    data = recorded_data(folder) if arguments.data is None else arguments.data
    features = None
    if arguments.predictor is not None:
        from trimkit.predictor.loading import load_model

        model = load_model(arguments.predictor, arguments.predictor_weights)
        features = make_features(model, arguments.predictor, arguments.predictor_layer)
    asked = {name: getattr(arguments, name) for name in ("split", "space", "samples", "protocol", "seed", "baselines")}
    device = device_of(arguments.device)
    return evaluate(folder, data, **asked, features=features, device=device, allow_code=arguments.allow_code)


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
