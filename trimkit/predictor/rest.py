"""A model from one of its layers on: what reads a layer's output, as a model of its own."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from trimkit.errors import ModelError
from trimkit.predictor.inputs import Inputs, call_model, take_rows
from trimkit.predictor.layers import find_layer


class Rest(nn.Module):
    """h → the model's output with h in the place of a layer's output.

    So a method that is trained on a layer's activations can be guided by what the rest of the network makes of them:
    ``trimkit.train(sae, data, predictor=Rest(model, "layer3", x), trim=["hoyer@features:1"])``. The part before the
    layer is run on an example and its result thrown away; of an `nn.Sequential`, a slice is the same and cheaper.

    Args:
        model: it is put into evaluation mode.
        at: path of the layer.
        example: inputs of at least two samples that differ.
    Raises:
        OptionError: there is no such layer.
        ModelError: the rest reads the input too, by a way round the layer, so that h alone does not determine it.
    """

    def __init__(self, model: nn.Module, at: str, example: Inputs) -> None:
        super().__init__()
        self.model = model.eval()
        self.layer = find_layer(model, at)
        self.example = example
        self._require_alone()

    def forward(self, h: Tensor) -> Any:
        """The output for (N, ...) outputs of the layer."""
        return self._run(h, torch.zeros(len(h), dtype=torch.long))

    def _run(self, h: Tensor, rows: Tensor) -> Any:
        inputs = take_rows(self.example, rows)
        return self.layer.run(self.model, lambda old: h.to(old.device), lambda: call_model(self.model, inputs))

    @torch.no_grad()
    def _require_alone(self) -> None:
        outputs: list[Tensor] = []
        first = torch.zeros(2, dtype=torch.long)
        self.layer.run(self.model, outputs.append, lambda: call_model(self.model, take_rows(self.example, first)))  # type: ignore[arg-type]
        one, other = (self._run(outputs[0], rows) for rows in (first, torch.arange(2)))
        if not torch.allclose(getattr(one, "logits", one), getattr(other, "logits", other)):
            raise ModelError(
                f"what follows the layer {self.layer} also reads the input by a way round it, so its output alone does "
                "not determine the model's; explain the model itself at the layer: at="
            )
