"""The audit itself: explain once, measure batch by batch, conclude from all samples."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from trimkit.attributions.base import Attribution
from trimkit.audit.checks.base import Check, Findings
from trimkit.audit.checks.controls import magnitude
from trimkit.audit.counted import Counted
from trimkit.audit.evidence import Example, choose_examples, conclude_bands, examples, measure_bands
from trimkit.audit.examine import Data, Wanted, as_dataset, examine
from trimkit.audit.layer import at_layer
from trimkit.audit.provenance import provenance
from trimkit.audit.report import Report
from trimkit.audit.selection import Forbid
from trimkit.audit.statistics import Bootstrap
from trimkit.audit.subject import Batch, Subject
from trimkit.audit.values import SampleValues
from trimkit.coefficients import tree
from trimkit.coefficients.baseline import Baseline
from trimkit.data import Dataset, few
from trimkit.errors import DataError, OptionError, TransformError, TrimkitWarning, nearest
from trimkit.predictor.inputs import At
from trimkit.registry import available, create, resolve, specification
from trimkit.report.sections import Section
from trimkit.report.verdicts import Verdict
from trimkit.transforms.base import Transform
from trimkit.trim import Choice

Progress: TypeAlias = Callable[[int, int], None]
"""Called with (samples done, samples in all) after every batch."""

MOST_FITTED = 4096
"""Samples to which a transform is fitted where samples are made when asked for; all of a tensor."""

_BANDS = "bands"


def audit(
    model: nn.Module | Callable[[Tensor], Any],
    data: Data,
    *,
    transform: Choice | Transform = "identity",
    attributions: Choice | Attribution | Sequence[Choice | Attribution] = ("integrated_gradients",),
    target: Wanted = "predicted",
    task: str | None = None,
    checks: Sequence[str | tuple[str, dict[str, Any]] | Check] | None = None,
    thresholds: Mapping[str, float] | None = None,
    samples: int = 256,
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
        model: in evaluation mode; any callable x → (N, K) logits, numbers, class maps or tokens' logits (in a dict,
            tuple or object with logits, too). A bare
            function cannot be randomised. It is left as it was found.
        data: a `trimkit.data.Dataset`, x (N, ...) or (x, y).
        transform: the space: a name, (name, options) or `trimkit.Transform`.
        attributions: one or several names, (name, options) or `trimkit.Attribution`.
        target: what is explained: "predicted" class, "label", a class index, or a callable output → (N,). A model with
            one output has no choice. See docs/tasks.md for outputs with more axes.
        task: what the outputs mean, one of `trimkit.audit.task.TASKS`; told from output and labels by default, and
            asked for where they fit several.
        checks: names, (name, options) or `trimkit.audit.Check`; all installed ones by default.
        thresholds: options of checks by "check.option", such as {"completeness.tolerance": 0.02}.
        samples: at most so many samples of the data, chosen by the seed.
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
    if samples < 1 or batch_size < 1:
        raise DataError(f"expected samples ≥ 1 and batch_size ≥ 1, got {samples} and {batch_size}")
    understood = examine(model, dataset, target, task)
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
        task=understood.task,
    )
    check_transform(subject)
    run = _Run(subject, make_checks(checks, thresholds or {}))
    if subject.forbidden and not any(check.about == "model" for check in run.checks):
        raise OptionError("forbid and allow need the check 'reliance', which is not among the checks of this audit")
    run.measure(progress)
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


class _Run:
    """One pass over the audited samples, and the conclusions."""

    def __init__(self, subject: Subject, checks: list[Check]) -> None:
        self.subject = subject
        self.checks = checks
        self.stores: dict[tuple[str, str], SampleValues] = defaultdict(SampleValues)
        self.examples: dict[str, list[Example]] = {label: [] for label in subject.attributions}
        self.forwards: dict[str, int] = defaultdict(int)
        self.reasons: dict[tuple[str, str], str] = {}
        self.bootstraps: dict[tuple[int, ...], Bootstrap] = {}

    def measure(self, progress: Progress | None) -> None:
        """Explain every batch once, let the checks improve the scores, then measure."""
        subject = self.subject
        self._prepare()
        chosen = {check.name: check.chosen(subject) for check in self.checks}
        shown = choose_examples(subject)
        done = 0
        for bare in subject.batches():
            batch = self._explain(bare)
            for check in self.checks:
                self._measure(check, batch, chosen[check.name])
            self._store(_BANDS, batch, measure_bands(subject, batch))
            for label, several in examples(subject, batch, shown).items():
                self.examples[label] += several
            done += len(batch)
            if progress:
                progress(done, len(subject.ids))

    def conclude(self, notes: tuple[str, ...]) -> Report:
        """Verdicts and evidence from all samples."""
        verdicts: list[Verdict] = []
        evidence: dict[str, dict[str, Any]] = defaultdict(dict)
        sections: dict[str, dict[str, Sequence[Section]]] = defaultdict(dict)
        paired = self._paired_accuracy()
        for check in self.checks:
            for label in self._labels(check):
                if reason := self.reasons.get((check.name, label), ""):
                    verdicts.append(check.not_applicable(self.subject, label, reason))
                    continue
                findings = self._findings(check.name, label)
                verdicts.append(check.conclude(findings))
                evidence[label][check.name] = findings.evidence = check.evidence(findings)
                sections[label][check.name] = check.sections(findings)
                paired |= _paired(check, findings)
        for label in self.subject.attributions:
            evidence[label][_BANDS] = conclude_bands(self._findings(_BANDS, label))
        shown = {label: tuple(several) for label, several in self.examples.items()}
        record = provenance(self.subject, self.checks)
        return Report(
            tuple(verdicts),
            dict(evidence),
            shown,
            record,
            self.subject.transform,
            notes,
            dict(sections),
            self.subject.performance,
            paired,
        )

    def _paired_accuracy(self) -> dict[str, dict[str, Any]]:
        columns = self.subject.seen.tally.paired.items()
        return {
            name: {"ids": self.subject.ids, "values": values.tolist(), "better": better}
            for name, (values, better) in columns
        }

    def _prepare(self) -> None:
        for check in self.checks:
            check.prepare(self.subject)
            for label in self._labels(check):
                if reason := check.inapplicable(self.subject, label):
                    self.reasons[check.name, label] = reason

    def _labels(self, check: Check) -> list[str]:
        return [""] if check.of_transform else list(self.subject.attributions)

    def _explain(self, bare: Batch) -> Batch:
        with self._counting("explaining"):
            batch = self.subject.explain_all(bare)
        for check in self.checks:
            with self._counting(check.name):
                for label in self.subject.attributions:
                    batch = check.improve(self.subject, batch, label)
        return batch

    def _measure(self, check: Check, batch: Batch, chosen: set[int]) -> None:
        labels = [label for label in self._labels(check) if (check.name, label) not in self.reasons]
        rows = [row for row, i in enumerate(batch.ids) if i in chosen]
        if labels and rows:
            part = batch if len(rows) == len(batch) else batch.rows(rows)
            with self._counting(check.name):
                values = check.measure(self.subject, part, labels)
            self._store(check.name, part, values)

    def _store(self, name: str, batch: Batch, values: Mapping[str, Mapping[str, Tensor]]) -> None:
        for label, columns in values.items():
            self.stores[name, label].update(batch.ids, columns)

    @contextmanager
    def _counting(self, name: str) -> Iterator[None]:
        counter = self.subject.model.counter
        before = counter.value
        yield
        self.forwards[name] += counter.value - before

    def _findings(self, name: str, label: str) -> Findings:
        ids, values = self.stores[name, label].finalise()
        if tuple(ids) not in self.bootstraps:
            self.bootstraps[tuple(ids)] = Bootstrap(ids, self.subject.seed)
        draws = self.bootstraps[tuple(ids)]
        return Findings(label, ids, values, self.subject, self.forwards[name], draws)


def _paired(check: Check, findings: Findings) -> dict[str, dict[str, Any]]:
    """A check's values of single samples, named by check, measure and attribution."""
    about = f" [{findings.label}]" if findings.label else ""
    return {
        f"{check.name}: {name}{about}": {"ids": findings.ids, "values": values.tolist(), "better": better}
        for name, (values, better) in check.paired(findings).items()
    }


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
