"""The loop: which phase steps when, on which samples, and the state that all later steps depend on."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from trimkit.data import Dataset
from trimkit.errors import CheckpointError
from trimkit.methods import Batch, Method
from trimkit.training.engine import Engine
from trimkit.training.feeding import Feeder, placed, split
from trimkit.training.runner import PhaseReport, PhaseRunner, Position
from trimkit.training.settings import Settings
from trimkit.training.updates import Averages


class Loop:
    """A method, its data and its phases, at some step.

    Args:
        method: to train, on the engine's device.
        data: stays on the CPU and is moved a batch at a time.
        runners: the phases in their order.
        engine: where it runs.
        settings: of the run.

    Attributes:
        step: the next one, from 0.
        reports: the newest of each phase, by its name.
        averages: of parameters, for the phases that have a decay.
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
        self._earlier: dict[str, dict[str, Any]] = {}
        self.averages = Averages(method, [runner.phase for runner in runners], settings.ema)
        draws = max(runner.phase.draws for runner in runners)
        self._feeder = Feeder(data, settings, draws, engine.rank, engine.processes)

    @property
    def position(self) -> Position:
        """Of the next step."""
        return Position(self.step, *divmod(self.step, self.settings.batches(len(self.data))))

    @property
    def nonfinite(self) -> dict[str, int]:
        """Steps of each phase whose gradient was not finite."""
        return {runner.phase.name: runner.nonfinite for runner in self.runners}

    def batch(self) -> Batch:
        """The next step's samples, on the device."""
        return placed(self._feeder[self.step], self.engine.place)

    def run(self, total: int, after: Callable[[], bool | None]) -> None:
        """Train until step ``total``, calling ``after`` after each step; True from it ends the training there.

        Raises:
            TrainingError: a gradient that is not finite.
        """
        self.method.train()
        for batch in self._feeder.stream(self.step, total):
            self.engine.report_step(self.step)
            self._advance(batch)
            self.step += 1
            if after():
                return

    def _advance(self, batch: Batch) -> None:
        """One step of every phase whose turn it is."""
        at = self.position
        turns = split(placed(batch, self.engine.place), self.settings.accumulate)
        carried: list[dict[str, Tensor]] = [{} for _ in turns]
        with self.engine.global_randomness("global", at.epoch, at.batch):
            for runner in self.runners:
                if self.step % runner.phase.interval == 0:
                    seen = [runner.seen(*pair) for pair in zip(turns, carried, strict=True)]
                    report = runner.step(seen, self.engine, at, self.settings, self.averages)
                    for handed, more in zip(carried, report.carried, strict=True):
                        handed.update(more)
                    self.reports[runner.phase.name] = replace(report, carried=())
            self.averages.update(self.step)
        self.engine.merge_buffers(self.method)

    def numbers(self) -> dict[str, dict[str, Any]]:
        """The newest plain numbers of each phase, means over processes: also of one whose turn was before a stop."""
        newest = {name: self.engine.means(report.numbers()) for name, report in self.reports.items()}
        return {**self._earlier, **newest}

    def state(self, numbers: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Everything that the next steps and log lines depend on, as copies on the CPU in plain containers.

        Args:
            numbers: of `numbers`, which all processes must have asked for; by default none.
        """
        tree = {
            "networks": self.method.state_dict(),
            "optimisers": {runner.phase.name: runner.optimiser.state_dict() for runner in self._owners()},
            "averages": self.averages.state(),
            "nonfinite": self.nonfinite,
            "scale": self.engine.state(),
            "numbers": dict(numbers or {}),
        }
        return {**_copied(tree), **self.position._asdict()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state of `state`.

        Raises:
            CheckpointError: the state is of other networks or phases.
        """
        try:
            self.method.load_state_dict(state["networks"])
            for runner in self._owners():
                _load_optimiser(runner, state["optimisers"][runner.phase.name])
            for runner in self.runners:
                runner.nonfinite = state["nonfinite"][runner.phase.name]
            self.averages.restore(state["averages"])
            self.engine.restore(state["scale"])
            self._earlier = {name: dict(numbers) for name, numbers in state.get("numbers", {}).items()}
            self.step = operator.index(state["step"])
        except (LookupError, AttributeError, TypeError, ValueError, RuntimeError) as error:
            raise CheckpointError(
                f"the checkpoint does not fit {type(self.method).__name__} as it is installed now: "
                f"{' '.join(str(error).split())}; train anew"
            ) from error

    def _owners(self) -> list[PhaseRunner]:
        """The phases that do not share another's optimiser."""
        return [runner for runner in self.runners if runner.phase.shares is None]


def _load_optimiser(runner: PhaseRunner, state: Mapping[str, Any]) -> None:
    """Give an optimiser its state.

    Raises:
        ValueError: options or moments that do not fit, which PyTorch would meet in the first step only.
    """
    optimiser, expected = runner.optimiser, [set(group) for group in runner.optimiser.param_groups]
    optimiser.load_state_dict(dict(state))
    if [set(group) for group in optimiser.param_groups] != expected:
        raise ValueError(f"the optimiser of phase {runner.phase.name!r} has other options")
    for parameter, moments in optimiser.state.items():
        for name, value in moments.items():
            if isinstance(value, Tensor) and value.ndim and value.shape != parameter.shape:
                raise ValueError(
                    f"optimiser of phase {runner.phase.name!r}: expected {name} of shape {tuple(parameter.shape)}, got "
                    f"{tuple(value.shape)}"
                )


def _copied(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().cpu().clone()
    if isinstance(value, Mapping):
        return {key: _copied(child) for key, child in value.items()}
    return [_copied(child) for child in value] if isinstance(value, list) else value
