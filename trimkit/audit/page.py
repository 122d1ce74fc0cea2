"""The page of an audit, and the pages that compare two: evidence in, sections out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from trimkit.audit.checks.controls import series_of
from trimkit.audit.evidence import KEPT, Example
from trimkit.audit.headlines import explanation_sentence, model_sentence
from trimkit.audit.pictures import coefficient_figure, pixel_figure
from trimkit.audit.result import Result
from trimkit.report.charts import Chart, Series, Style
from trimkit.report.pictures import Figure, input_figure
from trimkit.report.sections import (
    Curve,
    Headline,
    Provenance,
    SampleRow,
    SampleRows,
    Section,
    Signature,
    Text,
    VerdictTable,
)
from trimkit.transforms import Identity, Transform

_LIMITATIONS = (
    "A verdict holds for this model, these data, this space, this target and these attributions, and for nothing else.",
    "The thresholds are conventions. They are recorded with the result; change them where you have better ones.",
    "Removing coefficients makes inputs that the model has never seen. That is why a claim must survive three ways of "
    "removing; it is no proof that the model behaves alike on natural data.",
    "Groups of coefficients are judged, not single ones: a group may matter for one of its coefficients only.",
    "An attribution that passes says what the model uses. Whether it may use that is the other verdict, on the model.",
    "A model that passes does not rely on what was named, as far as these samples show; a search that finds nothing is "
    "weaker still.",
)

_SPACES = {"FFT": "frequency", "DCT": "cosine", "Identity": "pixel", "FrequencyBands": "frequency-band"}

_STYLES: tuple[Style, ...] = ("one", "two", "three")


def sections_of(report: Result) -> tuple[str, str, list[Section]]:
    """The page of one audit: title, lead and sections, for `trimkit.report.render`."""
    about = report.provenance
    title = f"What {about['model']['class']} looks at in {about['data']['name']}"
    lead = (
        f"An audit of {_and(report.labels)} in {space_name(report.transform)} space, "
        f"on {about['audited']['n']} of {about['data']['n']} samples."
    )
    verdicts = VerdictTable(
        "Verdicts",
        "Each question is decided by the side of its threshold on which the whole 95 % interval lies.",
        report.verdicts,
    )
    parts: list[Section] = [*headlines(report), verdicts]
    for several in report.sections.get("", {}).values():
        parts += several
    for label in report.labels:
        parts += _of_attribution(report, label)
    return title, lead, [*parts, limitations(report), provenance(report), Signature("Signed by")]


def headlines(report: Result) -> list[Headline]:
    """The two answers, on the model and on the explanation, with the facts of the audit."""
    about = report.provenance
    facts = (
        ("Task", "{name} ({how})".format(**about["task"])),
        (report.performance.title, report.performance.line) if report.performance else ("Accuracy", "not measured"),
        ("Space", about["transform"]),
        ("Attribution", ", ".join(report.labels)),
        ("Explained", str(about["target"])),
        ("Samples", f"{about['audited']['n']} of {about['data']['n']}, seed {about['audited']['seed']}"),
        ("Model", f"{about['model']['class']}, {about['model']['parameters']:,} parameters"),
        ("Date", about["date"].replace("T", " ").replace("+00:00", " UTC")),
    )
    model = model_sentence(report.verdicts, report.performance)
    explanation = explanation_sentence(report.verdicts, report.labels)
    return [
        Headline("", "", report.model, model, subject="Model"),
        Headline("", "", report.overall, explanation, facts, "Explanation"),
    ]


def space_name(transform: Transform) -> str:
    """The space in a word, such as "frequency"."""
    return _SPACES.get(type(transform).__name__, type(transform).__name__)


def sample_rows(report: Result, label: str, title: str = "Samples", lead: str = "") -> SampleRows:
    """Input, pixel map, coefficient map (in another space than pixels) and reconstruction of a few samples."""
    rows = tuple(_row(report, example) for example in report.examples[label])
    maps = ("Pixel map",) if _in_pixels(report) else ("Pixel map", "Coefficient map")
    return SampleRows(title, lead, ("Input", *maps, f"Top {KEPT:.0%}"), rows)


def band_chart(reports: Mapping[str, Result], label: str, title: str = "") -> Chart:
    """Shares of |score| by group, one line a report, with the input's own amplitude as control.

    Args:
        reports: name in the legend → report; all in the same space.
        label: of the attribution.
        title: above the chart.
    """
    bands = [report.evidence[label]["bands"] for report in reports.values()]
    series = [series_of(name, band["share"], style) for name, band, style in zip(reports, bands, _STYLES, strict=False)]
    control = Series("amplitude of the input", tuple(bands[0]["input"]["value"]), style="input")
    axis = bands[0]["axis"]
    ordered = axis.split()[0] in ("frequency", "position", "scale", "spatial")
    return Chart(
        title,
        (*series, control),
        labels=tuple(map(_short, bands[0]["names"])),
        x_axis=axis,
        y_axis="share of the attribution",
        percent=True,
        kind="line" if ordered else "points",
    )


def compare_bands(title: str, lead: str, reports: Mapping[str, Result], label: str) -> Curve:
    """Where several models look, in one chart: before and after training, say."""
    return Curve(title, lead, band_chart(reports, label))


def compare_samples(title: str, lead: str, reports: Mapping[str, Result], label: str) -> SampleRows:
    """The same samples explained for several models: input, then pixel and coefficient map of each.

    Samples are matched by their ids; those that not every report shows are left out.
    """
    shown = [{e.id: (report, e) for e in report.examples[label]} for report in reports.values()]
    common = [i for i in shown[0] if all(i in one for one in shown)]
    kinds = {name: ("pixels",) if _in_pixels(one) else ("pixels", "coefficients") for name, one in reports.items()}
    columns = ("Input", *(f"{name}: {kind}" for name, several in kinds.items() for kind in several))
    rows = [SampleRow(_caption(shown[0][i][1]), _compared([one[i] for one in shown])) for i in common]
    return SampleRows(title, lead, columns, tuple(rows))


def limitations(report: Result) -> Text:
    """What the result does not say, and what looked suspicious."""
    notes = tuple(f"Noted: {note}" for note in report.notes)
    return Text("Limitations", points=(*notes, *_LIMITATIONS))


def provenance(report: Result) -> Provenance:
    """Versions, plugins, hashes, seeds, machine and command line."""
    about = report.provenance
    model, data, hardware = about["model"], about["data"], about["hardware"]
    counts = ", ".join(f"{name}: {count}" for name, count in data["class_counts"].items())
    facts = (
        ("Versions", ", ".join(f"{name} {version}" for name, version in about["versions"].items())),
        ("Plugins", ", ".join(f"{p['distribution']} {p['version']} ({p['state']})" for p in about["plugins"])),
        ("Model sha256", model["sha256"] or "no weights"),
        ("Data", f"{data['name']} {data['split']}".strip() + f", {data['n']} samples of {data['shape']}"),
        ("Data sha256", data["sha256"]),
        ("Classes", counts or "no labels"),
        ("Hardware", f"{hardware['device']} ({hardware['name']}), {hardware['threads']} threads"),
        ("Command", about["command"]),
        ("Date", about["date"]),
    )
    return Provenance("Provenance", "Everything that is needed to repeat this result, or to doubt it.", facts, about)


def _of_attribution(report: Result, label: str) -> list[Section]:
    suffix = f" · {label}" if len(report.labels) > 1 else ""
    space = space_name(report.transform)
    parts: list[Section] = [
        sample_rows(
            report,
            label,
            f"Samples{suffix}",
            "Red raises the explained output, blue lowers it."
            if _in_pixels(report)
            else f"The same attribution, once in pixels and once in {space} space. Red raises the explained output, "
            "blue lowers it.",
        ),
        Curve(
            f"Where the scores lie{suffix}",
            "Mean share of |score| by group, with its 95 % interval over samples. Where the line leaves the amplitude "
            "of the input, the model and not the picture decides.",
            band_chart({label: report}, label),
        ),
    ]
    parts += [
        replace(s, title=f"{s.title}{suffix}" if s.title else "")
        for several in report.sections.get(label, {}).values()
        for s in several
    ]
    return parts


def _row(report: Result, example: Example) -> SampleRow:
    figures = (
        _input(example),
        *_maps(report, example),
        input_figure(example.kept, "data from these coefficients alone", _kept(example)),
    )
    return SampleRow(_caption(example), figures)


def _in_pixels(report: Result) -> bool:
    return isinstance(report.transform, Identity)


def _maps(report: Result, example: Example) -> tuple[Figure, ...]:
    pixels = pixel_figure(example.pixels, f"Scores of sample {example.id} in the data's own space.")
    if _in_pixels(report):
        return (pixels,)
    return pixels, coefficient_figure(report.transform, example.scores, example.x.shape)


def _compared(shown: Sequence[tuple[Result, Example]]) -> tuple[Figure, ...]:
    return (_input(shown[0][1]), *(figure for report, example in shown for figure in _maps(report, example)))


def _input(example: Example) -> Figure:
    return input_figure(example.x, "", f"Sample {example.id}, label {example.label or 'unknown'}.")


def _kept(example: Example) -> str:
    return f"Sample {example.id} from the {KEPT:.0%} of its coefficients with the largest scores."


def _caption(example: Example) -> str:
    said = [f"Sample {example.id}"]
    if example.label:
        said.append(f"label {example.label}")
    if example.predicted:
        said.append(f"predicted {example.predicted}")
    return " · ".join(said)


def _short(name: str) -> str:
    """``0.088–0.177`` → ``0.09–0.18``, so that nine labels fit a line."""
    return re.sub(r"\d+\.\d+", lambda found: f"{float(found[0]):.2f}", name)


def _and(names: Sequence[Any]) -> str:
    *first, last = map(str, names)
    return f"{', '.join(first)} and {last}" if first else last
