"""What the class or function behind a part says of itself: read from it, after its import, and from nowhere else."""

from __future__ import annotations

from typing import Any

_FACTS: dict[str, dict[str, Any]] = {
    "transform": {"exact": True, "complex_coefficients": False, "learnable": False, "needs_fit": False},
    "attribution": {
        "differentiable": True,
        "complete": False,
        "stochastic": False,
        "complex_ok": True,
        "tree_ok": True,
        "needs_module": False,
        "order": "gradient",
    },
    "penalty": {"is_measure": False, "is_scale_invariant": False, "needs_signs": False},
    "check": {"of_transform": False, "unit": ""},
}
"""Kind → attribute → its value where the class or function does not have it."""


def facts_of(kind: str, target: Any) -> dict[str, Any]:
    """Attribute → value of a part, as plain JSON values, from its kind in the singular and its class or function.

    A function that makes a transform or an attribution says none before it is called.
    """
    if kind in ("transform", "attribution", "check") and not isinstance(target, type):
        return {}
    return {name: getattr(target, name, default) for name, default in _FACTS.get(kind, {}).items()}
