"""``trimkit sample RUN``: new data from a trained run, as arrays and as a picture."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from trimkit.cli._arguments import plain_parser
from trimkit.errors import OptionError

if TYPE_CHECKING:
    from torch import Tensor

MOST_SHOWN, COLUMNS = 64, 8
"""Samples in the picture, and in each of its rows."""


def run(argv: list[str]) -> int:
    """Draw samples and write them.

    Args:
        argv: arguments after ``trimkit sample``.
    Returns:
        0.
    Raises:
        TrimkitError: an option or run that does not fit, or a method that draws no samples.
    """
    arguments = _parser().parse_args(argv)
    for name, least in (("n", 1), ("batch_size", 1), ("seed", 0)):
        if getattr(arguments, name) < least:
            option = f"--{name.replace('_', '-')}"
            raise OptionError(f"{option}: expected a number ≥ {least}, got {getattr(arguments, name)}")
    out = free_file(arguments.out or str(Path(arguments.run) / "samples.npz"), force=arguments.force)
    samples = _draw(arguments)
    write_arrays(out, {"x": samples})
    picture = out.with_suffix(".png")
    from trimkit.training.pictures import draw_cells

    shown = samples[:MOST_SHOWN]
    draw_cells(list(shown), [str(number) for number in range(1, len(shown) + 1)], COLUMNS).save(picture)
    sys.stdout.write(f"{out}\n{picture}\n")
    return 0


def _draw(arguments: argparse.Namespace) -> Tensor:
    import torch

    from trimkit.cli._device import device_of
    from trimkit.methods import load_method

    device = device_of(arguments.device)
    method = load_method(arguments.run, allow_code=arguments.allow_code).to(device)
    generator = torch.Generator(device).manual_seed(arguments.seed)
    sizes = [min(arguments.batch_size, arguments.n - first) for first in range(0, arguments.n, arguments.batch_size)]
    with torch.no_grad():
        return torch.cat([method.sample(size, generator).cpu() for size in sizes])


def _parser() -> argparse.ArgumentParser:
    p = plain_parser(
        "trimkit sample", "New data from a trained run: an .npz with x, which is data for trimkit, and a .png."
    )
    p.add_argument("run", metavar="RUN", help="folder of a complete run, as `trimkit train` writes it")
    p.add_argument("--n", type=int, metavar="N", default=64, help="how many (64)")
    p.add_argument("--out", metavar="FILE", help="an .npz; samples.npz in the run's folder by default")
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


def free_file(out: str, *, force: bool) -> Path:
    """The file to write.

    Raises:
        OptionError: another suffix than .npz, no folder to put it in, or a file that is there.
    """
    path = Path(out)
    if path.suffix != ".npz":
        raise OptionError(f"--out: expected a file that ends in .npz, got {out!r}")
    if not path.absolute().parent.is_dir():
        raise OptionError(f"--out: there is no folder {path.parent}; make it first")
    if path.exists() and not (force and path.is_file()):
        raise OptionError(f"{path} exists; name another file, or add --force to replace it")
    return path


def write_arrays(path: Path, arrays: Mapping[str, Tensor]) -> None:
    """Write tensors as an .npz, whole or not at all."""
    import numpy as np

    from trimkit.storage import write_atomically

    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **{name: value.numpy() for name, value in arrays.items()})
    write_atomically(path, buffer.getvalue())
