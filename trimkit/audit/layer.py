"""An audit of a layer: its activation is the data, the rest of the model is the model.

A sample is one row, its activation with the inputs behind it. The space acts on the activation; what it says nothing
of, the inputs, is residual, which every perturbed copy of a sample keeps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from trimkit.coefficients import tree
from trimkit.coefficients.groups import Groups
from trimkit.coefficients.tree import Tree
from trimkit.data import Dataset, dataset_of
from trimkit.errors import DataError, ModelError
from trimkit.predictor.composed import Composed
from trimkit.predictor.inputs import At, Site, call_model
from trimkit.predictor.layers import Layer
from trimkit.predictor.several import Packing
from trimkit.registry import resolve
from trimkit.transforms.base import Identity, Size, Transform

_ACTIVATION = "activation"


class Rest(nn.Module):
    """Rows of an activation and its inputs → the model's output, the layer's output replaced.

    Args:
        model: the whole model.
        layer: whose output is replaced.
        packing: of the rows.
        plain: the model takes one tensor, not keywords.
    """

    def __init__(self, model: nn.Module, layer: Layer, packing: Packing, plain: bool) -> None:
        super().__init__()
        self.training = model.training
        self.model, self.layer, self.packing, self.plain = model, layer, packing, plain

    def forward(self, rows: Tensor) -> Any:
        """The model's raw output for any number of rows."""
        parts = self.packing.unpack(rows)
        activation = parts.pop(_ACTIVATION)
        inputs = parts[""] if self.plain else parts
        return self.layer.run(self.model, lambda h: activation.to(h), lambda: call_model(self.model, inputs))


class LayerSpace(Transform):
    """The space of an activation, for rows that hold its inputs too.

    Args:
        space: acts on the activation.
        packing: of the rows.
    """

    def __init__(self, space: Transform, packing: Packing) -> None:
        super().__init__()
        self.space, self.packing, self.exact = space, packing, space.exact

    def forward(self, x: Tensor) -> Tree:
        """Coefficients of the activation."""
        return self.space(self.own(x))

    def inverse(self, s: Tree, size: Size | None = None) -> Tensor:
        """Rows whose inputs are 0: the residual holds them."""
        activation = self.space.inverse(s, self.packing.sizes[_ACTIVATION])
        total = sum(torch.Size(shape).numel() for shape in self.packing.sizes.values())
        return nn.functional.pad(activation.flatten(1), (0, total - activation[0].numel()))

    def groups(self, size: Size) -> Groups:
        """Those of the activation."""
        return self.space.groups(self.packing.sizes[_ACTIVATION])

    def own(self, rows: Tensor) -> Tensor:
        """The activation in rows."""
        return self.packing.unpack(rows)[_ACTIVATION]


def held_ids(model: Any, x: Tensor) -> Tensor | None:
    """(N, T) whole numbers among the inputs that a row holds, where a layer is audited."""
    for value in held_inputs(model, x).values():
        if value.ndim == 2 and not value.is_floating_point():
            return value
    return None


def held_inputs(model: Any, x: Tensor) -> dict[str, Tensor]:
    """The inputs behind an audited layer, by name; {} where the input itself is audited."""
    return model.packing.unpack(x) if isinstance(model, Rest) else {}


def padding_of(model: Any, x: Tensor) -> Tensor | None:
    """(N, T) True at tokens that are padding, where a row holds an attention mask."""
    mask = held_inputs(model, x).get("attention_mask")
    return None if mask is None or mask.ndim != 2 else mask == 0


def own_part(transform: Transform, x: Tensor) -> Tensor:
    """What of the data a space speaks of: all of it, or the activation in rows that hold inputs too."""
    return transform.own(x) if isinstance(transform, LayerSpace) else x


def own_only(transform: Transform, x: Tensor) -> Tensor:
    """Data whose held inputs are 0."""
    if not isinstance(transform, LayerSpace):
        return x
    own = transform.own(x).flatten(1)
    return nn.functional.pad(own, (0, x.shape[1] - own.shape[1]))


def data_space(transform: Transform) -> Transform:
    """The data's own space."""
    return LayerSpace(Identity(), transform.packing) if isinstance(transform, LayerSpace) else Identity()


def at_layer(
    model: Any, data: Any, reference: Any, transform: Any, at: At, batch_size: int
) -> tuple[Rest, Dataset, Dataset | None, LayerSpace]:
    """Model, data, reference and space of an audit at a layer.

    Args:
        model: a module in evaluation mode.
        data: a `trimkit.data.Dataset`, x or (x, y) with x a tensor (token ids too) or a mapping of keywords.
        reference: like data, or None.
        transform: name, (name, options) or `trimkit.Transform` of the activation; PCA and the like are fitted to it.
        at: the layer.
        batch_size: samples in one forward.
    Raises:
        ModelError: no module.
        DataError: inputs that are no tensors, or too large to be held exactly.
    """
    if not isinstance(model, nn.Module):
        raise ModelError(f"an audit at a layer needs a torch.nn.Module, got {type(model).__name__}")
    name, x, y, split = _parts(data)
    rows, packing, layer = _rows(model, x, at, batch_size)
    rest = Rest(model, layer, packing, plain=not isinstance(x, Mapping))
    dataset = replace(dataset_of(name, rows, y, split), ids=data.ids if isinstance(data, Dataset) else ())
    compared = None
    if reference is not None:
        other, other_x, *_ = _parts(reference)
        compared = dataset_of(other, _rows(model, other_x, at, batch_size)[0])
    made = resolve("transform", transform)
    if not isinstance(transform, Transform):
        made = made.fit(packing.unpack((compared or dataset).x[:])[_ACTIVATION])
    return rest, dataset, compared, LayerSpace(made, packing)


def _parts(data: Any) -> tuple[str, Any, Any, str]:
    if isinstance(data, Dataset):
        return data.name, data.x[:], data.y, data.split
    x, y = data if isinstance(data, tuple | list) else (data, None)
    return "data", x, y, ""


@torch.no_grad()
def _rows(model: nn.Module, x: Any, at: At, batch_size: int) -> tuple[Tensor, Packing, Layer]:
    """The rows of all samples, batch by batch."""
    inputs = _tensors(model, x)
    parts: list[Tensor] = []
    packing: Packing | None = None
    layer: Layer | None = None
    count = len(next(iter(inputs.values())))
    for numbers in torch.arange(count).split(batch_size):
        batch = {key: _placed(value[numbers], model) for key, value in inputs.items()}
        given = batch if isinstance(x, Mapping) else batch[""]
        site = Site(model, given, at)
        if site.layer is None:
            raise DataError(f"at={at!r} names an input; an audit takes a layer, or the input itself as data")
        composed = Composed(model, Identity(), given, keep_graph=False, site=site)
        (activation,) = tree.leaves(composed.s)
        values = {_ACTIVATION: activation, **batch}
        packing, layer = Packing.of_values(values), site.layer
        parts.append(packing.pack(values).float().cpu())
    assert packing is not None
    assert layer is not None
    return torch.cat(parts), packing, layer


def _tensors(model: nn.Module, x: Any) -> dict[str, Tensor]:
    """Inputs by name, "" for the only one; whole numbers of a float dataset as indices where the model needs them."""
    inputs = dict(x) if isinstance(x, Mapping) else {"": x}
    for key, value in inputs.items():
        if not isinstance(value, Tensor) or value.ndim == 0:
            raise DataError(f"expected a tensor (N, ...) as input {key!r}, got {type(value).__name__}")
        if not value.is_floating_point() and int(value.abs().max()) >= 2**24:
            raise DataError(f"input {key!r} holds whole numbers of 2²⁴ and more, which a row cannot hold exactly")
    if "" in inputs and inputs[""].is_floating_point() and not _takes(model, inputs[""][:2]):
        inputs[""] = inputs[""].long()
    return inputs


def _takes(model: nn.Module, x: Tensor) -> bool:
    whole = bool((x == x.round()).all())
    try:
        model(_placed(x, model))
    except (RuntimeError, IndexError):
        if whole:
            return False
        raise
    return True


def _placed(x: Tensor, model: nn.Module) -> Tensor:
    like = next((p for p in model.parameters() if p.is_floating_point()), x)
    return x.to(like.device, like.dtype) if x.is_floating_point() else x.to(like.device)
