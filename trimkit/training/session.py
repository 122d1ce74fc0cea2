"""One training run from its first check to its last file."""

from __future__ import annotations

import math
import signal
import time
import warnings
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from functools import cached_property
from typing import Any

from torch import Tensor

from trimkit.data import Dataset, in_memory
from trimkit.data.arrays import needs_double
from trimkit.data.samples import MOST_BYTES
from trimkit.errors import CheckpointError, TrimkitWarning
from trimkit.methods import Method, Phase, stored
from trimkit.predictor.guards import refuse_wrappers, unchanged
from trimkit.storage import write_atomically
from trimkit.training.checkpoint import Checkpoints
from trimkit.training.engine import Engine, processes_of
from trimkit.training.feeding import split
from trimkit.training.guidance import Guidance, check_weights
from trimkit.training.loop import Loop
from trimkit.training.outcome import Evaluation, batches, draw_progress
from trimkit.training.plan import Plan, Run, conclude
from trimkit.training.precision import quicken
from trimkit.training.progress import Progress, make_board, make_progress
from trimkit.training.run_folder import CHECKPOINTS, DATA_CHANGES, RunFolder
from trimkit.training.runner import Position, in_eval_mode, keeping_modes, make_runners
from trimkit.training.stopping import Clock, Stopped, Stopper
from trimkit.training.validation import Callback, Moment, Validation

LAST_WEIGHTS = "last.safetensors"
"""The weights of the last step, where those of the best evaluation are the run's."""

HELD = 2**16
"""Samples that `Method.prepare` and `Method.finish` see at most, all at once; fewer where they take `MOST_BYTES`."""


_ROUNDED = (
    "data {!r}: float32 does not tell the values of a feature apart, which are large beside their spread; subtract "
    "their mean, or train in float64 (precision='64')"
)


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
        self._warned: set[str] = set()
        self._stopper = Stopper()
        self.validation = Validation(plan.settings.patience)
        self._clock = Clock(plan.settings.checkpoint_minutes)
        self.total = plan.settings.total(len(plan.data))
        check_weights(phases, guidance, plan.weights)
        runners = make_runners(plan.method, phases, guidance, plan.weights)
        self.board = make_board(plan.folder, plan.settings)
        if plan.settings.precision != "64" and needs_double(plan.data.x):
            warnings.warn(_ROUNDED.format(plan.data.name), TrimkitWarning, stacklevel=3)
        plan.settings.check_shares(len(plan.data), processes_of(plan.settings))
        self.engine = Engine(plan.settings)
        self.engine.place(plan.method)
        self._prepare_method()
        if plan.init_from is not None and not plan.resume:
            stored.load_weights(plan.method, plan.init_from)
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
                with ExitStack() as stack:
                    if self.plan.folder is not None:
                        held = self.plan.folder.held(resume=self.plan.resume)
                        self.engine.lead(lambda: stack.enter_context(held))
                    self._rehearse()
                    return self._finish(self._train(self._open()))
            except Exception as error:
                explained = self.engine.explain(error)
                self.engine.abandon()
                if explained is error:
                    raise
                raise explained from error
            except BaseException:
                self.engine.abandon()
                raise

    def _train(self, checkpoints: Checkpoints | None) -> dict[str, float]:
        """The steps that are left, and how fast they were."""
        started, first = time.perf_counter(), self.loop.step
        settings, size = self.plan.settings, self.plan.settings.size(len(self.plan.data))
        wanted = settings.progress and self.engine.leads
        listening = nullcontext() if self.plan.folder is None else self._stopper.listening()
        with make_progress(self.total, size, first, wanted=wanted) as progress, self.board.opened(first), listening:
            self.loop.run(self.total, lambda: self._after(progress, checkpoints))
        seconds = time.perf_counter() - started
        self._leave_if_asked(*self.engine.largest(self._stopper.received))  # since the last step was looked at
        self._verify()
        return {"seconds": seconds, "images_per_second": (self.loop.step - first) * size / max(seconds, 1e-9)}

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
                seen = runner.seen(batch, carried)
                result = runner.terms(seen, self.engine, at)
                runner.objective(result.terms)
                runner.require_gradients(seen, result)
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
            state = self.engine.lead(self._newest)
            if state is not None:
                self._require_steps_left(state["step"])
                self.loop.restore(state)
                self.validation.restore(state.get("validation", {}))
        if self.folder is None:
            return None
        self.folder.begin(self.plan.recorded(self.identity))
        checkpoints = Checkpoints(self.folder.working / CHECKPOINTS, self.identity)
        checkpoints.set_aside_after(self.loop.step)
        self._record_data_change(checkpoints, self.folder)
        checkpoints.save(self.loop.state())
        self.history = self.folder.keep_metrics(self.loop.step)
        return checkpoints

    def _record_data_change(self, checkpoints: Checkpoints, folder: RunFolder) -> None:
        if self.plan.data_changed and checkpoints.files():
            before, now = checkpoints.recorded(self.loop.step)["data"], self.identity["data"]
            if before != now:
                folder.append_row({"step": self.loop.step, "before": before, "after": now}, DATA_CHANGES)

    def _newest(self) -> dict[str, Any] | None:
        """The state to go on from; None for the beginning, where the run stopped before its first checkpoint."""
        if self.folder is None:
            return None
        free = ("data", "options.dataset_size") if self.plan.data_changed else ()
        checkpoints = Checkpoints(self.folder.current / CHECKPOINTS, self.identity, free)
        if checkpoints.started:
            return checkpoints.newest(set_aside=False)  # the complete run stays as it is
        if self.folder.is_complete:
            raise CheckpointError(
                f"{self.folder.path} is complete and has no checkpoints any more, so nothing to go on from; begin a "
                f"new run with its weights: --init-from {self.folder.path}"
            )
        message = f"{self.folder.current} has no checkpoint yet: the run stopped before its first, and begins at step 0"
        warnings.warn(message, TrimkitWarning, stacklevel=2)
        return None

    def _require_steps_left(self, done: int) -> None:
        complete = self.plan.folder is not None and self.plan.folder.is_complete
        if done > self.total or (complete and done == self.total):
            raise CheckpointError(
                f"the run is at step {done} already, and {self.total} are asked for; ask for more steps to go on"
            )

    def _after(self, progress: Progress, checkpoints: Checkpoints | None) -> bool:
        """Whether the run ends here."""
        step, settings = self.loop.step, self.plan.settings
        if step % settings.log_every == 0 or step == self.total:
            self._log(progress)
        if settings.pictures_every and step % settings.pictures_every == 0 and self.folder is not None:
            with self.loop.averages.applied():
                draw_progress(self.folder, self._evaluation(), self._shown, step)
        ends = self._evaluate() if settings.evaluate_every and step % settings.evaluate_every == 0 else False
        ends = self._call(self.plan.on_step) or ends
        received, due, ended = self.engine.largest(self._stopper.received, self._clock.due, ends)
        if received or due or ended or step % settings.checkpoint_every == 0 or step == self.total:
            self._save(checkpoints)
        self._leave_if_asked(received)
        return bool(ended)

    def _leave_if_asked(self, received: int) -> None:
        """Stop where a signal asked for it; a checkpoint of this step is written."""
        if received == signal.SIGINT:
            raise KeyboardInterrupt
        if received:
            name = signal.Signals(received).name
            reached = f"{name}: stopped after step {self.loop.step} with a checkpoint; go on with --resume"
            raise Stopped(received, reached)

    def _save(self, checkpoints: Checkpoints | None) -> None:
        self._verify()
        numbers = self.loop.numbers()
        if checkpoints is not None:
            checkpoints.save({**self.loop.state(numbers), "validation": self.validation.state()})
        self._clock.restart()

    def _evaluate(self) -> bool:
        """Judge the method on the test data, with averaged weights; True where the run is to end."""
        with self.loop.averages.applied():
            numbers = self.engine.lead(self._numbers_on_test)
            self.validation.judge(self.loop.step, numbers, self.plan.method)
        row = {"step": self.loop.step, "phase": "evaluation", **numbers}
        self.history.append(row)
        if self.folder is not None:
            self.folder.append_row(row)
        self.board.write(row)
        return self._call(self.plan.on_evaluation) or self.validation.exhausted

    def _numbers_on_test(self) -> dict[str, Any]:
        assert self.plan.test is not None
        evaluation = self._evaluation()
        numbers = evaluation.numbers(self.plan.test)
        return {"loss": evaluation.loss(numbers, self.total - 1), **numbers}

    def _call(self, callback: Callback | None) -> bool:
        """Whether a function of the user's ends the run."""
        if callback is None:
            return False
        reports, numbers = self.loop.reports, self.validation.numbers
        return callback(Moment(self.loop.step, self.total, self.plan.method, reports, numbers)) is True

    def _log(self, progress: Progress) -> None:
        for name, numbers in self.loop.numbers().items():
            pace = {"images_per_second": round(progress.speed(self.loop.step), 1)}
            row = {"step": self.loop.step, "phase": name, **numbers, "nonfinite": self.loop.nonfinite[name], **pace}
            self.history.append(row)
            if self.folder is not None:
                self.folder.append_row(row)
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
        return Evaluation(self.plan.method, self.engine, rows, shown, predictor, step, settings.evaluated, self._warned)

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
        if self.validation.best:
            if self.folder is not None:
                write_atomically(self.folder.working / LAST_WEIGHTS, stored.weights(self.plan.method))
            self.validation.apply(self.plan.method)
        self._finish_method()
        if (left := self.plan.method.unfinished()) and self.engine.leads:
            warnings.warn(f"{type(self.plan.method).__name__} {left}", TrimkitWarning, stacklevel=4)
        numbers = {**speed, "nonfinite": self.loop.nonfinite}
        numbers |= {"best": self.validation.best} if self.validation.best else {}
        plan = replace(self.plan, folder=self.folder)
        run = None
        if self.engine.leads:
            run = conclude(plan, self._evaluation(), self.loop.step, numbers, self.history)
            self.engine.announce_end()
        self.engine.await_end()
        results = self.engine.broadcast(run.results if run else None)
        folder = None if self.plan.folder is None else self.plan.folder.path
        return run or Run(self.plan.method, self.loop.step, results, self.history, folder, self.engine.rank)
