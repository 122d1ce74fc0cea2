"""``trimkit encode RUN DATA``: the codes of data in a trained run's space, as data."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from trimkit.cli._arguments import plain_parser
from trimkit.cli._warnings import one_line_warnings
from trimkit.cli.sample import add_shared, free_file, load_run, require_least, write_arrays
from trimkit.errors import OptionError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from trimkit.data import Dataset
    from trimkit.methods import Method


def run(argv: list[str]) -> int:
    """Encode data and write the codes: 0. A space that cannot be encoded to is refused."""
    arguments = _parser().parse_args(argv)
    require_least(arguments, batch_size=1)
    out = free_file(arguments.out, force=arguments.force)
    from trimkit.data import few, load

    with one_line_warnings():
        method, device = load_run(arguments)
        data = load(arguments.data, arguments.split)
        method.check(few(data.x))
        codes = encode(method, data, arguments.space, arguments.batch_size, device)
    beside = {name: getattr(data, name) for name in ("y", "aux", "factors", "sources")}
    write_arrays(out, {"x": codes, **beside})
    sys.stdout.write(f"{out}\n")
    return 0


def encode(method: Method, data: Dataset, space: str | None, size: int, device: torch.device) -> Tensor:
    """The posterior means of data, some samples at a time: (N, *space.shape) on the CPU.

    Args:
        method: trained, on the device, in eval mode.
        data: of N samples.
        space: of the codes; None for the first.
        size: samples at once.
        device: of the method.
    Raises:
        OptionError: a space that needs auxiliary variables, which the data do not have.
    """
    import torch

    chosen = method.space(space)
    if chosen.needs_aux and data.aux is None:
        raise OptionError(f"the space {chosen.name!r} needs auxiliary variables, and {data.name} have none")

    def means(rows: Tensor) -> Tensor:
        aux = None if data.aux is None else data.aux[rows].to(device)
        return method.encode(method.place_input(data.x[rows]), aux, space).mean.cpu()

    with torch.no_grad():
        return torch.cat([means(rows) for rows in torch.arange(len(data)).split(size)])


def _parser() -> argparse.ArgumentParser:
    p = plain_parser(
        "trimkit encode",
        "The codes of data in a trained run's space: an .npz with x, the posterior means, and the data's labels, "
        "factors and sources, which is data for trimkit.",
    )
    p.add_argument("run", metavar="RUN", help="folder of a complete run, as `trimkit train` writes it")
    p.add_argument("data", metavar="DATA", help="a dataset's name, file or folder, or pkg.mod:function")
    p.add_argument("--out", metavar="FILE", required=True, help="an .npz")
    p.add_argument("--split", metavar="NAME", default="train", help="of the data (train)")
    p.add_argument("--space", metavar="NAME", help="latent space of the codes; the method's first by default")
    p.add_argument("--batch-size", type=int, metavar="N", default=256, help="encoded at once (256)")
    add_shared(p)
    return p
