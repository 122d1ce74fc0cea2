"""Captum's attributions from gradients of a function."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, ClassVar

import torch
from torch import Tensor

from trimkit.attributions.base import NO_PATH, Probe
from trimkit.attributions.captum.adapter import CaptumAttribution, FromSamples, parameters
from trimkit.attributions.captum.forward import Inputs, Rows, from_real, to_real
from trimkit.attributions.captum.layers import Deconvolution, DeepLift, GuidedBackprop
from trimkit.attributions.tracking import gradients_of
from trimkit.coefficients.tree import Tree
from trimkit.errors import AttributionError, OptionError


class _Differentiable(CaptumAttribution):
    """Evaluates whole copies of the batch in order, so the probe serves it, and its gradients can keep their graph."""

    differentiable: ClassVar[bool] = True

    def require(self, probe: Probe, s: Tree) -> None:
        """No inner batches in training: they are detached inside Captum."""
        if probe.create_graph and self.calling.get("internal_batch_size") is not None:
            raise AttributionError(
                f"captum:{self.name} with internal_batch_size has wrong gradients (its chunks are detached); leave it "
                "out, or use integrated_gradients with memory='two_pass'"
            )

    def inputs(self, s: Tree) -> Inputs:
        """The coefficients themselves, in their graph."""
        return to_real(s)

    def arguments(self, probe: Probe, s: Tree) -> dict[str, Any]:
        """The options alone: rows come in order, so they need no numbers."""
        return dict(self.calling)

    def explainer(self, probe: Probe) -> Any:
        """An instance of the Captum class with a gradient function that keeps the graph."""

        def values(*inputs: Tensor) -> Tensor:
            return probe.values(from_real(probe.point, inputs), len(inputs[0]) // probe.samples)

        made = self.kind(values, **self.making)
        made.gradient_func = gradient_function(probe.create_graph)
        return made


class Saliency(_Differentiable):
    """|∂f/∂s|, Simonyan et al. 2013; option ``abs``. The baseline plays no part."""

    gradient_like: ClassVar[bool] = True


class InputXGradient(_Differentiable):
    """s · ∂f/∂s, Shrikumar et al. 2016. The baseline plays no part."""


class IntegratedGradients(_Differentiable):
    """Gradients on the path from the baseline, Sundararajan et al. 2017; options ``n_steps``, ``method``."""

    complete: ClassVar[bool] = True
    takes_baseline: bool = True


class GradientShap(FromSamples):
    """Gradients at random points towards random references, Lundberg & Lee 2017; ``n_samples``, ``stdevs``."""

    stochastic: ClassVar[bool] = True


class NoiseTunnel(CaptumAttribution):
    """A gradient attribution averaged over noise, Smilkov et al. 2017.

    Args:
        method: Saliency, InputXGradient, IntegratedGradients, or a class that needs a module: GuidedBackprop,
            Deconvolution, DeepLift.
        **options: of NoiseTunnel (``nt_type``, ``nt_samples``, ``stdevs``) and of the method.
    """

    stochastic: ClassVar[bool] = True

    def __init__(self, method: str = "Saliency", **options: Any) -> None:
        if method not in _NOISY:
            raise OptionError(f"captum:NoiseTunnel: expected a method among {', '.join(_NOISY)}, got {method!r}")
        tunnel = parameters(import_module("captum.attr").NoiseTunnel.attribute)
        super().__init__(**{name: value for name, value in options.items() if name in tunnel})
        self.inner: CaptumAttribution = _NOISY[method](**{n: v for n, v in options.items() if n not in tunnel})
        self.takes_baseline = self.inner.takes_baseline

    def require(self, probe: Probe, s: Tree) -> None:
        """What the method requires."""
        self.inner.require(probe, s)

    def arguments(self, probe: Probe, s: Tree) -> dict[str, Any]:
        """The tunnel's options and the method's."""
        return {**self.inner.calling, **super().arguments(probe, s)}

    def explainer(self, probe: Probe) -> Any:
        """A tunnel around an instance of the method's Captum class."""
        inner = self.inner.kind(Rows(probe), **self.inner.making)
        if isinstance(self.inner, _Differentiable):
            inner.gradient_func = gradient_function(create_graph=False)
        return self.kind(inner)


_NOISY: dict[str, type[CaptumAttribution]] = {
    kind.__name__: kind
    for kind in (Saliency, InputXGradient, IntegratedGradients, GuidedBackprop, Deconvolution, DeepLift)
}


def gradient_function(create_graph: bool) -> Callable[..., Inputs]:
    """What Captum calls for gradients: one sum over the batch, not one root a sample, and with a graph where asked."""

    def gradients(
        forward_fn: Callable[..., Tensor], inputs: Inputs, target_ind: Any = None, additional_forward_args: Any = None
    ) -> Inputs:
        """∂Σ f/∂inputs; of those that f does not depend on, zeros."""
        with torch.enable_grad():
            values = forward_fn(*inputs, *(additional_forward_args or ()))
            partials = gradients_of(values, inputs, create_graph)
        if all(gradient is None for gradient in partials):
            raise AttributionError(NO_PATH)
        return tuple(torch.zeros_like(x) if g is None else g for x, g in zip(inputs, partials, strict=True))

    return gradients
