"""`train`: from a method and data to a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from trimkit.data import as_dataset
from trimkit.data.collect import Source
from trimkit.errors import OptionError
from trimkit.methods import Method, Weight
from trimkit.predictor import Match, PredictionLoss
from trimkit.registry.calling import call
from trimkit.training.guidance import TrimTarget, TrimTerm, make_guidance
from trimkit.training.plan import Plan, Run, fit
from trimkit.training.run_folder import RunFolder
from trimkit.training.session import Session
from trimkit.training.settings import Settings
from trimkit.training.validation import Callback


def train(
    method: Method,
    data: Source,
    *,
    test: Source | None = None,
    predictor: nn.Module | None = None,
    prediction: Match | PredictionLoss = "kl",
    trim: Sequence[str | TrimTerm] = (),
    target: TrimTarget = "predicted",
    weights: Mapping[str, Weight] | None = None,
    folder: str | Path | RunFolder | None = None,
    resume: bool = False,
    data_changed: bool = False,
    init_from: str | Path | None = None,
    on_step: Callback | None = None,
    on_evaluation: Callback | None = None,
    **settings: Any,
) -> Run:
    """Train a generative method, optionally around a frozen predictor f.

    The phase that trains the decoder minimises

        L = w_recon · recon + the method's other terms + w_prediction · D(f(x̂), f(x) or y) + Σ_k w_k · penalty_k(scores)

    with x̂ without residual, and scores of f ∘ decode at the code of x with it.

    Args:
        method: trained in place.
        data: a dataset, samples (N, *method.shape), a name, file or folder, a PyTorch dataset or loader, a list, an
            iterable of batches: what `trimkit.data.as_dataset` takes.
        test: held-out data for the results and pictures, in the same forms.
        predictor: f; a frozen copy is used, and verified at the start, at every checkpoint and at the end.
        prediction: how f's outputs are compared, see `trimkit.PredictionLoss`; "label" compares with y.
        trim: terms such as ``"l1@z:0.1"`` (PENALTY[@SPACE][:WEIGHT]) or `TrimTerm`.
        target: which output the terms given as text explain: "predicted", "label", the number of a class, ….
        weights: replaces weights by the names of terms: "recon", "kl", "prediction", "l1@z", …; each a number, a
            function of the step, or text such as "linear(0, 1, 500)". With "recon" at 0 the predictor alone says what
            reconstructions must keep.
        folder: where files go, see `RunFolder`; none are written without it.
        resume: go on from the folder's newest checkpoint: bit for bit what an uninterrupted run gives.
        data_changed: go on though the data are others than before, such as without a file that could not be read; the
            change is recorded in the run.
        init_from: folder of a complete run of the same networks whose weights this one begins with; its data, batch
            size, learning rate and processes may be others.
        on_step: called after each step with a `trimkit.training.Moment`; the run ends there where it returns True.
        on_evaluation: the same after each evaluation on the test data, see `Settings.evaluate_every`.
        **settings: fields of `Settings`: steps or epochs, batch_size, seed, …
    Returns:
        The run.
    Raises:
        OptionError, ShapeError, DataError, ModelError, UnknownNameError: something does not fit; nothing was done.
        TrainingError: the folder exists already, or a gradient is not finite.
        CheckpointError: nothing whole to resume, or it is of another run.
        FrozenError: the predictor changed.
    """
    chosen = call("training", Settings, (), settings)
    form = {"shape": method.shape, "double": chosen.precision == "64"}
    plan = Plan(
        method=method,
        data=as_dataset(data, **form),
        test=None if test is None else as_dataset(test, "test", **form),
        settings=chosen,
        folder=RunFolder(folder) if isinstance(folder, str | Path) else folder,
        resume=resume,
        weights=weights or {},
        data_changed=data_changed,
        on_step=on_step,
        on_evaluation=on_evaluation,
        init_from=init_from,
    )
    plan.check()
    trims = [TrimTerm.parse(term, target) if isinstance(term, str) else term for term in trim]
    phases = list(method.phases())
    if not phases:
        if trims or weights or predictor is not None or init_from is not None:
            raise OptionError(
                f"{type(method).__name__} is fitted in closed form: there is no loss that a predictor, TRIM terms or "
                "weights could join, and no step to begin elsewhere; fit it alone and explain the predictor in its "
                "space afterwards"
            )
        plan.settings.refuse_in_closed_form(type(method).__name__)
        return fit(plan)
    return Session(plan, phases, make_guidance(method, phases, predictor, prediction, trims)).run()
