"""What transforms of chosen axes share: which axes, their names, and how densely they are sampled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from trimkit.coefficients import tree
from trimkit.coefficients.axes import Axes, Layout, Rate, SampleRate, find_axes, read_rates
from trimkit.coefficients.tree import Tree
from trimkit.errors import OptionError, ShapeError
from trimkit.registry.options import one_of
from trimkit.transforms.base import Size, Transform

Dims = Literal[1, 2, 3] | None

Places = tuple[int, ...]


class Along(Transform):
    """A transform that works along some axes of a sample, the others each for themselves.

    A leaf of coefficients with as many axes as the data keeps every axis in its place; one with more axes has those
    that the transform works on, or makes, last.

    Args:
        dims: work on the last one, two or three axes; by default two for (N, C, H, W), else one.
        axes: the axes instead, by position or name, see `trimkit.coefficients.axes.Axes`.
        layout: names of a sample's axes, in order: "time channel" for (N, T, C).
        sample_rate: samples a second or another unit, see `trimkit.coefficients.axes.SampleRate`.

    Attributes:
        along: which axes, in words; "" for the last ones.
        sampled: the sampling rate as given; "" where it is not.
    """

    along: str = ""
    sampled: str = ""

    _owner = ""
    """The name in messages, where it is not the class's: of the transform that this one is a part of."""

    _growth = 0
    """How many axes a leaf of coefficients has more than the data."""

    def __init__(
        self, dims: Dims = None, axes: Axes = None, layout: Layout = None, sample_rate: SampleRate = None
    ) -> None:
        super().__init__()
        one_of(self._name, (None, 1, 2, 3), dims=dims)
        if dims is not None and axes is not None:
            raise OptionError(f"{self._name}: expected dims or axes, got both")
        self._where = (dims, axes, layout)
        self._rate: SampleRate = sample_rate
        if axes is not None:
            self.along = f"{axes}" + (f" of {layout}" if layout else "")
        if sample_rate is not None:
            self.sampled = str(sample_rate)
            read_rates(self._name, sample_rate, 1 if isinstance(sample_rate, int | float | str) else len(sample_rate))

    @property
    def _name(self) -> str:
        return self._owner or type(self).__name__.lower()

    def places(self, size: Size) -> Places:
        """The axes that the transform works on, as places in the shape of one sample.

        Raises:
            ShapeError: fewer axes than asked for, or one with fewer than two entries, along which nothing can vary.
            OptionError: no axis of that name.
        """
        dims, axes, layout = self._where
        if axes is not None:
            found = find_axes(self._name, axes, size, layout)
        else:
            count = dims or (2 if len(size) >= 3 else 1)
            if len(size) < count:
                raise ShapeError(f"{self._name}: expected samples with at least {count} axes, got size {tuple(size)}")
            found = tuple(range(len(size) - count, len(size)))
        if any(size[place] < 2 for place in found):
            where = (
                f"the last {f'{len(found)} axes' if len(found) > 1 else 'axis'}" if axes is None else f"axes {axes!r}"
            )
            raise ShapeError(
                f"{self._name}: expected at least 2 entries along {where} of a sample, got size {tuple(size)}; "
                "name the axes that vary, e.g. axes='time', layout='time channel', or put the axis that varies last"
            )
        return found

    def rates(self, size: Size) -> tuple[Rate, ...]:
        """The sampling rate of each of `places`."""
        return read_rates(self._name, self._rate, len(self.places(size)))

    def works_on_last(self, size: Size) -> bool:
        """True where the axes are the last ones of a sample, in order."""
        places = self.places(size)
        return places == tuple(range(len(size) - len(places), len(size)))

    def worked_size(self, size: Size) -> tuple[int, ...]:
        """Shape of one sample with the axes that the transform works on last."""
        places = self.places(size)
        return (*(n for i, n in enumerate(size) if i not in places), *(size[place] for place in places))

    def _forth(self, x: Tensor, function: Callable[[Tensor, int], Tree]) -> Tree:
        """Coefficients by a function of data whose worked axes are last, and of their number."""
        places = self.places(x.shape[1:])
        s = function(_to_last(x, places), len(places))
        return tree.map_leaves(lambda leaf: self._restored(leaf, places, x.ndim), s)

    def _back(self, s: Tree, size: Size | None, function: Callable[[Tree, int, Size | None], Tensor]) -> Tensor:
        """Data by a function of coefficients whose worked axes are last, of their number and the size."""
        rank = len(size) if size is not None else tree.leaves(s)[0].ndim - 1 - self._growth
        places = self._places_of_rank(rank) if size is None else self.places(size)
        moved = tree.map_leaves(lambda leaf: _to_last(leaf, places) if leaf.ndim == rank + 1 else leaf, s)
        x = function(moved, len(places), size if size is None else self.worked_size(size))
        return _from_last(x, places)

    def _labels(self, labels: Tree, size: Size) -> Tree:
        """Labels of coefficients whose worked axes are last, with every axis in its place."""
        places = self.places(size)
        one_more = tree.map_leaves(lambda leaf: leaf[None], labels)
        restored = tree.map_leaves(lambda leaf: self._restored(leaf, places, len(size) + 1), one_more)
        return tree.map_leaves(lambda leaf: leaf[0], restored)

    def _places_of_rank(self, rank: int) -> Places:
        return self.places((2,) * rank)

    def _restored(self, leaf: Tensor, places: Places, rank: int) -> Tensor:
        return _from_last(leaf, places) if leaf.ndim == rank else leaf


def _to_last(x: Tensor, places: Places) -> Tensor:
    return x if places == _last(x, places) else x.movedim([place + 1 for place in places], list(range(-len(places), 0)))


def _from_last(x: Tensor, places: Places) -> Tensor:
    if places == _last(x, places):
        return x
    return x.movedim(list(range(-len(places), 0)), [place + 1 for place in places])


def _last(x: Tensor, places: Places) -> Places:
    return tuple(range(x.ndim - 1 - len(places), x.ndim - 1))


def require_real(name: str, x: Tensor) -> None:
    """Refuse data other than float32 and float64.

    Raises:
        ShapeError: another type.
    """
    if x.is_complex() or x.dtype not in (torch.float32, torch.float64):
        raise ShapeError(f"{name}: expected float32 or float64 data, got {x.dtype}; convert with x.float()")
