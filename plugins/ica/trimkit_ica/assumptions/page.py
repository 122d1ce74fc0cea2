"""The page of `check_ica`: verdicts, the components as pictures and histograms, the two matrices, the spectrum."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import torch

from trimkit.report.charts import Chart, Series
from trimkit.report.page import render
from trimkit.report.pictures import Figure, bar_figure, signed_figure
from trimkit.report.sections import (
    Gallery,
    Headline,
    Matrices,
    Matrix,
    Panels,
    Provenance,
    Section,
    Table,
    Text,
    VerdictTable,
)
from trimkit.report.verdicts import Estimate, Status, number
from trimkit_ica.assumptions.findings import Component, Findings
from trimkit_ica.assumptions.gaussianity import p_text

_SENTENCES = {
    Status.PASS: "Nothing speaks against reading these components as independent sources.",
    Status.WARN: "Nothing speaks against these components but a reservation that is named below.",
    Status.FAIL: "At least one assumption does not hold. Do not read the components before reading why.",
    Status.INCONCLUSIVE: "At least one question stays open. The table says what would decide it.",
}

_LIMITATIONS = (
    "Passing is no proof: the checks look for dependence between pairs, in squares and by nearest neighbours, and not "
    "for every other.",
    "Rows are taken as independent samples. Of a time series, take rows that are far apart: neighbours in both halves "
    "make the test optimistic.",
    "Only linear mixtures are looked for. Sources behind a nonlinear mixture cannot be found from x alone: that needs "
    "an auxiliary variable, such as a segment or a class.",
    "The thresholds are conventions. They are recorded with the result; change them where you have better ones.",
)

_SHOWN = 40
"""Directions of the spectrum at most."""


def page(report: Findings) -> str:
    """The page as HTML."""
    record = report.record
    title = f"Can {record['name']} be unmixed by ICA?"
    lead = (
        f"{len(report.components)} components of {record['variables']} variables, fitted to {record['fit']} rows and "
        f"tested on {record['test']} others."
    )
    sections: list[Section] = [
        _headline(report),
        VerdictTable(
            "Verdicts",
            "An estimate, its 95 % interval and what it is held against. Dependence counts where it is more than "
            "permuted columns show.",
            report.verdicts,
        ),
        *_pictures(report),
        _histograms(report),
        _components(report),
        _matrices(report),
        _spectrum(report),
        Text("Limitations", points=_LIMITATIONS),
        _provenance(report),
    ]
    return render(title, lead, sections, brand="trimkit check-ica")


def _headline(report: Findings) -> Headline:
    record = report.record
    facts = (
        ("Data", str(record["name"])),
        ("Samples", f"{record['rows']} of {record['available']}, seed {record['seed']}"),
        ("Shape of a sample", _shape(record["shape"])),
        ("Components", _number(report)),
        ("Method", "symmetric FastICA, log cosh"),
        ("Bootstraps", str(record["bootstraps"])),
    )
    return Headline("", "", report.overall, _SENTENCES[report.overall], facts, "Assumptions")


def _number(report: Findings) -> str:
    k = len(report.components)
    if report.record["chosen"]:
        return f"{k}, as asked for"
    return f"{k}, the rank" if k == report.record["rank"] else f"{k}, as many as the rows allow"


def _pictures(report: Findings) -> list[Section]:
    """What each component adds to x: pictures for images, bars for a few variables, nothing for many without shape."""
    shape: list[int] = report.record["shape"]
    if len(shape) < 2 and shape[0] > 64:
        return []
    figures = tuple(_picture(one, i + 1, shape) for i, one in enumerate(report.components))
    lead = "What one unit of each component adds to a sample. Red is more, blue is less."
    return [Gallery("Components", lead, figures)]


def _picture(one: Component, which: int, shape: list[int]) -> Figure:
    caption = f"{which} · {number(one.variance, '%')} % of the variance"
    alt = f"What component {which} adds to a sample."
    if len(shape) < 2:
        return bar_figure(one.mixing.tolist(), caption, alt)
    values = torch.from_numpy(np.ascontiguousarray(one.mixing)).reshape(-1, *shape[-2:]).mean(0)
    return signed_figure(values, caption, alt)


def _histograms(report: Findings) -> Panels:
    x = tuple(end for bin_ends in pairwise(report.edges) for end in bin_ends)
    normal = tuple(math.exp(-(v**2) / 2) / math.sqrt(2 * math.pi) for v in x)
    most = max(v for one in report.components for v in (*one.density, *normal))
    charts = tuple(
        Chart(
            f"Component {i + 1}",
            (
                Series("component", tuple(np.repeat(one.density, 2).tolist())),
                Series("normal distribution", normal, style="random"),
            ),
            x,
            x_axis="standard deviations",
            y_axis="density",
            y_limits=(0.0, most),
            subtitle=f"excess kurtosis {_spread(one.shape.kurtosis)}",
            x_percent=False,
        )
        for i, one in enumerate(report.components)
    )
    lead = "Each component on rows that the fit did not see, beside a normal distribution of the same variance."
    return Panels("Distributions", lead, charts)


def _components(report: Findings) -> Table:
    rows = tuple(
        (
            str(i + 1),
            f"{number(one.variance, '%')} %",
            _spread(one.shape.negentropy),
            _spread(one.shape.kurtosis),
            p_text(one.shape.anderson_darling_p),
            p_text(one.shape.jarque_bera_p),
            f"{one.stability:.3f}" + ("" if one.stable else " (moves)"),
        )
        for i, one in enumerate(report.components)
    )
    return Table(
        "The components in numbers",
        "",
        ("", "variance", "negentropy", "excess kurtosis", "Anderson–Darling p", "Jarque–Bera p", "stability"),
        rows,
        "Negentropy is the proxy (E log cosh s − E log cosh ν)². P-values are adjusted by Holm over all components and "
        "both tests; with many rows they are tiny for any real data, so read the effect sizes first.",
    )


def _matrices(report: Findings) -> Matrices:
    names = tuple(str(i + 1) for i in range(len(report.components)))
    squares, information = (report.evidence[name] for name in ("squares", "information"))
    return Matrices(
        "Dependence that is left",
        "On rows that the fit did not see. Independent components show no more than chance.",
        tuple(
            Matrix(
                title, names, tuple(map(tuple, measured["matrix"])), f"chance gives up to {number(measured['chance'])}"
            )
            for title, measured in (
                ("Correlation of squares", squares),
                ("Mutual information, nats", information),
            )
        ),
    )


def _spectrum(report: Findings) -> Panels:
    values = np.asarray(report.evidence["eigenvalues"])
    positive = values[: min(report.record["rank"], _SHOWN)]
    kept = np.cumsum(positive) / values.sum()
    labels = tuple(str(i + 1) for i in range(len(positive)))
    logs = Chart(
        "Variance of each direction",
        (Series("log₁₀ of the ratio to the largest", tuple(np.log10(positive / positive[0]).tolist())),),
        labels=labels,
        x_axis="direction",
        y_axis="log₁₀ ratio",
    )
    share = Chart(
        "Variance kept by so many",
        (Series("share of the variance", tuple(kept.tolist())),),
        labels=labels,
        x_axis="directions",
        y_axis="share of the variance",
        percent=True,
        y_limits=(0.0, 1.0),
    )
    k, rank = len(report.components), report.record["rank"]
    cut = "" if rank <= _SHOWN else f" The first {_SHOWN} are shown."
    lead = f"Principal directions of the rows of the fit: {k} of {rank} are kept.{cut}"
    return Panels("Spectrum", lead, (logs, share), shared_legend=False)


def _provenance(report: Findings) -> Provenance:
    record = report.record
    facts = (
        ("Data", f"{record['name']}, {record['available']} samples of {_shape(record['shape'])}"),
        ("Data sha256", str(record["sha256"])),
        ("Rows", f"{record['fit']} to fit, {record['test']} to test, seed {record['seed']}"),
        ("Versions", ", ".join(f"{name} {version}" for name, version in record["versions"].items())),
    )
    return Provenance("Provenance", "Everything that is needed to repeat this result, or to doubt it.", facts, record)


def _spread(e: Estimate) -> str:
    return f"{number(e.value)} [{number(e.low)}, {number(e.high)}]"


def _shape(shape: list[int]) -> str:
    return "×".join(map(str, shape))
