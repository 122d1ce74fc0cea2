"""The audit itself: explain once, measure batch by batch, conclude from all samples."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from trimkit.attributions.base import Attribution
from trimkit.audit.checks.base import Check
from trimkit.audit.checks.controls import magnitude
from trimkit.audit.counted import Counted
from trimkit.audit.examine import Data, Wanted, as_dataset, examine
from trimkit.audit.layer import at_layer
from trimkit.audit.report import Report
from trimkit.audit.run import Progress, Run
from trimkit.audit.selection import Forbid
from trimkit.audit.subject import Subject, blocks_of
from trimkit.coefficients import tree
from trimkit.coefficients.baseline import Baseline
from trimkit.data import Dataset, few
from trimkit.errors import DataError, OptionError, TransformError, TrimkitWarning, nearest
from trimkit.predictor.inputs import At
from trimkit.registry import available, create, resolve, specification
from trimkit.transforms.base import Transform
from trimkit.trim import Choice

MOST_FITTED = 4096
"""Samples to which a transform is fitted where samples are made when asked for; all of a tensor."""


def audit(
    model: nn.Module | Callable[[Tensor], Any],
    data: Data,
    *,
    transform: Choice | Transform = "identity",
    attributions: Choice | Attribution | Sequence[Choice | Attribution] = ("integrated_gradients",),
    target: Wanted = "predicted",
    checks: Sequence[str | tuple[str, dict[str, Any]] | Check] | None = None,
    thresholds: Mapping[str, float] | None = None,
    samples: int | None = 256,
    batch_size: int = 64,
    seed: int = 0,
    at: At = None,
    baseline: Baseline = None,
    reference: Data | None = None,
    forbid: Forbid = None,
    allow: Forbid = None,
    progress: Progress | None = None,
) -> Report:
    """Judge what attributions say about a finished model in a space, and whether the model relies on what it must not.

    Args:
        model: in evaluation mode; any callable x → (N, K) logits (a dict, tuple or object with logits will do). A bare
            function cannot be randomised. It is left as it was found.
        data: a `trimkit.data.Dataset`, x (N, ...) or (x, y).
        transform: the space: a name, (name, options) or `trimkit.Transform`.
        attributions: one or several names, (name, options) or `trimkit.Attribution`.
        target: what is explained: "predicted" class, "label", a class index, or a callable output → (N,). A model with
            one output has no choice.
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
        forbid: what the model must not rely on: groups by name, wildcard or number, "bin 5,3", masks; see
            `trimkit.audit.selection.Forbid`. Where neither this nor ``allow`` is given, groups that stand out are
            searched for.
        allow: what alone the model may rely on, in the same forms.
        progress: called after every batch.
    Returns:
        Verdicts, evidence and provenance.
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
    if at is not None:
        model, data, reference, transform = at_layer(model, data, reference, transform, at, batch_size)
    dataset = as_dataset(data)
    if (samples is not None and samples < 1) or batch_size < 1:
        raise DataError(f"expected samples ≥ 1 and batch_size ≥ 1, got {samples} and {batch_size}")
    understood = examine(model, dataset, target)
    for note in understood.notes:
        warnings.warn(note, TrimkitWarning, stacklevel=3)  # 3: past the package that takes the call
    subject = Subject(
        model=Counted(model, raw=callable(target)),
        transform=_ready(transform, dataset if reference is None else as_dataset(reference)),
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
    )
    check_transform(subject)
    run = Run(subject, make_checks(checks, thresholds or {}))
    if subject.forbidden and not any(check.about == "model" for check in run.checks):
        raise OptionError("forbid and allow need the check 'reliance', which is not among the checks of this audit")
    run.prepare()
    run.measure(blocks_of(subject.ids, batch_size), progress, len(subject.ids))
    return run.conclude(understood.notes)


def _ready(transform: Choice | Transform, data: Dataset) -> Transform:
    """The transform; one that is named and learns from data (PCA, NMF) is fitted to the reference data."""
    made = resolve("transform", transform)
    return made if isinstance(transform, Transform) else made.fit(few(data.x, MOST_FITTED))


def make_checks(
    wanted: Sequence[str | tuple[str, dict[str, Any]] | Check] | None, thresholds: Mapping[str, float]
) -> list[Check]:
    """The checks of an audit, with their thresholds.

    Args:
        wanted: see `audit`.
        thresholds: by "check.option".
    Raises:
        UnknownNameError, OptionError: a check, option or threshold that does not exist.
    """
    options = _split(thresholds)
    checks = [_make_check(one, options) for one in (available("checks") if wanted is None else wanted)]
    if not checks:
        raise OptionError(f"expected at least one check; there are {', '.join(available('checks'))}")
    unused = set(options) - {check.name for check in checks}
    if unused:
        hint = nearest(min(unused), [check.name for check in checks])
        raise OptionError(f"threshold for {min(unused)!r}, which is no check of this audit. {hint}")
    return checks


def named(attributions: Choice | Attribution | Sequence[Choice | Attribution]) -> dict[str, Attribution]:
    """Label → attribution: the name, or the class of an object; a number is added where one comes twice."""
    several = isinstance(attributions, Sequence) and not isinstance(attributions, str) and not _is_pair(attributions)
    labelled: dict[str, Attribution] = {}
    for choice in attributions if several else [attributions]:  # type: ignore[union-attr]
        made = resolve("attribution", choice)
        label = base = (
            choice if isinstance(choice, str) else str(choice[0]) if _is_pair(choice) else type(made).__name__
        )
        for number in range(2, len(labelled) + 2):
            if label in labelled:
                label = f"{base} {number}"
        labelled[label] = made
    if not labelled:
        raise OptionError(f"expected at least one attribution; there are {', '.join(available('attributions'))}")
    return labelled


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


def _make_check(wanted: str | tuple[str, dict[str, Any]] | Check, options: Mapping[str, dict[str, Any]]) -> Check:
    if isinstance(wanted, Check):
        return wanted
    name, own = (wanted, {}) if isinstance(wanted, str) else wanted
    check = create("check", name, **{**own, **options.get(name, {})})
    check.mandatory = getattr(specification("check", name), "mandatory", True)
    return check


def _split(thresholds: Mapping[str, float]) -> dict[str, dict[str, Any]]:
    by_check: dict[str, dict[str, Any]] = defaultdict(dict)
    for name, value in thresholds.items():
        check, dot, option = name.partition(".")
        if not dot or not option:
            raise OptionError(f"expected a threshold as 'check.option', such as 'completeness.tolerance', got {name!r}")
        by_check[check][option] = value
    return dict(by_check)


def _is_pair(choice: Any) -> bool:
    return isinstance(choice, tuple | list) and len(choice) == 2 and isinstance(choice[1], Mapping)


def _reference(data: Data | None, audited: Dataset) -> Dataset | None:
    if data is None:
        return None
    dataset = as_dataset(data, "reference")
    if dataset.shape != audited.shape:
        raise DataError(
            f"expected reference samples of shape {audited.shape}, as the audited ones, got {dataset.shape}"
        )
    return dataset
