"""Transforms x ⇄ s: the spaces in which models are explained."""

from trimkit.coefficients.groups import Groups
from trimkit.transforms.adaptive_wavelet import AdaptiveWavelet
from trimkit.transforms.bands import FrequencyBands
from trimkit.transforms.base import Identity, Size, Transform
from trimkit.transforms.color import Color
from trimkit.transforms.compose import Compose
from trimkit.transforms.fitted import NMF, PCA, ZCA
from trimkit.transforms.fourier import DCT, FFT
from trimkit.transforms.linear import Dictionary
from trimkit.transforms.pyramid import LaplacianPyramid
from trimkit.transforms.stft import STFT
from trimkit.transforms.wavelet import Wavelet

__all__ = [
    "DCT",
    "FFT",
    "NMF",
    "PCA",
    "STFT",
    "ZCA",
    "AdaptiveWavelet",
    "Color",
    "Compose",
    "Dictionary",
    "FrequencyBands",
    "Groups",
    "Identity",
    "LaplacianPyramid",
    "Size",
    "Transform",
    "Wavelet",
]
