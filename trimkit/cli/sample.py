"""``trimkit sample RUN``: new data from a trained run, as arrays and as a picture."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from trimkit.cli._arguments import plain_parser
from trimkit.cli._warnings import one_line_warnings
from trimkit.errors import OptionError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from trimkit.methods import Method

MOST_SHOWN, COLUMNS = 64, 8
"""Samples in the picture, and in each of its rows."""


def run(argv: list[str]) -> int:
    """Draw samples and write them: 0. A method that draws none is refused."""
    arguments = _parser().parse_args(argv)
    require_least(arguments, n=1, batch_size=1, seed=0)
    out = free_file(arguments.out or str(Path(arguments.run) / "drawn.npz"), ".png", force=arguments.force)
    with one_line_warnings():
        samples, aux = _draw(arguments)
    labels = aux if aux is not None and not aux.is_floating_point() else None
    write_arrays(out, {"x": samples, "aux": aux, "y": labels})
    picture = out.with_suffix(".png")
    from trimkit.training.pictures import draw_cells

    shown = samples[:MOST_SHOWN]
    names = [f"class {u}" for u in labels.tolist()] if labels is not None else [str(n + 1) for n in range(len(shown))]
    draw_cells(list(shown), names[: len(shown)], COLUMNS).save(picture)
    sys.stdout.write(f"{out}\n{picture}\n")
    return 0


def _draw(arguments: argparse.Namespace) -> tuple[Tensor, Tensor | None]:
    """The samples, and what each was asked to be."""
    import torch

    method, device = load_run(arguments)
    aux = asked_of(method, arguments, arguments.n)
    generator = torch.Generator(device).manual_seed(arguments.seed)
    parts = torch.arange(arguments.n).split(arguments.batch_size)
    with torch.no_grad():
        drawn = [method.sample(len(n), generator, None if aux is None else aux[n].to(device)).cpu() for n in parts]
    return torch.cat(drawn), aux


def require_least(arguments: argparse.Namespace, **least: int) -> None:
    """Refuse numbers below the least that an option takes, with an OptionError."""
    for name, smallest in least.items():
        if (value := getattr(arguments, name)) < smallest:
            raise OptionError(f"--{name.replace('_', '-')}: expected a number ≥ {smallest}, got {value}")


def load_run(arguments: argparse.Namespace) -> tuple[Method, torch.device]:
    """The method of a run in eval mode, on the device that is asked for; see `add_shared`."""
    from trimkit.cli._device import device_of
    from trimkit.methods import load_method

    device = device_of(arguments.device)
    return load_method(arguments.run, allow_code=arguments.allow_code).to(device), device


def asked_of(method: Method, arguments: argparse.Namespace, n: int) -> Tensor | None:
    """Auxiliary variables of n samples: the classes asked for in turn, or all classes; a vector for all.

    Args:
        method: of the run.
        arguments: with ``classes`` and ``aux``.
        n: how many.
    Returns:
        (n,) labels, (n, m) vectors, or None for a method that sees none.
    Raises:
        OptionError: classes or a vector for a method that was trained with something else.
    """
    import torch

    condition = method.condition
    given = "--classes" if arguments.classes else "--aux" if arguments.aux else None
    wanted = None if condition is None else "--classes" if condition.segments else "--aux"
    if given is not None and given != wanted:
        how = f"give {wanted}" if wanted else "it sees no auxiliary variables; train it with --method.conditional true"
        raise OptionError(f"{given} does not fit {type(method).__name__} of {arguments.run}: {how}")
    if condition is None:
        return None
    if condition.dim and not arguments.aux:
        raise OptionError(
            f"{type(method).__name__} sees vectors of {condition.dim} numbers: give one, such as --aux 0,1"
        )
    rows = condition.rows(torch.tensor(arguments.aux or arguments.classes or range(condition.segments)))
    return rows[torch.arange(n) % len(rows)]


def add_asked(p: argparse.ArgumentParser) -> None:
    """Add ``--classes`` and ``--aux``, see `asked_of`."""
    p.add_argument(
        "--classes", type=_whole_numbers, metavar="C,C", help="of a conditional run, in turn, such as 3,7; else all"
    )
    p.add_argument("--aux", type=_numbers, metavar="U,U", help="of a run that sees vectors: one for all samples")


def _whole_numbers(text: str) -> list[int]:
    if not all(part.isdecimal() for part in text.split(",")):
        raise argparse.ArgumentTypeError(f"expected numbers of classes such as 3,7, got {text!r}")
    return [int(part) for part in text.split(",")]


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected numbers such as 0.5,1, got {text!r}") from None


def _parser() -> argparse.ArgumentParser:
    p = plain_parser(
        "trimkit sample",
        "New data from a trained run: an .npz with x, and the classes of a conditional run, which is data for trimkit; "
        "and a .png.",
    )
    p.add_argument("run", metavar="RUN", help="folder of a complete run, as `trimkit train` writes it")
    add_asked(p)
    p.add_argument("--n", type=int, metavar="N", default=64, help="how many (64)")
    p.add_argument("--out", metavar="FILE", help="an .npz; drawn.npz in the run's folder by default")
    p.add_argument("--seed", type=int, metavar="N", default=0, help="of every draw, ≥ 0 (0)")
    p.add_argument("--batch-size", type=int, metavar="N", default=256, help="drawn at once (256)")
    add_shared(p)
    return p


def add_shared(p: argparse.ArgumentParser) -> None:
    """Add the options of commands that write a file from a run."""
    p.add_argument("--device", metavar="NAME", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    p.add_argument(
        "--allow-code", action="store_true", help="import the functions that the run was made with, such as networks"
    )
    p.add_argument("--force", action="store_true", help="replace a file that is there")


def free_file(out: str, *pictures: str, force: bool) -> Path:
    """The file to write.

    Args:
        out: an .npz.
        *pictures: suffixes of what is written beside it.
        force: replace files that are there.
    Raises:
        OptionError: another suffix than .npz, no folder to put it in, or a file that is there.
    """
    path = Path(out)
    if path.suffix != ".npz":
        raise OptionError(f"--out: expected a file that ends in .npz, got {out!r}")
    if not path.absolute().parent.is_dir():
        raise OptionError(f"--out: there is no folder {path.parent}; make it first")
    for each in (path, *map(path.with_suffix, pictures)):
        if each.exists() and not (force and each.is_file()):
            raise OptionError(f"{each} exists; name another file, or add --force to replace it")
    return path


def write_arrays(path: Path, arrays: Mapping[str, Tensor | None]) -> None:
    """Write the tensors that there are as an .npz, whole or not at all."""
    import numpy as np

    from trimkit.storage import write_atomically

    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **{name: value.numpy() for name, value in arrays.items() if value is not None})
    write_atomically(path, buffer.getvalue())
