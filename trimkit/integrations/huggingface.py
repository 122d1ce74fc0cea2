"""A penalty for the Trainer of Hugging Face transformers."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from trimkit.errors import DataError, nearest
from trimkit.objective import Weight, as_schedule
from trimkit.targets import NextTokens, Target, require_target
from trimkit.trim import TrimPenalty

if TYPE_CHECKING:
    _Base = Any
else:
    _Base = object

EMBEDDINGS = "inputs_embeds"


class TrimTrainerMixin(_Base):
    """Adds ``weight · penalty`` to the loss of a `transformers.Trainer`, in training only.

        class TrimTrainer(TrimTrainerMixin, Trainer): ...

        trainer = TrimTrainer(model, args, train_dataset=data, trim=TrimPenalty("hoyer"), trim_weight=0.1)

    The task's loss is the Trainer's own, whatever computes it, so the penalty takes a second forward through the model
    as it is wrapped. It is a mean over samples, and is divided where the Trainer does not divide by the steps of
    gradient accumulation itself. Its mean since the last log is logged as "trim".

    Args:
        trim: what is added.
        trim_weight: a number, a function of the global step, or its text, see `trimkit.objective.as_schedule`.
        trim_input: the model's floating input that is explained, where ``trim`` has no ``at`` of its own.
            "inputs_embeds" explains tokens at the model's embedding, whose table the penalty trains too; all other
            inputs stay as they are, so the logits explained are those that are trained. ``TrimPenalty(at=…)`` explains
            a layer, such as "bert.encoder.layer.3".
        trim_target: which of the logits is explained: "label" for those of the batch (see `label_target`), or a
            `trimkit.targets.Target`.
    """

    def __init__(
        self,
        *args: Any,
        trim: TrimPenalty,
        trim_weight: Weight = 1.0,
        trim_input: str = "pixel_values",
        trim_target: Target = "label",
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.trim = trim
        self.trim_schedule = as_schedule(trim_weight)
        self.trim_input = trim_input
        self.trim_target: Any = require_target(trim_target)
        self._trim_model: _Logits | None = None
        self._trim_values: list[Tensor] = []

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The Trainer's loss, with the penalty in training; arguments as there."""
        given = dict(inputs)  # the Trainer takes the labels out where it smooths them
        result = super().compute_loss(model, inputs, return_outputs, num_items_in_batch=num_items_in_batch)
        if not (model.training and torch.is_grad_enabled()):
            return result
        value = self._trim_value(model, given)
        self._trim_values.append(value.detach())
        step = self.state.global_step
        weight = self.trim_schedule(step) if callable(self.trim_schedule) else self.trim_schedule
        extra = weight * value / self._trim_divisor(num_items_in_batch)
        return (result[0] + extra, result[1]) if return_outputs else result + extra

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """The Trainer's log, with the mean penalty since the last one."""
        if self._trim_values and "loss" in logs:
            logs = {**logs, "trim": float(torch.stack(self._trim_values).mean())}
            self._trim_values = []
        super().log(logs, *args, **kwargs)

    def _trim_value(self, model: nn.Module, inputs: Mapping[str, Any]) -> Tensor:
        if self._trim_model is None or self._trim_model.inner is not model:
            self._trim_model = _Logits(model)
        self._trim_model.training = model.training
        given = {key: value for key, value in inputs.items() if key != "labels"}
        penalty, unwrapped = copy.copy(self.trim), self.accelerator.unwrap_model(model)
        if penalty.at is None:
            penalty.at = explained_input(given, self.trim_input, unwrapped)
        by_label = isinstance(self.trim_target, str) and self.trim_target == "label"
        target = label_target(unwrapped, inputs.get("labels")) if by_label else self.trim_target
        value = penalty.penalise(self._trim_model, given, target)
        self.trim.last = penalty.last
        return value

    def _trim_divisor(self, num_items_in_batch: Any) -> int:
        """By what the Trainer will not divide: its loss may be normalised over all accumulated batches already."""
        scaled = getattr(self, "loss_is_scaled_for_ga", None)
        if scaled is None:
            counted = self.model_accepts_loss_kwargs and num_items_in_batch is not None
            scaled = counted or self.compute_loss_func is not None
        steps = getattr(self, "current_gradient_accumulation_steps", self.args.gradient_accumulation_steps)
        return steps if scaled else 1


class _Logits(nn.Module):
    """A transformers model whose output is its logits alone, by keywords."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.inner = model

    def forward(self, **inputs: Any) -> Tensor:
        output = self.inner(**inputs)
        return output["logits"] if isinstance(output, Mapping) else output[0]


def label_target(model: Any, labels: Any) -> Target:
    """The labels of a batch as what is explained.

    Classes (N,); several labels (N, K) of 0 and 1, also floating, as the models take them; tags (N, T) or masked tokens
    with −100 elsewhere. Of a causal language model the log-probability of its text, since its labels are the token ids
    themselves. Of a regression with one output that output.

    Args:
        model: known as a causal language model by its ``loss_type`` or its class's name.
        labels: of the batch.

    Example:
        >>> class TinyForCausalLM: ...
        >>> label_target(TinyForCausalLM(), torch.tensor([[1, 2, 3]])).index.tolist()
        [[2, 3, -100]]
    """
    name = str(getattr(model, "loss_type", None) or type(model).__name__)
    causal = "CausalLM" in name or type(model).__name__.endswith("LMHeadModel")
    return NextTokens(labels) if causal and isinstance(labels, Tensor) and labels.ndim == 2 else labels


def explained_input(inputs: Mapping[str, Any], name: str, model: Any) -> str | nn.Module:
    """What is explained of a batch: the floating input of that name, or for "inputs_embeds" the model's embedding.

    Raises:
        DataError: the batch has no such input, or one that is not floating.
    """
    x = inputs.get(name)
    if x is None and name == EMBEDDINGS and "input_ids" in inputs:
        return model.get_input_embeddings()
    if not isinstance(x, Tensor) or not x.is_floating_point():
        raise DataError(
            f"TrimTrainerMixin explains the floating input {name!r}, which the batch does not have. "
            f"{nearest(name, inputs)} For tokens: trim_input='{EMBEDDINGS}'"
        )
    return name
