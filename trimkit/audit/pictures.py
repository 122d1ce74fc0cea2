"""Scores of coefficients as a picture, each transform in the form in which its space is read."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import singledispatch

import torch
from torch import Tensor

from trimkit.audit.spectrum import full_spectrum, log_radius
from trimkit.coefficients import tree
from trimkit.coefficients.groups import Groups, equal_parts
from trimkit.coefficients.tree import Tree
from trimkit.report.pictures import (
    LARGEST,
    Figure,
    Places,
    bar_figure,
    mosaic,
    robust_limit,
    signed_figure,
    span_figure,
)
from trimkit.transforms import DCT, FFT, ChannelsXBands, FrequencyBands, Identity, Transform
from trimkit.transforms.along import Along
from trimkit.transforms.base import Size
from trimkit.transforms.wavelet import Multilevel

MOST_READ = 4096
"""Coefficients of a map that are read one by one; in larger maps their groups are read."""

MOST_BARS = 256
"""Bars of a picture; neighbours are summed where there are more."""


@dataclass(frozen=True)
class Layout:
    """How the scores of a space lie in a picture: the same for all samples of one size.

    Attributes:
        groups: of the space's coefficients.
        cells: scores of one sample, leaves (1, ...), → (K,) one number for each thing that is shown.
        draw: (K,) numbers and a text for those who do not see the picture → the picture.
        places: what lies where in the picture.
        by_group: the readout tells sums of groups, since the things themselves are too many.
    """

    groups: Groups
    cells: Callable[[Tree], Tensor]
    draw: Callable[[Tensor, str], Figure]
    places: Places
    by_group: bool = False

    def figure(self, scores: Tree, alt: str = "") -> Figure:
        """The picture of one sample's scores.

        Args:
            scores: leaves (1, ...), real.
            alt: for those who do not see it; by default it names the strongest group.
        """
        sums = self.groups.sums(scores)[0]
        alt = alt or f"Scores of coefficients; the strongest group is {self.groups.names[int(sums.abs().argmax())]}."
        values = self.cells(scores)
        read = sums if self.by_group else values
        return replace(self.draw(values, alt), places=self.places, scores=tuple(read.tolist()))


def coefficient_figure(transform: Transform, scores: Tree, size: Size) -> Figure:
    """The scores of one sample's coefficients, see `layout`.

    Args:
        transform: the space.
        scores: leaves (1, ...), real.
        size: of one sample of data.
    """
    return layout(transform, size).figure(scores)


def pixel_layout(size: Size) -> Layout:
    """How scores in the data's own space lie in a picture: a map for (C, H, W), else bars."""
    return layout(Identity(), size)


def layout(transform: Transform, size: Size) -> Layout:
    """How the scores of a space lie in a picture.

    FFT: the full spectrum around zero frequency, its radius logarithmic. DCT: the map of coefficients. Bands: a mosaic
    of maps. Wavelets: sub-bands nested in the place of the picture. Anything else, and one-dimensional data: bars of
    single scores, or of groups where there are many.

    Args:
        transform: the space.
        size: of one sample of data.
    """
    groups = transform.groups(size)
    if isinstance(transform, Along) and not (transform.works_on_last(size) and len(transform.places(size)) < 3):
        return _of_groups(groups)
    return _layout(transform, size, groups)


@singledispatch
def _layout(transform: Transform, size: Size, groups: Groups) -> Layout:
    labels = tree.leaves(groups.labels)
    if len(labels) == 1 and labels[0].ndim >= 3 and tuple(labels[0].shape) == tuple(size):
        return _of_map(groups, "coefficients")
    count = sum(leaf.numel() for leaf in labels)
    if count <= 64:
        return _of_bars(groups, "coefficients", lambda scores: tree.rows(scores)[0], _row(groups))
    return _of_groups(groups)


@_layout.register
def _(transform: FFT, size: Size, groups: Groups) -> Layout:
    counts, frequencies = transform.multiplicity(size), transform.frequencies(size)

    def cells(scores: Tree) -> Tensor:
        return _flat(tree.leaves(scores)[0][0] / counts.to(tree.leaves(scores)[0].device), min(2, frequencies.ndim))

    marks, unit = _frequency_marks(transform, size)
    if frequencies.ndim < 2:
        return _of_bars(groups, f"0 → {_highest(transform, size)}", cells, _common(groups, 1), marks, unit)
    height, half = frequencies.shape[-2:]
    spectrum = full_spectrum(torch.arange(height * half).reshape(height, half), size[-1])
    index = log_radius(spectrum)
    return _read(groups, "frequency, log radius", cells, (index, _common(groups, 2)), marks, unit)


@_layout.register
def _(transform: ChannelsXBands, size: Size, groups: Groups) -> Layout:
    return _of_groups(groups)


@_layout.register
def _(transform: DCT, size: Size, groups: Groups) -> Layout:
    marks, unit = _frequency_marks(transform, size)
    if len(size) < 3:
        return _of_bars(groups, "0 → highest", _flat_leaf(1), _common(groups, 1), marks, unit)
    return _of_map(groups, "frequency, zero top left", marks, unit)


@_layout.register
def _(transform: FrequencyBands, size: Size, groups: Groups) -> Layout:
    bands = torch.arange(len(groups.names))
    if len(size) < 3:
        return _of_bars(groups, "low → high band", lambda s: tree.leaves(s)[0][0].flatten(1).sum(1), bands)
    maps = torch.arange(1, len(bands) * math.prod(size[-2:]) + 1).reshape(len(bands), *size[-2:])
    group = bands[:, None].expand(-1, math.prod(size[-2:])).flatten()
    place = (mosaic(maps) - 1, group)
    return _read(groups, "bands, low to high by rows", lambda s: tree.leaves(s)[0][0].sum(1).flatten(), place)


@_layout.register
def _(transform: Multilevel, size: Size, groups: Groups) -> Layout:
    labels = tree.leaves(groups.labels)
    if len(labels) != 1 + 3 * transform.depth(size) or labels[0].ndim < 3:
        return _of_groups(groups)
    ends = torch.tensor([0, *(math.prod(leaf.shape[-2:]) for leaf in labels)]).cumsum(0).tolist()
    parts = [torch.arange(a, b).reshape(leaf.shape[-2:]) for a, b, leaf in zip(ends, ends[1:], labels, strict=False)]

    def cells(scores: Tree) -> Tensor:
        return torch.cat([_flat(leaf[0], 2) for leaf in tree.leaves(scores)])

    group = torch.cat([_flat_labels(leaf, 2) for leaf in labels])
    marks = tuple(mark for part in parts for mark in _rows_and_columns(*part.shape))
    return _read(groups, "sub-bands, coarse top left", cells, (nested_subbands(parts), group), marks)


@_layout.register
def _(transform: Identity, size: Size, groups: Groups) -> Layout:
    if len(size) < 3:
        marks = tuple(f"position {i}" for i in range(size[-1]))
        return _of_bars(groups, "in the data's own space", _flat_leaf(1), _common(groups, 1), marks)
    return _of_map(groups, "")


def _of_groups(groups: Groups) -> Layout:
    """Bars of groups, each over its span of the axis where it has one."""
    index = _span_index(groups)

    def draw(values: Tensor, alt: str) -> Figure:
        return span_figure(groups, values.tolist(), f"groups by {groups.axis}", alt)

    places = _places(groups, index, torch.arange(len(groups.names)))
    return Layout(groups, lambda scores: groups.sums(scores)[0], draw, places)


def _of_bars(
    groups: Groups,
    caption: str,
    cells: Callable[[Tree], Tensor],
    group: Tensor,
    marks: tuple[str, ...] = (),
    unit: str = "",
) -> Layout:
    """Bars of single scores, or of runs of neighbours where there are many."""
    count = len(group)
    runs = equal_parts(count, MOST_BARS)
    first = [int((runs == run).nonzero()[0]) for run in range(int(runs[-1]) + 1)]
    if len(first) < count:
        last = [*(start - 1 for start in first[1:]), count - 1]
        marks = tuple(f"{marks[a]} to {marks[b]}" for a, b in zip(first, last, strict=True)) if marks else ()

    def summed(scores: Tree) -> Tensor:
        values = cells(scores)
        return values.new_zeros(len(first)).index_add_(0, runs.to(values.device), values)

    places = _places(groups, torch.arange(len(first))[None], group[first], marks, unit)
    return Layout(groups, summed, lambda values, alt: bar_figure(values.tolist(), caption, alt), places)


def _of_map(groups: Groups, caption: str, marks: tuple[str, ...] = (), unit: str = "") -> Layout:
    """A map of the last two axes, the others summed."""
    height, width = tree.leaves(groups.labels)[0].shape[-2:]
    index = torch.arange(height * width).reshape(height, width)
    marks = marks or _rows_and_columns(height, width)
    return _read(groups, caption, _flat_leaf(2), (index, _common(groups, 2)), marks, unit)


def _read(
    groups: Groups,
    caption: str,
    cells: Callable[[Tree], Tensor],
    lies: tuple[Tensor, Tensor],
    marks: tuple[str, ...] = (),
    unit: str = "",
) -> Layout:
    """A map: (h, w) which cell lies where, −1 for none, and the (K,) group of each cell."""
    index, group = lies

    def draw(values: Tensor, alt: str) -> Figure:
        shown = torch.where(index < 0, 0.0, values.cpu()[index.clamp_min(0)])
        return signed_figure(shown, caption, alt, robust_limit(values))

    step = max(math.ceil(max(index.shape) / LARGEST), 2 if index.numel() > 16 * len(group) else 1)
    near = index[::step, ::step]
    if len(group) > MOST_READ and bool((group >= 0).all()):
        near = torch.where(near < 0, -1, group[near.clamp_min(0)])
        return Layout(groups, cells, draw, _places(groups, near, torch.arange(len(groups.names))), True)
    return Layout(groups, cells, draw, _places(groups, near, group, marks, unit))


def _places(groups: Groups, index: Tensor, group: Tensor, marks: tuple[str, ...] = (), unit: str = "") -> Places:
    alone = len(group) == len(groups.names) and not unit
    return Places(
        groups.axis, groups.names, tuple(group.tolist()), index.numpy(), () if alone else marks, unit if marks else ""
    )


def _span_index(groups: Groups, columns: int = 240) -> Tensor:
    """Which group's bar lies in each of equal columns, as `span_figure` draws them: (1, columns)."""
    placed = [(i, span) for i, span in enumerate(groups.spans) if span is not None]
    low, high = (f([end for _, span in placed for end in span], default=0.0) for f in (min, max))
    if low == high:
        return torch.arange(len(groups.names))[None]
    middles = low + (high - low) * (torch.arange(columns) + 0.5) / columns
    index = torch.full((1, columns), -1)
    for i, (a, b) in placed:
        index[0, ((middles >= a) & (middles <= b)) | ((middles - (a + b) / 2).abs() < 0.6 * (high - low) / columns)] = i
    return index


def _frequency_marks(transform: FFT | DCT, size: Size) -> tuple[tuple[str, ...], str]:
    """Each bin's frequency and their unit; none where bins of three axes share a place."""
    frequencies = transform.frequencies(size)
    if frequencies.ndim > 2:
        return (), ""
    return tuple(f"{v:.4g}" for v in frequencies.flatten().tolist()), f" {transform.rates(size)[0].frequency_unit}"


def _rows_and_columns(height: int, width: int) -> tuple[str, ...]:
    return tuple(f"row {i}, column {j}" for i in range(height) for j in range(width))


def _row(groups: Groups) -> Tensor:
    return tree.rows(tree.map_leaves(lambda leaf: leaf[None], groups.labels))[0]


def _common(groups: Groups, dims: int) -> Tensor:
    return _flat_labels(tree.leaves(groups.labels)[0], dims)


def _flat_labels(labels: Tensor, dims: int) -> Tensor:
    """The group at each place of the last axes, −1 where those that share a place differ."""
    rows = labels.reshape(-1, math.prod(labels.shape[-dims:]))
    return torch.where((rows == rows[0]).all(0), rows[0], -1).cpu()


def _flat_leaf(dims: int) -> Callable[[Tree], Tensor]:
    return lambda scores: _flat(tree.leaves(scores)[0][0], dims)


def _flat(scores: Tensor, dims: int) -> Tensor:
    """The last axes as one, the others summed."""
    return scores.reshape(-1, math.prod(scores.shape[-dims:])).sum(0)


def _highest(transform: FFT, size: Size) -> str:
    """The highest frequency of signals, with its unit where the sampling rate is known."""
    if not transform.sampled:
        return "Nyquist"
    return f"{float(transform.frequencies(size).max()):.4g} {transform.rates(size)[0].frequency_unit}"


def nested_subbands(parts: list[Tensor]) -> Tensor:
    """Sub-bands in the place of the picture, each level around the coarser ones: (h, w).

    Args:
        parts: approximation, then horizontal, vertical and diagonal details of each level, coarse to fine.
    """
    low, *details = parts
    for horizontal, vertical, diagonal in zip(details[::3], details[1::3], details[2::3], strict=True):
        low = torch.cat([torch.cat([low, vertical], dim=1), torch.cat([horizontal, diagonal], dim=1)])
    return low
