"""What a part promises on an accelerator: what it gives on the CPU. Without one, nobody makes this promise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from trimkit.attributions import Attribution
from trimkit.coefficients import tree
from trimkit.coefficients.tree import Tree
from trimkit.methods import decode_codes
from trimkit.testing import attributions, methods, penalties, transforms
from trimkit.testing.promises import BrokenPromise, Inapplicable, Size, Trial, gap, promise, require
from trimkit.transforms import Transform

CPU = torch.device("cpu")
TOLERANCE = 1e-3
"""Largest difference in float32, whose sums devices take in other orders, relative to the largest value."""


class Placed(NamedTuple):
    """Something of a part that can be computed on any device.

    Attributes:
        what: it is, in the plural.
        compute: device → its value there, of parts and data that were moved there.
    """

    what: str
    compute: Callable[[torch.device], Tree]


def accelerator() -> torch.device | None:
    """The accelerator of this machine, if it has one."""
    return torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None


@promise("part", when=lambda target: accelerator() is not None)
def devices(trial: Trial) -> None:
    """Moved to an accelerator, where there is one, it gives there what it gives on the CPU."""
    if trial.part.spec.kind not in _PLACED:
        raise Inapplicable(f"a {trial.part.spec.kind} is not moved")
    require_same(trial, accelerator() or CPU)


def require_same(trial: Trial, device: torch.device) -> None:
    """Break the promise where a part gives something else on a device, or on another one, than on the CPU."""
    for what, compute in _PLACED[trial.part.spec.kind](trial):
        expected = compute(CPU)
        try:
            got = compute(device)
        except RuntimeError as error:
            raise BrokenPromise(
                f"{what} on {device} raise {str(error).splitlines()[0]}; make constants with device=x.device"
            ) from error
        strays = {leaf.device.type for leaf in tree.leaves(got)} - {device.type}
        require(not strays, f"{what} of tensors on {device} are on {', '.join(strays)}; make them with device=x.device")
        if device.type != "meta":  # where tensors have no values
            largest = max(float(leaf.abs().max()) for leaf in tree.leaves(expected))
            error = gap(tree.map_leaves(lambda leaf: leaf.cpu(), got), expected)
            require(error <= TOLERANCE * max(1.0, largest), f"{what} on {device} differ from the CPU's by {error:.2g}")


def _transform(trial: Trial) -> Iterator[Placed]:
    for case in transforms.cases(trial):
        yield from _both_ways(case.transform.float(), case.x.float(), case.size)


def _both_ways(transform: Transform, x: Tensor, size: Size) -> Iterator[Placed]:
    s = transform(x)

    def data(device: torch.device) -> Tensor:
        return transform.to(device).inverse(tree.map_leaves(lambda leaf: leaf.to(device), s), size)

    yield Placed("coefficients", lambda device: transform.to(device)(x.to(device)))
    yield Placed("data", data)


def _attribution(trial: Trial) -> Iterator[Placed]:
    for attribution, model, s in attributions.cases(trial):
        if attribution.stochastic:
            raise Inapplicable("each device draws numbers of its own")
        yield Placed("scores", partial(_scores, attribution, model.float(), s.float()))


def _scores(attribution: Attribution, model: nn.Module, s: Tensor, device: torch.device) -> Tree:
    return attribution(model.to(device), s.to(device), target=attributions.TARGET.to(device))


def _penalty(trial: Trial) -> Iterator[Placed]:
    (case,) = penalties.cases(trial)
    yield Placed("values", lambda device: case.penalty(case.scores.float().to(device)))


def _method(trial: Trial) -> Iterator[Placed]:
    part = methods.prepared(trial)
    batch = methods.batch_of(trial, part, slice(3))
    x, aux = batch.x, torch.as_tensor(batch.aux)
    for space in part.latent_spaces():
        name, z = space.name, torch.randn(3, *space.shape, generator=torch.Generator().manual_seed(0))
        if space.can_encode:
            yield Placed("codes", lambda d, name=name: part.to(d).encode(x.to(d), aux.to(d), name).mean.detach())
        if space.can_decode:
            yield Placed("data", lambda d, s=space, z=z: decode_codes(part.to(d), z.to(d), s, aux.to(d)).detach())


_PLACED: dict[str, Callable[[Trial], Iterator[Placed]]] = {
    "transform": _transform,
    "attribution": _attribution,
    "penalty": _penalty,
    "method": _method,
}
