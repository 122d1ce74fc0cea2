"""One pass over samples, and what is concluded from it: explain once, measure batch by batch, sum up."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from torch import Tensor

from trimkit.audit.checks.base import Check, Findings
from trimkit.audit.evidence import Example, choose_examples, conclude_bands, examples, measure_bands
from trimkit.audit.measures import TOTALS
from trimkit.audit.performance import paired_of, performance_of
from trimkit.audit.provenance import provenance
from trimkit.audit.report import Report
from trimkit.audit.state import State
from trimkit.audit.statistics import Resampling
from trimkit.audit.subject import Batch, Subject
from trimkit.audit.tally import Tally
from trimkit.report.sections import Section
from trimkit.report.verdicts import Verdict

Progress: TypeAlias = Callable[[int, int], None]
"""Called with (samples done, samples in all) after every batch, or after every shard of an executor."""

_BANDS = "bands"

_PERFORMANCE = "performance"


@dataclass
class Part:
    """All that was measured of some samples; parts of different samples merge to the same bits in any order.

    Attributes:
        states: (check, label) → what is kept of its values.
        examples: label → samples to look at.
        forwards: check → samples sent through a model.
        tally: of the outputs.
    """

    states: dict[tuple[str, str], State] = field(default_factory=dict)
    examples: dict[str, list[Example]] = field(default_factory=dict)
    forwards: Counter[str] = field(default_factory=Counter)
    tally: Tally = field(default_factory=Tally)

    def merge(self, other: Part) -> None:
        """Add what was measured of other samples."""
        for key, state in other.states.items():
            self.states.setdefault(key, State(state.seed, state.first, tuple(state.totals))).merge(state)
        for label, several in other.examples.items():
            self.examples[label] = sorted([*self.examples.get(label, []), *several], key=lambda e: e.id)
        self.forwards.update(other.forwards)
        self.tally.merge(other.tally)


class Run:
    """An audit under way: prepared once, it measures any blocks of samples, and concludes from all parts.

    Args:
        subject: what is audited.
        checks: the questions.
        notes: what looked suspicious in model or data.
    """

    def __init__(self, subject: Subject, checks: Sequence[Check], notes: tuple[str, ...] = ()) -> None:
        self.subject = subject
        self.checks = checks
        self.notes = notes
        self.reasons: dict[tuple[str, str], str] = {}
        self.part = Part()

    def prepare(self) -> None:
        """What is done once, before the first batch, from the first samples; the same in every shard."""
        assert self.subject.scale > 0  # needs forwards, which are then not those of the first batch
        self.ranks = {i: rank for rank, i in enumerate(self.subject.order)}
        self.shown = choose_examples(self.subject)
        for check in self.checks:
            check.prepare(self.subject)
            for label in self._labels(check):
                if reason := check.inapplicable(self.subject, label):
                    self.reasons[check.name, label] = reason
        self.chosen = {check.name: check.chosen(self.subject) for check in self.checks}
        self.warm()

    def warm(self) -> None:
        """Measure two samples for nothing: what is found out once a model is then no forward of the first batch."""
        few = self._explain(next(self.subject.batches([self.subject.first[:2]])))
        for check in self.checks:
            if labels := self._asked(check):
                check.measure(self.subject, few, labels)
        self.part = Part()

    def measure(
        self, blocks: Iterable[Sequence[int]], progress: Progress | None = None, total: int = 0, done: int = 0
    ) -> None:
        """Explain every block of samples once, let the checks improve the scores, then measure, into `part`.

        Args:
            blocks: ids, one batch each.
            progress: called after every batch.
            total: samples in all, for it.
            done: samples that were done before.
        """
        for bare in self.subject.batches(blocks):
            batch = self._explain(bare)
            assert batch.outputs is not None
            self.part.tally.update(batch.outputs, self.subject.seen.reference)
            if sums := self.subject.sums(batch.outputs, batch.ids):
                self._store(_PERFORMANCE, batch, {"": sums}, TOTALS)
            for check in self.checks:
                self._measure(check, batch)
            self._store(_BANDS, batch, measure_bands(self.subject, batch))
            for label, several in examples(self.subject, batch, self.shown).items():
                self.part.examples.setdefault(label, []).extend(several)
            done += len(batch)
            if progress:
                progress(done, total)
        for state in self.part.states.values():
            state.settle()

    def conclude(self, spent: float = 1.0) -> Report:
        """Verdicts and evidence from all parts.

        Args:
            spent: share of the error rate that this look may spend.
        """
        state = self.part.states.get((_PERFORMANCE, ""))
        columns = {} if state is None else state.finalise()
        draws = Resampling(self.part.tally.n, spent)
        self.subject.performance = performance_of(self.subject.task, columns, self.part.tally, draws)
        verdicts: list[Verdict] = []
        evidence: dict[str, dict[str, Any]] = defaultdict(dict)
        sections: dict[str, dict[str, Sequence[Section]]] = defaultdict(dict)
        paired = paired_of(columns)
        named = bool(self.subject.data.ids)
        for check in self.checks:
            for label in self._labels(check):
                if reason := self.reasons.get((check.name, label), ""):
                    verdicts.append(check.not_applicable(self.subject, label, reason))
                    continue
                findings = self.findings(check.name, label, spent)
                verdicts.append(check.conclude(findings))
                evidence[label][check.name] = findings.evidence = check.evidence(findings)
                sections[label][check.name] = check.sections(findings)
                paired |= _paired(check, findings)
        for label in self.subject.attributions:
            evidence[label][_BANDS] = conclude_bands(self.findings(_BANDS, label, spent))
        return Report(
            tuple(verdicts),
            dict(evidence),
            {label: tuple(self.part.examples.get(label, ())) for label in self.subject.attributions},
            provenance(self.subject, self.checks),
            self.subject.transform,
            self.notes,
            dict(sections),
            self.subject.performance,
            paired,
            {i: self.subject.name_of(i) for one in paired.values() if named for i in one["ids"]},
        )

    def findings(self, name: str, label: str, spent: float = 1.0) -> Findings:
        """What was measured for one verdict."""
        state = self.part.states[name, label]
        values = state.finalise()
        ids = sorted({i for rows in state.rows.values() for i in rows})
        return Findings(label, ids, values, self.subject, self.part.forwards[name], Resampling(state.n, spent))

    def _labels(self, check: Check) -> list[str]:
        return [""] if check.of_transform else list(self.subject.attributions)

    def _asked(self, check: Check) -> list[str]:
        """The attributions to which a check applies."""
        return [label for label in self._labels(check) if (check.name, label) not in self.reasons]

    def _explain(self, bare: Batch) -> Batch:
        with self._counting("explaining"):
            batch = self.subject.explain_all(bare)
        for check in self.checks:
            with self._counting(check.name):
                for label in self.subject.attributions:
                    batch = check.improve(self.subject, batch, label)
        return batch

    def _measure(self, check: Check, batch: Batch) -> None:
        labels = self._asked(check)
        chosen = self.chosen[check.name]
        rows = [row for row, i in enumerate(batch.ids) if i in chosen]
        if labels and rows:
            part = batch if len(rows) == len(batch) else batch.rows(rows)
            with self._counting(check.name):
                values = check.measure(self.subject, part, labels)
            self._store(check.name, part, values, check.totals)

    def _store(
        self, name: str, batch: Batch, values: Mapping[str, Mapping[str, Tensor]], totals: tuple[str, ...] = ()
    ) -> None:
        for label, columns in values.items():
            if (name, label) not in self.part.states:
                self.part.states[name, label] = self.new_state(totals)
            self.part.states[name, label].update(batch.ids, columns)

    def new_state(self, totals: tuple[str, ...] = ()) -> State:
        """An empty state of this audit."""
        return State(self.subject.seed, self.ranks, totals)

    @contextmanager
    def _counting(self, name: str) -> Iterator[None]:
        counter = self.subject.model.counter
        before = counter.value
        yield
        self.part.forwards[name] += counter.value - before


def _paired(check: Check, findings: Findings) -> dict[str, dict[str, Any]]:
    """A check's values of the first samples, named by check, measure and attribution."""
    about = f" [{findings.label}]" if findings.label else ""
    return {
        f"{check.name}: {name}{about}": {"ids": list(column.ids), "values": column.rows.tolist(), "better": better}
        for name, (column, better) in check.paired(findings).items()
    }
