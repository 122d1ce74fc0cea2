"""The phase loop: everything between a method's losses and its next weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from trimkit.data import Dataset
from trimkit.errors import CheckpointError, TrainingError
from trimkit.methods import Batch, Method, Phase, Schedule, StepResult, Weight, as_schedule
from trimkit.objective import Objective, Part
from trimkit.training.engine import Engine
from trimkit.training.guidance import Guidance
from trimkit.training.randomness import epoch_order
from trimkit.training.settings import Settings


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
    """

    loss: Tensor
    parts: Mapping[str, Part]
    norm: Tensor
    diagnostics: Mapping[str, Tensor]

    def numbers(self) -> dict[str, Any]:
        """Plain numbers for a log: loss, gradient norm, each term, each diagnostic."""
        terms = {name: float(part.value) for name, part in self.parts.items()}
        diagnostics = {name: tensor.tolist() for name, tensor in self.diagnostics.items()}
        return {"loss": float(self.loss), "gradient_norm": float(self.norm), **terms, **diagnostics}


class PhaseRunner:
    """One phase with its optimiser, ready to step.

    Args:
        phase: of the method.
        method: whose other parameters are frozen while the phase runs.
        weights: name of each term → weight, of the phase and of the guidance.
        guidance: terms that join, or None.

    Attributes:
        phase: as given.
        optimiser: its own.
        objective: its own.
    """

    def __init__(
        self, phase: Phase, method: Method, weights: Mapping[str, Schedule], guidance: Guidance | None = None
    ) -> None:
        self.phase = phase
        self.optimiser = phase.optimiser(list(phase.parameters))
        self.objective = Objective(weights)
        self._guidance = guidance
        self._method = method
        chosen = {id(parameter) for parameter in phase.parameters}
        self._others = [parameter for parameter in method.parameters() if id(parameter) not in chosen]

    def terms(self, batch: Batch, engine: Engine, at: Position) -> StepResult:
        """The phase's terms and those that join it."""
        generator = engine.generator(f"phase {self.phase.name}", at.epoch, at.batch)
        result = self.phase.loss(batch, generator, at.step)
        if self._guidance is None:
            return result
        if result.reconstruction is None:
            raise TrainingError(
                f"phase {self.phase.name!r} trains the decoder but returns no reconstruction to take a prediction loss "
                "on; return StepResult(..., reconstruction=x_hat)"
            )
        generator = engine.generator("guidance", at.epoch, at.batch)
        with in_eval_mode(self._method), engine.global_randomness("guidance", at.epoch, at.batch):
            more = self._guidance.terms(batch, result.reconstruction, generator)
        return StepResult({**result.terms, **more}, result.reconstruction, result.diagnostics)

    def step(self, batch: Batch, engine: Engine, at: Position, clip: float | None = None) -> PhaseReport:
        """Take one step with all other parameters of the method frozen.

        Raises:
            TrainingError: a gradient that is not finite; the weights are as before the step.
        """
        with frozen(self._others):
            self.optimiser.zero_grad(set_to_none=True)
            result = self.terms(batch, engine, at)
            loss, parts = self.objective(result.terms, at.step)
            if not loss.requires_grad:
                raise TrainingError(f"phase {self.phase.name!r}: no term with a weight depends on its parameters")
            engine.backward(loss)
            engine.reduce_gradients(self.phase.parameters)
            norm = self._finite_norm(parts, at.step)
            if clip is not None:
                torch.nn.utils.clip_grads_with_norm_(self.phase.parameters, clip, norm)
            self.optimiser.step()
            self.optimiser.zero_grad(set_to_none=True)
        detached = {name: Part(part.value.detach(), part.weight) for name, part in parts.items()}
        return PhaseReport(loss.detach(), detached, norm, result.diagnostics)

    def _finite_norm(self, parts: Mapping[str, Part], step: int) -> Tensor:
        norm = torch.nn.utils.get_total_norm([p.grad for p in self.phase.parameters if p.grad is not None])
        if not bool(torch.isfinite(norm)):
            self.optimiser.zero_grad(set_to_none=True)
            values = ", ".join(f"{name} {float(part.value):.4g}" for name, part in parts.items())
            raise TrainingError(
                f"step {step}, phase {self.phase.name!r}: the gradient is not finite ({values}); lower the learning "
                "rate, clip the gradient, or look at the term that is not finite"
            )
        return norm


class Loop:
    """A method, its data and its phases, at some step.

    Args:
        method: to train, on the engine's device.
        data: its x and y stay on the CPU and are moved a batch at a time.
        runners: the phases in their order.
        engine: where it runs.
        settings: of the run.

    Attributes:
        step: the next one, from 0.
        reports: the newest of each phase, by its name.
    """

    def __init__(
        self, method: Method, data: Dataset, runners: Sequence[PhaseRunner], engine: Engine, settings: Settings
    ) -> None:
        self.method = method
        self.data = data
        self.runners = list(runners)
        self.engine = engine
        self.settings = settings
        self.step = 0
        self.reports: dict[str, PhaseReport] = {}
        self._order = lru_cache(maxsize=1)(lambda epoch: epoch_order(len(data), settings.seed, epoch))

    @property
    def position(self) -> Position:
        """Of the next step."""
        return Position(self.step, *divmod(self.step, self.settings.batches(len(self.data))))

    def batch(self) -> Batch:
        """The next step's samples, on the device."""
        at, size = self.position, self.settings.batch_size
        return make_batch(self.data, self._order(at.epoch)[at.batch * size : (at.batch + 1) * size], self.engine)

    def run(self, total: int, after: Callable[[], None]) -> None:
        """Train until step ``total``, calling ``after`` after each step.

        Raises:
            TrainingError: a gradient that is not finite.
        """
        self.method.train()
        while self.step < total:
            self._advance()
            self.step += 1
            after()

    def _advance(self) -> None:
        batch, at = self.batch(), self.position
        with self.engine.global_randomness("global", at.epoch, at.batch):
            for runner in self.runners:
                if self.step % runner.phase.interval == 0:
                    self.reports[runner.phase.name] = runner.step(batch, self.engine, at, self.settings.clip)

    def state(self) -> dict[str, Any]:
        """Everything that the next steps depend on, as copies on the CPU in plain containers."""
        optimisers = {runner.phase.name: runner.optimiser.state_dict() for runner in self.runners}
        tree = {"networks": self.method.state_dict(), "optimisers": optimisers}
        return {**_copied(tree), **self.position._asdict()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state of `state`.

        Raises:
            CheckpointError: the state is of other networks or phases.
        """
        try:
            self.method.load_state_dict(state["networks"])
            for runner in self.runners:
                runner.optimiser.load_state_dict(state["optimisers"][runner.phase.name])
        except (KeyError, ValueError, RuntimeError) as error:
            raise CheckpointError(
                f"the checkpoint does not fit {type(self.method).__name__} as it is installed now: "
                f"{' '.join(str(error).split())}; train anew"
            ) from error
        self.step = state["step"]


def make_runners(
    method: Method, phases: Sequence[Phase], guidance: Guidance | None, overrides: Mapping[str, Weight]
) -> list[PhaseRunner]:
    """A runner a phase; the guidance joins the one that trains the decoder, and overrides replace weights by name.

    Raises:
        TrainingError: two phases of one name, or one whose parameters are not the method's, so that no checkpoint would
            hold them.
    """
    runners: list[PhaseRunner] = []
    own = {id(parameter) for parameter in method.parameters()}
    for phase in phases:
        if phase.name in [runner.phase.name for runner in runners]:
            raise TrainingError(f"two phases are named {phase.name!r}; give each its own name")
        if any(id(parameter) not in own for parameter in phase.parameters):
            raise TrainingError(
                f"phase {phase.name!r} trains parameters that are not the method's; make their module an attribute of "
                f"{type(method).__name__}, so that checkpoints hold them"
            )
        joins = guidance if phase.trains_decoder else None
        defaults = {**phase.weights, **(joins.weights if joins else {})}
        weights = {name: as_schedule(overrides.get(name, weight)) for name, weight in defaults.items()}
        runners.append(PhaseRunner(phase, method, weights, joins))
    return runners


def make_batch(data: Dataset, index: Tensor, engine: Engine) -> Batch:
    """Samples by their numbers, on the device."""
    return Batch(engine.place(data.x[index]), None if data.y is None else engine.place(data.y[index]))


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


def _copied(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().cpu().clone()
    if isinstance(value, Mapping):
        return {key: _copied(child) for key, child in value.items()}
    return [_copied(child) for child in value] if isinstance(value, list) else value
