"""Layer-wise relevance against a reference, through attention: `LayerwiseRelevance`."""

from trimkit.attributions.relevance import rules as rules  # enters the rules of all operations
from trimkit.attributions.relevance.relevance import LayerwiseRelevance
from trimkit.attributions.relevance.twin import Twin

__all__ = ["LayerwiseRelevance", "Twin"]
