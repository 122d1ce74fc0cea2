"""trimkit's own parts, registered through the hooks that every plugin uses."""

from __future__ import annotations

from collections.abc import Iterator

from trimkit.hooks import AttributionSpec, CheckSpec, DatasetSpec, PenaltySpec, TransformSpec, hookimpl

TRIMKIT_API = 1


@hookimpl
def trimkit_transforms() -> Iterator[TransformSpec]:
    """Spaces that need no training."""
    yield TransformSpec(
        "identity", "trimkit.transforms.base:Identity", "The data's own space: pixels, samples, features."
    )
    yield TransformSpec(
        "fft",
        "trimkit.transforms.fourier:FFT",
        "Fourier coefficients of signals and images, half spectrum, orthonormal.",
        "Singh et al. 2020, arXiv:2003.01926",
        complex_coefficients=True,
    )
    yield TransformSpec(
        "dct",
        "trimkit.transforms.fourier:DCT",
        "Real cosine coefficients of signals and images (DCT-II), orthonormal.",
        "Ahmed, Natarajan, Rao 1974, doi:10.1109/T-C.1974.223784",
    )
    yield TransformSpec(
        "frequency_bands",
        "trimkit.transforms.bands:FrequencyBands",
        "One component in the data's own space for each frequency band; the components sum to the data.",
        "Singh et al. 2020, arXiv:2003.01926",
    )


@hookimpl
def trimkit_attributions() -> Iterator[AttributionSpec]:
    """Attributions from gradients."""
    yield AttributionSpec(
        "saliency",
        "trimkit.attributions.gradient:Saliency",
        "Magnitude of the gradient: how fast the output changes with each coefficient.",
        "Simonyan et al. 2013, arXiv:1312.6034",
    )
    yield AttributionSpec(
        "input_x_gradient",
        "trimkit.attributions.gradient:InputXGradient",
        "Coefficient times gradient: the contributions of a model that were linear.",
        "Shrikumar et al. 2016, arXiv:1605.01713",
    )
    yield AttributionSpec(
        "integrated_gradients",
        "trimkit.attributions.gradient:IntegratedGradients",
        "Gradients averaged from the baseline to the point: contributions that sum to the change of the output.",
        "Sundararajan et al. 2017, arXiv:1703.01365",
        complete=True,
    )
    yield AttributionSpec(
        "expected_gradients",
        "trimkit.attributions.stochastic:ExpectedGradients",
        "Integrated gradients over reference samples, by random draws: cheap enough for every training step.",
        "Erion et al. 2021, arXiv:1906.10670",
        stochastic=True,
    )
    yield AttributionSpec(
        "gradient_shap",
        "trimkit.attributions.stochastic:GradientShap",
        "Expected gradients with noise on the explained sample.",
        "Lundberg, Lee 2017, arXiv:1705.07874",
        stochastic=True,
    )
    yield AttributionSpec(
        "smoothgrad",
        "trimkit.attributions.stochastic:SmoothGrad",
        "Saliency averaged over noisy copies of the sample.",
        "Smilkov et al. 2017, arXiv:1706.03825",
        stochastic=True,
    )
    yield AttributionSpec(
        "gradient_of_loss",
        "trimkit.attributions.gradient:GradientOfLoss",
        "Gradient of the summed log-probabilities, or of the cross-entropy: right for the right reasons.",
        "Ross et al. 2017, arXiv:1703.03717, eq. 1",
    )
    yield AttributionSpec(
        "feature_ablation",
        "trimkit.attributions.perturbation:FeatureAblation",
        "Change of the output when a named group of coefficients is set to the baseline.",
        order="perturbation",
    )
    yield AttributionSpec(
        "occlusion",
        "trimkit.attributions.perturbation:Occlusion",
        "Change of the output when a sliding window of coefficients is set to the baseline.",
        "Zeiler, Fergus 2014, arXiv:1311.2901",
        tree_ok=False,
        order="perturbation",
    )


@hookimpl
def trimkit_penalties() -> Iterator[PenaltySpec]:
    """Penalties on scores."""
    yield PenaltySpec(
        "l1",
        "trimkit.penalties.sparsity:l1",
        "Sum of magnitudes: few coefficients should matter.",
        "Ha et al. 2021, arXiv:2107.09145",
    )
    yield PenaltySpec(
        "hoyer",
        "trimkit.penalties.sparsity:hoyer",
        "Hoyer sparsity, 1 for a single score and 0 for equal ones, whatever their scale.",
        "Hoyer 2004, JMLR 5:1457",
        scale_invariant=True,
        measure=True,
    )
    yield PenaltySpec(
        "masked",
        "trimkit.penalties.mask:masked",
        "Squared scores in forbidden coefficients: right for the right reasons.",
        "Ross et al. 2017, arXiv:1703.03717, eq. 1",
    )


@hookimpl
def trimkit_datasets() -> Iterator[DatasetSpec]:
    """Data that need no download."""
    yield DatasetSpec(
        "digits",
        "trimkit.data.digits:digits",
        "1797 real handwritten digits, 8 × 8 padded to 16 × 16.",
        "Alpaydin, Kaynak 1998, doi:10.24432/C50P49",
        shape=(1, 16, 16),
        classes=10,
    )
    yield DatasetSpec(
        "digits-shortcut",
        "trimkit.data.shortcut:digits_shortcut",
        "Digits with a planted frequency shortcut: a cosine at one FFT bin whose amplitude is the label.",
        shape=(1, 16, 16),
        classes=10,
    )


@hookimpl
def trimkit_checks() -> Iterator[CheckSpec]:
    """The questions that every audit answers, in the order of its report."""
    yield CheckSpec(
        "reproducibility",
        "trimkit.audit.checks.reproducibility:Reproducibility",
        "Do the same seed and input give the same scores, whatever the batch?",
        mandatory=True,
    )
    yield CheckSpec(
        "completeness",
        "trimkit.audit.checks.completeness:Completeness",
        "Do the scores sum to the change of the output that they claim to explain?",
        "Sundararajan et al. 2017, arXiv:1703.01365",
        mandatory=True,
    )
    yield CheckSpec(
        "reconstruction",
        "trimkit.audit.checks.reconstruction:Reconstruction",
        "Does the transform give the data back, and the model its output?",
        "Singh et al. 2020, arXiv:2003.01926",
        mandatory=True,
    )
    yield CheckSpec(
        "controls",
        "trimkit.audit.checks.controls:Controls",
        "Do the scores find what the model uses better than random and input-only controls do?",
        "Samek et al. 2015, arXiv:1509.06321",
        mandatory=True,
    )
    yield CheckSpec(
        "randomisation",
        "trimkit.audit.checks.randomisation:Randomisation",
        "Do the scores depend on what the model has learned, or look alike for random weights?",
        "Adebayo et al. 2018, arXiv:1810.03292",
        mandatory=True,
    )
