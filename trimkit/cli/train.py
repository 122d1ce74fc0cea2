"""``trimkit train METHOD``: train a generative method, alone or around a frozen predictor."""

from __future__ import annotations

import re
import shlex
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trimkit.cli._arguments import add_part, make_part, parser
from trimkit.cli._tables import write_table
from trimkit.cli._warnings import one_line_warnings
from trimkit.errors import DataError, OptionError, TrimkitWarning
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
        sys.stderr.write(_HELP.format(methods=_method_lines()))
        return 2
    if argv[0] in ("-h", "--help"):
        sys.stdout.write(_HELP.format(methods=_method_lines()))
        return 0
    name, *rest = argv
    if name.startswith("-"):
        raise OptionError(f"expected the method first, got {name!r}: trimkit train METHOD [options]")
    specification("method", name)
    of = _parser(name)
    with one_line_warnings():
        done = _train(name, of, of.parse_args(rest), shlex.join(["trimkit", "train", *argv]))
        if done.rank == 0:
            _report(done)
    return 0


def _method_lines() -> str:
    specs = available("methods")
    width = max(map(len, specs), default=0)
    return "\n".join(f"  {name:<{width}}  {spec.summary}" for name, spec in specs.items()) or "  none is installed"


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
    _add_guidance(p)
    _add_settings(p)
    add_part(p, "method", name, "method", skip=_FILLED)
    return p


def _add_guidance(p: ArgumentParser) -> None:
    p.add_argument(
        "--predictor", type=str | None, metavar="MODEL", help="frozen: pkg.mod:function that makes the model"
    )
    p.add_argument("--predictor-weights", type=str | None, metavar="FILE", help="its weights: .safetensors, .pt")
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
    p.add_argument("--steps", type=int | None, metavar="N", help="steps in total; 3000 without --epochs")
    p.add_argument("--epochs", type=int | None, metavar="N", help="passes over the data, instead of steps")
    p.add_argument("--batch-size", type=int, metavar="N", default=64, help="samples a step, over all processes")
    p.add_argument("--accumulate", type=int, metavar="N", default=1, help="turns in which a batch is worked through")
    p.add_argument("--seed", type=int, metavar="N", default=0, help="of weights, order and noise")
    p.add_argument("--clip", type=float | None, metavar="NORM", help="largest norm of a phase's gradient")
    p.add_argument(
        "--nonfinite",
        choices=["raise", "skip", "scrub"],
        default="raise",
        help="after a gradient with NaN or infinity: stop, leave the step out, or replace them by 0 and ±1e5",
    )
    p.add_argument("--ema", type=float | None, metavar="D", help="decay of averaged weights; each phase's own")
    p.add_argument("--checkpoint-every", type=int, metavar="N", default=500, help="steps between checkpoints")
    p.add_argument("--log-every", type=int, metavar="N", default=50, help="steps between lines of metrics.jsonl")
    p.add_argument("--pictures-every", type=int, metavar="N", default=0, help="steps between pictures; 0 for none")
    p.add_argument("--evaluated", type=int, metavar="N", default=4096, help="samples of the evaluation at the end")
    p.add_argument("--tensorboard", action="store_true", help="write the metrics for TensorBoard too")
    p.add_argument("--workers", type=int, metavar="N", default=0, help="processes that read data ahead")
    p.add_argument("--device", type=str, metavar="NAME", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    p.add_argument("--devices", type=int, metavar="N", default=1, help="processes, each on a device of its own")
    p.add_argument(
        "--precision", choices=["32", "64", "bf16", "16"], default="32", help="number format that networks run in"
    )
    p.add_argument("--fast", action="store_true", help="bf16 where the processor has it, channels last, fused Adam")
    p.add_argument("--out", type=str | None, metavar="FOLDER", help="of the run; runs/METHOD-DATA by default")
    p.add_argument("--resume", action="store_true", help="go on from the run's newest checkpoint")


def _train(name: str, of: ArgumentParser, config: Any, command: str) -> Run:
    from trimkit.data import load
    from trimkit.targets import parse_target
    from trimkit.training import train

    if config.out == "":
        raise OptionError("--out: expected a folder, got nothing; leave it out for the usual one")
    data = load(config.data, "train")
    return train(
        _make_method(name, of, config, data),
        data,
        test=_held_out(config.data, data),
        predictor=_predictor(config),
        prediction=config.prediction,
        trim=config.trim,
        target=parse_target(config.trim_target),
        weights=_weights(config),
        folder=_folder(name, of, config, data, command),
        resume=config.resume,
        progress=True,
        **{key: config[key] for key in _SETTINGS},
    )


_COLLAPSED = (
    "no latent is active: the posterior has collapsed to the prior, so the latents say nothing about the data; train "
    "longer, or lower the weight of the KL term (beta, where the method has one)"
)

_FILLED = {"shape", "dataset_size", "segments", "aux_dim"}
"""Options of methods that the data give."""

_SETTINGS = (
    *("steps", "epochs", "batch_size", "accumulate", "seed", "clip", "nonfinite", "ema", "checkpoint_every"),
    *("log_every", "pictures_every", "evaluated", "tensorboard", "workers", "device", "devices", "precision"),
    "fast",
)


@contextmanager
def _initial_weights(config: Any) -> Iterator[None]:
    """Let modules be made with weights that depend on the seed alone."""
    import torch

    from trimkit.training.randomness import derived_seed

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derived_seed(config.seed, "initial weights"))
        yield


def _make_method(name: str, of: ArgumentParser, config: Any, data: Dataset) -> Method:
    known = {"shape": data.shape, "dataset_size": len(data), **_size_of_aux(data)}
    signature = signature_of(default().find("method", name).load())
    filled = {option: value for option, value in known.items() if signature and option in signature.parameters}
    with _initial_weights(config):
        return make_part(of, config, "method", name, "method", **filled)


def _size_of_aux(data: Dataset) -> dict[str, int]:
    """How many values auxiliary labels have, or how many numbers auxiliary vectors; nothing without."""
    if data.aux is None:
        return {}
    if data.aux.is_floating_point():
        return {"aux_dim": data.aux[0].numel()}
    return {"segments": int(data.aux.max()) + 1}


def _held_out(spec: str, data: Dataset) -> Dataset | None:
    """The data's test split, where it has one of its own."""
    from trimkit.data import load

    try:
        test = load(spec, "test")
    except DataError:
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


def _folder(name: str, of: ArgumentParser, config: Any, data: Dataset, command: str) -> RunFolder:
    import yaml

    from trimkit.training import RunFolder

    usual = Path("runs") / re.sub(r"[^\w.-]+", "-", f"{name}-{data.name}")
    recorded = {key: value for key, value in yaml.safe_load(of.dump(config)).items() if key not in ("resume", "output")}
    return RunFolder(config.out or usual, command, recorded)


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
    found: dict[str, float] = {}
    for name, value in numbers.items():
        if isinstance(value, Mapping):
            found |= {f"{name} {inner}": number for inner, number in _flat(value).items()}
        elif isinstance(value, int | float):
            found[name] = value
    return found
