"""One training run from its first check to its last file."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from trimkit.data import Dataset
from trimkit.errors import CheckpointError, OptionError
from trimkit.guards import unchanged
from trimkit.methods import Method, Phase, Weight
from trimkit.methods.stored import plain
from trimkit.training.checkpoint import Checkpoints
from trimkit.training.engine import Engine
from trimkit.training.evaluate import Evaluation, batches
from trimkit.training.guidance import Guidance, check_weights
from trimkit.training.loop import Loop, Position, keeping_modes, make_runners
from trimkit.training.outcome import write_outcome
from trimkit.training.progress import Progress, make_progress
from trimkit.training.run_folder import RunFolder
from trimkit.training.settings import Settings


@dataclass
class Run:
    """A finished training run.

    Attributes:
        method: trained, the object that was given.
        steps: in total, over all resumed parts.
        results: what results.json holds: terms on training and test data, speed, predictor.
        history: the lines of metrics.jsonl, one a logged step and phase.
        folder: of its files, or None.
    """

    method: Method
    steps: int
    results: dict[str, Any]
    history: list[dict[str, Any]] = field(default_factory=list)
    folder: Path | None = None


@dataclass(frozen=True)
class Plan:
    """What is to be trained, on what, how long, and where its files go.

    Attributes:
        method: to train.
        data: to train on.
        test: held out, or None.
        settings: of the run.
        folder: of its files, or None.
        resume: go on from the folder's newest checkpoint.
        weights: that replace those of terms, by name.
    """

    method: Method
    data: Dataset
    test: Dataset | None
    settings: Settings
    folder: RunFolder | None
    resume: bool
    weights: Mapping[str, Weight]

    def check(self) -> None:
        """Refuse, before any work, data that do not fit, a folder that is taken, or a resumption of nothing."""
        self.method.check(self.data.x)
        if self.test is not None:
            self.method.check(self.test.x)
        if self.folder is not None:
            self.folder.check(resume=self.resume)
        elif self.resume:
            raise OptionError("resume needs the folder of the run: folder='runs/NAME'")

    def identity(self, guidance: Guidance | None = None) -> dict[str, Any]:
        """What a checkpoint must share with a run to be gone on from, as plain values."""
        kind = type(self.method)
        settings = {name: getattr(self.settings, name) for name in ("batch_size", "seed", "clip")}
        found = {
            "method": f"{kind.__module__}:{kind.__qualname__}",
            "options": self.method.options,
            "data": self.data.sha256,
            **settings,
            "weights": dict(self.weights),
            **(guidance.describe() if guidance else {}),
        }
        return plain(found)


class Session:
    """The phases of a method, trained in turn.

    Args:
        plan: checked.
        phases: of its method, at least one.
        guidance: around a predictor, or None.
    Raises:
        OptionError, TrainingError: weights or phases that do not fit.
    """

    def __init__(self, plan: Plan, phases: Sequence[Phase], guidance: Guidance | None) -> None:
        self.plan = plan
        self.guidance = guidance
        self.history: list[dict[str, Any]] = []
        self.total = plan.settings.total(len(plan.data))
        check_weights(phases, guidance, plan.weights)
        runners = make_runners(plan.method, phases, guidance, plan.weights)
        self.engine = Engine(plan.settings.device, plan.settings.seed)
        self.engine.place(plan.method)
        if guidance is not None:
            self.engine.place(guidance.predictor)
        self.loop = Loop(plan.method, plan.data, runners, self.engine, plan.settings)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """See `Plan.identity`."""
        return self.plan.identity(self.guidance)

    def run(self) -> Run:
        """Rehearse, train, evaluate, and write the files; the method's modes are as before afterwards."""
        with keeping_modes(self.plan.method):
            self._rehearse()
            return self._finish(self._train(self._open()))

    def _train(self, checkpoints: Checkpoints | None) -> dict[str, float]:
        """The steps that are left, and how fast they were."""
        started, first = time.perf_counter(), self.loop.step
        batch_size = min(self.plan.settings.batch_size, len(self.plan.data))
        with make_progress(self.total, batch_size, first, wanted=self.plan.settings.progress) as progress:
            self.loop.run(self.total, lambda: self._after(progress, checkpoints))
        seconds = time.perf_counter() - started
        self._verify()
        return {"seconds": seconds, "images_per_second": (self.total - first) * batch_size / max(seconds, 1e-9)}

    def _rehearse(self) -> None:
        """Compute every term once on two samples, so that whatever does not fit is refused before any work."""
        batch = next(batches(self.plan.data.take(2), self.engine, 2))
        if self.guidance is not None:
            self.guidance.check(batch, len(self.plan.data.classes))
        at = Position(0, -1, 0)
        with unchanged(self.plan.method.train()), self.engine.global_randomness("rehearsal"):
            for runner in self.loop.runners:
                runner.objective(runner.terms(batch, self.engine, at).terms)

    def _open(self) -> Checkpoints | None:
        """The run's checkpoints, with the loop at the newest; a new run's first checkpoint is its initial state."""
        folder = self.plan.folder
        if folder is None:
            return None
        if self.plan.resume:
            state = Checkpoints(folder.current / "checkpoints", self.identity).newest()
            self._require_steps_left(state["step"])
            self.loop.restore(state)
        folder.begin({**self.identity, **asdict(self.plan.settings)})
        checkpoints = Checkpoints(folder.working / "checkpoints", self.identity)
        checkpoints.save(self.loop.state())
        self.history = folder.keep_metrics(self.loop.step)
        return checkpoints

    def _require_steps_left(self, done: int) -> None:
        folder = self.plan.folder
        complete = folder is not None and folder.path.exists()
        if done > self.total or (complete and done == self.total):
            raise CheckpointError(
                f"the run is at step {done} already, and {self.total} are asked for; ask for more steps to go on"
            )

    def _after(self, progress: Progress, checkpoints: Checkpoints | None) -> None:
        step, settings = self.loop.step, self.plan.settings
        if step % settings.log_every == 0 or step == self.total:
            self._log(progress)
        if checkpoints is not None and (step % settings.checkpoint_every == 0 or step == self.total):
            self._verify()
            checkpoints.save(self.loop.state())

    def _log(self, progress: Progress) -> None:
        for name, report in self.loop.reports.items():
            numbers = report.numbers()
            pace = {"images_per_second": round(progress.speed(self.loop.step), 1)}
            row = {"step": self.loop.step, "phase": name, **numbers, **pace}
            self.history.append(row)
            if self.plan.folder is not None:
                self.plan.folder.append_metrics(row)
            progress.update(self.loop.step, numbers)

    def _verify(self) -> None:
        if self.guidance is not None:
            self.guidance.predictor.verify()

    def _finish(self, speed: Mapping[str, float]) -> Run:
        decoding = next((runner for runner in self.loop.runners if runner.phase.trains_decoder), None)
        predictor = None if self.guidance is None else self.guidance.predictor
        evaluation = Evaluation(self.plan.method, self.engine, self.plan.settings.batch_size, decoding, predictor)
        return _conclude(self.plan, evaluation, self.total, speed, self.history)


def fit(plan: Plan) -> Run:
    """Train a method in closed form.

    Args:
        plan: checked.
    Raises:
        OptionError: asked to resume.
    """
    if plan.resume:
        raise OptionError(f"{type(plan.method).__name__} is fitted in closed form: there is nothing to resume")
    engine = Engine(plan.settings.device, plan.settings.seed)
    started = time.perf_counter()
    with engine.global_randomness("fit"):
        engine.place(plan.method).fit(engine.place(plan.data.x))
    seconds = time.perf_counter() - started
    speed = {"seconds": seconds, "images_per_second": len(plan.data) / max(seconds, 1e-9)}
    if plan.folder is not None:
        plan.folder.begin({**plan.identity(), **asdict(plan.settings)})
    evaluation = Evaluation(plan.method, engine, plan.settings.batch_size)
    return _conclude(plan, evaluation, 0, speed, [])


def _conclude(
    plan: Plan, evaluation: Evaluation, steps: int, speed: Mapping[str, float], history: list[dict[str, Any]]
) -> Run:
    parts = {"train": plan.data} if plan.test is None else {"train": plan.data, "test": plan.test}
    results = {"steps": steps, **speed, **{name: evaluation.numbers(part) for name, part in parts.items()}}
    if plan.folder is None:
        return Run(plan.method, steps, results, history)
    write_outcome(plan.folder, evaluation, results, list(parts.values())[-1])
    plan.folder.complete(steps)
    return Run(plan.method, steps, results, history, plan.folder.path)
