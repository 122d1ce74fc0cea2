"""Explain a model in a transformed space (`Trim`), and train it for simple explanations there (`TrimPenalty`)."""

from trimkit.trim.penalty import PenaltyReport, TrimPenalty
from trimkit.trim.trim import Choice, Trim, TrimResult

__all__ = ["Choice", "PenaltyReport", "Trim", "TrimPenalty", "TrimResult"]
