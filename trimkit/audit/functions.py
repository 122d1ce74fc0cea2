"""A user's own function as an attribution, so that whatever gives scores can be audited."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

import torch

from trimkit.attributions.base import Attribution, Probe
from trimkit.coefficients.tree import Tree
from trimkit.errors import OptionError, ShapeError
from trimkit.predictor.composed import Composed
from trimkit.transforms.base import Identity, single_leaf


class FromFunction(Attribution):
    """Scores from a function (model, x, target) → scores like x: a tensor or an array of real numbers.

    In the data's own space the function gets the audited model itself, or the randomised copy that it is to explain; in
    another space a function of coefficients, and coefficients in place of x. It must explain the model that it gets,
    sample by sample. The forwards that it spends are not counted.

    Args:
        function: target is (N,) class numbers, or what `trimkit.targets.Target` names for other tasks.

    Example:
        >>> import torch
        >>> model = torch.nn.Linear(2, 1)
        >>> scores = FromFunction(lambda model, x, target: (model.weight * x).detach().numpy())
        >>> bool((scores(model, torch.ones(3, 2)) == model.weight).all())
        True
    """

    differentiable: ClassVar[bool] = False
    tree_ok: ClassVar[bool] = False
    order: ClassVar[Literal["gradient", "perturbation"]] = "perturbation"

    def __init__(self, function: Callable[..., Any]) -> None:
        if isinstance(function, type):
            raise OptionError(f"expected an attribution, got the class {function.__name__}: make one of it first")
        self.name = getattr(function, "__name__", type(function).__name__).strip("<>")
        self._function = function

    def attribute(self, probe: Probe, s: Tree, baseline: Tree, generator: torch.Generator | None) -> Tree:
        """What the function gives, as floating numbers on the device of s.

        Raises:
            ShapeError: scores of another shape than s.
        """
        point = single_leaf(s, self.name)
        scores = torch.as_tensor(self._function(_own_model(probe), point.detach(), probe.target))
        if scores.shape != point.shape:
            raise ShapeError(
                f"{self.name}: expected scores {tuple(point.shape)}, one for each value that it got, got "
                f"{tuple(scores.shape)}"
            )
        real = scores.is_floating_point() or scores.is_complex()
        return (scores if real else scores.double()).detach().to(point.device)


def _own_model(probe: Probe) -> Any:
    """The user's model where x itself is explained, else coefficients → output."""
    composed = probe.function
    if isinstance(composed, Composed) and not isinstance(composed.transform, Identity):
        return composed
    return getattr(probe.model, "model", probe.model)
