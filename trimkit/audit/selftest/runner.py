"""The self-test itself: audits of planted models, of which every answer is known."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from trimkit.audit.result import Result
from trimkit.audit.runner import audit
from trimkit.audit.selftest.explanations import closed_forms
from trimkit.audit.selftest.models import FEATURES, Case, Planted, cases
from trimkit.audit.selftest.outcomes import OVERALL, Outcome, SelfTest, Truth
from trimkit.audit.statistics import generator, spearman
from trimkit.coefficients import tree
from trimkit.coefficients.tree import Tree
from trimkit.errors import OptionError, TrimkitError, TrimkitWarning, nearest
from trimkit.registry import available, create
from trimkit.report.verdicts import Status
from trimkit.transforms.base import Identity, Size, single_leaf
from trimkit.trim import Trim

BESIDE = ("reconstruction", "reliance")
"""Checks that judge the transform and the model; all others judge the explanation."""

NEAR, FAR = 0.95, 0.5
"""Rank correlation with the exact contributions from which scores are right, and up to which they are wrong."""

MISSED = 0.25
"""Share of the contributions on features with a score of zero from which scores are wrong all the same."""

COMPARED = 32
"""Samples by which an attribution is held to be right or wrong."""


def selftest(
    attributions: Sequence[str] | None = None,
    *,
    seeds: int = 5,
    first_seed: int = 0,
    samples: int = 80,
    models: Sequence[str] | None = None,
    progress: Callable[[str], None] | None = None,
) -> SelfTest:
    """Audit planted models with explanations that are known to be right or wrong, and count the verdicts.

    Explanations in closed form are judged by every check on explanations. A registered attribution is right on a model
    where its scores rank as the exact contributions do, and wrong where they do not or where features scored zero hold
    much of them; what lies between counts for nothing. Checks of the transform and of the model get one case that must
    pass and one that must not.

    Args:
        attributions: names of registered ones that are judged too; None for all, () for none.
        seeds: weights, data and draws of each model, at least 1.
        first_seed: where they begin; the limits of the check `controls` were chosen with seed 0 in sight.
        samples: in each audit, at least 72, which `completeness` needs.
        models: names of planted models; all by default.
        progress: called with the name of each model and seed before its audits.
    Returns:
        Every verdict, with rates and tables.
    Raises:
        UnknownNameError: an attribution that does not exist.
        OptionError: a model that does not exist, or numbers out of range.

    Example:
        >>> import trimkit
        >>> result = trimkit.audit.selftest((), seeds=1, models=["one layer"])
        >>> result.missed(check="overall").count, result.false_alarms(check="overall").count
        (0, 0)
    """
    if seeds < 1 or samples < 72:
        raise OptionError(f"selftest: expected seeds ≥ 1 and samples ≥ 72, got {seeds} and {samples}")
    chosen = _chosen(models)
    names = tuple(available("attributions") if attributions is None else attributions)
    made = {name: create("attribution", name) for name in names}
    refused: dict[str, tuple[int, str]] = {}
    outcomes: list[Outcome] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TrimkitWarning)
        for seed in range(first_seed, first_seed + seeds):
            for case in chosen:
                if progress:
                    progress(f"{case.name}, seed {seed}")
                trial = _Trial(case, seed, samples)
                outcomes += [*trial.in_closed_form(), *trial.registered(made, refused)]
            outcomes += [*_transforms(seed, samples), *_reliance(seed, samples)]
    settings = {
        "seeds": list(range(first_seed, first_seed + seeds)),
        "samples": samples,
        "models": [case.name for case in chosen],
        "attributions": list(names),
    }
    return SelfTest(tuple(outcomes), refused, settings)


def _chosen(models: Sequence[str] | None) -> list[Case]:
    every = {case.name: case for case in cases()}
    for name in models or ():
        if name not in every:
            raise OptionError(f"selftest: there is no planted model {name!r}. {nearest(name, every)}")
    return [every[name] for name in (every if models is None else models)]


@dataclass
class _Trial:
    """One planted model with the weights and data of one seed."""

    case: Case
    seed: int
    samples: int
    model: Planted = field(init=False)
    x: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.model = self.case.model(self.seed)
        self.x = self.case.data(self.seed, self.samples)

    def in_closed_form(self) -> Iterator[Outcome]:
        """Verdicts on the right explanation and on every wrong one."""
        several = closed_forms(self.case, self.seed)
        report = self._audit(several)
        for label, explanation in zip(report.labels, several, strict=True):
            asked = explanation.seen_by | {OVERALL}
            for check, status in _statuses(report, label):
                yield self._outcome("closed form", explanation.kind, explanation.truth, check, check in asked, status)

    def registered(self, made: Mapping[str, Any], refused: dict[str, tuple[int, str]]) -> Iterator[Outcome]:
        """Verdicts on attributions by their names; those that do not take the model are written down as refused."""
        judged: dict[str, Truth | None] = {name: self._truth(name, part, refused) for name, part in made.items()}
        taken = {name: made[name] for name, truth in judged.items() if truth}
        for name, report, label in self._reports(taken, refused):
            for check, status in _statuses(report, label):
                yield self._outcome("registered", name, judged[name] or "between", check, True, status)

    def _reports(
        self, made: Mapping[str, Any], refused: dict[str, tuple[int, str]]
    ) -> Iterator[tuple[str, Result, str]]:
        """Name, report and label: all in one audit, which is cheaper; one by one where that is refused."""
        if not made:
            return
        try:
            report = self._audit(list(made.values()))
            yield from zip(made, [report] * len(made), report.labels, strict=True)
        except TrimkitError as error:
            if len(made) == 1:
                _refuse(refused, next(iter(made)), error)
                return
            for name, part in made.items():
                yield from self._reports({name: part}, refused)

    def _truth(self, name: str, attribution: Any, refused: dict[str, tuple[int, str]]) -> Truth | None:
        """Whether scores are right, from a few samples; None where the attribution does not take the model."""
        x = self.x[:COMPARED]
        baseline: Any = x if attribution.from_references else self.case.baseline
        try:
            source = generator(self.seed, "selftest draws", name)
            scores = Trim(self.model, "identity", attribution)(x, None, baseline=baseline, generator=source).scores
        except TrimkitError as error:
            _refuse(refused, name, error)
            return None
        return judged_truth(tree.rows(scores), self._exact(x, attribution.from_references))

    def _exact(self, x: Tensor, from_references: bool) -> Tensor:
        """The right contributions; from the samples on average, for attributions that compare with samples."""
        if not from_references:
            return self.case.right(self.model, x)
        return torch.stack([self.model.contributions(x, one[None].expand_as(x)) for one in x]).mean(0)

    def _audit(self, attributions: list[Any]) -> Result:
        checks = [name for name in available("checks") if name not in BESIDE]
        return audit(
            self.model,
            self.x,
            attributions=attributions,
            checks=checks,
            samples=self.samples,
            seed=self.seed,
            baseline=self.case.baseline,
        )

    def _outcome(self, about: str, subject: str, truth: Truth, check: str, asked: bool, status: Status) -> Outcome:
        return Outcome(about, self.case.name, subject, truth, check, asked, status, self.seed)


def judged_truth(scores: Tensor, exact: Tensor) -> Truth:
    """Whether scores account for the exact contributions: by rank, and by what features scored zero hold.

    Args:
        scores: (N, n).
        exact: (N, n).
    """
    scores, exact = scores.double().cpu(), exact.double().cpu()
    silent = scores.abs() <= 1e-6 * scores.abs().amax(1, keepdim=True)
    missed = float((exact.abs() * silent).sum() / exact.abs().sum())
    agreement = float(spearman(scores, exact).mean())
    if agreement <= FAR or missed >= MISSED:
        return "wrong"
    return "right" if agreement >= NEAR else "between"


def _statuses(report: Result, label: str) -> Iterator[tuple[str, Status]]:
    for verdict in report.verdicts:
        if verdict.attribution == label:
            yield verdict.check, verdict.status
    yield OVERALL, report.explanations[label]


def _refuse(refused: dict[str, tuple[int, str]], name: str, error: Exception) -> None:
    times, reason = refused.get(name, (0, str(error)))
    refused[name] = (times + 1, reason)


class Leaking(Identity):
    """Claims to be exact, and loses a hundredth of every value."""

    def inverse(self, s: Tree, size: Size | None = None) -> Tensor:
        """Less than s."""
        return 0.99 * single_leaf(s, "leaking")


def _transforms(seed: int, samples: int) -> Iterator[Outcome]:
    """The check of the transform, on an exact one and on one that only claims to be."""
    case = cases()[0]
    subjects: tuple[tuple[Identity, str, Truth], ...] = (
        (Identity(), "exact", "right"),
        (Leaking(), "claims to be exact, loses 1 %", "wrong"),
    )
    for transform, name, truth in subjects:
        report = audit(
            case.model(seed), case.data(seed, samples), transform=transform, checks=["reconstruction"], seed=seed
        )
        status = report.verdict("reconstruction").status
        yield Outcome("transform", case.name, name, truth, "reconstruction", True, status, seed)


def _reliance(seed: int, samples: int) -> Iterator[Outcome]:
    """The check of the model: one of its features is forbidden, without weight or with the largest."""
    case = next(case for case in cases() if case.name == "uninformative")
    model = case.model(seed)
    weights = model.contributions(torch.eye(FEATURES), torch.zeros(1, FEATURES)).diagonal().abs()
    subjects: tuple[tuple[int, str, Truth], ...] = (
        (int(weights.argmin()), "forbidden feature has no weight", "right"),
        (int(weights.argmax()), "forbidden feature has the largest weight", "wrong"),
    )
    for feature, name, truth in subjects:
        x = case.data(seed, samples)
        report = audit(model, x, checks=["reliance"], forbid=f"feature {feature}", samples=samples, seed=seed)
        yield Outcome("model", case.name, name, truth, "reliance", True, report.model, seed)
