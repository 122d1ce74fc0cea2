"""Lines of the tables that `vae_sprites` prints."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from _seeds import Row, spread

from trimkit.metrics.disentanglement import udr

SCORES = ("mig", "factor_vae_score", "dci", "gaussian_tc", "kl", "mi", "tc", "dwkl", "recon")


def line(rows: Sequence[Row], name: str) -> str:
    """A line of the table: each score's median [smallest, largest]."""
    own = [row for row in rows if row["name"] == name]
    return f"{name:16}" + "".join(f"{spread(row[score] for row in own if score in row):>24}" for score in SCORES)


def per_factor(rows: Sequence[Row], name: str) -> str:
    """A line of medians of the MIG of each factor."""
    gaps = [row["mig_per_factor"] for row in rows if row["name"] == name]
    return f"{name:16}" + "".join(f"{statistics.median(gap[f] for gap in gaps):>13.3f}" for f in gaps[0])


def print_agreement(rows: Sequence[Row], name: str) -> None:
    """UDR of each seed of a method, beside its MIG."""
    own = [row for row in rows if row["name"] == name and "codes" in row]
    if len(own) < 2:
        return
    agreement = udr([row["codes"] for row in own], [row["kl_of_codes"] for row in own], draws=0)
    pairs = zip(agreement.parts["per_model"], (row["mig"] for row in own), strict=True)
    print(f"{name:16}" + "".join(f"{f'{value:.3f} / {gap:.3f}':>16}" for value, gap in pairs))
