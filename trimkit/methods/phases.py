"""Training phases: what a method wants minimised, over which parameters, and when. The loop does everything else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

import torch
from torch import Tensor, nn

from trimkit.errors import OptionError
from trimkit.objective import Schedule, Term

OptimiserFactory: TypeAlias = Callable[[list[nn.Parameter]], torch.optim.Optimizer]
"""Parameters → their optimiser."""

RECONSTRUCTION = "recon"
"""The name of the term −log p(x|z), whose weight users set apart from the rest."""


@dataclass(frozen=True)
class Batch:
    """What a phase sees in one step.

    Attributes:
        x: (N, ...) data.
        y: (N,) integer labels, or None.
        aux: (N, ...) auxiliary variables (iVAE, TCL), or None.
        other: a second batch, drawn independently of this one, for phases with ``draws=2`` (FactorVAE); None otherwise.
        carried: what earlier phases of the same step handed on for these samples, see `StepResult.carried`.
    """

    x: Tensor
    y: Tensor | None = None
    aux: Tensor | None = None
    other: Batch | None = None
    carried: Mapping[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True)
class StepResult:
    """What a phase's loss returns.

    Attributes:
        terms: name → `Term`, unweighted, in nats: (N,) values a sample, or a scalar statistic of the batch. A
            reconstruction term is called "recon", so that its weight can be set from outside.
        reconstruction: x̂ in data units, like the batch's x and with its graph, from phases that train the decoder: the
            prediction loss is taken on it.
        diagnostics: name → tensor that is logged and never trained, such as "kl_per_dimension" (D,).
        carried: name → (N, ...) tensor that later phases of this step find, detached, in their batch.
    """

    terms: Mapping[str, Term]
    reconstruction: Tensor | None = None
    diagnostics: Mapping[str, Tensor] = field(default_factory=dict)
    carried: Mapping[str, Tensor] = field(default_factory=dict)


Loss: TypeAlias = Callable[[Batch, torch.Generator, int], StepResult]
"""(batch, source of randomness, step from 0) → the phase's terms."""


def adam(lr: float = 5e-4, betas: tuple[float, float] = (0.9, 0.999)) -> OptimiserFactory:
    """Adam with the field's usual settings for generative models.

    Args:
        lr: learning rate, > 0.
        betas: decay of the running moments, each in [0, 1).
    Raises:
        OptionError: a learning rate that is not positive.
    """
    if not lr > 0:
        raise OptionError(f"expected a learning rate > 0, got {lr}")
    return partial(torch.optim.Adam, lr=lr, betas=betas)


@dataclass(frozen=True)
class Phase:
    """One optimisation within a step: its networks, its loss, its optimiser.

    The loop freezes all other parameters of the method while the phase runs, so a loss need not detach against leaks.

    Attributes:
        name: unique in the method, such as "vae", "discriminator".
        parameters: what it trains.
        loss: see `Loss`.
        weights: name of each term → its weight or schedule.
        optimiser: see `OptimiserFactory`.
        interval: it takes its turn at steps 0, k, 2k, …; at least 1.
        trains_decoder: TRIM terms and the prediction loss join this phase; at most one a method.
        draws: batches that it sees a step: 1, or 2 for a second, independent one in `Batch.other`.
    """

    name: str
    parameters: Sequence[nn.Parameter]
    loss: Loss
    weights: Mapping[str, Schedule]
    optimiser: OptimiserFactory = field(default_factory=adam)
    interval: int = 1
    trains_decoder: bool = False
    draws: int = 1

    def __post_init__(self) -> None:
        if self.interval < 1:
            raise OptionError(f"phase {self.name!r}: expected an interval ≥ 1, got {self.interval}")
        if not self.parameters:
            raise OptionError(f"phase {self.name!r}: expected parameters to train, got none")
        if self.draws not in (1, 2):
            raise OptionError(f"phase {self.name!r}: expected draws 1 or 2, got {self.draws}")
