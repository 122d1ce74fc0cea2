"""What each ``captum:`` attribution says of itself; `trimkit.attributions.captum` holds the classes of these names."""

from __future__ import annotations

from collections.abc import Iterator

from trimkit.hooks import AttributionSpec

_SHAP = "Lundberg, Lee 2017, arXiv:1705.07874"
_IG = "Sundararajan et al. 2017, arXiv:1703.01365"

# fmt: off
_CLASSES: tuple[tuple[str, str, str], ...] = (
    ("Saliency", "Magnitude of the gradient.", "Simonyan et al. 2013, arXiv:1312.6034"),
    ("InputXGradient", "Coefficient times gradient.", "Shrikumar et al. 2016, arXiv:1605.01713"),
    ("IntegratedGradients", "Gradients averaged from the baseline to the point.", _IG),
    ("GradientShap", "Gradients at random points between noisy samples and references.", _SHAP),
    ("NoiseTunnel", "Another gradient attribution averaged over noise.", "Smilkov et al. 2017, arXiv:1706.03825"),
    ("DeepLift", "Differences from the baseline, passed back layer by layer.",
        "Shrikumar et al. 2017, arXiv:1704.02685"),
    ("DeepLiftShap", "DeepLift averaged over references.", _SHAP),
    ("GuidedBackprop", "Gradient with negative parts cut at each ReLU layer.",
        "Springenberg et al. 2014, arXiv:1412.6806"),
    ("Deconvolution", "Gradient rectified at each ReLU layer.", "Zeiler, Fergus 2014, arXiv:1311.2901"),
    ("LRP", "Relevance passed back layer by layer, in proportion to contributions.",
        "Bach et al. 2015, doi:10.1371/journal.pone.0130140"),
    ("FeatureAblation", "Change of the output when a group is set to the baseline.", ""),
    ("Occlusion", "Change of the output when a sliding window is set to the baseline.",
        "Zeiler, Fergus 2014, arXiv:1311.2901"),
    ("FeaturePermutation", "Change of the output when a group is exchanged among samples.",
        "Fisher et al. 2018, arXiv:1801.01489"),
    ("ShapleyValues", "Mean contribution of a group over every order of at most 8 groups.",
        "Shapley 1953, doi:10.1515/9781400881970-018"),
    ("ShapleyValueSampling", "Mean contribution of a group over random orders.",
        "Castro et al. 2009, doi:10.1016/j.cor.2008.04.004"),
    ("Lime", "Coefficients of a sparse linear model around the sample.", "Ribeiro et al. 2016, arXiv:1602.04938"),
    ("KernelShap", "Shapley values by a weighted linear model.", _SHAP),
    ("GuidedGradCam", "Guided backpropagation times a layer's class activation map, for pictures.",
        "Selvaraju et al. 2017, arXiv:1610.02391"),
)
# fmt: on
"""Name of Captum's class, what it gives, and its source."""

_OF_LAYERS = (
    *("InternalInfluence", "LayerActivation", "LayerConductance", "LayerDeepLift", "LayerDeepLiftShap"),
    *("LayerFeatureAblation", "LayerFeaturePermutation", "LayerGradCam", "LayerGradientShap"),
    *("LayerGradientXActivation", "LayerIntegratedGradients", "LayerLRP"),
)
_OF_NEURONS = (
    *("NeuronConductance", "NeuronDeconvolution", "NeuronDeepLift", "NeuronDeepLiftShap", "NeuronFeatureAblation"),
    *("NeuronGradient", "NeuronGradientShap", "NeuronGuidedBackprop", "NeuronIntegratedGradients"),
)
_PROMPTS = "scores the words of a prompt, and trimkit explains tensors"
_ABSTRACT = "is a base class, which scores nothing by itself; Captum's methods are in `trimkit list attributions`"
_REFUSED: dict[str, str] = {
    **dict.fromkeys(
        _OF_LAYERS,
        "scores the units of a layer, and trimkit scores coefficients of the input. A layer's activations are a space, "
        "too: split the network there and explain what follows, as in `head, tail = model[:3], model[3:]` and "
        "`Trim(tail, 'identity', 'integrated_gradients')(head(x), y, baseline=head(x0))`. What drives a "
        "single unit is any attribution of the model cut there: `Trim(head, 'fft', 'integrated_gradients')(x, unit)`",
    ),
    **dict.fromkeys(
        _OF_NEURONS,
        "scores the input for a unit of a layer, and equals the plain attribution on the model cut there: after "
        "`head = model[:4]`, use `Trim(head, 'identity', 'integrated_gradients')(x, unit)`, with the unit (an int, an "
        "index or a function of the layer's output) as target, in any space and with any attribution",
    ),
    **dict.fromkeys(("LLMAttribution", "LLMGradientAttribution", "RemoteLLMAttribution"), _PROMPTS),
    "DataLoaderAttribution": "adds up over the batches of a loader what another method gives; use `trimkit.audit`",
    "LimeBase": "needs functions of its user's for sampling and fitting; captum:Lime is the one with Captum's own",
    **dict.fromkeys(
        ("Attribution", "GradientAttribution", "LayerAttribution", "NeuronAttribution", "PerturbationAttribution"),
        _ABSTRACT,
    ),
}
"""Captum's other classes, and why they have no name here."""


def captum_refusal(name: str) -> str | None:
    """Why a class of Captum's has no name here, as a sentence; None where the name is none of Captum's.

    >>> "DeepLift" in str(captum_refusal("captum:Attribution")) or captum_refusal("fft") is None
    True
    """
    reason = _REFUSED.get(name.removeprefix("captum:")) if name.startswith("captum:") else None
    return reason and f"{name} {reason}."


def captum_attributions() -> Iterator[AttributionSpec]:
    """The records of all ``captum:`` names."""
    for name, summary, reference in _CLASSES:
        target = f"trimkit.attributions.captum:{name}"
        yield AttributionSpec(f"captum:{name}", target, f"{summary[:-1]}, by Captum.", reference)
