"""``trimkit train METHOD``: train a generative method, alone or around a frozen predictor."""

from __future__ import annotations

import os
import re
import shlex
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

from trimkit.cli._arguments import add_part, example_of, make_part, parser
from trimkit.cli._tables import write_table
from trimkit.cli._warnings import one_line_warnings
from trimkit.errors import OptionError, TrainingError, TrimkitWarning
from trimkit.registry import available, default, specification
from trimkit.registry.calling import signature_of

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

    from trimkit.data import Dataset
    from trimkit.methods import Method
    from trimkit.training import Run, RunFolder

_HELP = """\
usage: trimkit train METHOD [options]

Train a generative method, alone or around a frozen predictor; `trimkit train METHOD --help` shows its options.

methods:
{methods}
"""


def run(argv: list[str]) -> int:
    """Train one method and write its run folder.

    Args:
        argv: arguments after ``trimkit train``.
    Returns:
        0; 2 without arguments, with the help on stderr.
    Raises:
        TrimkitError: an option, data, a predictor or a run that does not fit.
    """
    if not argv:
        sys.stderr.write(_help())
        return 2
    if argv[0] in ("-h", "--help"):
        sys.stdout.write(_help())
        return 0
    name, *rest = argv
    if name.startswith("-"):
        raise OptionError(f"expected the method first, got {name!r}: trimkit train METHOD [options]")
    specification("method", name)
    p = _parser(name)
    with one_line_warnings():
        return _answer(lambda: _train(name, p, p.parse_args(rest), shlex.join(["trimkit", "train", *argv])))


def _answer(work: Callable[[], Run]) -> int:
    """Report a run, or where a signal stopped it, once: the first of several processes says it for all."""
    try:
        done = work()
    except SystemExit as leaving:
        if type(leaving).__module__ != "trimkit.training.stopping":
            raise
        sys.stderr.write(f"trimkit: {leaving}\n")
        return int(leaving.code or 0)
    except TrainingError as error:
        if type(error).__name__ != "RelayedError" or os.environ.get("LOCAL_RANK", "0") == "0":
            raise
        return 2
    if done.rank == 0:
        _report(done)
    return 0


def _help() -> str:
    specs = available("methods")
    width = max(map(len, specs), default=0)
    lines = "\n".join(f"  {name:<{width}}  {spec.summary}" for name, spec in specs.items()) or "  none is installed"
    return _HELP.format(methods=lines) + example_of("trimkit train")


def _parser(name: str) -> ArgumentParser:
    p = parser(f"trimkit train {name}", specification("method", name).summary)
    p.add_argument("--config", action="config", help="YAML file of these options, such as a run's config.yaml")
    p.add_argument(
        "--data",
        type=str,
        metavar="DATA",
        default="digits",
        help="dataset, .npz or .safetensors file, or pkg.mod:function",
    )
    p.add_argument(
        "--on-bad-file",
        choices=["raise", "skip"],
        default="raise",
        help="of a folder: stop at a picture that cannot be read, or leave such out and list them in results.json",
    )
    _add_guidance(p)
    _add_settings(p)
    add_part(p, "method", name, "method", skip=_FILLED)
    return p


def _add_guidance(p: ArgumentParser) -> None:
    p.add_argument("--predictor", type=str, metavar="MODEL", help="frozen: pkg.mod:function that makes the model")
    p.add_argument("--predictor-weights", type=str, metavar="FILE", help="its weights: .safetensors, .pt")
    p.add_argument(
        "--prediction",
        choices=["kl", "mse", "label"],
        default="kl",
        help="what the prediction loss compares: logits (kl), outputs (mse) or the output with the label",
    )
    for name, what in (("prediction", "1 with a predictor"), ("reconstruction", "the method's own, 1")):
        p.add_argument(f"--{name}-weight", type=float | str | None, metavar="W", help=f"a number or schedule; {what}")
    p.add_argument(
        "--trim",
        nargs="+",
        action="extend",
        default=[],
        metavar="TERM",
        help="penalties on the predictor's attributions: PENALTY[@SPACE][:WEIGHT], such as l1@z:0.1",
    )
    p.add_argument(
        "--trim-target",
        type=str,
        metavar="WHICH",
        default="predicted",
        help="output that they explain: predicted, label or a class number",
    )


def _add_settings(p: ArgumentParser) -> None:
    """The fields of `Settings`, with their types, defaults and descriptions."""
    from trimkit.training.settings import Settings, describe_settings

    hints, described = get_type_hints(Settings), describe_settings()
    for field in fields(Settings):
        if field.name == "progress":  # always shown here
            continue
        option = f"--{field.name.replace('_', '-')}"
        if hints[field.name] is bool:
            p.add_argument(option, action="store_true", help=described[field.name])
        else:
            p.add_argument(option, type=hints[field.name], default=field.default, help=described[field.name])
    p.add_argument("--out", type=str, metavar="FOLDER", help="of the run; runs/METHOD-DATA by default")
    p.add_argument("--resume", action="store_true", help="go on from the run's newest checkpoint")
    p.add_argument("--init-from", type=str, metavar="RUN", help="begin with the weights of a complete run")
    p.add_argument("--data-changed", action="store_true", help="resume though the data are others than before")


def _train(name: str, p: ArgumentParser, config: Any, command: str) -> Run:
    from trimkit.data import load
    from trimkit.targets import parse_target
    from trimkit.training import Settings, train

    if config.out == "":
        raise OptionError("--out: expected a folder, got nothing; leave it out for the usual one")
    how = {"double": config.precision == "64"}
    how |= {"on_bad_file": "skip"} if config.on_bad_file == "skip" else {}
    data = load(config.data, "train", **how)
    return train(
        _make_method(name, p, config, data),
        data,
        test=_held_out(config.data, data, how),
        predictor=_predictor(config),
        prediction=config.prediction,
        trim=config.trim,
        target=parse_target(config.trim_target),
        weights=_weights(config),
        folder=_folder(name, p, config, data, command),
        resume=config.resume,
        data_changed=config.data_changed,
        init_from=config.init_from,
        progress=True,
        **{field.name: config[field.name] for field in fields(Settings) if field.name in config},
    )


_COLLAPSED = (
    "no latent is active: the posterior has collapsed to the prior, so the latents say nothing about the data; train "
    "longer, or lower the weight of the KL term (beta, where the method has one)"
)

_FILLED = {"shape", "dataset_size", "segments", "aux_dim"}
"""Options of methods that the data give."""


@contextmanager
def _initial_weights(config: Any) -> Iterator[None]:
    """Let modules be made with weights that depend on the seed alone."""
    import torch

    from trimkit.training.engine import derived_seed

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derived_seed(config.seed, "initial weights"))
        yield


def _make_method(name: str, p: ArgumentParser, config: Any, data: Dataset) -> Method:
    sees_aux = getattr(config.get("method"), "conditional", True)
    given = {"shape": data.shape, "dataset_size": len(data), **(_size_of_aux(data) if sees_aux else {})}
    signature = signature_of(default().find("method", name).load())
    filled = {option: value for option, value in given.items() if signature and option in signature.parameters}
    with _initial_weights(config):
        return make_part(p, config, "method", name, "method", **filled)


def _size_of_aux(data: Dataset) -> dict[str, int]:
    """How many values auxiliary labels have, or how many numbers auxiliary vectors; nothing without."""
    if data.aux is None:
        return {}
    if data.aux.is_floating_point():
        return {"aux_dim": data.aux[0].numel()}
    return {"segments": int(data.aux.max()) + 1}


def _held_out(spec: str, data: Dataset, how: Mapping[str, Any]) -> Dataset | None:
    """The data's test split, where it has one of its own; one that cannot be read stops the run before any work."""
    from trimkit.data import SplitError, load

    try:
        test = load(spec, "test", **how)
    except SplitError:
        return None
    return None if test.sha256 == data.sha256 else test


def _predictor(config: Any) -> Any:
    if config.predictor is None:
        if config.predictor_weights is not None:
            raise OptionError("--predictor-weights needs --predictor, the function that makes the model")
        return None
    from trimkit.predictor.loading import load_model

    with _initial_weights(config):
        return load_model(config.predictor, config.predictor_weights)


def _weights(config: Any) -> dict[str, Any]:
    given = {"prediction": config.prediction_weight, "recon": config.reconstruction_weight}
    return {name: weight for name, weight in given.items() if weight is not None}


def _folder(name: str, p: ArgumentParser, config: Any, data: Dataset, command: str) -> RunFolder:
    import yaml

    from trimkit.training import RunFolder

    usual = Path("runs") / re.sub(r"[^\w.-]+", "-", f"{name}-{data.name}")
    out, config = config.out, yaml.safe_load(p.dump(config))
    recorded = {key: value for key, value in config.items() if key not in ("resume", "data_changed", "output")}
    return RunFolder(out or usual, command, recorded)


def _report(run: Run) -> None:
    """A table of what was reached, and the folder as the last line."""
    parts = [part for part in ("train", "test") if part in run.results]
    columns = [_flat(run.results[part]) for part in parts]
    rows = [(name, *(f"{column[name]:.4g}" if name in column else "" for column in columns)) for name in columns[0]]
    write_table(("", *parts), rows)
    sys.stdout.write(f"{run.folder}\n")
    if run.results.get("train", {}).get("active_latents") == 0:
        with warnings.catch_warnings():
            warnings.simplefilter("always", TrimkitWarning)  # said once, and no reason to fail after the work
            warnings.warn(_COLLAPSED, TrimkitWarning, stacklevel=2)


def _flat(numbers: Mapping[str, Any]) -> dict[str, float]:
    """The scalars, those of nested mappings among them."""
    flat: dict[str, float] = {}
    for name, value in numbers.items():
        if isinstance(value, Mapping):
            flat |= {f"{name} {inner}": number for inner, number in _flat(value).items()}
        elif isinstance(value, int | float):
            flat[name] = value
    return flat
