"""What all outputs of an audited model add up to: how many there are, and whether they vary at all."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

FLAT = 1e-6
"""Outputs that vary by less than this share of their size do not depend on the input."""


@dataclass
class Tally:
    """A count and extremes, which merge to the same bits in any order.

    Attributes:
        n: samples.
        spread: largest distance of an output from that of one and the same sample.
        size: largest magnitude of an output.
    """

    n: int = 0
    spread: float = 0.0
    size: float = 0.0

    def update(self, outputs: Tensor, reference: Tensor) -> None:
        """Add the outputs (N, ...) of a batch.

        Args:
            outputs: on the CPU.
            reference: (1, ...) the output of one sample, the same for all batches.
        """
        spread, size = float((outputs - reference).abs().max()), float(outputs.abs().max())
        self.merge(Tally(len(outputs), spread, size))

    def merge(self, other: Tally) -> None:
        """Add what was counted of other samples."""
        self.n += other.n
        self.spread, self.size = max(self.spread, other.spread), max(self.size, other.size)

    @property
    def flat(self) -> bool:
        """The output is the same for every one of several samples."""
        return self.n > 1 and self.spread <= FLAT * self.size
