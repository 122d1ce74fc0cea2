"""trimkit's own parts, registered through the hooks that every plugin uses."""

from __future__ import annotations

from trimkit.hooks import AttributionSpec, CheckSpec, CommandSpec, DatasetSpec, PenaltySpec, TransformSpec, hookimpl
from trimkit.registry.commands import COMMANDS
from trimkit.registry.scores import ATTRIBUTIONS, PENALTIES

TRIMKIT_API = 1

TRANSFORMS: tuple[TransformSpec, ...] = (
    TransformSpec("identity", "trimkit.transforms.base:Identity", "The data's own space: pixels, samples, features."),
    TransformSpec(
        "fft",
        "trimkit.transforms.fourier:FFT",
        "Fourier coefficients of signals and images, half spectrum, orthonormal.",
        "Singh et al. 2020, arXiv:2003.01926",
    ),
    TransformSpec(
        "dct",
        "trimkit.transforms.fourier:DCT",
        "Real cosine coefficients of signals and images (DCT-II), orthonormal.",
        "Ahmed, Natarajan, Rao 1974, doi:10.1109/T-C.1974.223784",
    ),
    TransformSpec(
        "frequency_bands",
        "trimkit.transforms.bands:FrequencyBands",
        "One component in the data's own space for each frequency band; the components sum to the data.",
        "Singh et al. 2020, arXiv:2003.01926",
    ),
    TransformSpec(
        "wavelet",
        "trimkit.transforms.wavelet:Wavelet",
        "Wavelet coefficients of signals and images, as many as entries, grouped by scale and direction.",
        "Mallat 1989, doi:10.1109/34.192463",
    ),
    TransformSpec(
        "adaptive_wavelet",
        "trimkit.transforms.adaptive_wavelet:AdaptiveWavelet",
        "A wavelet whose filter is learned, with the losses that keep it a wavelet.",
        "Ha et al. 2021, arXiv:2107.09145",
    ),
    TransformSpec(
        "laplacian_pyramid",
        "trimkit.transforms.pyramid:LaplacianPyramid",
        "A coarse version, and the detail that each doubling of resolution adds.",
        "Burt, Adelson 1983, doi:10.1109/TCOM.1983.1095851",
    ),
    TransformSpec(
        "color",
        "trimkit.transforms.color:Color",
        "Brightness and colour of RGB pictures: YCbCr, Lab or HSV, grouped by channel.",
        "ITU-T T.871; CIE 1976; Smith 1978, doi:10.1145/965139.807361",
    ),
    TransformSpec(
        "stft",
        "trimkit.transforms.stft:STFT",
        "Short-time Fourier coefficients of signals: frequency over time, complex.",
        "Griffin, Lim 1984, doi:10.1109/TASSP.1984.1164317",
    ),
    TransformSpec(
        "wavelet_packet",
        "trimkit.transforms.packet:WaveletPacket",
        "Wavelet coefficients of signals in equally wide bands of frequency, as many as entries.",
        "Coifman, Wickerhauser 1992, doi:10.1109/18.119732",
    ),
    TransformSpec(
        "polar",
        "trimkit.transforms.polar:Polar",
        "Amplitude and phase of Fourier coefficients.",
    ),
    TransformSpec(
        "mel",
        "trimkit.transforms.mel:Mel",
        "Amplitudes of signals on the mel scale over time, with the phases that give a signal back.",
        "O'Shaughnessy 1987, Speech Communication",
    ),
    TransformSpec(
        "cqt",
        "trimkit.transforms.cqt:CQT",
        "Constant-Q coefficients of signals, bands equally wide in octaves, invertible, complex.",
        "Velasco, Holighaus, Dörfler, Grill 2011, DAFx-11",
    ),
    TransformSpec(
        "channels_x_bands",
        "trimkit.transforms.montage:ChannelsXBands",
        "Fourier coefficients along time, grouped by band and channel, complex.",
    ),
    TransformSpec(
        "segments",
        "trimkit.transforms.segments:Segments",
        "The data's own space in windows of time, ranges of a spectrum, or tokens.",
    ),
    TransformSpec(
        "superpixels",
        "trimkit.transforms.segments:Superpixels",
        "The data's own space in patches that follow the edges of a picture.",
        "Achanta et al. 2012, doi:10.1109/TPAMI.2012.120",
    ),
    TransformSpec(
        "graph_fourier",
        "trimkit.transforms.graph:GraphFourier",
        "Coefficients of signals on a graph, smooth patterns first.",
        "Shuman et al. 2013, arXiv:1211.0053",
    ),
    TransformSpec(
        "pca",
        "trimkit.transforms.fitted:PCA",
        "Principal components of data, in order of falling variance.",
        "Pearson 1901, doi:10.1080/14786440109462720",
    ),
    TransformSpec(
        "zca",
        "trimkit.transforms.fitted:ZCA",
        "Whitened data that stay as near to the original as whitening can.",
        "Bell, Sejnowski 1997, doi:10.1016/S0042-6989(97)00121-1",
    ),
    TransformSpec(
        "nmf",
        "trimkit.transforms.fitted:NMF",
        "Non-negative parts that add up to the data.",
        "Lee, Seung 1999, doi:10.1038/44565",
    ),
    TransformSpec(
        "dictionary",
        "trimkit.transforms.linear:Dictionary",
        "Given patterns whose weighted sum is the data, weights by least squares.",
    ),
    TransformSpec(
        "compose",
        "trimkit.transforms.compose:Compose",
        "Transforms one after the other, such as colour and then wavelets.",
    ),
    TransformSpec(
        "each",
        "trimkit.transforms.each:Each",
        "A transform along named axes at every place of the others, such as components of each pixel's spectrum.",
    ),
    TransformSpec(
        "latent",
        "trimkit.methods.stored:latent",
        "The latent space of a method that `trimkit train` has trained: latent:run=FOLDER,space=z.",
    ),
)

DATASETS: tuple[DatasetSpec, ...] = (
    DatasetSpec(
        "digits",
        "trimkit.data.digits:digits",
        "1,797 real handwritten digits, 8 × 8 interpolated to 16 × 16.",
        "Alpaydin, Kaynak 1998, doi:10.24432/C50P49",
        shape=(1, 16, 16),
        classes=10,
    ),
    DatasetSpec(
        "digits-shortcut",
        "trimkit.data.shortcut:digits_shortcut",
        "Digits with a planted frequency shortcut: a cosine at one FFT bin whose amplitude is the label.",
        shape=(1, 16, 16),
        classes=10,
    ),
    DatasetSpec(
        "sprites",
        "trimkit.data.sprites:sprites",
        "Sprites of five known factors, those of dSprites, drawn on the fly: 737,280 images, 64 × 64 or size=32.",
        "Matthey et al. 2017, github.com/google-deepmind/dsprites-dataset",
        shape=(1, 64, 64),
        classes=3,
    ),
    DatasetSpec(
        "sprites-color",
        "trimkit.data.sprites:sprites_color",
        "Sprites in seven colours, RGB: 5,160,960 images of six known factors, 64 × 64 or size=32.",
        shape=(3, 64, 64),
        classes=3,
    ),
    DatasetSpec(
        "toy-factors",
        "trimkit.data.toy:toy_factors",
        "Four factors in twelve features by a known map, mixing=smooth or linear, with their perfect code.",
        shape=(12,),
        classes=3,
    ),
    DatasetSpec(
        "mixture",
        "trimkit.data.mixtures:mixture",
        "A linear mixture of independent sources, which are known: Laplace, uniform, mixed or Student's t.",
        "Comon 1994, doi:10.1016/0165-1684(94)90029-9",
        shape=(4,),
    ),
    DatasetSpec(
        "nonstationary",
        "trimkit.data.nonstationary:nonstationary",
        "Sources whose spread differs between segments, through a nonlinear map: the benchmark of iVAE.",
        "Khemakhem et al. 2020, arXiv:1907.04809; Hyvärinen, Morioka 2016, arXiv:1605.06336",
        shape=(5,),
    ),
    DatasetSpec(
        "tcl",
        "trimkit.data.imca:tcl",
        "Sources whose spread differs between segments, through orthogonal matrices and leaky ReLUs.",
        "Khemakhem et al. 2020, arXiv:2002.11537",
        shape=(5,),
    ),
    DatasetSpec(
        "imca",
        "trimkit.data.imca:imca",
        "Sources that depend on each other within segments, through orthogonal matrices and leaky ReLUs.",
        "Khemakhem et al. 2020, arXiv:2002.11537",
        shape=(5,),
    ),
    DatasetSpec(
        "patches",
        "trimkit.data.patches:patches",
        "Patches of two photographs, grey and without their mean, 16 × 16 or size=8.",
        "Bell, Sejnowski 1997, doi:10.1016/S0042-6989(97)00121-1",
        shape=(1, 16, 16),
    ),
    DatasetSpec(
        "activations",
        "trimkit.predictor.activations:activations",
        "What a layer of your model makes of data: activations:model=pkg.mod:fn,at=layer3,data=digits.",
    ),
    DatasetSpec(
        "folder",
        "trimkit.data.folders:folder",
        "Your own pictures, one sub-folder a class where there are labels: folder:path=DIR,size=64, or DIR:size=64.",
    ),
)

CHECKS: tuple[CheckSpec, ...] = (
    CheckSpec(
        "reproducibility",
        "trimkit.audit.checks.reproducibility:Reproducibility",
        "Do the same seed and input give the same scores, whatever the batch?",
        mandatory=True,
    ),
    CheckSpec(
        "completeness",
        "trimkit.audit.checks.completeness:Completeness",
        "Do the scores sum to the change of the output that they claim to explain?",
        "Sundararajan et al. 2017, arXiv:1703.01365",
        mandatory=True,
    ),
    CheckSpec(
        "reconstruction",
        "trimkit.audit.checks.reconstruction:Reconstruction",
        "Does the transform give the data back, and the model its output?",
        "Singh et al. 2020, arXiv:2003.01926",
        mandatory=True,
    ),
    CheckSpec(
        "controls",
        "trimkit.audit.checks.controls:Controls",
        "Do the scores find what the model uses better than random and input-only controls do?",
        "Samek et al. 2015, arXiv:1509.06321",
        mandatory=True,
    ),
    CheckSpec(
        "randomisation",
        "trimkit.audit.checks.randomisation:Randomisation",
        "Do the scores depend on what the model has learned, or look alike for random weights?",
        "Adebayo et al. 2018, arXiv:1810.03292",
        mandatory=True,
    ),
    CheckSpec(
        "reliance",
        "trimkit.audit.checks.reliance:Reliance",
        "Does the model rely on what it must not? What is forbidden, or a search for groups that stand out.",
        mandatory=True,
    ),
)


@hookimpl
def trimkit_transforms() -> tuple[TransformSpec, ...]:
    """Spaces that need no training."""
    return TRANSFORMS


@hookimpl
def trimkit_attributions() -> tuple[AttributionSpec, ...]:
    """Attributions from gradients."""
    return ATTRIBUTIONS


@hookimpl
def trimkit_penalties() -> tuple[PenaltySpec, ...]:
    """Penalties on scores."""
    return PENALTIES


@hookimpl
def trimkit_datasets() -> tuple[DatasetSpec, ...]:
    """Data that need no download."""
    return DATASETS


@hookimpl
def trimkit_checks() -> tuple[CheckSpec, ...]:
    """The questions that every audit answers, in the order of its report."""
    return CHECKS


@hookimpl
def trimkit_commands() -> tuple[CommandSpec, ...]:
    """What the command line can do."""
    return COMMANDS
