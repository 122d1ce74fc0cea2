"""Three ways to take a set of coefficients away from a model: train it off them, cut them out, weigh features anew."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from trimkit.audit.examine import logits
from trimkit.audit.modules import place
from trimkit.coefficients import tree
from trimkit.coefficients.tree import Tree
from trimkit.data import Dataset
from trimkit.errors import ModelError, TrainingError
from trimkit.predictor.state import copy_of
from trimkit.targets import log_probabilities
from trimkit.transforms.base import Transform
from trimkit.trim import TrimPenalty

DRAWS = 4
"""How often each sample's features are taken, each time with another sample's values in the forbidden place."""

STRENGTH = 10.0
"""How many times the loss of guessing, log K, the penalty starts at where no weight is given."""

STEPS = 8
"""Quadrature nodes of the penalty's attributions."""

DECAY = 1e-3
"""Weight of ½‖W‖² of a last layer that is fitted anew."""


_PATH = ("integrated_gradients", {"n_steps": STEPS})


@dataclass(frozen=True)
class Task:
    """What is corrected, and on what.

    Attributes:
        model: in evaluation mode; never changed.
        data: labelled, from which the correction learns.
        space: the transform, ready for use.
        mask: boolean leaves of one sample's coefficients: True where the model must not look.
        epochs: passes over the data.
        weight: of the penalty; None for that at which it starts at `STRENGTH` times log K.
        learning_rate: of Adam.
        batch_size: samples in a step.
        seed: of every draw.
    """

    model: nn.Module
    data: Dataset
    space: Transform
    mask: Tree
    epochs: int = 20
    weight: float | None = None
    learning_rate: float = 3e-3
    batch_size: int = 64
    seed: int = 0

    @property
    def device(self) -> torch.device:
        """Of the model."""
        return next((p.device for p in self.model.parameters()), torch.device("cpu"))

    def batches(self, purpose: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """x and y of every sample once, in an order that the seed and the purpose fix, on the model's device."""
        order = torch.randperm(len(self.data), generator=torch.Generator().manual_seed(1_000_003 * self.seed + purpose))
        assert self.data.y is not None
        for rows in order.split(self.batch_size):
            yield place(self.data.x[rows], self.model), self.data.y[rows].to(self.device)


Correction: TypeAlias = Callable[[Task], nn.Module]
"""A task → a corrected model in evaluation mode, which shares nothing with the task's."""


def fine_tune(task: Task) -> nn.Module:
    """Train on with a TRIM penalty: the squared attributions of Σ log p to the forbidden coefficients.

    The loss is that of Ross et al. 2017, with integrated gradients (`STEPS` of them) for the gradient, which is blind
    to a shortcut that saturates the network. Normalisation keeps its statistics and dropout stays off: the model is
    trained in evaluation mode.

    Raises:
        TrainingError: a loss that is not finite.
        ModelError: a model that cannot be copied, or that the penalty does not reach.
    """
    model = copy_of(task.model).requires_grad_(True)
    penalty = TrimPenalty(("masked", {"mask": task.mask}), transform=task.space, attribution=_PATH)
    optimiser = torch.optim.Adam(model.parameters(), task.learning_rate)
    weight = task.weight
    for epoch in range(task.epochs):
        for x, y in task.batches(epoch):
            output, value = penalty(model, x, target=log_probabilities)
            weight = _starting_weight(logits(output), value) if weight is None else weight
            loss = classification_loss(logits(output), y) + weight * value
            if not bool(torch.isfinite(loss)):
                raise TrainingError(
                    f"revise: the loss is {float(loss.detach())} in epoch {epoch}; take a smaller learning_rate"
                )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return model.requires_grad_(False).eval()


@torch.no_grad()
def project(task: Task) -> nn.Module:
    """Cut the coefficients out in front of the model, which stays as it is: see `Projected`."""
    total: Tree | None = None
    for x, _ in task.batches():
        sums = tree.map_leaves(lambda leaf: leaf.sum(0), task.space(x))
        total = sums if total is None else tree.map_leaves(torch.add, total, sums)
    assert total is not None
    mean = tree.map_leaves(lambda leaf: leaf / len(task.data), total)
    return Projected(copy_of(task.model), task.space, task.mask, mean).eval()


def retrain_last_layer(task: Task) -> nn.Module:
    """Fit the last linear layer anew, on features in whose making the forbidden coefficients said nothing.

    Each sample is sent through the model with another sample's values in the forbidden place, `DRAWS` times; the layer
    is then fitted by logistic regression, as Kirichenko et al. 2022 fit it to balanced data.

    Raises:
        ModelError: no linear layer whose output is the model's.
    """
    model = copy_of(task.model)
    layer = _last_linear(model, next(task.batches())[0])
    features, labels = _mixed_features(task, model, layer)
    layer.requires_grad_(True)
    parameters = [p for p in (layer.weight, layer.bias) if p is not None]
    optimiser = torch.optim.LBFGS(parameters, max_iter=100 * task.epochs, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = classification_loss(layer(features), labels) + DECAY / 2 * layer.weight.square().sum()
        loss.backward()
        return loss

    with torch.enable_grad():
        optimiser.step(closure)
    return model.requires_grad_(False).eval()


CORRECTIONS: dict[str, Correction] = {"penalty": fine_tune, "projection": project, "last-layer": retrain_last_layer}
"""The name in `trimkit.revise` → the correction."""


class Projected(nn.Module):
    """f(T⁻¹(s′) + r), where s′ has its mean over the data on the forbidden coefficients: no sample differs there.

    Args:
        model: called as it is.
        space: the transform T.
        mask: boolean leaves of one sample's coefficients: True where values are replaced.
        fill: leaves of one sample's coefficients: what stands there instead.
    """

    def __init__(self, model: nn.Module, space: Transform, mask: Tree, fill: Tree) -> None:
        super().__init__()
        self.model = model
        self.space = space
        for i, (gone, value) in enumerate(zip(tree.leaves(mask), tree.leaves(fill), strict=True)):
            self.register_buffer(f"mask{i}", gone.to(value.device))
            self.register_buffer(f"fill{i}", value)
        self._like = tree.map_leaves(lambda leaf: torch.empty(0), mask)

    def forward(self, x: Tensor) -> Tensor:
        """(N, ...) data → the model's output for the data without the forbidden coefficients."""
        s = self.space(x)
        kept = tree.map_leaves(torch.where, self._tree("mask"), self._tree("fill"), s)
        return self.model(self.space.inverse(kept, x.shape[1:]) + self.space.residual(x, s))

    def _tree(self, name: str) -> Tree:
        count = len(tree.leaves(self._like))
        return tree.rebuild(self._like, [getattr(self, f"{name}{i}")[None] for i in range(count)])


def classification_loss(outputs: Tensor, y: Tensor) -> Tensor:
    """Mean cross-entropy in nats of (N, K) logits, or of one logit that is positive for class 1."""
    if outputs.shape[1] == 1:
        return binary_cross_entropy_with_logits(outputs[:, 0], y.to(outputs.dtype))
    return cross_entropy(outputs, y)


def _starting_weight(outputs: Tensor, value: Tensor) -> float:
    """At which the penalty is `STRENGTH` times the loss of guessing, log K; 1 where there is nothing to punish."""
    guessing, size = math.log(max(2, outputs.shape[1])), float(value.detach())
    return STRENGTH * guessing / size if size > 0 else 1.0


@torch.no_grad()
def _mixed_features(task: Task, model: nn.Module, layer: nn.Linear) -> tuple[Tensor, Tensor]:
    """What the layer is given, (DRAWS · N, F), with other samples' values in the forbidden place; and the labels."""
    parts: list[tuple[Tensor, Tensor]] = []
    seen: list[Tensor] = []
    mask = tree.map_leaves(lambda leaf: leaf.to(task.device)[None], task.mask)
    hook = layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    try:
        for draw in range(DRAWS):
            donors = task.batches(1000 + draw)
            for (x, y), (other, _) in zip(task.batches(draw), donors, strict=True):
                s, donor = task.space(x), task.space(other)
                mixed = tree.map_leaves(torch.where, mask, donor, s)
                model(task.space.inverse(mixed, x.shape[1:]) + task.space.residual(x, s))
                parts.append((seen.pop().flatten(1), y))
    finally:
        hook.remove()
    return torch.cat([features for features, _ in parts]), torch.cat([labels for _, labels in parts])


@torch.no_grad()
def _last_linear(model: nn.Module, x: Tensor) -> nn.Linear:
    """The linear layer whose output is the model's."""
    outputs: dict[str, Tensor] = {}
    layers = {name: part for name, part in model.named_modules() if isinstance(part, nn.Linear)}
    hooks = [
        part.register_forward_hook(lambda _, __, output, name=name: outputs.update({name: output}))
        for name, part in layers.items()
    ]
    try:
        whole = logits(model(x))
    finally:
        for hook in hooks:
            hook.remove()
    for name, output in outputs.items():
        if output.shape == whole.shape and torch.equal(output, whole):
            return layers[name]
    raise ModelError(
        f"revise by 'last-layer' needs a model that ends in nn.Linear, which {type(model).__name__} does not; use "
        "by='penalty' or by='projection'"
    )
