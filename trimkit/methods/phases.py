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
from trimkit.predictor import FrozenPredictor

OptimiserFactory: TypeAlias = Callable[[list[nn.Parameter]], torch.optim.Optimizer]
"""Parameters → their optimiser."""

Reconstruct: TypeAlias = Callable[[FrozenPredictor], Tensor]
"""The frozen predictor → x̂, for reconstructions that depend on what it reads."""

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
            prediction loss is taken on it. Or a function of the frozen predictor that gives it, called in eval mode
            where there is such a loss.
        diagnostics: name → tensor that is logged and never trained, such as "kl_per_dimension" (D,).
        carried: name → (N, ...) tensor that later phases of this step find, detached, in their batch.
        codes: space → (N, *shape) codes, with their graph, of samples that the phase drew itself; from phases with
            ``generates=True``: TRIM terms are taken at them.
        labels: (N,) classes that such samples were drawn to be, where there are any: with prediction="label", the
            prediction loss is taken on the reconstruction, which are then the samples, and these.
    """

    terms: Mapping[str, Term]
    reconstruction: Tensor | Reconstruct | None = None
    diagnostics: Mapping[str, Tensor] = field(default_factory=dict)
    carried: Mapping[str, Tensor] = field(default_factory=dict)
    codes: Mapping[str, Tensor] = field(default_factory=dict)
    labels: Tensor | None = None


Loss: TypeAlias = Callable[[Batch, torch.Generator, int], StepResult]
"""(batch, source of randomness, step from 0) → the phase's terms."""


def adam(lr: float = 5e-4, betas: tuple[float, float] = (0.9, 0.999), interval: int | None = None) -> OptimiserFactory:
    """Adam with the field's usual settings for generative models.

    An optimiser that a phase shares with a lazy regularisation (see `Phase`) takes k + 1 steps where it took k, so its
    lr and betas are corrected by c = k / (k + 1): lr · c, betas ** c (Karras et al. 2020, appendix B).

    Args:
        lr: learning rate, > 0.
        betas: decay of the running moments, each in [0, 1).
        interval: k of the lazy regularisation; None where there is none.
    Raises:
        OptionError: a learning rate that is not positive, or an interval < 1.
    """
    if not lr > 0:
        raise OptionError(f"expected a learning rate > 0, got {lr}")
    if interval is None:
        return partial(torch.optim.Adam, lr=lr, betas=betas)
    if interval < 1:
        raise OptionError(f"expected an interval ≥ 1, got {interval}")
    c = interval / (interval + 1)
    return partial(torch.optim.Adam, lr=lr * c, betas=(betas[0] ** c, betas[1] ** c))


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
        lazy: a regularisation that would belong to every step and is taken at every k-th instead: its weights count
            k-fold.
        shares: name of another phase over the same parameters whose optimiser it steps, as R1 does the discriminator's;
            its own ``optimiser`` is not used then. Make the shared one with ``adam(..., interval=k)``.
        ema: decay of a running average of the parameters in [0, 1), 0 for none: average ← d · average + (1 − d) ·
            parameter after each step that moved it, d = min(ema, (1 + t) / (10 + t)) at step t. The average is what is
            evaluated and saved, with the buffers as they are.
        generates: of a method without encoder: the phase draws its own samples and returns their `StepResult.codes`
            instead of a reconstruction, so TRIM terms join it and the prediction loss does not.
        rate: factor ≥ 0 of the optimiser's learning rate, a number or a function of the step; None leaves it alone. A
            phase that shares an optimiser shares its rate too.
    """

    name: str
    parameters: Sequence[nn.Parameter]
    loss: Loss
    weights: Mapping[str, Schedule]
    optimiser: OptimiserFactory = field(default_factory=adam)
    interval: int = 1
    trains_decoder: bool = False
    draws: int = 1
    lazy: bool = False
    shares: str | None = None
    ema: float = 0.0
    generates: bool = False
    rate: Schedule | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.interval, int) or self.interval < 1:
            raise OptionError(f"phase {self.name!r}: expected a whole interval ≥ 1, got {self.interval!r}")
        if not self.parameters:
            raise OptionError(f"phase {self.name!r}: expected parameters to train, got none")
        if self.draws not in (1, 2):
            raise OptionError(f"phase {self.name!r}: expected draws 1 or 2, got {self.draws}")
        if self.shares == self.name:
            raise OptionError(f"phase {self.name!r}: expected the name of another phase in shares, got its own")
        if self.shares is not None and self.rate is not None:
            raise OptionError(
                f"phase {self.name!r}: expected no rate beside shares={self.shares!r}; give it to that phase"
            )
        if not 0 <= self.ema < 1:
            raise OptionError(f"phase {self.name!r}: expected ema in [0, 1), got {self.ema}")
