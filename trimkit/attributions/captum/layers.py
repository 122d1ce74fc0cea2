"""Captum's attributions that set hooks on the layers of a module."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, ClassVar, TypeAlias
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from trimkit.attributions.base import Probe
from trimkit.attributions.captum.adapter import CaptumAttribution, FromSamples
from trimkit.attributions.captum.forward import Inputs, Rows, is_affine, scores_like, to_real
from trimkit.attributions.tracking import track
from trimkit.coefficients import tree
from trimkit.coefficients.tree import Tree
from trimkit.errors import AttributionError, OptionError, TrimkitWarning, nearest
from trimkit.predictor.composed import Composed, eager, model_of
from trimkit.predictor.guards import unchanged
from trimkit.predictor.state import copy_of
from trimkit.predictor.turns import in_this_thread

Layer: TypeAlias = str | int | float | nn.Module
"""The dotted name of a layer of the predictor, such as ``"features.3"``, or the layer itself. A number is taken for the
name that it was: the command line reads ``layer=3`` and ``layer=0.3`` so."""


class Hooked(CaptumAttribution):
    """Works by hooks on the layers of the model, so it needs a module; functional activations stay unseen."""

    needs_module: ClassVar[bool] = True
    affine_inverse: ClassVar[bool] = False

    def require(self, probe: Probe, s: Tree) -> None:
        """A module, and where the method redistributes scores layer by layer, an affine inverse transform.

        Raises:
            AttributionError: there is none.
        """
        function = probe.function
        if not isinstance(model_of(function), nn.Module):
            raise AttributionError(
                f"captum:{self.name} works by hooks on layers: expected a torch.nn.Module, got "
                f"{type(model_of(function)).__name__}; wrap the model in a module, or use integrated_gradients"
            )
        if (
            self.affine_inverse
            and isinstance(function, Composed)
            and not is_affine(function.transform, s, function.size)
        ):
            raise AttributionError(
                f"captum:{self.name} would be silently wrong behind {type(function.transform).__name__}, whose inverse "
                "is not affine (a learned decoder): its rules reach the model's layers only; use integrated_gradients"
            )


class _Rectified(Hooked):
    """Changes the gradient of ReLU layers."""

    gradient_like: ClassVar[bool] = True

    def require(self, probe: Probe, s: Tree) -> None:
        """At least one ReLU layer: without, the result would be the plain gradient.

        Raises:
            AttributionError: there is none.
        """
        super().require(probe, s)
        if not any(isinstance(module, nn.ReLU) for module in model_of(probe.function).modules()):
            raise AttributionError(
                f"captum:{self.name} found no torch.nn.ReLU module (functional relu cannot be seen), so it would give "
                "the plain gradient; use modules, or saliency"
            )
        unseen = functional_relus(model_of(probe.function), lambda: probe.function(s))
        if unseen:
            raise AttributionError(
                f"captum:{self.name} changes torch.nn.ReLU modules only, and {unseen} of the model's ReLUs are "
                "functional, whose gradient would stay plain; make each a torch.nn.ReLU, or use saliency"
            )


class GuidedBackprop(_Rectified):
    """Gradients with negative ones cut at each ReLU layer, Springenberg et al. 2014."""


class Deconvolution(_Rectified):
    """Gradients through ReLU layers that rectify the gradient instead, Zeiler & Fergus 2014."""


class Rescaled(Hooked):
    """Promises that scores sum to a change of f, which is checked, since unseen activations break it silently."""

    affine_inverse: ClassVar[bool] = True
    takes_baseline: bool = True

    explained: ClassVar[str] = "output"

    def require(self, probe: Probe, s: Tree) -> None:
        """Sample and reference in one call, which the hooks compare.

        Raises:
            AttributionError: a model that takes one batch at a time.
        """
        super().require(probe, s)
        probe.settle_rows(any_order=True)
        if isinstance(probe.function, Composed) and probe.function.site.rows == "batch":
            raise AttributionError(
                f"captum:{self.name} compares samples with references in one call, and this model takes, or mixes, one "
                "batch at a time; use integrated_gradients"
            )

    def scores(self, explainer: Any, inputs: Inputs, arguments: dict[str, Any], s: Tree) -> Tree:
        """Captum's scores; warns where they do not sum to what they should."""
        with _clean(explainer.model):
            found, gaps = self.with_gaps(explainer, inputs, arguments)
        scores = scores_like(s, found)
        gap, largest = (float(values.detach().abs().max()) for values in (gaps, tree.sample_sums(scores)))
        if not gap <= 0.01 * largest + 1e-6:
            warnings.warn(
                f"captum:{self.name} is not complete here: scores miss the change of the {self.explained} by up to "
                f"{gap:.2g} (largest sum {largest:.2g}). Activations that are functional or that Captum has no rule "
                "for, or max pooling beside ReLU, cause this; use integrated_gradients",
                TrimkitWarning,
                stacklevel=2,
            )
        return scores

    def with_gaps(self, explainer: Any, inputs: Inputs, arguments: dict[str, Any]) -> tuple[Inputs, Tensor]:
        """Captum's scores, and by how much each sample's miss the change of what is explained."""
        return explainer.attribute(inputs, **arguments, return_convergence_delta=True)


@contextmanager
def _clean(rows: nn.Module) -> Iterator[None]:
    """Within it Captum keeps tensors on modules, which it leaves there where it fails.

    Raises:
        AttributionError: it failed at a layer that gets other rows for samples than for references.
    """
    before = {module: set(vars(module)) for module in rows.modules()}
    try:
        yield
    except (RuntimeError, ValueError) as error:
        if not re.search("size of tensor|values to unpack", str(error)):
            raise
        raise AttributionError(
            "Captum's DeepLift compares rows of samples with rows of references, and a layer of this model gets others "
            "(rows that are sent to different experts?); use layerwise_relevance or integrated_gradients"
        ) from error
    finally:
        for module, names in before.items():
            for name in {"input", "output"} & (vars(module).keys() - names):
                delattr(module, name)


class DeepLift(Rescaled):
    """Differences from the baseline, passed back layer by layer, Shrikumar et al. 2017; option ``eps``."""

    complete: ClassVar[bool] = True


class DeepLiftShap(Rescaled, FromSamples):
    """DeepLift averaged over reference samples, Lundberg & Lee 2017."""


class LRP(Hooked):
    """Layer-wise relevance propagation, Bach et al. 2015, by Captum's default rules, on a copy of the model.

    Captum rewrites parameters while it works, and has no rule for layers that only change shape; here these pass
    relevance on as it is.
    """

    affine_inverse: ClassVar[bool] = True

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._conserving: WeakSet[nn.Module] = WeakSet()

    def explainer(self, probe: Probe) -> Any:
        """Captum's class on a copy whose reshaping layers have a rule, of a model on which relevance is conserved.

        Raises:
            AttributionError: it is not: skip connections, concatenations or products stay unseen.
        """
        model = model_of(probe.function)
        if isinstance(probe.function, Composed) and not probe.function.site.plain:
            raise AttributionError(
                f"captum:{self.name} explains the only input of a model, no layer and none of several inputs; use "
                "layerwise_relevance"
            )
        if model not in self._conserving:
            self._require_conservation(probe, _with_rules(model))
            self._conserving.add(model)
        return self.kind(Rows(probe, _with_rules(model)))

    def _require_conservation(self, probe: Probe, model: nn.Module) -> None:
        """Without biases, which take relevance of their own, scores of the data must sum to the output."""
        for module in model.modules():
            for name in ("bias", "running_mean"):
                if isinstance(offset := getattr(module, name, None), Tensor):
                    offset.data.zero_()
        x = track(_data(probe, probe.point), keep_graph=False)
        rows = Rows(Probe(model, x, probe.target, create_graph=False), model)
        inputs, numbers = to_real(x), torch.arange(probe.samples, device=tree.leaves(x)[0].device)
        relevance = self.kind(rows).attribute(inputs, additional_forward_args=(numbers,))
        gap = tree.sample_sums(relevance) - rows(*inputs, numbers)
        whole = tree.sample_sums([part.abs() for part in relevance])
        worst, scale = float(gap.detach().abs().max()), float(whole.detach().abs().max())
        if not worst <= 0.01 * scale + 1e-6:
            raise AttributionError(
                f"captum:{self.name} is wrong on this model: without biases its scores should sum to the output, and "
                f"miss it by up to {worst:.2g} (largest sum of magnitudes {scale:.2g}). Its rules do not see what "
                "happens between modules, such as skip connections, concatenations and products; use "
                "contextual_decomposition or integrated_gradients"
            )


def _with_rules(model: nn.Module) -> nn.Module:
    """A copy whose reshaping layers have a rule."""
    rules = import_module("captum.attr._utils.lrp_rules")
    copied = copy_of(model)
    for module in copied.modules():
        if isinstance(module, nn.Flatten | nn.Unflatten | nn.Identity):
            module.rule = rules.EpsilonRule()  # type: ignore[assignment]
    return copied


def _data(probe: Probe, s: Tree) -> Tree:
    """What the model sees."""
    return probe.function.data(s) if isinstance(probe.function, Composed) else s


class _CountRelus(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += getattr(func, "__name__", "") in ("relu", "relu_")
        return func(*args, **(kwargs or {}))


def functional_relus(model: nn.Module, forward: Callable[[], Any]) -> int:
    """How many ReLUs one forward of a model, as it is called, computes outside of torch.nn.ReLU modules."""
    calls: list[nn.Module] = []
    hooks = [
        module.register_forward_hook(in_this_thread(lambda module, _, __: calls.append(module)))
        for module in model.modules()
        if isinstance(module, nn.ReLU)
    ]
    try:
        with torch.no_grad(), eager(model), unchanged(model), _CountRelus() as relus:
            forward()
    finally:
        for hook in hooks:
            hook.remove()
    return relus.count - len(calls)


def find_layer(name: str, function: Any, layer: Layer) -> nn.Module:
    """The layer of the predictor behind a function.

    Args:
        name: of the attribution, for the message.
        function: what is explained.
        layer: see `Layer`.
    Raises:
        OptionError: the predictor has no such layer, or a number that is the name of several.
    """
    model = model_of(function)
    known = {path: module for path, module in getattr(model, "_orig_mod", model).named_modules() if path}
    found = [path for path, module in known.items() if _is_meant(layer, path, module)]
    if len(found) == 1:
        return known[found[0]]
    if found:
        raise OptionError(
            f"captum:{name}: layer {layer} may be {' or '.join(found)}, since it was read as a number; pass the layer "
            "in Python"
        )
    if isinstance(layer, nn.Module):
        raise OptionError(
            f"captum:{name}: expected a layer of the explained {type(model).__name__}, got a {type(layer).__name__} "
            "that is none of its submodules (one of a copy of it?); name it, as in layer='features.3'"
        )
    hint = nearest(str(layer), known)
    raise OptionError(f"captum:{name}: {type(model).__name__} has no layer {str(layer)!r}. {hint}")


def _is_meant(layer: Layer, path: str, module: nn.Module) -> bool:
    if isinstance(layer, nn.Module):
        return module is layer
    if not isinstance(layer, float):
        return path == str(layer)
    try:
        return float(path) == layer  # 1.1 and 1.10
    except ValueError:
        return False
