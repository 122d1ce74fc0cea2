"""How long a run is, in which batches, and how often it reports."""

from __future__ import annotations

from dataclasses import dataclass

from trimkit.errors import OptionError

DEFAULT_STEPS = 3000


@dataclass(frozen=True)
class Settings:
    """Settings of a training run that are not the method's.

    Attributes:
        steps: in total, over all resumed parts; 3000 if epochs are not given either.
        epochs: instead of steps: passes over the data.
        batch_size: samples a step; at most all of them.
        seed: of order, noise and everything else that is random.
        clip: largest norm of a phase's gradient; longer ones are scaled down. None for no limit.
        checkpoint_every: steps between checkpoints.
        log_every: steps between lines of metrics.jsonl.
        device: "auto", "cpu", "cuda", "cuda:1", "mps".
        progress: show progress on stderr.

    Raises:
        OptionError: a value out of range, or both steps and epochs.
    """

    steps: int | None = None
    epochs: int | None = None
    batch_size: int = 64
    seed: int = 0
    clip: float | None = None
    checkpoint_every: int = 500
    log_every: int = 50
    device: str = "auto"
    progress: bool = False

    def __post_init__(self) -> None:
        if self.steps is not None and self.epochs is not None:
            raise OptionError(f"give steps or epochs, not both: got steps={self.steps}, epochs={self.epochs}")
        for name in ("steps", "epochs", "batch_size", "checkpoint_every", "log_every"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise OptionError(f"expected {name} ≥ 1, got {value}")
        if self.clip is not None and not self.clip > 0:
            raise OptionError(f"expected clip > 0, got {self.clip}")

    def batches(self, samples: int) -> int:
        """Steps an epoch: whole batches only, since the next epoch has another order."""
        return max(1, samples // self.batch_size)

    def total(self, samples: int) -> int:
        """Steps of the whole run on so many samples."""
        if self.epochs is not None:
            return self.epochs * self.batches(samples)
        return self.steps if self.steps is not None else DEFAULT_STEPS
