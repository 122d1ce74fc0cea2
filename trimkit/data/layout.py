"""The order of a picture's axes: what is not (N, C, H, W) is refused, or reordered where the user says what it is."""

from __future__ import annotations

from torch import Tensor

from trimkit.data.samples import LARGEST
from trimkit.errors import DataError, OptionError

LAYOUTS = ("nchw", "nhwc", "nhw", "ncl")

SMALLEST = 16
"""Side from which equal axes of floating values are taken for a picture's."""


def arrange(name: str, x: Tensor, layout: str | None) -> Tensor:
    """Samples with the axes that methods expect.

    Args:
        name: of the data, for messages.
        x: (N, ...).
        layout: "nchw" and "ncl" for x as it is, "nhwc" for pictures whose channels come last, "nhw" for grey pictures
            without an axis of channels; None where x must speak for itself.
    Returns:
        (N, C, H, W) for pictures, else x.
    Raises:
        DataError: x looks like pictures in another layout, or has not the axes of the layout that is given.
        OptionError: no such layout.
    """
    if layout is None:
        _refuse_pictures(name, x)
        return x
    if layout not in LAYOUTS:
        raise OptionError(f"data {name!r}: expected layout as one of {', '.join(LAYOUTS)}, got {layout!r}")
    if x.ndim != len(layout):
        raise DataError(f"data {name!r}: expected {len(layout)} axes for layout={layout}, got x of {tuple(x.shape)}")
    return x.permute(0, 3, 1, 2) if layout == "nhwc" else x.unsqueeze(1) if layout == "nhw" else x


def _refuse_pictures(name: str, x: Tensor) -> None:
    shape, is_bytes = tuple(x.shape), x.dtype in LARGEST
    if len(shape) == 3 and shape[1] == shape[2] and (is_bytes or shape[1] >= SMALLEST):
        raise DataError(
            f"data {name!r}: x {shape} looks like grey pictures without an axis of channels; add layout=nhw for that, "
            "or layout=ncl for rows of channels"
        )
    channels_last = len(shape) == 4 and shape[3] in (1, 3, 4) and shape[1] not in (1, 3, 4)
    if channels_last and min(shape[1:3]) > 4:
        raise DataError(
            f"data {name!r}: x {shape} looks like pictures whose channels come last; add layout=nhwc for that, or "
            "layout=nchw for x as it is"
        )
