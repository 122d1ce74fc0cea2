"""Metrics: what codes are worth, as functions over arrays. They know no method, no dataset and no device."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trimkit._lazy import lazy_names

if TYPE_CHECKING:
    from trimkit.metrics import disentanglement

__all__ = ["disentanglement"]

__getattr__, __dir__ = lazy_names(__name__, {"disentanglement": "trimkit.metrics.disentanglement"})
