"""The way from one code to another: straight, or on the sphere; and what a method makes of it."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor

from trimkit.errors import OptionError, ShapeError, TransformError
from trimkit.methods.base import Method
from trimkit.methods.latent import LatentSpace, decode_codes
from trimkit.registry.options import one_of, whole_number

Path: TypeAlias = Literal["linear", "spherical"]

OPPOSITE = 1e-6
"""How near to −1 a cosine may be before two codes count as opposite."""


class Interpolation(NamedTuple):
    """What lies between codes.

    Attributes:
        codes: (N, steps, *space.shape), the first and the last as given.
        x: (N, steps, *method.shape), their data.
        path: that was taken.

    >>> from trimkit import create
    >>> method = create("method", "vae", shape=(6,), latent_dim=2, network="mlp").eval()
    >>> between = interpolate(method, torch.zeros(1, 2), torch.ones(1, 2), steps=5)
    >>> between.codes.shape, between.x.shape
    (torch.Size([1, 5, 2]), torch.Size([1, 5, 6]))
    """

    codes: Tensor
    x: Tensor
    path: Path


@torch.no_grad()
def interpolate(
    method: Method,
    start: Tensor,
    end: Tensor,
    *,
    space: str | None = None,
    steps: int = 9,
    path: Path | None = None,
    aux: Tensor | None = None,
) -> Interpolation:
    """The data of codes on the way from one to another.

    Args:
        method: trained, with a decoder.
        start: (N, *space.shape) codes of a space, of data or drawn: ``method.encode(x).mean``, ``method.sample_codes``.
        end: like start.
        space: of the codes; None for the first.
        steps: codes on each way, both ends among them, at least 2.
        path: "linear" or "spherical", see `between`; None for the usual one, see `usual_path`.
        aux: (N, ...) of conditional methods, held on each way.
    Raises:
        TransformError: codes of the space cannot be decoded.
        ShapeError: codes of another shape.
        OptionError: an option out of range, or opposite codes on a sphere.

    Example:
        >>> import trimkit
        >>> from trimkit.methods import interpolate
        >>> method = trimkit.create("method", "vae", shape=(6,), network="mlp", latent_dim=3)
        >>> one, other = (method.sample_codes(2, torch.Generator().manual_seed(seed)) for seed in (0, 1))
        >>> way = interpolate(method, one, other, steps=5)
        >>> way.x.shape, way.path
        (torch.Size([2, 5, 6]), 'spherical')
    """
    latent = require_decoder(method, space)
    if start.shape != end.shape or tuple(start.shape[1:]) != latent.shape:
        raise ShapeError(
            f"expected codes of {latent.name!r}, (N, {', '.join(map(str, latent.shape))}) each, got "
            f"{tuple(start.shape)} and {tuple(end.shape)}"
        )
    chosen = usual_path(latent) if path is None else path
    codes = between(start, end, steps, chosen)
    held = None if aux is None else aux.repeat_interleave(steps, 0)
    x = decode_codes(method, codes.flatten(0, 1), latent, held)
    return Interpolation(codes, x.unflatten(0, codes.shape[:2]), chosen)


def require_decoder(method: Method, space: str | None = None) -> LatentSpace:
    """The space of that name, the first for None.

    Raises:
        TransformError: its codes cannot be decoded; the message names the spaces whose can.
    """
    latent = method.space(space)
    if latent.can_decode:
        return latent
    others = [other.name for other in method.latent_spaces() if other.can_decode]
    way = f"; take {' or '.join(map(repr, others))}" if others else ""
    reason = latent.reason or f"{type(method).__name__} has no decoder"
    raise TransformError(f"codes of {latent.name!r} of {type(method).__name__} cannot be decoded: {reason}{way}")


def usual_path(space: LatentSpace) -> Path:
    """On the sphere where codes are drawn from N(0, I) of two or more dimensions, straight elsewhere.

    Draws from N(0, I) in D dimensions lie near the sphere of radius √D. The middle of a straight line between two has a
    length of about √(D/2): the decoder has hardly seen such codes (White 2016, arXiv:1609.04468). Nothing is known of
    the lengths in a space that was learned, such as w.
    """
    return "spherical" if space.gaussian and math.prod(space.shape) > 1 else "linear"


def between(start: Tensor, end: Tensor, steps: int = 9, path: Path = "linear") -> Tensor:
    """Codes at equal distances on the way from one to another.

    Linear: (1 − t) a + t b. Spherical (Shoemake 1985): the direction turns at one pace on the great circle through
    both, sin((1 − t) ω) / sin ω · a/‖a‖ + sin(t ω) / sin ω · b/‖b‖ with ω the angle between them, and the length goes
    from ‖a‖ to ‖b‖ linearly. A code of zeros has no direction: from or to it the way is straight.

    Args:
        start: a, (N, ...).
        end: b, like start.
        steps: both ends among them, at least 2.
        path: "linear" or "spherical".
    Returns:
        (N, steps, ...), the first and the last exactly as given.
    Raises:
        OptionError: an option out of range, or opposite codes, between which every great circle is as short.
    """
    whole_number("", least=2, steps=steps)
    one_of("", ("linear", "spherical"), path=path)
    t = torch.linspace(0, 1, steps, dtype=start.dtype, device=start.device)[None, :, None]
    a, b = start.flatten(1)[:, None], end.flatten(1)[:, None]
    codes = torch.lerp(a, b, t) if path == "linear" else _on_sphere(a, b, t)
    codes = torch.cat([a, codes[:, 1:-1], b], 1)
    return codes.unflatten(2, start.shape[1:])


def _on_sphere(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """(N, 1, D), (N, 1, D) and (1, steps, 1) → (N, steps, D)."""
    lengths = a.norm(dim=2, keepdim=True), b.norm(dim=2, keepdim=True)
    nowhere = (lengths[0] == 0) | (lengths[1] == 0)
    tiny = torch.finfo(a.dtype).tiny
    one, other = a / lengths[0].clamp_min(tiny), b / lengths[1].clamp_min(tiny)
    cosine = (one * other).sum(2, keepdim=True).clamp(-1, 1)
    if bool(((cosine < OPPOSITE - 1) & ~nowhere).any()):
        raise OptionError("two codes are opposite: every great circle between them is as short; take path='linear'")
    angle = 2 * torch.atan2((one - other).norm(dim=2, keepdim=True), (one + other).norm(dim=2, keepdim=True))
    alike = nowhere | (angle < 1e-4)  # sin ω would be lost in rounding, and the arc is its chord
    sine = torch.where(alike, torch.ones_like(angle), angle.sin())
    turned = (((1 - t) * angle).sin() * one + (t * angle).sin() * other) / sine
    return torch.where(alike, torch.lerp(a, b, t), turned * torch.lerp(*lengths, t))
