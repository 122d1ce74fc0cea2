"""Where a result comes from: versions, plugins, hashes, settings, machine, command line, date."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import torch
from torch import nn

from trimkit.audit.checks.base import Check, describe
from trimkit.audit.modules import parameters_of
from trimkit.audit.subject import Subject
from trimkit.data import Dataset
from trimkit.predictor import FrozenPredictor, state_hash
from trimkit.registry import provenance as plugins
from trimkit.storage import installed_version

_DISTRIBUTIONS = ("trimkit", "torch", "captum", "numpy", "scipy")


def provenance(subject: Subject, checks: Iterable[Check]) -> dict[str, Any]:
    """Everything that is needed to repeat an audit or to doubt it, as plain JSON values."""
    wanted = subject.target
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join([os.path.basename(sys.argv[0]), *sys.argv[1:]]),
        "versions": {
            "python": platform.python_version(),
            **{name: installed_version(name) or "not installed" for name in _DISTRIBUTIONS},
        },
        "plugins": plugins(),
        "model": _model(subject.model.model),
        "data": _data(subject.data),
        "reference": None if subject.reference is None else _data(subject.reference),
        "audited": {"n": len(subject.ids), "batch_size": subject.batch_size, "seed": subject.seed},
        "transform": describe(subject.transform),
        "attributions": {label: describe(part) for label, part in subject.attributions.items()},
        "task": subject.task.as_json(),
        "target": getattr(wanted, "__name__", repr(wanted)) if callable(wanted) else wanted,
        "baseline": _baseline(subject.baseline),
        "forbidden": [one.name for one in subject.forbidden],
        "checks": {check.name: check.options for check in checks},
        "hardware": _hardware(subject),
    }


def _model(model: Any) -> dict[str, Any]:
    module = model.inner if isinstance(model, FrozenPredictor) else model
    is_module = isinstance(module, nn.Module)
    return {
        "class": type(module).__name__,
        "parameters": sum(p.numel() for p in parameters_of(module)),
        "sha256": state_hash(module) if is_module else None,
    }


def _data(data: Dataset) -> dict[str, Any]:
    return {
        "name": data.name,
        "split": data.split,
        "n": len(data),
        "shape": list(data.shape),
        "class_counts": data.class_counts,
        "sha256": data.sha256,
    }


def _baseline(baseline: Any) -> str:
    return "zero" if baseline is None else repr(baseline) if isinstance(baseline, int | float) else "given coefficients"


def _hardware(subject: Subject) -> dict[str, Any]:
    device = next((p.device for p in parameters_of(subject.model.model)), torch.device("cpu"))
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {"device": device.type, "name": name, "system": platform.system(), "threads": torch.get_num_threads()}
