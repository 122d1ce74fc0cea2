"""What a report shows beside its verdicts: where the scores lie, and a few samples to look at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from trimkit.audit.checks.base import Findings
from trimkit.audit.checks.controls import magnitude
from trimkit.audit.layer import data_space, own_part
from trimkit.audit.removal import without
from trimkit.audit.subject import Batch, Subject
from trimkit.coefficients import tree
from trimkit.coefficients.groups import Groups
from trimkit.coefficients.tree import Tree
from trimkit.data import Dataset
from trimkit.trim import Trim

KEPT = 0.1
"""Share of the coefficients, those with the largest |score|, from which a sample is shown again."""

MOST_EXAMPLES = 6


@dataclass(frozen=True)
class Example:
    """One sample to look at.

    Attributes:
        id: its place among the audited data.
        label: name of its class, or "".
        predicted: name or number of the model's class, or "".
        x: (*size) the sample.
        pixels: (*size) scores of the same attribution in the data's own space.
        scores: scores of its coefficients, leaves (1, ...).
        kept: (*size) what comes back from the `KEPT` share of coefficients with the largest |score|.
        name: what the data call it, "" where that is its place.
    """

    id: int
    label: str
    predicted: str
    x: Tensor
    pixels: Tensor
    scores: Tree
    kept: Tensor
    name: str = ""

    @property
    def called(self) -> str:
        """Its name, or its place."""
        return self.name or str(self.id)


def shares(groups: Groups, scores: Tree) -> Tensor:
    """Each group's share of a sample's total |score|: (N, G), rows that sum to 1; zero rows stay zero."""
    totals = groups.sums(magnitude(scores))
    whole = totals.sum(1, keepdim=True)
    return totals / torch.where(whole == 0, torch.ones_like(whole), whole)


def measure_bands(subject: Subject, batch: Batch) -> dict[str, dict[str, Tensor]]:
    """Label → ``share`` of |score| and ``mean`` signed score of each group, (N, G); ``input``: shares of amplitude."""
    amplitude = shares(subject.groups, magnitude(batch.s))
    return {
        label: {
            "share": shares(subject.groups, explained.scores),
            "mean": subject.groups.means(explained.scores),
            "input": amplitude,
        }
        for label, explained in batch.explained.items()
    }


def conclude_bands(findings: Findings) -> dict[str, Any]:
    """Means over samples with 95 % intervals, as plain JSON values."""
    groups = findings.subject.groups
    bands = {name: findings.band(values) for name, values in findings.values.items()}
    return {"names": list(groups.names), "axis": groups.axis, "sizes": groups.sizes.tolist(), **bands}


def choose_examples(subject: Subject, most: int = MOST_EXAMPLES) -> list[int]:
    """Ids of samples to show: at random, but of different predicted classes as long as there are such."""
    classes = dict(zip(subject.first, subject.seen.classes.tolist(), strict=True))
    seen: set[int] = set()
    first, rest = [], []
    for i in subject.order:
        (rest if classes[i] in seen else first).append(i)
        seen.add(classes[i])
    return sorted((first + rest)[:most])


def examples(subject: Subject, batch: Batch, chosen: list[int]) -> dict[str, list[Example]]:
    """The chosen samples of a batch, for every attribution."""
    rows = [row for row, i in enumerate(batch.ids) if i in chosen]
    if not rows:
        return {label: [] for label in subject.attributions}
    part = batch.rows(rows)
    return {label: _examples(subject, part, label) for label in subject.attributions}


def _examples(subject: Subject, part: Batch, label: str) -> list[Example]:
    in_pixels = Trim(subject.model, data_space(subject.transform), subject.attributions[label])
    references = subject.compared if in_pixels.attribution.from_references else None
    pixels = tree.leaves(subject.run(in_pixels, part, references).scores)[0].cpu()
    scores, shown = part.explained[label].scores, own_part(subject.transform, part.x)
    kept = _from_largest(subject, part, scores).cpu()
    return [
        Example(i, *_names(subject, i), shown[row].cpu(), pixels[row], _one(scores, row), kept[row], subject.name_of(i))
        for row, i in enumerate(part.ids)
    ]


@torch.no_grad()
def _from_largest(subject: Subject, part: Batch, scores: Tree) -> Tensor:
    """T⁻¹ of the coefficients with the largest |score|, the others at the baseline."""
    sizes = tree.rows(magnitude(scores))
    count = max(1, round(KEPT * sizes.shape[1]))
    least = sizes.topk(count, dim=1).values[:, -1]
    keep = tree.map_leaves(lambda leaf: leaf.abs() >= least.reshape(-1, *[1] * (leaf.ndim - 1)), scores)
    rows = subject.transform.inverse(without(part, keep, subject.expanded_baseline(part)), part.x.shape[1:])
    return own_part(subject.transform, rows)


def _names(subject: Subject, i: int) -> tuple[str, str]:
    data, labels = subject.data, subject.labels([i])
    one = labels is not None and labels.ndim == 1 and not labels.is_floating_point()
    label = _class_name(data, int(labels[0])) if one and labels is not None else ""
    if subject.task.name != "classification":
        return label, ""
    return label, _class_name(data, int(subject.seen.classes[subject.first.index(i)]))


def _class_name(data: Dataset, number: int) -> str:
    return data.classes[number] if number < len(data.classes) else str(number)


def _one(scores: Tree, row: int) -> Tree:
    return tree.map_leaves(lambda leaf: leaf[row : row + 1].cpu(), scores)
