"""What every script here has: a model, a batch, and where it is explained."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

import trimkit
from trimkit.coefficients import tree


@dataclass
class Case:
    """One architecture.

    Attributes:
        model: small, random weights.
        inputs: a batch, as keywords.
        loss: output → the task's loss.
        target: what is explained, see `trimkit.targets.Target`.
        at: the explained input or layer.
        rows: of models whose rows are not samples.
        penalty: name or (name, options).
        transform: name or (name, options).
    """

    model: nn.Module
    inputs: Mapping[str, Any]
    loss: Callable[[Any], Tensor]
    target: Any
    at: str
    rows: Any = None
    penalty: Any = "l1"
    transform: Any = "identity"


def train(case: Case, steps: int = 20, weight: float = 1.0) -> float:
    """Train with a penalty on attributions; the penalty's value after the last step.

    Args:
        case: what to train.
        steps: of Adam.
        weight: of the penalty; 0 only measures it.
    """
    penalty = trimkit.TrimPenalty(case.penalty, transform=case.transform, at=case.at, rows=case.rows)
    optimiser = torch.optim.Adam(case.model.parameters(), 1e-2)
    last = 0.0
    for _ in range(steps):
        output, value = penalty(case.model, case.inputs, target=case.target)
        optimiser.zero_grad()
        (case.loss(output) + weight * value).backward()
        optimiser.step()
        last = float(value.detach())
    return last


def show(case: Case) -> None:
    """Train without and with the penalty, then explain one batch, and print all."""
    without = train(copy.deepcopy(case), weight=0.0)
    print(f"penalty after training: {without:.4f} without it, {train(case):.4f} with it")
    method = ("integrated_gradients", {"n_steps": 512, "tolerance": None})
    trim = trimkit.Trim(case.model.eval(), case.transform, method, at=case.at, rows=case.rows)
    result = trim(case.inputs, case.target)
    shapes = [tuple(leaf.shape) for leaf in tree.leaves(result.scores)]
    assert result.gap is not None
    print(f"scores at {case.at!r}: {shapes}, which miss their sum by at most {float(result.gap.abs().max()):.1e}")
