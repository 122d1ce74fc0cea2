"""What is audited: a model, a transform, attributions, and the chosen samples, batch by batch."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, cast

import torch
from torch import Tensor, nn

from trimkit.attributions.base import Attribution
from trimkit.attributions.gradient import IntegratedGradients
from trimkit.audit.batch import Batch, Explained, blocks_of, join
from trimkit.audit.counted import Counted
from trimkit.audit.examine import Wanted, explained_values, resolve_target, task_of
from trimkit.audit.layer import padding_of
from trimkit.audit.measures import Sums, joined, sums_of
from trimkit.audit.modules import place
from trimkit.audit.performance import Performance, columns_of, performance_of
from trimkit.audit.selection import Forbid, Forbidden, forbidden
from trimkit.audit.state import FIRST
from trimkit.audit.statistics import Resampling, choose, generator, in_key_order
from trimkit.audit.tally import Tally
from trimkit.audit.task import Task
from trimkit.coefficients import tree
from trimkit.coefficients.baseline import Baseline, expand_baseline, number_of
from trimkit.coefficients.groups import Groups
from trimkit.coefficients.tree import Tree
from trimkit.data import Dataset
from trimkit.errors import AttributionError, ModelError
from trimkit.predictor.composed import Composed
from trimkit.targets import Target
from trimkit.transforms.base import Identity, Transform
from trimkit.trim import Trim

MOST_REFERENCE = 1024
"""Reference samples whose coefficients are averaged for the mean."""


MOST_COMPARED = 64
"""Reference samples that attributions compare each sample with."""


def filled(groups: Groups) -> Groups:
    """The groups that hold coefficients; on small data a band of frequencies may hold none."""
    index = tree.rows(tree.map_leaves(lambda leaf: leaf[None], groups.labels))[0]
    present = torch.unique(index).tolist()
    new = torch.full((len(groups.names),), -1)
    new[present] = torch.arange(len(present))
    labels = tree.map_leaves(lambda leaf: new.to(leaf.device)[leaf], groups.labels)
    return replace(groups, names=tuple(groups.names[i] for i in present), labels=labels)


def without_refinement(attribution: Attribution) -> Attribution:
    """Integrated gradients with the steps they have: completeness is for its check to judge, and to improve."""
    if not isinstance(attribution, IntegratedGradients):
        return attribution
    fixed = copy.copy(attribution)
    fixed.tolerance = None
    return fixed


@dataclass(frozen=True)
class Seen:
    """What one look at the outputs of the first samples leaves.

    Attributes:
        tally: whether they vary at all.
        values: (n,) explained numbers, float64.
        classes: (n,) predicted classes; 0 where there is not one a sample.
        sums: what each adds to the performance.
        reference: (1, ...) the output of the very first.
    """

    tally: Tally
    values: Tensor
    classes: Tensor
    sums: Sums
    reference: Tensor


_UNDECIDED = Task("", "")


@dataclass
class Subject:
    """A model under audit, on chosen samples, in one space.

    Attributes:
        model: the audited model.
        transform: the space.
        attributions: label → attribution, in the order of the report.
        data: where samples come from.
        samples: how many are audited, at most; None for all.
        target: what is explained, see `trimkit.audit.examine.Wanted`.
        reference: where removed coefficients take their values from.
        batch_size: samples in one batch.
        seed: of every draw.
        baseline: s₀ of the attributions and of the first removal operator.
        forbid: what the model must not rely on, see `trimkit.audit.selection.Forbid`.
        allow: what alone it may rely on.
        task: what the outputs mean; told from two samples where it is not given.
        places: (N,) place of each sample in the data as they came, where they were put in the order of their ids.
    """

    model: Counted
    transform: Transform
    attributions: Mapping[str, Attribution]
    data: Dataset
    samples: int | None = 256
    target: Wanted = "predicted"
    reference: Dataset | None = None
    batch_size: int = 64
    seed: int = 0
    baseline: Baseline = None
    forbid: Forbid = None
    allow: Forbid = None
    task: Task = _UNDECIDED
    places: Tensor | None = None

    def __post_init__(self) -> None:
        if self.task is _UNDECIDED:
            self.task = task_of(self.model.model, self.data, self.target)
        self.attributions = {label: without_refinement(made) for label, made in self.attributions.items()}

    @cached_property
    def ids(self) -> Sequence[int]:
        """The audited samples: a random choice that depends on the seed and their indices alone."""
        return choose(len(self.data), self.samples, self.seed)

    @cached_property
    def order(self) -> list[int]:
        """The first `FIRST` audited samples in key order."""
        return in_key_order(self.ids, self.seed, FIRST)

    @cached_property
    def first(self) -> list[int]:
        """The same, rising: all audited samples where there are no more. What must be known before, and what cannot be
        summed up, is taken from these alone.
        """
        return sorted(self.order)

    @cached_property
    def groups(self) -> Groups:
        """Named groups of the transform's coefficients, without empty ones; a table's columns by their own names."""
        groups = self.transform.groups(self.data.shape)
        if self.data.feature_names and type(self.transform) is Identity:
            groups = replace(groups, names=self.data.feature_names)
        return filled(groups)

    @cached_property
    def forbidden(self) -> tuple[Forbidden, ...]:
        """The coefficients that the model must not rely on; none where nobody named any."""
        parts = forbidden(self.forbid, self.allow, self.groups, len(self.data))
        return parts if self.places is None else tuple(part.in_order(self.places) for part in parts)

    def name_of(self, i: int) -> str:
        """What a sample is called: its own id, else its place in the data."""
        return self.data.ids[i] if self.data.ids else str(i)

    @cached_property
    def performance(self) -> Performance:
        """How good the model is on the first samples; the audit puts that on all samples in its place at the end."""
        columns = columns_of(self.seen.sums, self.first, self.seed)
        return performance_of(self.task, columns, self.seen.tally, Resampling(len(self.first)))

    @property
    def judged(self) -> bool:
        """Whether predictions can be held against labels."""
        return self.task.labelled and self.task.has_probabilities

    @cached_property
    def seen(self) -> Seen:
        """One look at the outputs of the first samples.

        Raises:
            ModelError: some are not finite.
        """
        tally, values, classes, sums = Tally(), [], [], []
        reference: Tensor | None = None
        for part in torch.tensor(self.first).split(self.batch_size):
            x = place(self.data.x[part], self.model)
            output = self.evaluate(x)
            values.append(explained_values(output, self.resolve(output, part, x)).double().cpu())
            shown = self._read(part, output)
            reference = shown[:1] if reference is None else reference
            tally.update(shown, reference)
            sums.append(self.sums(shown, part))
            classes.append(self._classes(shown))
        assert reference is not None
        return Seen(tally, torch.cat(values), torch.cat(classes), joined(sums), reference)

    def sums(self, outputs: Tensor, ids: Sequence[int] | Tensor) -> Sums:
        """What each sample adds to the performance; {} without labels."""
        labels = self.labels(ids)
        return {} if labels is None else sums_of(self.task, outputs, labels)

    def _classes(self, outputs: Tensor) -> Tensor:
        """(N,) the predicted classes; 0 where there is not one a sample."""
        predicted = self.task.predictions(outputs) if self.task.has_classes else None
        return torch.zeros(len(outputs)).long() if predicted is None else predicted

    def _read(self, ids: Tensor, output: Any) -> Tensor:
        values = explained_values(output, self.target)[:, None] if callable(self.target) else output
        values = values.cpu()
        bad = ~torch.isfinite(values).flatten(1).all(1)
        if bool(bad.any()):
            sample = self.name_of(int(ids[bad.nonzero()[0]]))
            raise ModelError(f"the model's output for sample {sample} is NaN or infinite")
        return values if values.ndim > 2 else values.double()  # not on the device: some have no float64

    @cached_property
    def scale(self) -> float:
        """Standard deviation of the explained outputs over the first samples: what counts as a large change."""
        return float(self.seen.values.std(correction=0)) or 1.0

    @cached_property
    def reference_mean(self) -> Tree:
        """Mean coefficients of the reference data: leaves (1, ...)."""
        data = self.reference or self.data
        total: Tree | None = None
        ids = torch.tensor(choose(len(data), MOST_REFERENCE, self.seed))
        for part in ids.split(self.batch_size):
            sums = tree.map_leaves(lambda leaf: leaf.sum(0, keepdim=True), self.coefficients(data.x[part]))
            total = sums if total is None else tree.map_leaves(torch.add, total, sums)
        assert total is not None
        return tree.map_leaves(lambda leaf: leaf / len(ids), total)

    def donors(self, ids: Sequence[int]) -> Tree:
        """Coefficients of a random reference sample for each id; not of itself, where there are others."""
        data, own = self.reference or self.data, self.reference is None
        chosen = []
        for i in ids:
            draw = int(torch.randint(len(data), (), generator=generator(self.seed, "donor", i)))
            chosen.append((draw + 1) % len(data) if own and draw == i else draw)
        return self.coefficients(data.x[torch.tensor(chosen)])

    @torch.no_grad()
    def coefficients(self, x: Tensor) -> Tree:
        """T(x) on the model's device, without graph."""
        return self.transform(place(x, self.model))

    @torch.no_grad()
    def evaluate(self, x: Tensor) -> Any:
        """The audited model's output, without graph."""
        return self.model(x)

    def resolve(self, output: Any, ids: Tensor, x: Tensor) -> Target:
        """What is explained of some samples, settled at the audited model's output."""
        padding = padding_of(self.model.model, x)
        return resolve_target(self.target, output, self.labels(ids), self.task, padding)

    def batches(self, blocks: Iterable[Sequence[int]] | None = None) -> Iterator[Batch]:
        """Samples block by block, without scores; the audited samples in the order of their ids by default."""
        for block in blocks_of(self.ids, self.batch_size) if blocks is None else blocks:
            part = torch.tensor(block)
            x = place(self.data.x[part], self.model)
            output = self.evaluate(x)
            target = self.resolve(output, part, x)
            composed = Composed(self.model, self.transform, x, keep_graph=False)
            outputs = self._read(part, output)
            yield Batch(tuple(part.tolist()), x, target, composed.s, composed.residual, outputs=outputs)

    def explain_all(self, batch: Batch) -> Batch:
        """The batch with the scores of every attribution.

        Raises:
            AttributionError: scores that are whole numbers, or not finite.
        """
        explained = {label: self.explain(batch, label) for label in self.attributions}
        for label, one in explained.items():
            if not all(leaf.is_floating_point() for leaf in tree.leaves(one.scores)):
                raise AttributionError(f"{label}: expected floating scores, got whole numbers; convert them")
            bad = ~torch.isfinite(tree.rows(one.scores)).all(1)
            if bool(bad.any()):
                sample = self.name_of(batch.ids[int(bad.nonzero()[0])])
                raise AttributionError(
                    f"{label}: the scores of sample {sample} hold NaN or infinity; no audit can use them"
                )
        return replace(batch, explained=explained)

    def explain(self, batch: Batch, label: str, *, model: nn.Module | None = None, draw: int = 0) -> Explained:
        """Scores of one attribution.

        A stochastic attribution explains each sample alone, with a generator keyed by the sample's id, so that its
        draws do not depend on the batch.

        Args:
            batch: samples.
            label: of the attribution.
            model: another model than the audited one, such as a randomised copy.
            draw: which of several independent draws of a stochastic attribution.
        """
        attribution = self.attributions[label]
        trim = Trim(model or self.model, self.transform, attribution)
        return self.run(trim, batch, self.references if attribution.from_references else self.baseline, draw)

    def run(self, trim: Trim, batch: Batch, baseline: Baseline = None, draw: int = 0) -> Explained:
        """Scores of a batch by a given `Trim`, whatever its space; see `explain`."""
        if not trim.attribution.stochastic:
            return _explained(trim, trim(batch.x, batch.target, baseline=baseline))
        parts = []
        for position, i in enumerate(batch.ids):
            one = batch.rows([position])
            source = generator(self.seed, "attribution", i, draw)
            parts.append(_explained(trim, trim(one.x, one.target, baseline=baseline, generator=source)))
        return join(parts)

    def expanded_baseline(self, batch: Batch) -> Tree:
        """s₀ with the shape of a batch's coefficients; the mean of several references."""
        if self.baseline is None or number_of(self.baseline) is not None:
            return expand_baseline(self.baseline, batch.s)

        def mean(like: Tensor, base: Tensor) -> Tensor:
            return base.mean(0, keepdim=True) if base.ndim == like.ndim else base

        return expand_baseline(tree.map_leaves(mean, batch.s, cast(Tree, self.baseline)), batch.s)

    @cached_property
    def references(self) -> Baseline:
        """What attributions that compare with samples get: the baseline, or coefficients of reference data."""
        return self.coefficients(self.compared) if self.baseline is None else self.baseline

    @cached_property
    def compared(self) -> Tensor:
        """Reference data, (R, *size) on the model's device."""
        data = self.reference or self.data
        return place(data.x[torch.tensor(choose(len(data), MOST_COMPARED, self.seed))], self.model)

    def labels(self, ids: Sequence[int] | Tensor) -> Tensor | None:
        """Labels of samples in the form of the task, where the data has such."""
        if self.data.y is None or not self.task.labelled:
            return None
        return self.task.labels(self.data.y[torch.as_tensor(ids)])


def _explained(trim: Trim, result: Any) -> Explained:
    nodes = getattr(trim.attribution, "n_steps", None)
    size = tree.batch_size(result.scores)
    steps = None if nodes is None else torch.full((size,), float(nodes), device=tree.leaves(result.scores)[0].device)
    return Explained(result.scores, result.gap, result.change, steps)
