"""Channels by bands of frequency: the table in which recordings of many sensors are read."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch

from trimkit.coefficients.axes import Axes, Bands, Layout, SampleRate
from trimkit.coefficients.groups import Groups
from trimkit.errors import OptionError, ShapeError
from trimkit.transforms.base import Size
from trimkit.transforms.fourier import FFT


class ChannelsXBands(FFT):
    """The Fourier transform along time, its groups a band of a channel: "alpha, Cz".

    Coefficients are those of `FFT`; only the groups differ.

    Args:
        bands: number of equally wide bands, or named ones, see `FFT`: {"alpha": (8, 13), "beta": (13, 30)}.
        channels: their names, in order; by default "channel 1" on.
        axes: the axis of time, by position or name; by default the last.
        layout: names of a sample's axes, in order: "time channel" for (N, T, C).
        sample_rate: samples a second ("256 Hz" or 256).

    Example:
        >>> space = ChannelsXBands({"alpha": (8, 13)}, ["Cz", "Pz"], sample_rate=64)
        >>> space.groups((2, 64)).names
        ('alpha, Cz', 'alpha, Pz', 'other, Cz', 'other, Pz')
    """

    _owner = "channels_x_bands"

    def __init__(
        self,
        bands: Bands = 4,
        channels: Sequence[str] | None = None,
        axes: Axes = None,
        layout: Layout = None,
        sample_rate: SampleRate = None,
    ) -> None:
        super().__init__(None if axes is not None else 1, bands, axes, layout, sample_rate)
        if isinstance(channels, str) or (channels is not None and len(set(channels)) < len(channels)):
            raise OptionError(f"channels_x_bands: expected channels as a list of different names, got {channels!r}")
        self.channels = None if channels is None else ", ".join(channels)
        self._channels = None if channels is None else tuple(channels)

    def groups(self, size: Size) -> Groups:
        """Bands low to high, each with all its channels in their order.

        Raises:
            ShapeError: samples other than of channels and time, or of another number of channels.
        """
        if len(size) != 2:
            raise ShapeError(f"channels_x_bands: expected samples of channels and time, got size {tuple(size)}")
        (count,) = self.worked_size(size)[:1]
        channels = self._channels or tuple(f"channel {i + 1}" for i in range(count))
        if len(channels) != count:
            raise ShapeError(f"channels_x_bands: expected {len(channels)} channels, as are named, got {count}")
        bands = super().groups(size)
        place = torch.arange(count)
        channel = place[:, None] if self.places(size) == (1,) else place
        names = tuple(f"{band}, {channel}" for band in bands.names for channel in channels)
        labels = bands.labels * count + channel  # type: ignore[operator]
        return dataclasses.replace(bands, names=names, labels=labels, axis=f"{bands.axis} × channel", spans=())
