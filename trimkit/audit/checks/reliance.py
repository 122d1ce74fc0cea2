"""Does the model rely on what it must not?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any, Literal

import torch
from torch import Tensor

from trimkit.audit.changed import ChangedInputs
from trimkit.audit.checks.base import Check, Findings, missing, too_few
from trimkit.audit.checks.controls import magnitude
from trimkit.audit.columns import Column
from trimkit.audit.energy import Rows, change_energies, energy_ratio, label_row, matched_sets
from trimkit.audit.probes import probe_accuracies
from trimkit.audit.reliance_sections import forbidden_sections, search_sections
from trimkit.audit.reliance_words import Measurement, accuracy_sentence, forbidden_sentence, warning_sentence
from trimkit.audit.search import FEWEST_GROUPS, GroupStanding, standings
from trimkit.audit.selection import Forbidden
from trimkit.audit.subject import Batch, Subject
from trimkit.coefficients import tree
from trimkit.errors import OptionError
from trimkit.report.sections import Section
from trimkit.report.verdicts import Estimate, Status, Verdict, samples_needed

OPERATIONS = {"removed": "set to the attribution's baseline", "replaced": "taken from a random other sample"}
"""What becomes of the coefficients in question."""

CLOSE = 0.5
"""Random sets with less than this share of the energy are no match: the comparison is left out."""


class Reliance(Check):
    """Two measurements of what somebody forbade: the explanation's share, and what happens without it.

    The share is Σ|score| on the forbidden coefficients over Σ|score|. The effect is the mean change of the explained
    class's probability (of the explained number, in its standard deviations, where there are no classes) when the
    coefficients are removed or replaced by another sample's, held against random sets of other coefficients of equal
    energy. FAIL where the share, or an effect that exceeds the random one, is beyond its limit; PASS where all are
    below; else INCONCLUSIVE.

    Where nothing is forbidden, groups that stand out are searched for (`trimkit.audit.search`): WARN. A search that
    shows none has judged nothing: NOT JUDGED.

    Args:
        share: of the explanation that may lie on forbidden coefficients.
        effect: of removing or replacing them that is allowed; in the search, the least effect that is flagged.
        sets: random sets of equal energy a sample, at least 1.
        alpha: error rate of the search, over all groups.
        most_groups: groups that are searched: those with the largest share, where there are more.
    """

    name = "reliance"
    question = "Does the model rely on what it must not?"
    unit = "%"
    about = "model"
    totals = ("places",)

    def __init__(
        self, share: float = 0.1, effect: float = 0.05, sets: int = 2, alpha: float = 0.05, most_groups: int = 64
    ) -> None:
        if not 0 < share < 1 or not effect > 0 or not 0 < alpha < 1 or sets < 1 or most_groups < 1:
            raise OptionError(
                "reliance: expected share and alpha in (0, 1), effect > 0, sets ≥ 1 and most_groups ≥ 1, got "
                f"share={share}, effect={effect}, sets={sets}, alpha={alpha}, most_groups={most_groups}"
            )
        self.share = share
        self.effect = effect
        self.sets = sets
        self.alpha = alpha
        self.most_groups = most_groups

    def prepare(self, subject: Subject) -> None:
        """Energies of changes; in the search, the groups and what each says of the label."""
        self._energies = change_energies(subject)
        self._labels = label_row(subject)
        self._searched = [] if subject.forbidden else self._candidates(subject)
        labelled = subject.performance.accuracy is not None and not subject.forbidden
        self._probes = probe_accuracies(subject, self._searched) if labelled else {}

    def inapplicable(self, subject: Subject, label: str) -> str:
        """A search needs several groups, and a model that looks at its input."""
        if subject.forbidden:
            return ""
        if len(subject.groups.names) < FEWEST_GROUPS:
            few = len(subject.groups.names)
            return (
                f"Nothing is forbidden, and {few} group{'s are' if few > 1 else ' is'} too few to search: use --forbid."
            )
        return _unsearchable(subject) if subject.performance.ignores_input else ""

    def measure(self, subject: Subject, batch: Batch, labels: list[str]) -> dict[str, dict[str, Tensor]]:
        """By forbidden set or group: shares, effects, and with labels what becomes of right answers."""
        if subject.forbidden:
            common, sets = self._measure_forbidden(subject, batch)
            return {label: {**common, **self._shares(batch, label, sets)} for label in labels}
        common = self._measure_groups(subject, batch)
        return {label: {**common, **self._group_shares(batch, label)} for label in labels}

    def conclude(self, findings: Findings) -> Verdict:
        """From the worst measurement of the worst forbidden set; or from the search."""
        if missing(findings.n):
            return self._too_few(findings)
        return self._judge_forbidden(findings) if findings.subject.forbidden else self._judge_search(findings)

    def evidence(self, findings: Findings) -> dict[str, Any]:
        """Every measurement of every forbidden set, or every group of the search."""
        if findings.subject.forbidden:
            return {
                "forbidden": [
                    {"name": one.name, "measurements": [self._as_json(m) for m in self._measurements(findings, k, one)]}
                    | {"accuracy": self._accuracies(findings, k)}
                    for k, one in enumerate(findings.subject.forbidden)
                ]
            }
        rows = self._standings(findings)
        own = ({"stands_out": row.stands_out, "forbid": self._to_forbid(findings, row)} for row in rows)
        return {"searched": [{**asdict(row), **beside} for row, beside in zip(rows, own, strict=True)]}

    def paired(self, findings: Findings) -> dict[str, tuple[Column, Literal["higher", "lower"]]]:
        """Shares and effects of every forbidden set."""
        names = {"share": "share", "removed": "removed/effect", "replaced": "replaced/effect"}
        return {
            f"{name} of {one.name}": (findings.values[f"{k}/{key}"], "lower")
            for k, one in enumerate(findings.subject.forbidden)
            for name, key in names.items()
        }

    def sections(self, findings: Findings) -> Sequence[Section]:
        """A table of the measurements and where the sets lie; or the groups, and those that stand out."""
        if findings.subject.forbidden:
            return forbidden_sections(findings)
        flagged = [row.name for row in self._standings(findings) if row.stands_out]
        return search_sections(findings, flagged)

    def _candidates(self, subject: Subject) -> list[int]:
        """Numbers of the groups to search, those with the largest share of any explanation where there are many."""
        groups = len(subject.groups.names)
        if groups <= self.most_groups:
            return list(range(groups))
        batch = subject.explain_all(next(subject.batches()))
        totals = [subject.groups.sums(magnitude(explained.scores)).mean(0) for explained in batch.explained.values()]
        share = torch.stack([total / total.sum() for total in totals]).amax(0)
        return sorted(share.topk(self.most_groups).indices.tolist())

    def _measure_forbidden(self, subject: Subject, batch: Batch) -> tuple[dict[str, Tensor], list[Rows]]:
        probe = ChangedInputs(subject, batch)
        values: dict[str, Tensor] = dict(probe.start)
        sets = [one.rows(batch.ids) for one in subject.forbidden]
        for k, gone in enumerate(sets):
            for operation, energy in self._energies.items():
                for name, value in probe.without(gone, operation).items():
                    values[f"{k}/{operation}/{name}"] = value
                random = [
                    matched_sets(gone, energy, self._labels, subject.seed, batch.ids, i) for i in range(self.sets)
                ]
                effects = [probe.without(one, operation)["effect"] for one in random]
                values[f"{k}/{operation}/control"] = torch.stack(effects).mean(0)
                values[f"{k}/{operation}/ratio"] = torch.stack([energy_ratio(r, gone, energy) for r in random]).mean(0)
        return values, sets

    def _shares(self, batch: Batch, label: str, sets: list[Rows]) -> dict[str, Tensor]:
        sizes = tree.rows(magnitude(batch.explained[label].scores)).cpu().double()
        whole = sizes.sum(1).clamp_min(torch.finfo(sizes.dtype).tiny)
        return {f"{k}/share": (sizes * gone).sum(1) / whole for k, gone in enumerate(sets)}

    def _measure_groups(self, subject: Subject, batch: Batch) -> dict[str, Tensor]:
        probe = ChangedInputs(subject, batch)
        amplitude = subject.groups.sums(magnitude(batch.s))
        columns: dict[str, list[Tensor]] = {"removed": [], "replaced": [], "flips": [], "loss": [], "gain": []}
        for group in self._searched:
            gone = (self._labels == group).expand(len(batch), -1)
            removed, replaced = (probe.without(gone, operation) for operation in ("removed", "replaced"))
            columns["removed"].append(removed["effect"])
            columns["replaced"].append(replaced["effect"])
            if "right" in probe.start:
                columns["flips"].append(replaced["flip"])
                columns["loss"].append(probe.start["right"] - replaced["right"])
                columns["gain"].append(removed["right"] - probe.start["right"])
        measured = {name: torch.stack(several, dim=1) for name, several in columns.items() if several}
        return {**measured, "amplitude": _normalised(amplitude)[:, self._searched]}

    def _group_shares(self, batch: Batch, label: str) -> dict[str, Tensor]:
        """``share`` of each searched group, and ``places``: of each coefficient."""
        sizes = _normalised(tree.rows(magnitude(batch.explained[label].scores)).cpu().double())
        totals = sizes.new_zeros(len(sizes), int(self._labels.max()) + 1).index_add_(1, self._labels, sizes)
        return {"share": totals[:, self._searched], "places": sizes}

    def _measurements(self, findings: Findings, k: int, one: Forbidden) -> list[Measurement]:
        estimate, values = findings.bootstrap.estimate, findings.values
        share = self.share if one.share is None else one.share
        effect = self.effect if one.effect is None else one.effect
        measurements = [Measurement("share", estimate(values[f"{k}/share"]), share)]
        for operation in OPERATIONS:
            change, control = (values[f"{k}/{operation}/{name}"] for name in ("effect", "control"))
            close = values[f"{k}/{operation}/ratio"].mean() >= CLOSE
            random, excess = (estimate(control), estimate(change - control)) if close else (None, None)
            measurements.append(Measurement(operation, estimate(change), effect, random, excess))
        return measurements

    def _judge_forbidden(self, findings: Findings) -> Verdict:
        judged = [
            (one, m) for k, one in enumerate(findings.subject.forbidden) for m in self._measurements(findings, k, one)
        ]
        statuses = {m.status for _, m in judged}
        status = next(s for s in (Status.FAIL, Status.INCONCLUSIVE, Status.PASS) if s in statuses)
        worst, decisive = max(
            ((one, m) for one, m in judged if m.status is status),
            key=lambda pair: pair[1].estimate.value / (pair[1].limit or 1),
        )
        k = findings.subject.forbidden.index(worst)
        sentence = forbidden_sentence(status, worst, decisive, self._measurements(findings, k, worst))
        sentence += accuracy_sentence(self._accuracies(findings, k))
        verdict = self.verdict(findings, status, sentence, decisive.estimate, ("≤", decisive.limit))
        return self._with_settings(findings, verdict)

    def _judge_search(self, findings: Findings) -> Verdict:
        rows = self._standings(findings)
        flagged = [row for row in rows if row.stands_out]
        if findings.subject.performance.at_chance and not flagged:
            return self.not_applicable(findings.subject, findings.label, _unsearchable(findings.subject))
        top = rows[0]
        if flagged:
            sentence = warning_sentence(flagged, self._to_forbid(findings, top))
        else:
            sentence = (
                f"Nothing is forbidden, and searching {len(rows)} groups showed none that stands out. That is no "
                f"proof; the model leans most on '{top.name}'. Name what it must not use with --forbid."
            )
        verdict = self.verdict(
            findings, Status.WARN if flagged else Status.NOT_JUDGED, sentence, top.effect, ("≤", self.effect)
        )
        return self._with_settings(findings, replace(verdict, threshold=None))

    def _with_settings(self, findings: Findings, verdict: Verdict) -> Verdict:
        forbidden = [one.name for one in findings.subject.forbidden] or "nothing"
        settings = {**verdict.settings, "forbidden": forbidden, "operations": OPERATIONS}
        needed = None
        if verdict.status is Status.INCONCLUSIVE and verdict.estimate and verdict.threshold is not None:
            needed = samples_needed(verdict.estimate, verdict.threshold, verdict.n)
        return replace(verdict, settings=settings, samples_needed=needed)

    def _standings(self, findings: Findings) -> list[GroupStanding]:
        names = tuple(findings.subject.groups.names[g] for g in self._searched)
        totals = torch.zeros(int(self._labels.max()) + 1, dtype=torch.float64)
        energy = totals.index_add_(0, self._labels, self._energies["replaced"].double())[self._searched].numpy()
        alpha = self.alpha * findings.bootstrap.spent
        values = {name: column for name, column in findings.values.items() if name not in self.totals}
        rows = standings(names, values, energy, findings.bootstrap, (alpha, self.effect))
        if findings.subject.performance.at_chance:  # what is of use, or of weight, is no question there
            rows = [replace(row, useless=False, outweighs=False) for row in rows]
        number_of = dict(zip(names, self._searched, strict=True))
        return [replace(row, probe=self._probes.get(number_of[row.name])) for row in rows]

    def _to_forbid(self, findings: Findings, row: GroupStanding) -> str:
        """What to type: the group, or the one place in it that takes most of its share."""
        group = findings.subject.groups.names.index(row.name)
        leaves = tree.leaves(findings.subject.groups.labels)
        totals = torch.where(self._labels == group, torch.from_numpy(findings.values["places"].mean(0)), 0.0)
        axes = min(2, leaves[0].ndim)
        if len(leaves) != 1 or leaves[0].ndim < 2:
            return row.name
        places = totals.reshape(leaves[0].shape).reshape(-1, *leaves[0].shape[-axes:]).sum(0)
        best = int(places.argmax())
        if places.flatten()[best] < 0.5 * places.sum() or int((self._labels == group).sum()) <= 2:
            return row.name
        return "bin " + ",".join(str(int(i)) for i in torch.unravel_index(torch.tensor(best), places.shape))

    def _accuracies(self, findings: Findings, k: int) -> dict[str, Any]:
        """Accuracy as it is, and after each operation with the paired change; empty without labels."""
        values = findings.values
        if "right" not in values:
            return {}
        changes = {
            operation: asdict(findings.bootstrap.estimate(values[f"{k}/{operation}/right"] - values["right"]))
            for operation in OPERATIONS
        }
        return {"before": float(values["right"].mean()), "changes": changes}

    def _too_few(self, findings: Findings) -> Verdict:
        n = findings.n
        sentence = too_few(n, "for a 95 % interval", missing(n))
        infinite = Estimate(0.0, -torch.inf, torch.inf)
        verdict = self.verdict(findings, Status.INCONCLUSIVE, sentence, infinite, ("≤", self.effect))
        return replace(verdict, samples_needed=missing(n))

    @staticmethod
    def _as_json(m: Measurement) -> dict[str, Any]:
        return {**asdict(m), "status": str(m.status)}


def _unsearchable(subject: Subject) -> str:
    return f"{subject.performance.warning} There is nothing to search; forbid what you suspect."


def _normalised(sizes: Tensor) -> Tensor:
    whole = sizes.sum(1, keepdim=True)
    return sizes / torch.where(whole == 0, torch.ones_like(whole), whole)
