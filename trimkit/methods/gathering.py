"""The rows of the whole batch, for losses that are statistics of it: total correlation, MMD, |mean KL − C|."""

from __future__ import annotations

from trimkit.processes import gather

__all__ = ["gather"]
