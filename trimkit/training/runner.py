"""One phase of a method, ready to step: everything between its loss and its next weights."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import NoReturn

import torch
from torch import Tensor, nn

from trimkit.errors import TrainingError, TrimkitWarning
from trimkit.methods import Batch, Method, Phase, Schedule, StepResult, Weight, as_schedule
from trimkit.objective import Objective
from trimkit.processes import Share
from trimkit.training.engine import Engine
from trimkit.training.guidance import Guidance
from trimkit.training.settings import Settings
from trimkit.training.steps import PhaseReport, Position, Turn, merge_turns
from trimkit.training.updates import Averages, LearningRate

SCRUBBED = 1e5
"""What infinity becomes under nonfinite="scrub", as in NVlabs/stylegan2-ada-pytorch."""


class PhaseRunner:
    """One phase with its optimiser, ready to step.

    Args:
        phase: of the method.
        method: whose other parameters are frozen while the phase runs.
        weights: name of each term → weight, of the phase and of the guidance.
        guidance: terms that join, or None.
        owner: phase whose optimiser this one shares; it has its own by default.

    Attributes:
        phase: as given.
        optimiser: that it steps.
        rate: of that optimiser.
        objective: its own.
        nonfinite: steps so far whose gradient was not finite.
    """

    def __init__(
        self,
        phase: Phase,
        method: Method,
        weights: Mapping[str, Schedule],
        guidance: Guidance | None = None,
        owner: PhaseRunner | None = None,
    ) -> None:
        self.phase = phase
        self.optimiser = owner.optimiser if owner else phase.optimiser(list(phase.parameters))
        self.rate: LearningRate = owner.rate if owner else LearningRate(self.optimiser, phase.rate, phase.name)
        self.objective = Objective(weights)
        self.nonfinite = 0
        self._guidance = guidance
        self._method = method
        self._warned = False
        chosen = {id(parameter) for parameter in phase.parameters}
        self._others = [parameter for parameter in method.parameters() if id(parameter) not in chosen]

    def seen(self, batch: Batch, carried: Mapping[str, Tensor]) -> Batch:
        """A batch as the phase sees it: a second draw only if it asks for one, and what earlier phases handed on."""
        return replace(batch, other=batch.other if self.phase.draws == 2 else None, carried=dict(carried))

    def terms(self, batch: Batch, engine: Engine, at: Position) -> StepResult:
        """The phase's terms and those that join it; in training, the method's networks run in the engine's precision.

        The guidance's terms are always computed in float32: attributions and their derivatives need its digits.
        """
        generator = engine.generator(f"phase {self.phase.name}", at.epoch, at.batch)
        with engine.mixed(self._method) if self._method.training else nullcontext():
            result = self.phase.loss(batch, generator, at.step)
        if self._guidance is None:
            return result
        self._require_what_guidance_needs(result)
        generator = engine.generator("guidance", at.epoch, at.batch)
        with in_eval_mode(self._method), engine.global_randomness("guidance", at.epoch, at.batch):
            more = self._guidance.terms(batch, result.reconstruction, generator, result.codes, result.labels)
        return replace(result, terms={**result.terms, **more})

    def require_gradients(self, batch: Batch, result: StepResult) -> None:
        """Refuse a term of the guidance that could not move the phase's parameters.

        Raises:
            TrainingError: with the term's name; the usual cause is a predictor that detaches its output.
        """
        if self._guidance is None:
            return
        self._guidance.check_reach(batch, result)
        for name in self._guidance.weights:
            value = result.terms[name].values.sum()
            if not (value.requires_grad and _reaches(value, self.phase.parameters)):
                raise TrainingError(
                    f"term {name!r} is constant: expected a gradient to the parameters of phase {self.phase.name!r}, "
                    "got none; let the predictor's output depend on its input differentiably, without detach, no_grad "
                    "or numpy, or leave the term out"
                )

    def _require_what_guidance_needs(self, result: StepResult) -> None:
        if self.phase.generates and not result.codes:
            raise TrainingError(
                f"phase {self.phase.name!r} generates but returns no codes to take TRIM terms at; return "
                "StepResult(..., codes={'z': z})"
            )
        if not self.phase.generates and result.reconstruction is None:
            raise TrainingError(
                f"phase {self.phase.name!r} trains the decoder but returns no reconstruction to take a prediction loss "
                "on; return StepResult(..., reconstruction=x_hat)"
            )

    def step(
        self, turns: Sequence[Batch], engine: Engine, at: Position, settings: Settings, averages: Averages | None = None
    ) -> PhaseReport:
        """One step of the phase, all of it: with the other parameters of the method frozen.

        Args:
            turns: equal shares of the batch, on the device.
            engine: where it runs.
            at: in the run.
            settings: of the run: clipping, and what follows a gradient that is not finite.
            averages: are told what has moved; the loop counts it in when all phases have had their turn.
        Raises:
            TrainingError: a gradient that is not finite, under "raise"; the weights are as before the step.
        """
        parameters, optimiser, done = self.phase.parameters, self.optimiser, []
        with frozen(self._others):
            optimiser.zero_grad(set_to_none=True)
            for number, batch in enumerate(turns):
                with engine.share(number, len(turns), len(batch)) as share:
                    result = self.terms(batch, engine, at)
                    loss, parts = self.objective(result.terms, at.step)
                    self._check_turn(loss, result, share, len(turns))
                    engine.backward(loss / len(turns))
                done.append(Turn.detached(loss, parts, result))
            engine.reduce_gradients(parameters, optimiser)
            report = merge_turns(done, gradient_norm(parameters))
            stepped = report.finite or self._go_on(report, at.step, settings, engine)
            if stepped and settings.clip is not None:
                norm = report.norm if report.finite else gradient_norm(parameters)
                torch.nn.utils.clip_grads_with_norm_(parameters, settings.clip, norm)
            stepped = stepped and self._update(report, at.step, engine)
            optimiser.zero_grad(set_to_none=True)
        if averages is not None and stepped:
            averages.mark_moved(self.phase.name)
        return replace(report, stepped=stepped)

    def _check_turn(self, loss: Tensor, result: StepResult, share: Share, turns: int) -> None:
        if share.partial and (share.gathered or any(term.batch_statistic for term in result.terms.values())):
            self._warn_of_turns(turns)
        if not loss.requires_grad:
            raise TrainingError(f"phase {self.phase.name!r}: no term with a weight depends on its parameters")

    def _go_on(self, report: PhaseReport, step: int, settings: Settings, engine: Engine) -> bool:
        """Whether the optimiser is to be stepped with a gradient that is not finite.

        Raises:
            TrainingError: under "raise".
        """
        self.nonfinite += 1
        if engine.rescales:  # float16 overflows at first; the scale then goes down instead of a step
            return True
        if settings.nonfinite == "raise":
            self._refuse(report, step)
        if settings.nonfinite == "scrub":
            for parameter in self.phase.parameters:
                if parameter.grad is not None:
                    parameter.grad.nan_to_num_(0.0, SCRUBBED, -SCRUBBED)
        return settings.nonfinite == "scrub"

    def _update(self, report: PhaseReport, step: int, engine: Engine) -> bool:
        """Whether the optimiser took its step."""
        self.rate.set(step)
        try:
            return engine.step(self.optimiser, finite=report.finite)
        except FloatingPointError:
            self._refuse(report, step)

    def _refuse(self, report: PhaseReport, step: int) -> NoReturn:
        self.optimiser.zero_grad(set_to_none=True)
        values = ", ".join(f"{name} {float(part.value):.4g}" for name, part in report.parts.items())
        raise TrainingError(
            f"step {step}, phase {self.phase.name!r}: the gradient is not finite ({values}); lower the learning "
            "rate, clip the gradient, or look at the term that is not finite"
        )

    def _warn_of_turns(self, turns: int) -> None:
        if not self._warned:
            self._warned = True
            warnings.warn(
                f"phase {self.phase.name!r} has terms that are statistics of the batch; with accumulate={turns} they "
                "are statistics of a turn, so the result is not that of the whole batch",
                TrimkitWarning,
                stacklevel=4,
            )


def _reaches(value: Tensor, parameters: Sequence[nn.Parameter]) -> bool:
    """Whether any parameter has a gradient of a scalar."""
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    gradients = torch.autograd.grad(value, trained, retain_graph=True, allow_unused=True)
    return any(gradient is not None for gradient in gradients)


def gradient_norm(parameters: Sequence[nn.Parameter]) -> Tensor:
    """Of all gradients of parameters together: a scalar."""
    return torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])


def make_runners(
    method: Method, phases: Sequence[Phase], guidance: Guidance | None, overrides: Mapping[str, Weight]
) -> list[PhaseRunner]:
    """A runner a phase; the guidance joins the one that trains the decoder, and overrides replace weights by name.

    Raises:
        TrainingError: two phases of one name; one whose parameters are not the method's, so that no checkpoint would
            hold them; or one that shares an optimiser of other parameters.
    """
    runners: dict[str, PhaseRunner] = {}
    own = {id(parameter) for parameter in method.parameters()}
    for phase in sorted(phases, key=lambda phase: phase.shares is not None):  # owners of optimisers first
        if phase.name in runners:
            raise TrainingError(f"two phases are named {phase.name!r}; give each its own name")
        if any(id(parameter) not in own for parameter in phase.parameters):
            raise TrainingError(
                f"phase {phase.name!r} trains parameters that are not the method's; make their module an attribute of "
                f"{type(method).__name__}, so that checkpoints hold them"
            )
        joins = guidance if phase.trains_decoder else None
        weights = _weights(phase, joins, overrides)
        runners[phase.name] = PhaseRunner(phase, method, weights, joins, _shared(phase, runners))
    return [runners[phase.name] for phase in phases]


def _weights(phase: Phase, guidance: Guidance | None, overrides: Mapping[str, Weight]) -> dict[str, Schedule]:
    defaults = {**phase.weights, **(guidance.weights if guidance else {})}
    weights = {name: as_schedule(overrides.get(name, weight)) for name, weight in defaults.items()}
    if not phase.lazy:
        return weights
    return {name: _times(phase.interval, weight) for name, weight in weights.items()}


def _times(k: int, weight: Schedule) -> Schedule:
    return (lambda step: k * weight(step)) if callable(weight) else k * weight


def _shared(phase: Phase, runners: Mapping[str, PhaseRunner]) -> PhaseRunner | None:
    """The phase whose optimiser this one shares."""
    if phase.shares is None:
        return None
    owner = runners.get(phase.shares)
    if owner is None or owner.phase.shares is not None:
        raise TrainingError(
            f"phase {phase.name!r} shares the optimiser of {phase.shares!r}, which is no phase with one of its own"
        )
    if {id(parameter) for parameter in owner.phase.parameters} != {id(parameter) for parameter in phase.parameters}:
        raise TrainingError(
            f"phase {phase.name!r} shares the optimiser of {phase.shares!r}, but not its parameters; give both the same"
        )
    return owner


@contextmanager
def frozen(parameters: Sequence[nn.Parameter]) -> Iterator[None]:
    """Let no gradient reach these parameters; those that were trainable are so again afterwards."""
    trainable = [parameter for parameter in parameters if parameter.requires_grad]
    for parameter in trainable:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trainable:
            parameter.requires_grad_(True)


@contextmanager
def keeping_modes(module: nn.Module) -> Iterator[None]:
    """Put every submodule back into the mode, train or eval, that it was in."""
    modes = [(inner, inner.training) for inner in module.modules()]
    try:
        yield
    finally:
        for inner, training in modes:
            inner.training = training


@contextmanager
def in_eval_mode(module: nn.Module) -> Iterator[None]:
    """Eval mode for a while: a transform acts on each sample alone, so no batch statistics and no dropout in it."""
    with keeping_modes(module):
        module.eval()
        yield
