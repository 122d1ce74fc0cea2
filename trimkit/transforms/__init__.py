"""Transforms x ⇄ s: the spaces in which models are explained."""

from trimkit.coefficients.groups import Groups
from trimkit.transforms.adaptive_wavelet import AdaptiveWavelet
from trimkit.transforms.bands import FrequencyBands
from trimkit.transforms.base import Identity, Size, Transform
from trimkit.transforms.color import Color
from trimkit.transforms.compose import Compose
from trimkit.transforms.cqt import CQT
from trimkit.transforms.each import Each
from trimkit.transforms.fitted import NMF, PCA, ZCA
from trimkit.transforms.fourier import DCT, FFT
from trimkit.transforms.graph import GraphFourier
from trimkit.transforms.linear import Dictionary
from trimkit.transforms.mel import Mel
from trimkit.transforms.montage import ChannelsXBands
from trimkit.transforms.packet import WaveletPacket
from trimkit.transforms.polar import Polar
from trimkit.transforms.pyramid import LaplacianPyramid
from trimkit.transforms.segments import Segments, Superpixels
from trimkit.transforms.stft import STFT
from trimkit.transforms.wavelet import Wavelet

__all__ = [
    "CQT",
    "DCT",
    "FFT",
    "NMF",
    "PCA",
    "STFT",
    "ZCA",
    "AdaptiveWavelet",
    "ChannelsXBands",
    "Color",
    "Compose",
    "Dictionary",
    "Each",
    "FrequencyBands",
    "GraphFourier",
    "Groups",
    "Identity",
    "LaplacianPyramid",
    "Mel",
    "Polar",
    "Segments",
    "Size",
    "Superpixels",
    "Transform",
    "Wavelet",
    "WaveletPacket",
]
