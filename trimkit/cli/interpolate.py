"""``trimkit interpolate RUN``: what a trained run makes of the codes between two, as arrays, strip and film."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from trimkit.cli._arguments import plain_parser
from trimkit.cli._warnings import one_line_warnings
from trimkit.cli.sample import add_asked, add_shared, asked_of, free_file, load_run, require_least, write_arrays
from trimkit.errors import OptionError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from trimkit.methods import Interpolation, LatentSpace, Method

Pair = tuple[int, int]
"""Numbers of two samples."""


def run(argv: list[str]) -> int:
    """Interpolate between codes and write what they stand for: 0. A method without decoder is refused."""
    arguments = _parser().parse_args(argv)
    require_least(arguments, frames=2, pairs=1, seed=0)
    out = free_file(
        arguments.out or str(Path(arguments.run) / "interpolation.npz"), ".png", ".gif", force=arguments.force
    )
    with one_line_warnings():
        way = _interpolate(arguments)
    write_arrays(out, {"x": way.x.flatten(0, 1), "codes": way.codes.flatten(0, 1)})
    strip, film = out.with_suffix(".png"), out.with_suffix(".gif")
    _draw(way, arguments.between, strip, film)
    sys.stdout.write(f"{way.path}\n{out}\n{strip}\n{film}\n")
    return 0


def _interpolate(arguments: argparse.Namespace) -> Interpolation:
    import torch

    from trimkit.methods import Interpolation, interpolate
    from trimkit.methods.interpolation import require_decoder

    method, device = load_run(arguments)
    latent = require_decoder(method, arguments.space)
    aux = asked_of(method, arguments, len(arguments.between or ()) or arguments.pairs)
    aux = None if aux is None else aux.to(device)
    with torch.no_grad():
        if arguments.between:
            ends, own = _encoded(method, latent, arguments, device)
            aux = aux if arguments.classes or arguments.aux else own
        else:
            ends = _drawn(method, latent, arguments, aux, device)
    way = interpolate(method, *ends, space=latent.name, steps=arguments.frames, path=arguments.path, aux=aux)
    return Interpolation(way.codes.cpu(), way.x.cpu(), way.path)


def _drawn(
    method: Method, latent: LatentSpace, arguments: argparse.Namespace, aux: Tensor | None, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Codes of new data, two by two, each two of one class."""
    import torch

    from trimkit.errors import TrainingError

    generator = torch.Generator(device).manual_seed(arguments.seed)
    try:
        held = {} if aux is None else {"aux": aux.repeat_interleave(2, 0)}
        codes = method.sample_codes(2 * arguments.pairs, generator, latent.name, **held)
    except TrainingError as error:
        raise OptionError(f"{error}; give two samples to go between, such as --between 0,1") from error
    return codes[::2], codes[1::2]


def _encoded(
    method: Method, latent: LatentSpace, arguments: argparse.Namespace, device: torch.device
) -> tuple[tuple[Tensor, Tensor], Tensor | None]:
    """Codes of samples by their numbers, and the auxiliary variables of those that ways start from."""
    import torch

    from trimkit.cli.encode import encode
    from trimkit.data import few, load
    from trimkit.evaluation import recorded_data

    if not latent.can_encode:
        raise OptionError(f"--between: data have no codes of {latent.name!r}: {latent.reason or 'there is no encoder'}")
    data = load(arguments.data or recorded_data(Path(arguments.run)), arguments.split)
    method.check(few(data.x))
    numbers = torch.tensor(arguments.between).T.reshape(-1)
    if int(numbers.max()) >= len(data):
        raise OptionError(f"--between: expected numbers in 0 … {len(data) - 1}, got {int(numbers.max())}")
    codes = encode(method, data.select(numbers), latent.name, len(numbers), device).to(device)
    own = None if method.condition is None or data.aux is None else data.aux[numbers].chunk(2)[0].to(device)
    one, other = codes.chunk(2)
    return (one, other), own


def _draw(way: Interpolation, pairs: list[Pair] | None, strip: Path, film: Path) -> None:
    """A row a pair, and all pairs at once there and back."""
    from trimkit.training.pictures import draw_cells, draw_grid, save_film

    names = [f"{one} to {other}" for one, other in pairs] if pairs else [f"pair {n + 1}" for n in range(len(way.x))]
    draw_grid(list(way.x), names).save(strip)
    columns = max(1, round(len(way.x) ** 0.5))
    frames = [draw_cells(list(column), names, columns) for column in way.x.unbind(1)]
    save_film(frames + frames[-2:0:-1], film)


def _pair(text: str) -> Pair:
    one, _, other = text.partition(",")
    if not (one.isdecimal() and other.isdecimal()):
        raise argparse.ArgumentTypeError(f"expected two numbers of samples such as 3,17, got {text!r}")
    return int(one), int(other)


def _parser() -> argparse.ArgumentParser:
    p = plain_parser(
        "trimkit interpolate",
        "What a trained run makes of the codes between two, of samples or drawn: an .npz with x, pair by pair, and its "
        "codes; a .png with a row a pair; a .gif.",
    )
    p.add_argument("run", metavar="RUN", help="folder of a complete run, as `trimkit train` writes it")
    p.add_argument(
        "--between", metavar="A,B", nargs="+", type=_pair, help="samples by number, from 0; else codes are drawn"
    )
    p.add_argument("--data", metavar="D", help="of those samples; the data of the run's config.yaml by default")
    p.add_argument("--split", metavar="NAME", default="train", help="of the data (train)")
    p.add_argument("--space", metavar="NAME", help="latent space of the codes; the method's first by default")
    p.add_argument(
        "--path",
        choices=["linear", "spherical"],
        help="straight; or on the sphere, the usual one where codes are drawn from N(0, I), of which few are short",
    )
    add_asked(p)
    p.add_argument("--frames", type=int, metavar="N", default=9, help="codes on each way, with both ends (9)")
    p.add_argument("--pairs", type=int, metavar="N", default=4, help="of drawn codes (4)")
    p.add_argument("--out", metavar="FILE", help="an .npz; interpolation.npz in the run's folder by default")
    p.add_argument("--seed", type=int, metavar="N", default=0, help="of drawn codes, ≥ 0 (0)")
    add_shared(p)
    return p
