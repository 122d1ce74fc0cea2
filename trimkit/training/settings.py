"""How long a run is, in which batches, on what, and how often it reports."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Literal, TypeAlias

from trimkit.errors import OptionError

DEFAULT_STEPS = 3000

Precision: TypeAlias = Literal["32", "64", "bf16", "16"]
Nonfinite: TypeAlias = Literal["raise", "skip", "scrub"]

_CHOICES = {"precision": ("32", "64", "bf16", "16"), "nonfinite": ("raise", "skip", "scrub")}
_AT_LEAST = {
    **dict.fromkeys(("steps", "epochs", "batch_size", "accumulate", "checkpoint_every"), 1),
    **dict.fromkeys(("log_every", "evaluated", "devices", "patience"), 1),
    **dict.fromkeys(("workers", "pictures_every", "evaluate_every"), 0),
}
_OF_STEPS = ("accumulate", "clip", "nonfinite", "ema", "precision", "fast", "checkpoint_minutes", "evaluate_every")
_ABOVE_ZERO = ("clip", "checkpoint_minutes", "timeout_minutes")


@dataclass(frozen=True)
class Settings:
    """Settings of a training run that are not the method's.

    Attributes:
        steps: in total, over all resumed parts; 3000 if epochs are not given either.
        epochs: instead of steps: passes over the data.
        batch_size: samples a step, over all processes; at most all of them.
        accumulate: turns in which a batch is worked through, for batches that do not fit into memory. Terms that are
            means over samples come out as for the whole batch; statistics of the batch become those of a turn.
        clip: largest norm of a phase's gradient; longer ones are scaled down. None for no limit.
        nonfinite: what follows a gradient with NaN or infinity: "raise" stops, "skip" leaves the phase's step out,
            "scrub" puts 0 for NaN and ±1e5 for infinity. Counted in logs and results. With precision "16" they are the
            scale's fault at first, which then goes down instead of a step; "scrub" is refused.
        ema: decay of the running average of parameters for all phases, in [0, 1); None for each phase's own.
        seed: of order, noise and everything else that is random.
        workers: processes that read data ahead; the batches are the same for any number.
        device: "auto", "cpu", "cuda", "cuda:1", "mps".
        devices: processes on this machine, each on a device of its own; under torchrun and SLURM theirs counts.
        timeout_minutes: for which processes wait for each other in a step; then the run stops and names the late one.
        precision: "32"; "64" for everything in float64, the method included; "bf16" or "16" for networks in that type,
            with losses, penalties, attributions and weights in float32.
        fast: bf16 where the processor has it, channels last, fused Adam: results differ in the digits of bf16.
        checkpoint_every: steps between checkpoints.
        checkpoint_minutes: minutes after which one is written too; None for steps alone.
        log_every: steps between lines of metrics.jsonl.
        evaluate_every: steps between evaluations on the test data; 0 for none. The weights of the best one, by the loss
            with the weights that terms have at the end, are those of the finished run.
        patience: evaluations without a better one after which the run ends early; None for never.
        pictures_every: steps between pictures of the method in training; 0 for none.
        evaluated: samples of the data, and of the test data, on which the trained method is evaluated at the end, at
            most.
        tensorboard: write the metrics for TensorBoard too; needs the extra "tensorboard".
        progress: show progress on stderr.

    Raises:
        OptionError: a value out of range, both steps and epochs, or "scrub" in float16.
    """

    steps: int | None = None
    epochs: int | None = None
    batch_size: int = 64
    accumulate: int = 1
    clip: float | None = None
    nonfinite: Nonfinite = "raise"
    ema: float | None = None
    seed: int = 0
    workers: int = 0
    device: str = "auto"
    devices: int = 1
    timeout_minutes: float = 10.0
    precision: Precision = "32"
    fast: bool = False
    checkpoint_every: int = 500
    checkpoint_minutes: float | None = None
    log_every: int = 50
    evaluate_every: int = 0
    patience: int | None = None
    pictures_every: int = 0
    evaluated: int = 4096
    tensorboard: bool = False
    progress: bool = False

    def __post_init__(self) -> None:
        if self.steps is not None and self.epochs is not None:
            raise OptionError(f"give steps or epochs, not both: got steps={self.steps}, epochs={self.epochs}")
        for name, least in _AT_LEAST.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise OptionError(f"expected {name} ≥ {least}, got {value}")
        for name, known in _CHOICES.items():
            if getattr(self, name) not in known:
                raise OptionError(f"expected {name} as one of {', '.join(known)}, got {getattr(self, name)!r}")
        if self.patience is not None and not self.evaluate_every:
            raise OptionError("patience counts evaluations: give evaluate_every too, such as evaluate_every=500")
        if self.nonfinite == "scrub" and self.precision == "16":
            raise OptionError(
                "nonfinite='scrub' does not go with precision='16': float16 overflows where its scale is too large, "
                "and numbers put in place of that would be steps of noise; use 'raise' or 'skip', or precision 'bf16'"
            )
        for name in _ABOVE_ZERO:
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise OptionError(f"expected {name} > 0, got {value}")
        if self.ema is not None and not 0 <= self.ema < 1:
            raise OptionError(f"expected ema in [0, 1), got {self.ema}")

    def size(self, samples: int) -> int:
        """Samples a step."""
        return min(self.batch_size, samples)

    def batches(self, samples: int) -> int:
        """Steps an epoch: whole batches only, since the next epoch has another order."""
        return max(1, samples // self.batch_size)

    def total(self, samples: int) -> int:
        """Steps of the whole run on so many samples."""
        if self.epochs is not None:
            return self.epochs * self.batches(samples)
        return self.steps if self.steps is not None else DEFAULT_STEPS

    def check_shares(self, samples: int, processes: int) -> None:
        """Refuse a batch that cannot be shared out evenly.

        Args:
            samples: in the data.
            processes: that train together.
        Raises:
            OptionError: its size is not a multiple of processes × accumulate.
        """
        size, shares = self.size(samples), processes * self.accumulate
        if size % shares:
            way_out = f"choose batch_size={max(size // shares, 1) * shares}"
            if shares > samples:
                way_out = f"the data have {samples} samples, so take fewer turns (accumulate) or processes"
            raise OptionError(
                f"expected a batch that {processes} processes in {self.accumulate} turns share evenly, a multiple of "
                f"{shares}, got {size} samples; {way_out}"
            )

    def refuse_in_closed_form(self, method: str) -> None:
        """Refuse what says how steps are taken, which a method that is fitted in closed form would ignore.

        Raises:
            OptionError: the first setting that is not its default.
        """
        defaults = {field.name: field.default for field in fields(self)}
        for name in _OF_STEPS:
            value = getattr(self, name)
            if value != defaults[name] and (name, value) != ("precision", "64"):
                raise OptionError(
                    f"{method} is fitted in closed form, without steps: it takes no --{name.replace('_', '-')}, got "
                    f"{value}; leave it out"
                )


def describe_settings() -> Mapping[str, str]:
    """Name of each setting → what it is, the first clause of its description in `Settings`."""
    from docstring_parser import parse

    described = {entry.arg_name: entry.description or "" for entry in parse(Settings.__doc__ or "").params}
    return {name: re.split(r"\.\s", " ".join(text.split()))[0].removesuffix(".") for name, text in described.items()}
