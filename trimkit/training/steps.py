"""Where a step is in a run, and what it did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from trimkit.methods import StepResult
from trimkit.objective import Part


class Position(NamedTuple):
    """Where a step is in a run.

    Attributes:
        step: from 0 over the whole run.
        epoch: from 0.
        batch: from 0 in the epoch.
    """

    step: int
    epoch: int
    batch: int


@dataclass(frozen=True)
class PhaseReport:
    """What one step of a phase did.

    Attributes:
        loss: scalar, detached.
        parts: each term's unweighted mean and weight.
        norm: of the phase's gradient before clipping.
        diagnostics: of the method.
        finite: False where the gradient held NaN or infinity.
        stepped: False where the optimiser took no step.
        carried: what the phase hands on to later ones of the step, one mapping a turn.
    """

    loss: Tensor
    parts: Mapping[str, Part]
    norm: Tensor
    diagnostics: Mapping[str, Tensor]
    finite: bool = True
    stepped: bool = True
    carried: Sequence[Mapping[str, Tensor]] = field(default=(), repr=False)

    def numbers(self) -> dict[str, Any]:
        """Plain numbers for a log: loss, gradient norm, each term, each diagnostic."""
        terms = {name: float(part.value) for name, part in self.parts.items()}
        diagnostics = {name: tensor.tolist() for name, tensor in self.diagnostics.items()}
        return {"loss": float(self.loss), "gradient_norm": float(self.norm), **terms, **diagnostics}


class Turn(NamedTuple):
    """What one share of a batch gave, detached."""

    loss: Tensor
    parts: Mapping[str, Part]
    diagnostics: Mapping[str, Tensor]
    carried: Mapping[str, Tensor]

    @classmethod
    def detached(cls, loss: Tensor, parts: Mapping[str, Part], result: StepResult) -> Turn:
        """Without the graph."""
        values = {name: Part(part.value.detach(), part.weight) for name, part in parts.items()}
        carried = {name: value.detach() for name, value in result.carried.items()}
        return cls(loss.detach(), values, result.diagnostics, carried)


def merge_turns(turns: Sequence[Turn], norm: Tensor) -> PhaseReport:
    """The report of a step from those of its turns."""
    parts = {
        name: Part(torch.stack([turn.parts[name].value for turn in turns]).mean(0), part.weight)
        for name, part in turns[0].parts.items()
    }
    diagnostics = {
        name: torch.stack([turn.diagnostics[name] for turn in turns]).mean(0) if len(turns) > 1 else tensor
        for name, tensor in turns[0].diagnostics.items()
    }
    loss = torch.stack([turn.loss for turn in turns]).mean()
    carried = [turn.carried for turn in turns]
    return PhaseReport(loss, parts, norm, diagnostics, bool(torch.isfinite(norm)), carried=carried)
