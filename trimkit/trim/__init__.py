"""Explain a model in a transformed space (`Trim`), and train it for simple explanations there (`TrimPenalty`)."""

from trimkit.trim.penalty import PenaltyReport, TrimPenalty
from trimkit.trim.result import TrimResult
from trimkit.trim.trim import Choice, Trim

__all__ = ["Choice", "PenaltyReport", "Trim", "TrimPenalty", "TrimResult"]
