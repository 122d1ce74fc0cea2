"""Captum's attribution that lays a layer's maps over the input."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any, ClassVar, TypeGuard

import torch
from torch import Tensor

from trimkit.attributions.base import Probe
from trimkit.attributions.captum.forward import Inputs, Rows
from trimkit.attributions.captum.layers import GuidedBackprop, Layer, find_layer
from trimkit.coefficients import tree
from trimkit.coefficients.tree import Tree
from trimkit.errors import AttributionError
from trimkit.predictor.composed import Composed
from trimkit.transforms.base import Transform


class GuidedGradCam(GuidedBackprop):
    """Guided backpropagation times a layer's class activation map, Selvaraju et al. 2017.

    The map is enlarged to the size of the coefficients, so these must be pictures on the grid of the data, as pixels,
    colours and whitened pixels are: a place in a map says nothing of a frequency or a component.

    Args:
        layer: of the predictor, see `trimkit.attributions.captum.layers.Layer`; its activation is (N, C, H, W).
        **options: of Captum's class: ``interpolate_mode``, ``attribute_to_layer_input``.

    Raises:
        AttributionError: coefficients or a layer without a grid, when it is explained.
        OptionError: the model has no such layer, when it is explained.
    """

    complex_ok: ClassVar[bool] = False
    tree_ok: ClassVar[bool] = False
    gradient_like: ClassVar[bool] = False

    def __init__(self, layer: Layer, **options: Any) -> None:
        super().__init__(**options)
        self.layer = layer

    def require(self, probe: Probe, s: Tree) -> None:
        """Coefficients that are pictures on the grid of the data.

        Raises:
            AttributionError: they are not.
        """
        super().require(probe, s)
        function = probe.function
        if not _is_picture(s):
            space = type(function.transform).__name__ if isinstance(function, Composed) else "the input"
            raise AttributionError(
                f"captum:{self.name} enlarges a layer's map to the size of the coefficients: expected one real tensor "
                f"(N, C, H, W), got {_shapes(s)} of {space}; use captum:GuidedBackprop"
            )
        if isinstance(function, Composed) and not keeps_places(function.transform, s, function.size):
            raise AttributionError(
                f"captum:{self.name} enlarges a layer's map to the size of the coefficients, but those of "
                f"{type(function.transform).__name__} do not lie where their data lie, so a place in the map means "
                "nothing to them; use captum:GuidedBackprop, or a space on the pixels' grid (identity, color, zca)"
            )

    def explainer(self, probe: Probe) -> Any:
        """An instance of the Captum class for the layer."""
        return self.kind(Rows(probe), find_layer(self.name, probe.function, self.layer), **self.making)

    def scores(self, explainer: Any, inputs: Inputs, arguments: dict[str, Any], s: Tree) -> Tree:
        """Captum's scores, of a layer that has maps."""
        cam = explainer.grad_cam
        maps = import_module("captum.attr").LayerActivation(cam.forward_func, cam.layer).attribute(
            inputs,
            additional_forward_args=arguments["additional_forward_args"],
            attribute_to_layer_input=arguments.get("attribute_to_layer_input", False),
        )  # fmt: skip
        if not isinstance(maps, Tensor) or maps.ndim != 4:
            got = tuple(maps.shape) if isinstance(maps, Tensor) else f"{len(maps)} tensors"
            raise AttributionError(
                f"captum:{self.name}: expected maps (N, C, H, W) from layer {self.layer}, got {got}; name a "
                "convolution, or use captum:GuidedBackprop"
            )
        return super().scores(explainer, inputs, arguments, s)


def keeps_places(transform: Transform, s: Tensor, size: Sequence[int]) -> bool:
    """Whether each coefficient (N, C, H, W) acts most at its own place of the data (N, C', H, W).

    Eight coefficients are changed, one at a time, on a diagonal of the grid.
    """
    height, width = s.shape[-2:]
    if tuple(size[-2:]) != (height, width):
        return False
    places = [(i * (height - 1) // 7, i * (width - 1) // 7) for i in range(8)]
    base = s[:1].detach()
    points = base.repeat(len(places), 1, 1, 1)
    for row, (i, j) in enumerate(places):
        points[row, 0, i, j] += 1 + base.abs().max()
    with torch.no_grad():
        change = transform.inverse(points, size) - transform.inverse(base, size)
    strongest = change.abs().sum(1).flatten(1).argmax(1).tolist()
    return strongest == [i * width + j for i, j in places]


def _is_picture(s: Tree) -> TypeGuard[Tensor]:
    return isinstance(s, Tensor) and s.ndim == 4 and not s.is_complex()


def _shapes(s: Tree) -> str:
    return ", ".join(f"{'complex ' if leaf.is_complex() else ''}{tuple(leaf.shape)}" for leaf in tree.leaves(s))
