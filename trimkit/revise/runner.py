"""The revision itself: search or take what is forbidden, correct, audit again."""

from __future__ import annotations

import math
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from trimkit.attributions.base import Attribution
from trimkit.audit.examine import Data, as_dataset, logits
from trimkit.audit.modules import place
from trimkit.audit.performance import performance, right
from trimkit.audit.report import Report
from trimkit.audit.runner import MOST_FITTED, audit
from trimkit.audit.selection import Forbid, Forbidden, forbidden
from trimkit.audit.subject import filled
from trimkit.data import Dataset, few
from trimkit.errors import DataError, ModelError, OptionError, TrimkitWarning, nearest
from trimkit.registry import resolve
from trimkit.registry.options import one_of, real_number, whole_number
from trimkit.revise.corrections import CORRECTIONS, Task
from trimkit.revise.result import Revision
from trimkit.transforms.base import Transform
from trimkit.trim import Choice

FEWEST_OF_A_GROUP = 10
"""Samples below which a group's accuracy is left out of the worst."""


def revise(
    model: nn.Module,
    data: Data,
    *,
    test: Data | None = None,
    transform: Choice | Transform = "identity",
    forbid: Forbid = None,
    by: str = "last-layer",
    attribution: Choice | Attribution = "integrated_gradients",
    groups: str | Tensor | None = None,
    epochs: int = 20,
    weight: float | None = None,
    learning_rate: float = 3e-3,
    samples: int = 256,
    batch_size: int = 64,
    seed: int = 0,
) -> Revision:
    """Audit a model, correct what it must not rely on, audit the corrected one.

    Args:
        model: a classifier in evaluation mode, x → (N, K) logits, or one logit. It is left as it was found.
        data: labelled; the correction learns from them.
        test: labelled; both audits and accuracies are of these. A search for what stands out is surest on data in which
            a shortcut is of no use. ``data`` by default.
        transform: the space: a name, (name, options) or `trimkit.Transform`.
        forbid: what the model must not rely on, see `trimkit.audit`; None to correct for what the search shows.
        by: "last-layer" fits the last linear layer to features that the coefficients had no say in; "penalty" trains
            all on with a TRIM penalty; "projection" puts the coefficients' mean in their place, in front of the model.
        attribution: of the audits.
        groups: of the test samples, for the worst accuracy of a group and label: a factor of theirs by name, or (N,)
            integers.
        epochs: of training, at least 1.
        weight: of the penalty, > 0; None for that at which it starts at ten times log K, the loss of guessing.
        learning_rate: of training, > 0.
        samples: audit at most so many, at least 1.
        batch_size: samples in a step and in one forward of the audits.
        seed: of every draw.
    Returns:
        The corrected model with both audits.
    Raises:
        DataError: data without labels.
        ModelError: a model whose outputs do not fit the labels, or that the correction cannot change.
        OptionError, UnknownNameError: an option out of range, a part or group that does not exist.

    Example:
        >>> import torch, trimkit
        >>> x = torch.randn(200, 8, generator=torch.Generator().manual_seed(0))
        >>> model = torch.nn.Linear(8, 2).eval()
        >>> with torch.no_grad():
        ...     _ = model.weight.copy_(torch.eye(2, 8) * torch.tensor([[1.0], [-1.0]]))
        >>> revision = trimkit.revise(model, (x, (x[:, 0] < x[:, 1]).long()), forbid="bin 1", by="projection")
        >>> str(revision.before.model), str(revision.after.model)
        ('FAIL', 'PASS')
    """
    _check_options(by, epochs, weight, learning_rate, samples, batch_size)
    train, held = as_dataset(data), as_dataset(data if test is None else test)
    _check_labels(model, train, held)
    members = _members(groups, held)
    space = _ready(transform, train)
    options: dict[str, Any] = {
        "transform": space,
        "attributions": attribution,
        "reference": train,
        "samples": samples,
        "batch_size": batch_size,
        "seed": seed,
    }
    searched = audit(model, held, checks=["reliance"], **options) if forbid is None else None
    choice = forbid if searched is None else suggested(searched)
    if searched is not None and not choice:
        note = "The search shows no group that stands out: nothing is corrected; name one with forbid="
        warnings.warn(note, TrimkitWarning, stacklevel=3)  # 3: past the package that takes the call
        same = performance(*outputs_and_labels(model, held, batch_size))
        return Revision(model, (), by, searched, searched, {"before": same, "after": same})
    sets = forbidden(choice, None, filled(space.groups(train.shape)), len(train))
    task = Task(model, train, space, _whole(sets).mask, epochs, weight, learning_rate, batch_size, seed)
    corrected = CORRECTIONS[by](task)
    before, after = (audit(one, held, forbid=choice, **options) for one in (model, corrected))
    outputs = [outputs_and_labels(one, held, batch_size) for one in (model, corrected)]
    return Revision(
        corrected,
        tuple(one.name for one in sets[: max(1, len(sets) - 1)]),
        by,
        before,
        after,
        dict(zip(("before", "after"), (performance(*pair) for pair in outputs), strict=True)),
        _worst(outputs, members),
        {"epochs": epochs, "weight": weight, "learning_rate": learning_rate, "batch_size": batch_size, "seed": seed},
    )


def suggested(report: Report) -> list[str]:
    """What a search shows, as `trimkit.audit` takes it after ``forbid``: the groups that stand out, at most three."""
    rows = report.evidence.get(report.labels[0], {}).get("reliance", {}).get("searched", [])
    standing = [row["forbid"] for row in rows if row["stands_out"]]
    return list(dict.fromkeys(standing))[:3]


@torch.no_grad()
def outputs_and_labels(model: nn.Module, data: Dataset, batch_size: int) -> tuple[Tensor, Tensor]:
    """Logits (N, K) and labels (N,) of all samples, on the CPU."""
    rows = torch.arange(len(data)).split(batch_size)
    outputs = torch.cat([logits(model(place(data.x[part], model))).cpu() for part in rows])
    assert data.y is not None
    return outputs, data.y


def _check_options(
    by: str, epochs: int, weight: float | None, learning_rate: float, samples: int, batch_size: int
) -> None:
    one_of("revise", CORRECTIONS, by=by)
    whole_number("revise", epochs=epochs, samples=samples, batch_size=batch_size)
    real_number("revise", above=True, learning_rate=learning_rate, **({} if weight is None else {"weight": weight}))


def _check_labels(model: nn.Module, *several: Dataset) -> None:
    if not isinstance(model, nn.Module):
        raise ModelError(f"revise changes a torch.nn.Module, got a {type(model).__name__}")
    for data in several:
        if data.class_labels is None:
            raise DataError(
                f"revise learns from labels (N,) of classes, and {data.name} has none; give (x, y) or a Dataset with y"
            )
        outputs, _ = outputs_and_labels(model, data.take(1), 1)
        if right(outputs, data.class_labels.max()[None]) is None:
            raise ModelError(
                f"revise corrects classifiers; {type(model).__name__} has {outputs.shape[1]} outputs, which do not fit "
                f"labels up to {int(data.class_labels.max())}"
            )


def _ready(transform: Choice | Transform, data: Dataset) -> Transform:
    made = resolve("transform", transform)
    return made if isinstance(transform, Transform) else made.fit(few(data.x, MOST_FITTED))


def _whole(sets: tuple[Forbidden, ...]) -> Forbidden:
    """All that is forbidden, as one set; the last of several is that."""
    if sets[-1].each:
        raise OptionError("revise takes one mask for all samples, got one with a row for each")
    return sets[-1]


def _members(groups: str | Tensor | None, data: Dataset) -> Tensor | None:
    """The group of each test sample, (N,)."""
    if groups is None:
        return None
    members = _factor(groups, data) if isinstance(groups, str) else groups.cpu()
    if members.shape != (len(data),):
        raise OptionError(f"groups: expected one number for each of {len(data)} samples, got {tuple(members.shape)}")
    return members


def _worst(outputs: list[tuple[Tensor, Tensor]], members: Tensor | None) -> dict[str, float]:
    """Lowest accuracy of a group of enough samples that share a label and a member number, before and after."""
    if members is None:
        return {}
    lowest = []
    for given, labels in outputs:
        hits = right(given, labels)
        assert hits is not None
        cells = torch.stack([members, labels], 1).unique(dim=0, return_inverse=True)[1]
        several = [hits[cells == cell] for cell in cells.unique()]
        lowest.append(min((float(g.mean()) for g in several if len(g) >= FEWEST_OF_A_GROUP), default=math.nan))
    return dict(zip(("before", "after"), lowest, strict=True))


def _factor(name: str, data: Dataset) -> Tensor:
    if data.factors is None or name not in data.factor_names:
        raise OptionError(f"groups: {data.name} has no factor {name!r}. {nearest(name, data.factor_names)}")
    return data.factors[:, data.factor_names.index(name)]
