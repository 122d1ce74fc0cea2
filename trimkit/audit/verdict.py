"""What a check concluded; see `trimkit.verdicts`, which other checks than an audit's share."""

from trimkit.verdicts import (
    Direction,
    Estimate,
    Status,
    Verdict,
    exit_code,
    holm,
    judge,
    number,
    overall,
    samples_needed,
)

__all__ = [
    "Direction",
    "Estimate",
    "Status",
    "Verdict",
    "exit_code",
    "holm",
    "judge",
    "number",
    "overall",
    "samples_needed",
]
