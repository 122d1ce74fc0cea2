"""Named latent spaces, and a learned one as a transform, so that any predictor can be explained and penalised in it."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import ClassVar, Protocol, Self

import torch
from torch import Tensor

from trimkit.coefficients.groups import Groups
from trimkit.coefficients.tree import Tree
from trimkit.errors import ShapeError, TransformError
from trimkit.methods.posteriors import Posterior
from trimkit.transforms.base import Size, Transform, single_leaf


@dataclass(frozen=True)
class LatentSpace:
    """A named space of codes, and what a method can do with it.

    Attributes:
        name: "z", "w", "w+", "components", …
        shape: of one sample's code, such as (10,) or (14, 512).
        layout: named groups of the code's entries (layers, scales); None for one group an index of the first axis.
        can_encode: `Method.encode` gives codes of this space.
        can_decode: `Method.decode` takes codes of this space.
        exact_inverse: decode(encode(x).mean) = x up to rounding.
        stochastic: the posterior has a spread.
        needs_aux: encoding needs auxiliary variables.
        decoding_needs_aux: so does decoding.
        gaussian: codes of new data are drawn from N(0, I).
        reason: why something above is impossible, for the message of a refusal.
    """

    name: str
    shape: tuple[int, ...]
    layout: Groups | None = None
    can_encode: bool = True
    can_decode: bool = True
    exact_inverse: bool = False
    stochastic: bool = False
    needs_aux: bool = False
    decoding_needs_aux: bool = False
    gaussian: bool = False
    reason: str = ""

    @property
    def groups(self) -> Groups:
        """The layout, or one group for each index of the code's first axis: ``z0``, ``z1``, …"""
        if self.layout is not None:
            return self.layout
        units = torch.arange(self.shape[0])
        labels = units.view(-1, *[1] * (len(self.shape) - 1)).expand(self.shape)
        return Groups(tuple(f"{self.name}{i}" for i in range(self.shape[0])), labels, f"unit of {self.name}")


class Coder(Protocol):
    """What a transform needs of a method: data ⇄ codes of a space."""

    shape: tuple[int, ...]

    def encode(self, x: Tensor, aux: Tensor | None = None, space: str | None = None) -> Posterior:
        """(N, *shape) → posterior over (N, *space.shape)."""
        ...

    def decode(self, z: Tensor, space: str | None = None, aux: Tensor | None = None) -> Tensor:
        """(N, *space.shape) → (N, *shape)."""
        ...


def decode_codes(method: Coder, z: Tensor, space: LatentSpace, aux: Tensor | None = None) -> Tensor:
    """`Method.decode`, with u where the space's decoding needs it: (N, *space.shape) → (N, *shape).

    >>> from trimkit import create
    >>> method = create("method", "vae", shape=(6,), latent_dim=2, network="mlp").eval()
    >>> decode_codes(method, torch.zeros(3, 2), method.latent_spaces()[0]).shape
    torch.Size([3, 6])
    """
    return method.decode(z, space.name, aux) if space.decoding_needs_aux else method.decode(z, space.name)


class CodeTransform(Transform):
    """What transforms between data and codes share: codes are decoded by a method, with u held beside each sample.

    Args:
        method: shares its weights with the transform.
        space: one of its spaces.
        aux: u of all samples, (1, ...), or of each, (N, ...), where the space needs it. Of several copies of the batch,
            each sample has its own.

    Attributes:
        method: as given.
        space: as given.
        aux: as given; may be set before each use.

    >>> from trimkit import create
    >>> method = create("method", "vae", shape=(6,), latent_dim=2, network="mlp").eval()
    >>> space = LatentTransform(method, method.space("z"))
    >>> isinstance(space, CodeTransform), space.inverse(torch.zeros(3, 2)).shape
    (True, torch.Size([3, 6]))
    """

    def __init__(self, method: Coder, space: LatentSpace, aux: Tensor | None = None) -> None:
        super().__init__()
        self.method = method
        self.space = space
        self.aux = aux

    def inverse(self, s: Tree, size: Size | None = None) -> Tensor:
        """The data of codes: (N, *space.shape) → (N, *method.shape)."""
        z = single_leaf(s, self.space.name)
        return decode_codes(self.method, z, self.space, self.held(z, self.space.decoding_needs_aux))

    def held(self, rows: Tensor, needed: bool) -> Tensor | None:
        """u of each row, where it is needed: (k · N, ...) for k copies of the batch in order.

        Raises:
            ShapeError: no whole copies of the samples that u belongs to.
        """
        if not needed or self.aux is None:
            return None
        copies, rest = divmod(len(rows), max(1, len(self.aux)))
        if rest or not len(self.aux):
            raise ShapeError(
                f"the space {self.space.name!r} holds aux of {len(self.aux)} samples, got {len(rows)} rows; give aux "
                "of these samples, or one for all: method.as_transform(space, aux=3)"
            )
        return self.aux.to(rows.device).repeat(copies, *[1] * (self.aux.ndim - 1))

    @property
    def holds_rows(self) -> bool:
        """True where u belongs to each sample."""
        return self.aux is not None and len(self.aux) > 1

    def at_rows(self, samples: Tensor) -> Self:
        """The same, with u of the samples of these numbers."""
        if not self.holds_rows:
            return self
        assert self.aux is not None
        selected = copy.copy(self)
        selected.aux = self.aux[samples.to(self.aux.device)]
        return selected

    def groups(self, size: Size) -> Groups:
        """The units of the space, see `trimkit.methods.LatentSpace.groups`."""
        return self.space.groups


class LatentTransform(CodeTransform):
    """x ⇄ z by a method's encoder and decoder; what the codes do not say stays in the residual.

    Args:
        method: shares its weights with the transform.
        space: one of its spaces.
        aux: see `CodeTransform`.
    Raises:
        TransformError: a space without encoder or decoder, or one that needs auxiliary variables and gets none.

    >>> from trimkit import create
    >>> x = torch.rand(100, 4, generator=torch.Generator().manual_seed(0))
    >>> method = create("method", "fastica", shape=(4,))
    >>> method.fit(x, None)
    >>> space = LatentTransform(method, method.latent_spaces()[0])
    >>> z = space(x)
    >>> z.shape, torch.allclose(space.inverse(z) + space.residual(x, z), x)
    (torch.Size([100, 4]), True)
    """

    learnable = True
    exact: ClassVar[bool] = False

    def __init__(self, method: Coder, space: LatentSpace, aux: Tensor | None = None) -> None:
        super().__init__(method, space, aux)
        _require_both_ways(type(method).__name__, space, aux is not None)

    def forward(self, x: Tensor) -> Tensor:
        """The mean code of data: (N, *method.shape) → (N, *space.shape).

        Raises:
            ShapeError: data of another shape than the method was made for.
        """
        if tuple(x.shape[1:]) != self.method.shape:
            raise ShapeError(
                f"{type(self.method).__name__} was trained on data of shape {self.method.shape} a sample, got "
                f"{tuple(x.shape[1:])}; bring the data to that shape"
            )
        return self.method.encode(x, self.held(x, self.space.needs_aux), self.space.name).mean


class GeneratedTransform(CodeTransform):
    """Codes that a method drew itself, for methods that give no codes of data: forward gives the `codes` at hand.

    Nothing is left over, so the residual is 0. The gradient of a penalty reaches what made the codes.

    Args:
        method: shares its weights with the transform.
        space: one of its spaces, with a decoder.
    Raises:
        TransformError: the space cannot be decoded.

    Attributes:
        codes: (N, *space.shape), set before each use.
    """

    codes: Tensor

    def __init__(self, method: Coder, space: LatentSpace) -> None:
        super().__init__(method, space)
        if not space.can_decode:
            raise TransformError(
                f"the space {space.name!r} of {type(method).__name__} is no transform: its codes cannot be decoded: "
                f"{space.reason}"
            )

    def forward(self, x: Tensor) -> Tensor:
        """The codes at hand, of which x are the samples: (N, *method.shape) → (N, *space.shape)."""
        return self.codes

    def residual(self, x: Tensor, s: Tree) -> Tensor:
        """Zeros: the samples are what their codes decode to."""
        return torch.zeros_like(x)


def _require_both_ways(method: str, space: LatentSpace, given: bool) -> None:
    needs = " and ".join(
        what for what, does in (("encoding", space.needs_aux), ("decoding", space.decoding_needs_aux)) if does
    )
    faults = {
        "data cannot be encoded to it": not space.can_encode,
        "its codes cannot be decoded": not space.can_decode,
        f"{needs} needs auxiliary variables: hold them, as_transform({space.name!r}, aux=u)": needs and not given,
    }
    present = [fault for fault, is_present in faults.items() if is_present]
    if present:
        reason = f" ({space.reason})" if space.reason else ""
        raise TransformError(f"the space {space.name!r} of {method} is no transform: {' and '.join(present)}{reason}")
