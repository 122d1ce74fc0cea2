"""The audit itself: explain once, measure batch by batch, conclude from all samples."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import nullcontext
from inspect import signature
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from trimkit.audit.batch import blocks_of
from trimkit.audit.checks.base import Check
from trimkit.audit.checks.controls import magnitude
from trimkit.audit.counted import Counted
from trimkit.audit.engines import measure_by, open_engine
from trimkit.audit.examine import Data, Wanted, as_dataset, examine
from trimkit.audit.layer import at_layer
from trimkit.audit.looks import audit_until_decided
from trimkit.audit.options import Explained, make_checks, named
from trimkit.audit.order import Ids, in_order_of_ids
from trimkit.audit.report import Report
from trimkit.audit.run import Progress, Run
from trimkit.audit.selection import Forbid
from trimkit.audit.shards import Shard, merge_shards, require_shard
from trimkit.audit.subject import Subject
from trimkit.coefficients import tree
from trimkit.coefficients.baseline import Baseline
from trimkit.data import Dataset, Samples, few
from trimkit.data import as_dataset as gathered
from trimkit.errors import DataError, OptionError, TransformError, TrimkitWarning, nearest
from trimkit.predictor.inputs import At
from trimkit.registry import resolve
from trimkit.transforms.base import Transform
from trimkit.trim import Choice

MOST_FITTED = 4096
"""Samples to which a transform is fitted where samples are made when asked for; all of a tensor."""


def audit(
    model: nn.Module | Callable[[Tensor], Any],
    data: Data,
    *,
    transform: Choice | Transform = "identity",
    attributions: Explained | Sequence[Explained] = ("integrated_gradients",),
    target: Wanted = "predicted",
    task: str | None = None,
    checks: Sequence[str | tuple[str, dict[str, Any]] | Check] | None = None,
    thresholds: Mapping[str, float] | None = None,
    samples: int | None = 256,
    batch_size: int = 64,
    seed: int = 0,
    at: At = None,
    baseline: Baseline = None,
    reference: Data | None = None,
    id_of: Ids = None,
    forbid: Forbid = None,
    allow: Forbid = None,
    shard: tuple[int, int] | None = None,
    executor: Executor | str | None = None,
    until_decided: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Judge what attributions say about a finished model in a space, and whether the model relies on what it must not.

    Args:
        model: in evaluation mode; any callable x → (N, K) logits, numbers, class maps or tokens' logits (in a
            dict, tuple or object with logits, too). A bare function cannot be randomised. It is left as it was found.
        data: a `trimkit.data.Dataset`, x (N, ...) or (x, y); or a dataset, loader or iterable of batches, which is
            gathered in memory, see `trimkit.data.as_dataset`.
        transform: the space: a name, (name, options) or `trimkit.Transform`.
        attributions: one or several names, (name, options), `trimkit.Attribution`, or functions of your own, (model, x,
            target) → scores like x, see `trimkit.audit.functions.FromFunction`.
        target: what is explained: "predicted" class, "label", a class index, or a callable output → (N,). A model with
            one output has no choice. See docs/tasks.md for outputs with more axes.
        task: what the outputs mean, one of `trimkit.audit.task.TASKS`; told from output and labels by default, and
            asked for where they fit several.
        checks: names, (name, options) or `trimkit.audit.Check`; all installed ones by default.
        thresholds: options of checks by "check.option", such as {"completeness.tolerance": 0.02}.
        samples: at most so many samples of the data, chosen by the seed; None for all.
        batch_size: samples in one forward. Draws do not depend on it, values only by rounding.
        seed: of every draw.
        at: a layer of the model, see `trimkit.predictor.inputs.At`: its activation is what the space acts on and what
            is explained; x may then be token ids, or a mapping of keywords.
        baseline: s₀ of the attributions, see `trimkit.coefficients.baseline.Baseline`.
        reference: data from which removed coefficients take their values, and to which a named transform that must
            see data (PCA) is fitted (all of a tensor, else `MOST_FITTED`); the audited data by default.
        id_of: what each sample is called: N different texts or numbers, or a function of its place; those of the
            dataset by default. Reports name samples so, and the same samples in another order give the same report.
        forbid: what the model must not rely on: groups by name, wildcard or number, "bin 5,3", masks; see
            `trimkit.audit.selection.Forbid`. Where neither this nor ``allow`` is given, groups that stand out are
            searched for.
        allow: what alone the model may rely on, in the same forms.
        shard: (i, n) measures the i-th of n shards alone, i from 1, for `trimkit.merge`.
        executor: where shards run side by side: an executor of ``concurrent.futures``, "processes:8" or
            "dask://host:port"; see `trimkit.audit.engines.open_engine`. None for this process.
        until_decided: take more and more samples, up to ``samples``, until every verdict is decided; see
            `trimkit.audit.looks.audit_until_decided`.
        progress: called after every batch, or after every shard of an executor.
    Returns:
        Verdicts, evidence and provenance; with ``shard`` a `trimkit.audit.shards.Shard`.
    Raises:
        DataError, ModelError: data or a model that cannot be audited, with the reason.
        UnknownNameError, OptionError: a part, check or threshold that does not exist.

    Example:
        >>> import torch, trimkit
        >>> model = torch.nn.Sequential(torch.nn.Linear(16, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3)).eval()
        >>> report = trimkit.audit(model, torch.randn(80, 16), transform="dct", samples=80)
        >>> str(report.verdict("completeness").status), str(report.verdict("reproducibility").status)
        ('PASS', 'PASS')
    """
    options = {name: value for name, value in locals().items() if name in _SETTINGS}
    if shard is not None and (executor is not None or until_decided):
        raise OptionError("a shard runs by itself: leave out executor and until_decided, or leave out shard")
    part = None if shard is None else require_shard(shard)
    run = start(model, data, **options)
    run.prepare()
    if part is not None:
        blocks = list(blocks_of(run.subject.ids, batch_size, part))
        run.measure(blocks, progress, sum(map(len, blocks)))
        return cast(Report, Shard(*part, run, run.part))  # the type is what everybody but a shard gets
    with nullcontext() if executor is None else open_engine(executor) as engine:
        if until_decided:
            return audit_until_decided(run, engine, progress)
        if engine is None:
            run.measure(blocks_of(run.subject.ids, batch_size), progress, len(run.subject.ids))
        else:
            measure_by(engine, run, run.subject.ids, progress)
    return run.conclude()


def merge(shards: Sequence[Shard | str | Path], model: Any = None, data: Any = None, **options: Any) -> Report:
    """The report of an audit whose shards ran apart; the bits of results.json are those of one run.

    Args:
        shards: what `trimkit.audit` returned with ``shard=(i, n)``, or the files that it was saved to; all n, in any
            order.
        model: the audited model, where all shards are files.
        data: the audited data, where all shards are files.
        **options: of `trimkit.audit`, as they were for the shards.
    Raises:
        DataError: shards that are missing, there twice, or of another model, data, option or version.
        OptionError: files without model and data, or an option that `trimkit.audit` does not have.

    Example:
        >>> import torch, trimkit
        >>> model = torch.nn.Linear(6, 3).eval()
        >>> x = torch.randn(200, 6)
        >>> shards = [trimkit.audit(model, x, shard=(i, 2), checks=["completeness"]) for i in (1, 2)]
        >>> str(trimkit.merge(shards).verdict("completeness").status)
        'PASS'
    """
    if not shards:
        raise OptionError("expected the shards of an audit, got none")
    held = next((one.run for one in shards if isinstance(one, Shard)), None)
    if model is None and held is not None:
        return merge_shards(held, shards)
    if model is None or data is None:
        raise OptionError("files of shards hold neither model nor data: give both, and the options of the audit")
    unknown = sorted(set(options) - set(_SETTINGS))
    if unknown:
        raise OptionError(f"merge: {unknown[0]!r} is no option of an audit. {nearest(unknown[0], _SETTINGS)}")
    run = start(model, data, **{**_SETTINGS, **options})
    run.prepare()
    return merge_shards(run, shards)


def check_names(model: Any, data: Any, **options: Any) -> None:
    """Refuse what `audit` would of its model, data and options, before any work; errors are those of `audit`."""
    start(model, data, **{**_SETTINGS, **options})


def start(
    model: Any,
    data: Any,
    *,
    transform: Any,
    attributions: Any,
    target: Wanted,
    task: str | None,
    checks: Any,
    thresholds: Mapping[str, float] | None,
    samples: int | None,
    batch_size: int,
    seed: int,
    at: At,
    baseline: Baseline,
    reference: Any,
    id_of: Ids,
    forbid: Forbid,
    allow: Forbid,
) -> Run:
    """An audit of which everything is checked, and nothing done; arguments and errors are those of `audit`."""
    if at is not None:
        model, data, reference, transform = at_layer(model, data, reference, transform, at, batch_size)
    dataset, places = in_order_of_ids(taken(data), id_of)
    if (samples is not None and samples < 1) or batch_size < 1:
        raise DataError(f"expected samples ≥ 1 and batch_size ≥ 1, got {samples} and {batch_size}")
    understood = examine(model, dataset, target, task)
    for note in understood.notes:
        warnings.warn(note, TrimkitWarning, stacklevel=4)  # 4: past the package that takes the call
    subject = Subject(
        model=Counted(model, raw=callable(target)),
        transform=_ready(transform, dataset if reference is None else taken(reference)),
        attributions=named(attributions),
        data=dataset,
        samples=samples,
        target=target,
        reference=_reference(reference, dataset),
        batch_size=batch_size,
        seed=seed,
        baseline=baseline,
        forbid=forbid,
        allow=allow,
        task=understood.task,
        places=places,
    )
    check_transform(subject)
    run = Run(subject, make_checks(checks, thresholds or {}), understood.notes)
    if subject.forbidden and not any(check.about == "model" for check in run.checks):
        raise OptionError("forbid and allow need the check 'reliance', which is not among the checks of this audit")
    return run


def taken(data: Any) -> Dataset:
    """Audited data as a dataset: what `Data` names, or what `trimkit.data.as_dataset` takes, gathered in memory."""
    if isinstance(data, Dataset | Tensor | Samples | tuple):
        return as_dataset(data)
    return gathered(data, split="test")


def _ready(transform: Choice | Transform, data: Dataset) -> Transform:
    """The transform; one that is named and learns from data (PCA, NMF) is fitted to the reference data."""
    made = resolve("transform", transform)
    learns = type(made).fit is not Transform.fit  # what learns nothing needs no samples read for it
    return made.fit(few(data.x, MOST_FITTED)) if learns and not isinstance(transform, Transform) else made


def check_transform(subject: Subject) -> None:
    """Try the transform on two samples, twice, before the work.

    Raises:
        TransformError: coefficients that are random.
        ShapeError: groups that do not fit the coefficients.
    """
    first, second = (subject.coefficients(subject.data.x[:2]) for _ in range(2))
    if not all(map(torch.equal, tree.leaves(first), tree.leaves(second))):
        name = type(subject.transform).__name__
        raise TransformError(f"{name} gives random coefficients, so nothing can be said of them; put it in eval mode")
    subject.groups.sums(magnitude(first))


def _reference(data: Data | None, audited: Dataset) -> Dataset | None:
    if data is None:
        return None
    dataset = as_dataset(data, "reference")
    if dataset.shape != audited.shape:
        raise DataError(
            f"expected reference samples of shape {audited.shape}, as the audited ones, got {dataset.shape}"
        )
    return dataset


_SETTINGS = {
    name: one.default
    for name, one in signature(audit).parameters.items()
    if one.kind is one.KEYWORD_ONLY and name in signature(start).parameters
}
"""What all shards of an audit share: option → default."""
