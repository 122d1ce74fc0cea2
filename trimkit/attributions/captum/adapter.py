"""What every ``captum:`` attribution does: options, inputs, baselines, random states, and scores in trimkit's form."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from importlib import import_module
from inspect import Parameter, signature
from typing import Any, ClassVar, cast

import torch
from torch import Tensor

from trimkit.attributions.base import Attribution, Probe
from trimkit.attributions.captum.forward import Inputs, Rows, isolated, scores_like, to_real
from trimkit.coefficients import tree
from trimkit.coefficients.baseline import Baseline, number_of
from trimkit.coefficients.tree import Tree
from trimkit.errors import AttributionError, OptionError, ShapeError, TrimkitError, nearest
from trimkit.predictor.composed import eager, model_of

_OURS = {
    *("self", "forward_func", "model", "attribution_method", "inputs", "target", "baselines", "feature_mask", "kwargs"),
    *("additional_forward_args", "return_convergence_delta", "return_input_shape", "layer", "neuron_selector"),
}
"""Arguments of Captum's that the adapter fills in, so they are no options."""


class CaptumAttribution(Attribution):
    """One of Captum's classes, by the name of the subclass.

    Args:
        **options: of the Captum class: its constructor's and its ``attribute`` method's.

    Raises:
        OptionError: an option that the Captum class does not have.
    """

    differentiable: ClassVar[bool] = False
    defaults: ClassVar[Mapping[str, Any]] = {}
    takes_baseline: bool = False

    def __init__(self, **options: Any) -> None:
        self.name = type(self).__name__
        self.kind: Any = getattr(import_module("captum.attr"), self.name)
        self.making, self.calling = self._split({**self.defaults, **options})

    def attribute(self, probe: Probe, s: Tree, baseline: Tree, generator: torch.Generator | None) -> Tree:
        """Captum's scores in the form of s."""
        self.require(probe, s)
        inputs = self.inputs(s)
        arguments = self.arguments(probe, s)
        if self.takes_baseline:
            arguments["baselines"] = tuple(part.detach() for part in to_real(baseline))
        with isolated(generator), eager(model_of(probe.function)):
            try:
                return self.scores(self.explainer(probe), inputs, arguments, s)
            except (TrimkitError, torch.OutOfMemoryError):
                raise
            except Exception as error:
                reason = self._refusal(error, probe)
                if reason is None:
                    raise
                raise AttributionError(f"captum:{self.name}{reason}") from error

    def _refusal(self, error: Exception, probe: Probe) -> str | None:
        """What an error within Captum means; None where the model itself raises it."""
        if "used more than once" in str(error):
            return (
                " refuses a module that runs more than once in a forward; give each use a module of its own, or use "
                "layerwise_relevance or integrated_gradients"
            )
        if re.search("doesn't require grad|does not require grad|not to have been used", str(error)):
            return (
                ": no gradient reaches the input (a detach, argmax or integer cast in the model?); use a perturbation "
                "attribution or remove the break"
            )
        if isinstance(error, AssertionError | TypeError) or probe.has_output:
            return f" refuses this model or input: {error}; use integrated_gradients"
        return None

    def require(self, probe: Probe, s: Tree) -> None:
        """Refuse, before any work, what Captum would get wrong."""

    def inputs(self, s: Tree) -> Inputs:
        """What Captum explains: a copy that requires grad, so that it leaves the caller's alone."""
        return tuple(part.detach().clone().requires_grad_() for part in to_real(s))

    def arguments(self, probe: Probe, s: Tree) -> dict[str, Any]:
        """What is passed to Captum's ``attribute`` besides the inputs and baselines."""
        numbers = torch.arange(probe.samples, device=tree.leaves(s)[0].device)
        return {**self.calling, "additional_forward_args": (numbers,)}

    def explainer(self, probe: Probe) -> Any:
        """An instance of the Captum class."""
        return self.kind(Rows(probe), **self.making)

    def scores(self, explainer: Any, inputs: Inputs, arguments: dict[str, Any], s: Tree) -> Tree:
        """Run Captum and bring its scores into the form of s."""
        return scores_like(s, explainer.attribute(inputs, **arguments))

    def _split(self, options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Options of the constructor, and options of ``attribute``."""
        making, calling = parameters(self.kind.__init__), parameters(self.kind.attribute)
        for option in options:
            if option not in making | calling:
                known = making | calling
                raise OptionError(f"captum:{self.name} has no option {option!r}. {nearest(option, known)}")
        return (
            {name: value for name, value in options.items() if name in making},
            {name: value for name, value in options.items() if name not in making},
        )


class FromSamples(CaptumAttribution):
    """Compares with a set of reference samples: as given by the baseline, or the batch itself."""

    takes_baseline: bool = True
    from_references: ClassVar[bool] = True

    def resolve_baseline(self, baseline: Baseline, s: Tree) -> Tree:
        """References (R, ...), at least two.

        Raises:
            ShapeError: fewer than two.
        """
        number = number_of(baseline)
        if baseline is None:
            references: Tree = tree.map_leaves(Tensor.detach, s)
        elif number is not None:
            one = tree.map_leaves(lambda leaf: torch.full_like(leaf[:1].detach(), number), s)
            references = tree.concatenate([one, one])
        else:
            references = tree.map_leaves(lambda leaf, base: base.detach().to(leaf), s, cast(Tree, baseline))
        if tree.batch_size(references) < 2:
            raise ShapeError(
                f"captum:{self.name}: expected at least 2 reference samples, got 1; pass "
                "baseline=transform(x_reference), or a larger batch"
            )
        return references


def parameters(function: Callable[..., Any]) -> set[str]:
    """The options of one of Captum's functions: its named parameters that no adapter fills in."""
    found = signature(function).parameters.values()
    return {p.name for p in found if p.kind is not Parameter.VAR_KEYWORD} - _OURS
