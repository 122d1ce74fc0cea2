"""Transforms x ⇄ s: the spaces in which models are explained."""

from trimkit.groups import Groups
from trimkit.transforms.bands import FrequencyBands
from trimkit.transforms.base import Identity, Size, Transform
from trimkit.transforms.fourier import DCT, FFT

__all__ = ["DCT", "FFT", "FrequencyBands", "Groups", "Identity", "Size", "Transform"]
