"""Segments of the data's own space: windows of time, ranges of a spectrum, tokens, superpixels."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any, Literal, Self

import torch
from torch import Tensor
from torch.nn import functional

from trimkit.coefficients.axes import (
    Axes,
    Bands,
    Layout,
    SampleRate,
    axis_names,
    group_by_bands,
    read_rates,
    show_bands,
    span_name,
    take_bands,
)
from trimkit.coefficients.groups import Groups, equal_parts
from trimkit.errors import OptionError, ShapeError, TransformError
from trimkit.registry.options import one_of, real_number, refused, whole_number
from trimkit.transforms.along import Along
from trimkit.transforms.base import Identity, Size
from trimkit.transforms.linear import fit_buffers_to


class Segments(Identity, Along):
    """The data's own space, grouped along chosen axes: by position, into equal windows, or into named ranges.

    Args:
        bands: None for one group a position, "token 3"; how many equal windows along each axis; or, along one axis,
            named ranges: "0–0.5 s, 0.5–2 s", {"water": (1400, 1500)}.
        axes: the axes, by position or name; by default the last two for (N, C, H, W), else the last.
        layout: names of a sample's axes, in order: "token width" for (N, tokens, width).
        sample_rate: entries a second ("256 Hz" or 256) or a unit, "0.5/nm" for a spectrum with one entry every 2 nm.
        start: place of the first entry on the axis, in the axis's unit.

    Example:
        >>> Segments("red 600–700 nm", sample_rate="0.1/nm", start=400).groups((31,)).sizes.tolist()
        [11.0, 20.0]
    """

    def __init__(
        self,
        bands: Bands | None = None,
        axes: Axes = None,
        layout: Layout = None,
        sample_rate: SampleRate = None,
        start: float = 0.0,
    ) -> None:
        Along.__init__(self, None, axes, layout, sample_rate)
        real_number("segments", -math.inf, start=start)
        (self._one,) = read_rates("segments", sample_rate, 1)
        self._bands = None if bands is None else take_bands("segments", bands, self._one.unit)
        self.bands = show_bands(self._bands) if isinstance(self._bands, tuple) else self._bands
        self.start = start

    def groups(self, size: Size) -> Groups:
        """Groups along the axes; those of several axes are their combinations."""
        places = self.places(size)
        if isinstance(self._bands, tuple):
            if len(places) != 1:
                raise refused("segments", "axes", "one axis for named ranges", self.along or len(places))
            groups = group_by_bands(self._coordinates(size[places[0]]), self._bands, self._title(size), self._one.unit)
            return Groups(groups.names, _spread(groups.labels, places[0], size), groups.axis, spans=groups.spans)  # type: ignore[arg-type]
        parts = [equal_parts(size[place], self._bands or size[place]) for place in places]
        labels, names = torch.zeros(tuple(size), dtype=torch.long), [""]
        for place, part in zip(places, parts, strict=True):
            own = self._names(part, size, place)
            labels = labels * len(own) + _spread(part, place, size)
            names = [", ".join(filter(None, (before, name))) for before in names for name in own]
        spans = self._spans(parts[0]) if len(places) == 1 and self.sampled else ()
        return Groups(tuple(names), labels, self._title(size), spans=spans)

    def _names(self, part: Tensor, size: Size, place: int) -> list[str]:
        if self.sampled:
            return [span_name(*span, self._one.unit) for span in self._spans(part)]
        axis = axis_names("segments", self._where[2], len(size))[place]
        return [f"{axis} {i}" for i in range(int(part[-1]) + 1)]

    def _spans(self, part: Tensor) -> tuple[tuple[float, float], ...]:
        firsts = [0, *((part.diff() > 0).nonzero().flatten() + 1).tolist(), len(part)]
        ends = [self.start + i / self._one.value for i in firsts]
        return tuple(itertools.pairwise(ends))

    def _coordinates(self, n: int) -> Tensor:
        return self.start + torch.arange(n, dtype=torch.float64) / self._one.value

    def _title(self, size: Size) -> str:
        names = axis_names("segments", self._where[2], len(size))
        return " × ".join(names[place] for place in self.places(size)) if not self.sampled else "position"


def _spread(labels: Tensor, place: int, size: Size) -> Tensor:
    return labels.reshape(*(-1 if i == place else 1 for i in range(len(size)))).expand(*size)


class Superpixels(Identity):
    """The data's own space, grouped into patches that follow the edges of a picture (SLIC, Achanta et al. 2012).

    The patches are those of the mean of the pictures that it is fitted to: of one picture, ``fit(x[:1])``, or of
    registered ones. With ``each``, every picture has patches of its own and nothing is fitted: `groups_of` tells them,
    and so do the groups of a result of `trimkit.Trim`. What averages over pictures by group refuses them.

    Args:
        count: about how many patches, at least 1.
        compactness: how much place counts against colour, above 0; colours are scaled to unit spread.
        each: patches of each picture instead of those of the mean picture.
        algorithm: "own", see `superpixels`, or "skimage", scikit-image's, which makes each patch hang together.

    Attributes:
        labels: (H, W), of each pixel; empty before `fit`, and with ``each``.

    Example:
        >>> groups = Superpixels(4, each=True).groups_of(torch.rand(2, 1, 8, 8))
        >>> tuple(groups.labels.shape), groups.names[0], groups.each
        ((2, 1, 8, 8), 'own patch 0', True)
    """

    labels: Tensor

    def __init__(
        self,
        count: int = 16,
        compactness: float = 1.0,
        each: bool = False,
        algorithm: Literal["own", "skimage"] = "own",
    ) -> None:
        super().__init__()
        whole_number("superpixels", count=count)
        real_number("superpixels", above=True, compactness=compactness)
        one_of("superpixels", tuple(ALGORITHMS), algorithm=algorithm)
        self.count, self.compactness, self.each, self.algorithm = count, compactness, each, algorithm
        self.needs_fit = not each
        self.register_buffer("labels", torch.empty(0, 0, dtype=torch.long))

    @torch.no_grad()
    def fit(self, x: Tensor) -> Self:
        """Find the patches of the mean picture of x, (N, C, H, W); with ``each`` nothing is to be found."""
        if not self.each:
            self.labels = self._patches(_pictures(x).mean(0))
        return self

    @torch.no_grad()
    def groups_of(self, x: Tensor) -> Groups:
        """``patch 0`` on, from the top left; with ``each``, ``own patch 0`` on, as many as the most of a picture."""
        if not self.each:
            return super().groups_of(x)
        labels = torch.stack([self._patches(picture) for picture in _pictures(x)])
        names = tuple(f"own patch {i}" for i in range(int(labels.max()) + 1))
        return Groups(names, labels[:, None].expand(x.shape), "patch of the picture itself", each=True)

    def groups(self, size: Size) -> Groups:
        """``patch 0`` on, from the top left.

        Raises:
            TransformError: it is not fitted, or each picture has patches of its own.
        """
        if self.each:
            raise TransformError(
                "superpixels: each picture has patches of its own, which mean nothing in another picture, so that no "
                "average over pictures by group, as of an audit or a penalty by groups, makes sense. Take those of "
                "given pictures, transform.groups_of(x) or Trim(…)(x).groups, or patches that all share: each=False, "
                "or segments"
            )
        if not self.labels.numel():
            raise TransformError("superpixels is not fitted; call fit(pictures) first")
        if tuple(size[-2:]) != tuple(self.labels.shape):
            raise ShapeError(f"superpixels: fitted to pictures of {tuple(self.labels.shape)}, got size {tuple(size)}")
        names = tuple(f"patch {i}" for i in range(int(self.labels.max()) + 1))
        return Groups(names, self.labels.cpu().expand(*size), "patch")

    def _patches(self, picture: Tensor) -> Tensor:
        return ALGORITHMS[self.algorithm](picture, self.count, self.compactness)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        fit_buffers_to(self, state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args)


def _pictures(x: Tensor) -> Tensor:
    if x.ndim != 4 or not x.is_floating_point() or not bool(torch.isfinite(x).all()):
        raise ShapeError(
            f"superpixels: expected finite floating pictures (N, C, H, W), got {x.dtype} {tuple(x.shape)}"
            + (" with NaN or infinity" if x.ndim == 4 and x.is_floating_point() else "")
        )
    return x.double()


def superpixels(picture: Tensor, count: int, compactness: float = 1.0, rounds: int = 10) -> Tensor:
    """Labels of patches of similar colour, see `Superpixels`: (C, H, W) → (H, W) integers without gaps."""
    colour = _standardised(picture)
    height, width = picture.shape[-2:]
    rows = max(1, round(math.sqrt(count * height / width)))
    grid = (min(rows, height), min(max(1, round(count / rows)), width))
    step = math.sqrt(height * width / (grid[0] * grid[1]))
    axes = (torch.arange(n, dtype=picture.dtype, device=picture.device) for n in (height, width))
    place = torch.stack(torch.meshgrid(*axes, indexing="ij")) * (compactness / step)
    pixels = torch.cat([colour, place]).flatten(1).T  # (H·W, C + 2)
    centres = functional.adaptive_avg_pool2d(torch.cat([colour, place]), grid).flatten(1).T
    for _ in range(rounds):
        near = torch.cdist(pixels, centres)
        near[torch.cdist(pixels[:, -2:], centres[:, -2:]) > 2 * compactness] = math.inf
        labels = near.argmin(1)
        sums = torch.zeros_like(centres).index_add_(0, labels, pixels)
        sizes = torch.bincount(labels, minlength=len(centres))[:, None]
        centres = torch.where(sizes > 0, sums / sizes.clamp_min(1), centres)
    return labels.unique(return_inverse=True)[1].reshape(height, width)


def connected_superpixels(picture: Tensor, count: int, compactness: float = 1.0) -> Tensor:
    """The same by scikit-image's SLIC, which joins up what falls apart: (C, H, W) → (H, W) integers without gaps.

    Raises:
        OptionError: scikit-image is not installed.
    """
    try:
        from skimage.segmentation import slic  # type: ignore[import-not-found]
    except ImportError as error:
        raise OptionError(
            "superpixels: algorithm='skimage' needs scikit-image; pip install scikit-image, or algorithm='own'"
        ) from error
    colour = _standardised(picture).movedim(0, -1).cpu().numpy()
    found = slic(colour, n_segments=count, compactness=compactness, convert2lab=False, start_label=0)
    return torch.from_numpy(found).to(picture.device).unique(return_inverse=True)[1]


def _standardised(picture: Tensor) -> Tensor:
    return (picture - picture.mean((1, 2), keepdim=True)) / picture.std(correction=0).clamp_min(1e-12)


ALGORITHMS: dict[str, Callable[[Tensor, int, float], Tensor]] = {"own": superpixels, "skimage": connected_superpixels}
