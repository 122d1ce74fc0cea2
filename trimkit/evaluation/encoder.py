"""Codes of any function of samples, and their metrics."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trimkit.data import Dataset
from trimkit.evaluation.notes import notes_on
from trimkit.evaluation.representation import (
    BATCH,
    Encode,
    Evaluation,
    Numbers,
    Settings,
    compute_metrics,
    linear_codes,
    row_order,
)


def evaluate_encoder(
    encoder: Encode, data: Dataset, settings: Settings, *, device: str | torch.device = "cpu"
) -> Evaluation:
    """Every metric that the data allow, of the codes of any function.

    Args:
        encoder: samples (n, ...) on the device → codes (n, D).
        data: whose samples are encoded.
        settings: see `Settings`.
        device: of the encoder.
    """
    parameters = encoder.parameters() if isinstance(encoder, nn.Module) else ()
    dtype = next((p.dtype for p in parameters if p.is_floating_point()), None)

    @torch.no_grad()
    def codes(numbers: Tensor | Numbers) -> Tensor:
        batches = torch.as_tensor(numbers).split(BATCH)
        return torch.cat(
            [torch.as_tensor(encoder(data.x[batch].to(device, dtype))).float().flatten(1).cpu() for batch in batches]
        )

    order = row_order(len(data), settings)
    metrics = compute_metrics(codes, data, order, settings)
    used = min(settings.samples, len(data))
    name = getattr(encoder, "__name__", type(encoder).__name__)
    asked = {"samples": used, "protocol": settings.protocol, "seed": settings.seed}
    return Evaluation(
        name,
        f"{name} on {data.name} ({data.split}): {used} of {len(data)} samples, protocol {settings.protocol}, seed "
        f"{settings.seed}",
        {"data": data.name, "split": data.split, **asked},
        metrics,
        linear_codes(codes(order[:1]).shape[1], data, order, settings) if settings.baselines else {},
        notes=tuple(notes_on(data, metrics, {})),
    )
