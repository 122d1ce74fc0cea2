"""One training run from its first check to its last file."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

from trimkit.data import Dataset, few, in_memory
from trimkit.data.samples import MOST_BYTES
from trimkit.errors import CheckpointError, OptionError, TrimkitWarning
from trimkit.methods import Method, Phase, Weight
from trimkit.methods.stored import plain
from trimkit.predictor.guards import refuse_wrappers, unchanged
from trimkit.training.board import make_board
from trimkit.training.checkpoint import Checkpoints
from trimkit.training.engine import Engine, processes_of
from trimkit.training.evaluate import Evaluation, batches
from trimkit.training.feeding import split
from trimkit.training.guidance import Guidance, check_weights
from trimkit.training.loop import Loop
from trimkit.training.outcome import draw_progress, write_outcome
from trimkit.training.precision import quicken
from trimkit.training.progress import Progress, make_progress
from trimkit.training.run_folder import CHECKPOINTS, RunFolder
from trimkit.training.runner import Position, in_eval_mode, keeping_modes, make_runners
from trimkit.training.settings import Settings

DECIDING = ("batch_size", "accumulate", "seed", "clip", "nonfinite", "ema", "precision", "fast")
"""Settings that a run cannot be gone on with otherwise."""

HELD = 2**16
"""Samples that `Method.prepare` and `Method.finish` see at most, all at once; fewer where they take `MOST_BYTES`."""


@dataclass
class Run:
    """A finished training run.

    Attributes:
        method: trained, the object that was given; with averaged weights where a phase averages them.
        steps: in total, over all resumed parts.
        results: what results.json holds: terms on training and test data, speed, predictor.
        history: the lines of metrics.jsonl, one a logged step and phase.
        folder: of its files, or None.
        rank: of this process among those that trained together; the one of rank 0 wrote the files.
    """

    method: Method
    steps: int
    results: dict[str, Any]
    history: list[dict[str, Any]] = field(default_factory=list)
    folder: Path | None = None
    rank: int = 0


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
        refuse_wrappers(self.method)
        for data in (self.data, self.test):
            if data is not None:
                self.method.check(few(data.x))
                self.method.check_aux(data.aux)
        if self.folder is not None:
            self.folder.check(resume=self.resume)
        elif self.resume:
            raise OptionError("resume needs the folder of the run: folder='runs/NAME'")
        elif self.settings.tensorboard or self.settings.pictures_every:
            raise OptionError("tensorboard and pictures_every need a folder to write to: folder='runs/NAME'")

    def identity(self, guidance: Guidance | None = None, processes: int = 1) -> dict[str, Any]:
        """What a checkpoint must share with a run to be gone on from, as plain values."""
        kind = type(self.method)
        found = {
            "method": f"{kind.__module__}:{kind.__qualname__}",
            "options": self.method.options,
            "data": self.data.sha256,
            **{name: getattr(self.settings, name) for name in DECIDING},
            "processes": processes,
            "weights": dict(self.weights),
            **(guidance.describe() if guidance else {}),
        }
        return plain(found)

    def recorded(self, identity: Mapping[str, Any]) -> dict[str, Any]:
        """What config.yaml tells: the identity, with the data by their name and their hash, and all settings."""
        data = {"data": self.data.name, "data_sha256": identity["data"]}
        return {**identity, **data, **asdict(self.settings)}


class Session:
    """The phases of a method, trained in turn.

    Every process of a run has one; the first alone reads and writes the folder.

    Args:
        plan: checked.
        phases: of its method, at least one.
        guidance: around a predictor, or None.
    Raises:
        OptionError, TrainingError: weights, phases or batches that do not fit.
    """

    def __init__(self, plan: Plan, phases: Sequence[Phase], guidance: Guidance | None) -> None:
        self.plan = plan
        self.guidance = guidance
        self.history: list[dict[str, Any]] = []
        self._told: set[str] = set()
        self.total = plan.settings.total(len(plan.data))
        check_weights(phases, guidance, plan.weights)
        runners = make_runners(plan.method, phases, guidance, plan.weights)
        self.board = make_board(plan.folder, plan.settings)
        plan.settings.check_shares(len(plan.data), processes_of(plan.settings))
        self.engine = Engine(plan.settings)
        self.engine.place(plan.method)
        self._prepare_method()
        self.engine.align(plan.method)
        if guidance is not None:
            refuse_wrappers(guidance.predictor.inner)
            self.engine.place(guidance.predictor)
        if plan.settings.fast:
            quicken(plan.method, [runner.optimiser for runner in runners])
        self.loop = Loop(plan.method, plan.data, runners, self.engine, plan.settings)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """See `Plan.identity`."""
        return self.plan.identity(self.guidance, self.engine.processes)

    @property
    def folder(self) -> RunFolder | None:
        """Of the run's files, in the process that writes them."""
        return self.plan.folder if self.engine.leads else None

    def run(self) -> Run:
        """Rehearse, train, evaluate, and write the files; the method's modes are as before afterwards."""
        with keeping_modes(self.plan.method):
            try:
                with nullcontext() if self.folder is None else self.folder.held(resume=self.plan.resume):
                    self._rehearse()
                    return self._finish(self._train(self._open()))
            except BaseException:
                self.engine.abandon()
                raise

    def _train(self, checkpoints: Checkpoints | None) -> dict[str, float]:
        """The steps that are left, and how fast they were."""
        started, first = time.perf_counter(), self.loop.step
        settings, size = self.plan.settings, self.plan.settings.size(len(self.plan.data))
        wanted = settings.progress and self.engine.leads
        with make_progress(self.total, size, first, wanted=wanted) as progress, self.board.opened(first):
            self.loop.run(self.total, lambda: self._after(progress, checkpoints))
        seconds = time.perf_counter() - started
        self._verify()
        return {"seconds": seconds, "images_per_second": (self.total - first) * size / max(seconds, 1e-9)}

    def _rehearse(self) -> None:
        """Compute every term once on the first turn's samples, so that what does not fit is refused before any work.

        The test data are evaluated too, as many as one batch: what they lack must not be found after the training.
        """
        with unchanged(self.plan.method.train()):
            self._rehearse_turn()
            if self.plan.test is not None:
                self._rehearse_test(self.plan.test)

    def _rehearse_turn(self) -> None:
        turns, carried = self.plan.settings.accumulate, {}
        batch = split(self.loop.batch(), turns)[0]
        if self.guidance is not None:
            self.guidance.check(batch, len(self.plan.data.classes))
        at = Position(0, -1, 0)
        with self.engine.global_randomness("rehearsal"), self.engine.share(0, turns, len(batch)):
            for runner in self.loop.runners:
                result = runner.terms(runner.seen(batch, carried), self.engine, at)
                runner.objective(result.terms)
                carried |= {name: value.detach() for name, value in result.carried.items()}

    def _rehearse_test(self, test: Dataset) -> None:
        evaluation = self._evaluation()
        few = test.take(evaluation.batch_size)
        if self.guidance is not None:
            self.guidance.check(next(batches(few, self.engine, len(few))), len(test.classes), "the test data")
        evaluation.numbers(few)

    def _open(self) -> Checkpoints | None:
        """The run's checkpoints, with the loop at the newest; a new run's first checkpoint is its initial state."""
        if self.plan.resume:
            state = self.engine.broadcast(self._newest())
            if state is not None:
                self._require_steps_left(state["step"])
                self.loop.restore(state)
        if self.folder is None:
            return None
        self.folder.begin(self.plan.recorded(self.identity))
        checkpoints = Checkpoints(self.folder.working / CHECKPOINTS, self.identity)
        checkpoints.set_aside_after(self.loop.step)
        checkpoints.save(self.loop.state())
        self.history = self.folder.keep_metrics(self.loop.step)
        return checkpoints

    def _newest(self) -> dict[str, Any] | None:
        """The state to go on from; None for the beginning, where the run stopped before its first checkpoint."""
        if self.folder is None:
            return None
        checkpoints = Checkpoints(self.folder.current / CHECKPOINTS, self.identity)
        if checkpoints.started:
            return checkpoints.newest(set_aside=False)  # the complete run stays as it is
        message = f"{self.folder.current} has no checkpoint yet: the run stopped before its first, and begins at step 0"
        warnings.warn(message, TrimkitWarning, stacklevel=2)
        return None

    def _require_steps_left(self, done: int) -> None:
        folder = self.plan.folder
        complete = folder is not None and folder.current == folder.path and folder.path.exists()
        if done > self.total or (complete and done == self.total):
            raise CheckpointError(
                f"the run is at step {done} already, and {self.total} are asked for; ask for more steps to go on"
            )

    def _after(self, progress: Progress, checkpoints: Checkpoints | None) -> None:
        step, settings = self.loop.step, self.plan.settings
        if step % settings.log_every == 0 or step == self.total:
            self._log(progress)
        if settings.pictures_every and step % settings.pictures_every == 0 and self.folder is not None:
            with self.loop.averages.applied():
                draw_progress(self.folder, self._evaluation(), self._shown, step)
        if step % settings.checkpoint_every == 0 or step == self.total:
            self._verify()
            numbers = self.loop.numbers()
            if checkpoints is not None:
                checkpoints.save(self.loop.state(numbers))

    def _log(self, progress: Progress) -> None:
        for name, numbers in self.loop.numbers().items():
            pace = {"images_per_second": round(progress.speed(self.loop.step), 1)}
            row = {"step": self.loop.step, "phase": name, **numbers, "nonfinite": self.loop.nonfinite[name], **pace}
            self.history.append(row)
            if self.folder is not None:
                self.folder.append_metrics(row)
            self.board.write(row)
            progress.update(self.loop.step, numbers)

    def _verify(self) -> None:
        if self.guidance is not None:
            self.guidance.predictor.verify()

    @property
    def _shown(self) -> Dataset:
        """The data of pictures."""
        return self.plan.data if self.plan.test is None else self.plan.test

    def _evaluation(self) -> Evaluation:
        runners = self.loop.runners
        shown = next((runner for runner in runners if runner.phase.trains_decoder), runners[0])
        predictor = None if self.guidance is None else self.guidance.predictor
        settings, step = self.plan.settings, max(self.loop.step - 1, 0)
        rows = settings.size(len(self.plan.data)) // settings.accumulate
        return Evaluation(self.plan.method, self.engine, rows, shown, predictor, step, settings.evaluated, self._told)

    def _prepare_method(self) -> None:
        """See `trimkit.methods.Method.prepare`: before averages and rehearsal, which see what it writes."""
        method = self.plan.method
        if type(method).prepare is Method.prepare:
            return
        with in_eval_mode(method), self.engine.global_randomness("prepare"):
            method.prepare(*self._whole_data(), self.engine.generator("prepare"))

    def _finish_method(self) -> None:
        """See `trimkit.methods.Method.finish`: after the last checkpoint, which a longer run goes on from."""
        method = self.plan.method
        if type(method).finish is Method.finish:
            return
        with in_eval_mode(method), self.engine.global_randomness("finish"):
            method.finish(*self._whole_data())
        self.engine.align(method)

    def _whole_data(self) -> tuple[Tensor, Tensor | None]:
        """x and aux of the training data, or of as many samples as can be held at once, on the device."""
        data = self.plan.data
        data = data.some(max(1, min(HELD, MOST_BYTES // (4 * math.prod(data.shape)))))
        aux = None if data.aux is None else self.engine.place(data.aux)
        return self.engine.place(in_memory(data.x)), aux

    def _finish(self, speed: Mapping[str, float]) -> Run:
        """Evaluate in the first process, and tell the others: they must not leave before it has finished."""
        self.loop.averages.apply()
        self._finish_method()
        if (left := self.plan.method.unfinished()) and self.engine.leads:
            warnings.warn(f"{type(self.plan.method).__name__} {left}", TrimkitWarning, stacklevel=4)
        numbers = {**speed, "nonfinite": self.loop.nonfinite}
        plan = replace(self.plan, folder=self.folder)
        run = _conclude(plan, self._evaluation(), self.total, numbers, self.history) if self.engine.leads else None
        results = self.engine.broadcast(run.results if run else None)
        folder = None if self.plan.folder is None else self.plan.folder.path
        return run or Run(self.plan.method, self.total, results, self.history, folder, self.engine.rank)


def fit(plan: Plan) -> Run:
    """Train a method in closed form.

    Args:
        plan: checked.
    Raises:
        OptionError: asked to resume, or several processes.
    """
    if plan.resume:
        raise OptionError(f"{type(plan.method).__name__} is fitted in closed form: there is nothing to resume")
    engine = Engine(plan.settings)
    if engine.processes > 1:
        raise OptionError(f"{type(plan.method).__name__} is fitted in closed form, by one process; start only one")
    with nullcontext() if plan.folder is None else plan.folder.held(resume=False):
        return _fit(plan, engine)


def _fit(plan: Plan, engine: Engine) -> Run:
    started = time.perf_counter()
    with engine.global_randomness("fit"):
        aux = None if plan.data.aux is None else engine.place(plan.data.aux)
        engine.place(plan.method).fit(engine.place(in_memory(plan.data.x)), aux)
    seconds = time.perf_counter() - started
    speed = {"seconds": seconds, "images_per_second": len(plan.data) / max(seconds, 1e-9)}
    if plan.folder is not None:
        plan.folder.begin(plan.recorded(plan.identity()))
    evaluation = Evaluation(plan.method, engine, plan.settings.batch_size, most=plan.settings.evaluated)
    return _conclude(plan, evaluation, 0, speed, [])


def _conclude(
    plan: Plan, evaluation: Evaluation, steps: int, numbers: Mapping[str, Any], history: list[dict[str, Any]]
) -> Run:
    parts = {"train": plan.data} if plan.test is None else {"train": plan.data, "test": plan.test}
    results = {"steps": steps, **numbers, **{name: evaluation.numbers(part) for name, part in parts.items()}}
    if plan.folder is None:
        return Run(plan.method, steps, results, history)
    write_outcome(plan.folder, evaluation, results, list(parts.values())[-1])
    plan.folder.complete(steps)
    return Run(plan.method, steps, results, history, plan.folder.path)
