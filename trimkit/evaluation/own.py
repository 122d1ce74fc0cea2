"""Methods that bring metrics of their own, in place of those of disentanglement; see `Method.measure`."""

from __future__ import annotations

from pathlib import Path

import torch

from trimkit.data import Dataset
from trimkit.errors import DataError
from trimkit.evaluation.representation import Evaluation, Settings, row_order
from trimkit.methods import Method
from trimkit.methods.stored import record


def evaluate_own(
    folder: Path | None,
    method: Method,
    data: Dataset,
    settings: Settings,
    train: Dataset,
    *,
    device: str | torch.device = "cpu",
) -> Evaluation | None:
    """What a method measures itself by; None where it brings no metrics.

    Args:
        folder: of the run.
        method: that was trained; it is moved to the device.
        data: that it is judged on.
        settings: samples, seed and baselines.
        train: what baselines are fitted to.
        device: of the method.
    Raises:
        DataError: data of another shape.
    """
    if type(method).measure is Method.measure:
        return None
    if data.shape != method.shape:
        raise DataError(f"the run was trained on samples {method.shape}, got {data.shape} of {data.name!r}")
    rows = torch.as_tensor(row_order(len(data), settings)[: settings.samples]).sort().values
    with torch.no_grad():
        method.to(device).eval()
        asked = {"seed": settings.seed, "baselines": settings.baselines}
        results = method.measure(data.select(rows), train, **asked)
    name = record(method)["method"] or type(method).__name__
    own, *others = results.items()
    protocol = {"run": str(folder)} if folder else {}
    protocol |= {"data": data.name, "split": data.split, "space": method.space().name, "samples": len(rows)}
    notes = ["the samples are those that the run was trained on"] if data.split == "train" else []
    return Evaluation(
        name,
        f"{name} on {data.name} ({data.split}): {len(rows)} of {len(data)} samples, seed {settings.seed}",
        protocol | {"seed": settings.seed},
        dict(own[1]),
        {baseline: dict(metrics) for baseline, metrics in others},
        notes=tuple(notes),
    )
