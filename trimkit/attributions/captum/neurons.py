"""Captum's attributions of one neuron of an inner layer: which coefficients drive it?

The number that is explained is the neuron's activation, so the target plays no part and scores never sum to a change of
the model's output. Captum's neuron classes have no graph to train through.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, ClassVar, TypeAlias

from torch import Tensor

from trimkit.attributions.base import Probe
from trimkit.attributions.captum.adapter import FromSamples
from trimkit.attributions.captum.forward import Inputs, Rows
from trimkit.attributions.captum.layers import Deconvolution, GuidedBackprop, Hooked, Layer, Rescaled, find_layer
from trimkit.attributions.captum.values import FeatureAblation
from trimkit.coefficients.tree import Tree
from trimkit.errors import OptionError, ShapeError
from trimkit.targets import select

Neuron: TypeAlias = int | Sequence[int] | Callable[[Any], Tensor]
"""An int k: activation[:, k]. Several: an index behind the batch, such as (channel, row, column). A callable: what the
layer gave → (rows,), a combination of its neurons."""


class Layers(Rows):
    """Runs the layers for each row; a neuron is read from one of them, so what the model returns does not matter."""

    def forward(self, *inputs: Tensor) -> Tensor:
        """The number of the sample of each row."""
        return self.run(*inputs)[1]


class _OfNeuron(Hooked):
    """Scores coefficients for a neuron.

    Args:
        layer: of the predictor, see `Layer`.
        neuron: of the layer's output, or with ``attribute_to_neuron_input=True`` of its input; see `Neuron`.
        **options: of the Captum class.

    Raises:
        OptionError: the model has no such layer, when it is explained.
        ShapeError: the layer has no such neuron, when it is explained.
    """

    rows: ClassVar[type[Rows]] = Layers

    def __init__(self, layer: Layer, neuron: Neuron, **options: Any) -> None:
        super().__init__(**options)
        self.layer = layer
        self.neuron: Any = tuple(neuron) if isinstance(neuron, Sequence) else neuron

    def explainer(self, probe: Probe) -> Any:
        """An instance of the Captum class for the layer."""
        return self.kind(self.rows(probe), find_layer(self.name, probe.function, self.layer), **self.making)

    def scores(self, explainer: Any, inputs: Inputs, arguments: dict[str, Any], s: Tree) -> Tree:
        """Captum's scores of the neuron."""

        def neuron_selector(activation: Any) -> Tensor:
            return explainer.forward_func.tied(self.read(activation))

        return super().scores(explainer, inputs, {**arguments, "neuron_selector": neuron_selector}, s)

    def read(self, activation: Any) -> Tensor:
        """The neuron, (rows,), of what the layer gave.

        Raises:
            ShapeError: the layer has no such neuron.
        """
        try:
            return select(activation, self.neuron)
        except ShapeError as error:
            raise ShapeError(
                f"captum:{self.name}: layer {self.layer} has no neuron {self.neuron!r}. As a target of the layer's "
                f"activation: {error}"
            ) from error


class NeuronGradient(_OfNeuron):
    """Gradient of a neuron, Simonyan et al. 2013; ``layer``, ``neuron``. Target and baseline play no part."""

    gradient_like: ClassVar[bool] = True


class NeuronIntegratedGradients(_OfNeuron):
    """Gradients of a neuron on the path from the baseline; ``layer``, ``neuron``, ``n_steps``, ``method``.

    Scores sum to the neuron's change from the baseline. The target plays no part.
    """

    takes_baseline: bool = True


class NeuronGradientShap(_OfNeuron, FromSamples):
    """Gradients of a neuron at random points towards random references; ``layer``, ``neuron``, ``n_samples``.

    The target plays no part.
    """

    stochastic: ClassVar[bool] = True


class NeuronConductance(_OfNeuron):
    """The part of integrated gradients that flows through a neuron, Dhamdhere et al. 2018; ``layer``, ``neuron``.

    Here the target counts, as an exception: summed over the neurons of a layer that nothing bypasses, this gives the
    integrated gradients of the target, with the same ``n_steps`` and ``method``.
    """

    rows: ClassVar[type[Rows]] = Rows
    takes_baseline: bool = True

    def __init__(self, layer: Layer, neuron: int | Sequence[int], **options: Any) -> None:
        if callable(neuron):
            raise OptionError(
                "captum:NeuronConductance reads the neuron's gradient as well as its value: expected an int or an "
                "index, got a callable; add the scores of several neurons, or use captum:NeuronIntegratedGradients"
            )
        super().__init__(layer, neuron, **options)


class NeuronGuidedBackprop(_OfNeuron, GuidedBackprop):
    """Gradient of a neuron with negative parts cut at each ReLU layer; ``layer``, ``neuron``. No target."""


class NeuronDeconvolution(_OfNeuron, Deconvolution):
    """Gradient of a neuron rectified at each ReLU layer; ``layer``, ``neuron``. The target plays no part."""


class NeuronFeatureAblation(_OfNeuron, FeatureAblation):
    """Change of a neuron when a group is set to the baseline; ``layer``, ``neuron``, ``groups``. No target."""


class NeuronDeepLift(_OfNeuron, Rescaled):
    """Differences of a neuron from the baseline, passed back layer by layer; ``layer``, ``neuron``.

    Scores sum to the neuron's change from the baseline, which is checked. The target plays no part.
    """

    explained: ClassVar[str] = "neuron"

    def with_gaps(self, explainer: Any, inputs: Inputs, arguments: dict[str, Any]) -> tuple[Inputs, Tensor]:
        """Captum's scores, and by how much each sample's miss the change of the neuron, which Captum does not give."""
        found = explainer.attribute(inputs, **arguments)
        change = self.activation(explainer, inputs, arguments) - self.at_baseline(explainer, arguments)
        return found, sum(part.flatten(1).sum(1) for part in found) - change

    def activation(self, explainer: Any, inputs: Inputs, arguments: dict[str, Any]) -> Tensor:
        """The neuron at some inputs, (rows,)."""
        layer = import_module("captum.attr").LayerActivation(explainer.forward_func, explainer.layer)
        return self.read(
            layer.attribute(
                inputs,
                additional_forward_args=arguments["additional_forward_args"],
                attribute_to_layer_input=arguments.get("attribute_to_neuron_input", False),
            )
        )

    def at_baseline(self, explainer: Any, arguments: dict[str, Any]) -> Tensor:
        """The neuron at each sample's baseline, (N,)."""
        return self.activation(explainer, arguments["baselines"], arguments)


class NeuronDeepLiftShap(NeuronDeepLift, FromSamples):
    """`NeuronDeepLift` averaged over reference samples, Lundberg & Lee 2017; ``layer``, ``neuron``."""

    def at_baseline(self, explainer: Any, arguments: dict[str, Any]) -> Tensor:
        """The neuron's mean over the references, each with the residual of the sample, (N,)."""
        (numbers,) = arguments["additional_forward_args"]
        references = len(arguments["baselines"][0])
        pairs = tuple(base.repeat(len(numbers), *[1] * (base.ndim - 1)) for base in arguments["baselines"])
        rows = {**arguments, "additional_forward_args": (numbers.repeat_interleave(references),)}
        return self.activation(explainer, pairs, rows).unflatten(0, (-1, references)).mean(1)
