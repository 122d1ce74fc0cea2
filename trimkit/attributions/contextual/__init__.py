"""Contextual decomposition: `ContextualDecomposition` scores groups, `decompose` carries parts through a function."""

from trimkit.attributions.contextual import rules as rules  # enters the rules of all operations
from trimkit.attributions.contextual.contextual import ContextualDecomposition, Rule, decompose
from trimkit.attributions.contextual.pair import Pair

__all__ = ["ContextualDecomposition", "Pair", "Rule", "decompose"]
