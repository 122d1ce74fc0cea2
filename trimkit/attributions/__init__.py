"""Attributions (output, s) → scores: what a model's output owes to each coefficient."""

from trimkit.attributions.base import Attribution, Explanation, Probe
from trimkit.attributions.check import AttributionCheck, check_attribution
from trimkit.attributions.gradient import GradientOfLoss, InputXGradient, IntegratedGradients, Saliency
from trimkit.attributions.perturbation import FeatureAblation, Occlusion
from trimkit.attributions.stochastic import ExpectedGradients, GradientShap, SmoothGrad

__all__ = [
    "Attribution",
    "AttributionCheck",
    "ExpectedGradients",
    "Explanation",
    "FeatureAblation",
    "GradientOfLoss",
    "GradientShap",
    "InputXGradient",
    "IntegratedGradients",
    "Occlusion",
    "Probe",
    "Saliency",
    "SmoothGrad",
    "check_attribution",
]
