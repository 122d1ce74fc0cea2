"""Captum's attributions as trimkit's: ``captum:DeepLift`` and so on, each class here named as Captum's.

For audits and comparison. Only `Saliency`, `InputXGradient` and `IntegratedGradients` can be trained through, with a
gradient function of ours that keeps the graph; trimkit's own three are cheaper. The others have no graph inside Captum,
or one with wrong gradients. Scores of a complex coefficient are the sum over its real and imaginary part.

Captum's layer classes are not here: they score a layer's units, not coefficients, and `trimkit.registry.captum` says
what to do instead.
"""

from trimkit.attributions.captum.adapter import CaptumAttribution
from trimkit.attributions.captum.gradients import (
    GradientShap,
    InputXGradient,
    IntegratedGradients,
    NoiseTunnel,
    Saliency,
)
from trimkit.attributions.captum.layers import LRP, Deconvolution, DeepLift, DeepLiftShap, GuidedBackprop
from trimkit.attributions.captum.maps import GuidedGradCam
from trimkit.attributions.captum.values import (
    FeatureAblation,
    FeaturePermutation,
    KernelShap,
    Lime,
    Occlusion,
    ShapleyValues,
    ShapleyValueSampling,
)

__all__ = [
    "LRP",
    "CaptumAttribution",
    "Deconvolution",
    "DeepLift",
    "DeepLiftShap",
    "FeatureAblation",
    "FeaturePermutation",
    "GradientShap",
    "GuidedBackprop",
    "GuidedGradCam",
    "InputXGradient",
    "IntegratedGradients",
    "KernelShap",
    "Lime",
    "NoiseTunnel",
    "Occlusion",
    "Saliency",
    "ShapleyValueSampling",
    "ShapleyValues",
]
