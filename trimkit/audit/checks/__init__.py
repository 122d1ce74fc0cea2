"""The questions an audit asks, one file each."""

from trimkit.audit.checks.base import Check, Findings

__all__ = ["Check", "Findings"]
