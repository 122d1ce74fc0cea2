"""trimkit's own parts, registered through the hooks that every plugin uses; nothing heavy is imported."""

from __future__ import annotations

from trimkit.hooks import AttributionSpec, CheckSpec, CommandSpec, DatasetSpec, PenaltySpec, TransformSpec, hookimpl
from trimkit.registry.captum import captum_attributions

TRIMKIT_API = 1

# fmt: off
# a record reads as two or three lines: name and target; what it is; the source and what else there is to say

TRANSFORMS: tuple[TransformSpec, ...] = (
    TransformSpec("identity", "trimkit.transforms.base:Identity",
        "The data's own space: pixels, samples, features."),
    TransformSpec("fft", "trimkit.transforms.fourier:FFT",
        "Fourier coefficients of signals and images, half spectrum, orthonormal.",
        "Singh et al. 2020, arXiv:2003.01926"),
    TransformSpec("dct", "trimkit.transforms.fourier:DCT",
        "Real cosine coefficients of signals and images (DCT-II), orthonormal.",
        "Ahmed, Natarajan, Rao 1974, doi:10.1109/T-C.1974.223784"),
    TransformSpec("frequency_bands", "trimkit.transforms.bands:FrequencyBands",
        "One component in the data's own space for each frequency band; the components sum to the data.",
        "Singh et al. 2020, arXiv:2003.01926"),
    TransformSpec("wavelet", "trimkit.transforms.wavelet:Wavelet",
        "Wavelet coefficients of signals and images, as many as entries, grouped by scale and direction.",
        "Mallat 1989, doi:10.1109/34.192463"),
    TransformSpec("adaptive_wavelet", "trimkit.transforms.adaptive_wavelet:AdaptiveWavelet",
        "A wavelet whose filter is learned, with the losses that keep it a wavelet.",
        "Ha et al. 2021, arXiv:2107.09145"),
    TransformSpec("laplacian_pyramid", "trimkit.transforms.pyramid:LaplacianPyramid",
        "A coarse version, and the detail that each doubling of resolution adds.",
        "Burt, Adelson 1983, doi:10.1109/TCOM.1983.1095851"),
    TransformSpec("color", "trimkit.transforms.color:Color",
        "Brightness and colour of RGB pictures: YCbCr, Lab or HSV, grouped by channel.",
        "ITU-T T.871; CIE 1976; Smith 1978, doi:10.1145/965139.807361"),
    TransformSpec("stft", "trimkit.transforms.stft:STFT",
        "Short-time Fourier coefficients of signals: frequency over time, complex.",
        "Griffin, Lim 1984, doi:10.1109/TASSP.1984.1164317"),
    TransformSpec("wavelet_packet", "trimkit.transforms.packet:WaveletPacket",
        "Wavelet coefficients of signals in equally wide bands of frequency, as many as entries.",
        "Coifman, Wickerhauser 1992, doi:10.1109/18.119732"),
    TransformSpec("polar", "trimkit.transforms.polar:Polar",
        "Amplitude and phase of Fourier coefficients."),
    TransformSpec("mel", "trimkit.transforms.mel:Mel",
        "Amplitudes of signals on the mel scale over time, with the phases that give a signal back.",
        "O'Shaughnessy 1987, Speech Communication"),
    TransformSpec("cqt", "trimkit.transforms.cqt:CQT",
        "Constant-Q coefficients of signals, bands equally wide in octaves, invertible, complex.",
        "Velasco, Holighaus, Dörfler, Grill 2011, DAFx-11"),
    TransformSpec("channels_x_bands", "trimkit.transforms.montage:ChannelsXBands",
        "Fourier coefficients along time, grouped by band and channel, complex."),
    TransformSpec("segments", "trimkit.transforms.segments:Segments",
        "The data's own space in windows of time, ranges of a spectrum, or tokens."),
    TransformSpec("superpixels", "trimkit.transforms.segments:Superpixels",
        "The data's own space in patches that follow the edges of a picture.",
        "Achanta et al. 2012, doi:10.1109/TPAMI.2012.120"),
    TransformSpec("graph_fourier", "trimkit.transforms.graph:GraphFourier",
        "Coefficients of signals on a graph, smooth patterns first.", "Shuman et al. 2013, arXiv:1211.0053"),
    TransformSpec("pca", "trimkit.transforms.fitted:PCA",
        "Principal components of data, in order of falling variance.", "Pearson 1901, doi:10.1080/14786440109462720"),
    TransformSpec("zca", "trimkit.transforms.fitted:ZCA",
        "Whitened data that stay as near to the original as whitening can.",
        "Bell, Sejnowski 1997, doi:10.1016/S0042-6989(97)00121-1"),
    TransformSpec("nmf", "trimkit.transforms.fitted:NMF",
        "Non-negative parts that add up to the data.", "Lee, Seung 1999, doi:10.1038/44565"),
    TransformSpec("dictionary", "trimkit.transforms.linear:Dictionary",
        "Given patterns whose weighted sum is the data, weights by least squares."),
    TransformSpec("compose", "trimkit.transforms.compose:Compose",
        "Transforms one after the other, such as colour and then wavelets."),
    TransformSpec("each", "trimkit.transforms.each:Each",
        "A transform along named axes at every place of the others, such as components of each pixel's spectrum."),
    TransformSpec("latent", "trimkit.methods.stored:latent",
        "The latent space of a method that `trimkit train` has trained: latent:run=FOLDER,space=z."),
)

ATTRIBUTIONS: tuple[AttributionSpec, ...] = (
    AttributionSpec("saliency", "trimkit.attributions.gradient:Saliency",
        "Magnitude of the gradient: how fast the output changes with each coefficient.",
        "Simonyan et al. 2013, arXiv:1312.6034"),
    AttributionSpec("input_x_gradient", "trimkit.attributions.gradient:InputXGradient",
        "Coefficient times gradient: the contributions of a model that were linear.",
        "Shrikumar et al. 2016, arXiv:1605.01713"),
    AttributionSpec("integrated_gradients", "trimkit.attributions.gradient:IntegratedGradients",
        "Gradients averaged from the baseline to the point: contributions that sum to the change of the output.",
        "Sundararajan et al. 2017, arXiv:1703.01365"),
    AttributionSpec("expected_gradients", "trimkit.attributions.stochastic:ExpectedGradients",
        "Integrated gradients over reference samples, by random draws: cheap enough for every training step.",
        "Erion et al. 2021, arXiv:1906.10670"),
    AttributionSpec("gradient_shap", "trimkit.attributions.stochastic:GradientShap",
        "Expected gradients with noise on the explained sample.", "Lundberg, Lee 2017, arXiv:1705.07874"),
    AttributionSpec("smoothgrad", "trimkit.attributions.stochastic:SmoothGrad",
        "Saliency averaged over noisy copies of the sample.", "Smilkov et al. 2017, arXiv:1706.03825"),
    AttributionSpec("gradient_of_loss", "trimkit.attributions.gradient:GradientOfLoss",
        "Gradient of the summed log-probabilities, or of the cross-entropy: right for the right reasons.",
        "Ross et al. 2017, arXiv:1703.03717, eq. 1"),
    AttributionSpec("feature_ablation", "trimkit.attributions.perturbation:FeatureAblation",
        "Change of the output when a named group of coefficients is set to the baseline."),
    AttributionSpec("occlusion", "trimkit.attributions.perturbation:Occlusion",
        "Change of the output when a sliding window of coefficients is set to the baseline.",
        "Zeiler, Fergus 2014, arXiv:1311.2901"),
    AttributionSpec("contextual_decomposition", "trimkit.attributions.contextual:ContextualDecomposition",
        "Part of the output due to a group of coefficients, with the rest of the input as its context.",
        "Murdoch et al. 2018, arXiv:1801.05453; Singh et al. 2019, arXiv:1806.05337"),
    AttributionSpec("layerwise_relevance", "trimkit.attributions.relevance:LayerwiseRelevance",
        "Relevance passed back through attention, norms and activations; sums exactly to the change of the output.",
        "Achtibat et al. 2024, arXiv:2402.05602; Shrikumar et al. 2017, arXiv:1704.02685"),
    *captum_attributions(),
)

PENALTIES: tuple[PenaltySpec, ...] = (
    PenaltySpec("l1", "trimkit.penalties.sparsity:l1",
        "Sum of magnitudes: few coefficients should matter.", "Ha et al. 2021, arXiv:2107.09145"),
    PenaltySpec("hoyer", "trimkit.penalties.sparsity:hoyer",
        "Hoyer sparsity, 1 for a single score and 0 for equal ones, whatever their scale.", "Hoyer 2004, JMLR 5:1457"),
    PenaltySpec("masked", "trimkit.penalties.mask:masked",
        "Squared scores in forbidden coefficients: right for the right reasons.",
        "Ross et al. 2017, arXiv:1703.03717, eq. 1"),
    PenaltySpec("gini", "trimkit.penalties.sparsity:gini",
        "Gini coefficient, 0 for equal scores and near 1 for a single one, whatever their scale.",
        "Erion et al. 2021, arXiv:1906.10670"),
    PenaltySpec("entropy", "trimkit.penalties.sparsity:entropy",
        "Entropy of the scores' shares: 0 where one coefficient has all of it.",
        "Shannon 1948, doi:10.1002/j.1538-7305.1948.tb01338.x"),
    PenaltySpec("group_l1", "trimkit.penalties.sparsity:group_l1",
        "Sum of the groups' norms: few groups should matter.", "Yuan, Lin 2006, doi:10.1111/j.1467-9868.2005.00532.x"),
    PenaltySpec("l0_gate", "trimkit.penalties.gate:l0_gate",
        "A smooth number of coefficients that matter: expected open hard-concrete gates.",
        "Louizos et al. 2018, arXiv:1712.01312, eq. 12"),
    PenaltySpec("total_variation", "trimkit.penalties.smoothness:total_variation",
        "Differences of neighbouring scores: importance should vary smoothly.", "Erion et al. 2021, arXiv:1906.10670"),
    PenaltySpec("monotone_gradient", "trimkit.penalties.monotonicity:monotone_gradient",
        "Hinge on signed gradients: the output should rise, or fall, with given coefficients.",
        "Gupta et al. 2019, arXiv:1909.10662; Liu et al. 2020, arXiv:2011.10219"),
    PenaltySpec("monotone_order", "trimkit.penalties.monotonicity:monotone_order",
        "Hinge on neighbouring groups: importance should fall, or rise, along bands, scales or latents."),
    PenaltySpec("isotonic", "trimkit.penalties.monotonicity:isotonic",
        "Squared distance of the groups' importance to the nearest monotone sequence.",
        "Robertson, Wright, Dykstra 1988, Order Restricted Statistical Inference"),
    PenaltySpec("agreement", "trimkit.penalties.agreement:agreement",
        "Distance to a given map: 1 − cosine, or the mean square."),
    PenaltySpec("contrast", "trimkit.penalties.mask:contrast",
        "Bounded share of forbidden contributions against the rest, as in CDEP.",
        "Rieger et al. 2020, arXiv:1909.13584"),
)

DATASETS: tuple[DatasetSpec, ...] = (
    DatasetSpec("digits", "trimkit.data.digits:digits",
        "1,797 real handwritten digits, 8 × 8 interpolated to 16 × 16.", "Alpaydin, Kaynak 1998, doi:10.24432/C50P49",
        shape=(1, 16, 16), classes=10),
    DatasetSpec("digits-shortcut", "trimkit.data.shortcut:digits_shortcut",
        "Digits with a planted frequency shortcut: a cosine at one FFT bin whose amplitude is the label.",
        shape=(1, 16, 16), classes=10),
    DatasetSpec("sprites", "trimkit.data.sprites:sprites",
        "Sprites of five known factors, those of dSprites, drawn on the fly: 737,280 images, 64 × 64 or size=32.",
        "Matthey et al. 2017, github.com/google-deepmind/dsprites-dataset", shape=(1, 64, 64), classes=3),
    DatasetSpec("sprites-color", "trimkit.data.sprites:sprites_color",
        "Sprites in seven colours, RGB: 5,160,960 images of six known factors, 64 × 64 or size=32.",
        shape=(3, 64, 64), classes=3),
    DatasetSpec("toy-factors", "trimkit.data.toy:toy_factors",
        "Four factors in twelve features by a known map, mixing=smooth or linear, with their perfect code.",
        shape=(12,), classes=3),
    DatasetSpec("mixture", "trimkit.data.mixtures:mixture",
        "A linear mixture of independent sources, which are known: Laplace, uniform, mixed or Student's t.",
        "Comon 1994, doi:10.1016/0165-1684(94)90029-9", shape=(4,)),
    DatasetSpec("nonstationary", "trimkit.data.nonstationary:nonstationary",
        "Sources whose spread differs between segments, through a nonlinear map: the benchmark of iVAE.",
        "Khemakhem et al. 2020, arXiv:1907.04809; Hyvärinen, Morioka 2016, arXiv:1605.06336", shape=(5,)),
    DatasetSpec("tcl", "trimkit.data.imca:tcl",
        "Sources whose spread differs between segments, through orthogonal matrices and leaky ReLUs.",
        "Khemakhem et al. 2020, arXiv:2002.11537", shape=(5,)),
    DatasetSpec("imca", "trimkit.data.imca:imca",
        "Sources that depend on each other within segments, through orthogonal matrices and leaky ReLUs.",
        "Khemakhem et al. 2020, arXiv:2002.11537", shape=(5,)),
    DatasetSpec("patches", "trimkit.data.patches:patches",
        "Patches of two photographs, grey and without their mean, 16 × 16 or size=8.",
        "Bell, Sejnowski 1997, doi:10.1016/S0042-6989(97)00121-1", shape=(1, 16, 16)),
    DatasetSpec("activations", "trimkit.predictor.activations:activations",
        "What a layer of your model makes of data: activations:model=pkg.mod:fn,at=layer3,data=digits."),
    DatasetSpec("folder", "trimkit.data.folders:folder",
        "Your own pictures, one sub-folder a class where there are labels: folder:path=DIR,size=64, or DIR:size=64."),
)

CHECKS: tuple[CheckSpec, ...] = (
    CheckSpec("reproducibility", "trimkit.audit.checks.reproducibility:Reproducibility",
        "Do the same seed and input give the same scores, whatever the batch?", mandatory=True),
    CheckSpec("completeness", "trimkit.audit.checks.completeness:Completeness",
        "Do the scores sum to the change of the output that they claim to explain?",
        "Sundararajan et al. 2017, arXiv:1703.01365", mandatory=True),
    CheckSpec("reconstruction", "trimkit.audit.checks.reconstruction:Reconstruction",
        "Does the transform give the data back, and the model its output?", "Singh et al. 2020, arXiv:2003.01926",
        mandatory=True),
    CheckSpec("controls", "trimkit.audit.checks.controls:Controls",
        "Do the scores find what the model uses better than random and input-only controls do?",
        "Samek et al. 2015, arXiv:1509.06321", mandatory=True),
    CheckSpec("randomisation", "trimkit.audit.checks.randomisation:Randomisation",
        "Do the scores depend on what the model has learned, or look alike for random weights?",
        "Adebayo et al. 2018, arXiv:1810.03292", mandatory=True),
    CheckSpec("reliance", "trimkit.audit.checks.reliance:Reliance",
        "Does the model rely on what it must not? What is forbidden, or a search for groups that stand out.",
        mandatory=True),
)

COMMANDS: tuple[CommandSpec, ...] = (
    CommandSpec("demo", "trimkit.cli.demo:run",
        "The planted-shortcut story on real digits, ending in a report.", example="trimkit demo --out trimkit-demo"),
    CommandSpec("list", "trimkit.cli.list:run",
        "The parts that are installed: transforms, attributions, and so on.", example="trimkit list transforms"),
    CommandSpec("plugins", "trimkit.cli.plugins:run",
        "Where parts come from, and why a plugin is not loaded.", example="trimkit plugins --check"),
    CommandSpec("new-plugin", "trimkit.cli.new_plugin:run",
        "Write a plugin: a project with working parts and tests.",
        example="trimkit new-plugin trimkit-haar --kind transform --kind penalty"),
    CommandSpec("train", "trimkit.cli.train:run",
        "Train a generative method, with TRIM penalties and around a frozen predictor.",
        example="trimkit train beta-vae --data digits --steps 300 --out runs/digits"),
    CommandSpec("evaluate", "trimkit.cli.evaluate:run",
        "How disentangled a trained run's codes are, beside trivial codes.", example="trimkit evaluate runs/digits"),
    CommandSpec("sample", "trimkit.cli.sample:run",
        "New data from a trained run, as arrays and as a picture.",
        example="trimkit sample runs/digits --n 64 --out samples.npz"),
    CommandSpec("interpolate", "trimkit.cli.interpolate:run",
        "What a trained run makes of the codes between two.",
        example="trimkit interpolate runs/digits --between 3,17 0,8 --frames 11"),
    CommandSpec("encode", "trimkit.cli.encode:run",
        "The codes of data in a trained run's space, as data.",
        example="trimkit encode runs/digits digits --out codes.npz"),
    CommandSpec("revise", "trimkit.cli.revise:run",
        "Find what a model must not rely on, correct it, audit it again.",
        example="trimkit revise --model mine.py:net --weights net.safetensors --data digits --transform fft"),
    CommandSpec("audit", "trimkit.cli.audit:run",
        "Verdicts on a model and its explanations in a space, and a report.",
        example="trimkit audit --model mine.py:net --weights net.safetensors --data digits --transform fft"),
    CommandSpec("merge", "trimkit.cli.merge:run",
        "One report from the shards of an audit.", example="trimkit merge trimkit-shards --out report"),
    CommandSpec("compare", "trimkit.cli.compare:run",
        "Two audits of the same samples: what became worse.",
        example="trimkit compare audit-before audit-after --margin 0.02"),
)

# fmt: on


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
