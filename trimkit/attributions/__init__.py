"""Attributions (output, s) → scores: what a model's output owes to each coefficient."""

from trimkit.attributions.base import Attribution, Explanation, Probe
from trimkit.attributions.check import AttributionCheck, check_attribution
from trimkit.attributions.gradient import InputXGradient, IntegratedGradients, Saliency

__all__ = [
    "Attribution",
    "AttributionCheck",
    "Explanation",
    "InputXGradient",
    "IntegratedGradients",
    "Probe",
    "Saliency",
    "check_attribution",
]
