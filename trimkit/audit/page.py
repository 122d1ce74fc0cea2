"""The page of an audit, and the pages that compare two: evidence in, sections out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import accumulate
from typing import Any

from trimkit.audit.checks.controls import series_of
from trimkit.audit.evidence import KEPT, Example
from trimkit.audit.headlines import explanation_sentence, model_sentence
from trimkit.audit.pictures import layout, pixel_layout
from trimkit.audit.result import Result
from trimkit.report.charts import Chart, Series, Style
from trimkit.report.pictures import Figure, input_figure
from trimkit.report.samples import Measure, SampleRow, SampleRows, SampleTable
from trimkit.report.sections import (
    Curve,
    Headline,
    Provenance,
    Section,
    Signature,
    Text,
    VerdictTable,
)
from trimkit.report.snippet import Snippet
from trimkit.report.verdicts import Verdict
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

_SPACES = {"FFT": "frequency", "DCT": "cosine", "FrequencyBands": "frequency-band"}

_STYLES: tuple[Style, ...] = ("one", "two", "three")

PICTURES = 600_000
"""Bytes of samples' pictures on a page; samples that do not fit are left out, so that a page can be sent by mail."""

MOST_SAMPLES = 256
"""Rows of the table of single samples."""


def sections_of(report: Result) -> tuple[str, str, list[Section]]:
    """The page of one audit: title, lead and sections, for `trimkit.report.render`."""
    about = report.provenance
    title = f"What {about['model']['class']} looks at in {about['data']['name']}"
    lead = (
        f"An audit of {_and(report.labels)} in {space_name(report)} space, "
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
    parts += sample_table(report)
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


def snippet(report: Result) -> Snippet:
    """The audit in brief: both answers, the verdicts, one sample and where the scores lie."""
    about, label = report.provenance, report.labels[0]
    title = f"Audit of {about['model']['class']} on {about['data']['name']}, {space_name(report)} space"
    several = len(report.labels) > 1
    statuses = tuple((one.subject, one.status, one.sentence) for one in headlines(report))
    facts = tuple((_subject(v) if several else v.check, _in_brief(v)) for v in report.verdicts)
    rows = sample_rows(report, label)
    figures = tuple(
        replace(figure, caption=column)
        for row in rows.rows[:1]
        for column, figure in zip(rows.columns, row.figures, strict=True)
    )
    chart = band_chart({label: report}, label, "Where the scores lie")
    return Snippet(title, statuses, facts, figures, (chart,), "The whole page: report.save('report.html')")


def _subject(verdict: Verdict) -> str:
    return " · ".join(filter(None, (verdict.check, verdict.attribution)))


def _in_brief(verdict: Verdict) -> str:
    return " · ".join(filter(None, (str(verdict.status), verdict.figures)))


def space_name(report: Result) -> str:
    """The space in a word, such as "frequency"; "pixel" and "data" for that of the data themselves."""
    name = type(report.transform).__name__
    return _own_space(report) if _in_pixels(report) else _SPACES.get(name, name)


def sample_rows(report: Result, label: str, title: str = "Samples", lead: str = "") -> SampleRows:
    """Input, pixel map, coefficient map (in another space than pixels) and reconstruction of a few samples."""
    layouts = _Layouts(report.transform)
    rows = _fitting([_row(layouts, example) for example in report.examples[label]], PICTURES // len(report.labels))
    own = f"{_own_space(report).capitalize()} map"
    maps = (own,) if _in_pixels(report) else (own, "Coefficient map")
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
    shown = [
        {e.id: (layouts, e) for e in report.examples[label]}
        for report, layouts in ((report, _Layouts(report.transform)) for report in reports.values())
    ]
    common = [i for i in shown[0] if all(i in one for one in shown)]
    own = {"pixel": "pixels", "data": "data"}[_own_space(next(iter(reports.values())))]
    kinds = {name: (own,) if _in_pixels(one) else (own, "coefficients") for name, one in reports.items()}
    columns = ("Input", *(f"{name}: {kind}" for name, several in kinds.items() for kind in several))
    rows = [SampleRow(_caption(shown[0][i][1]), _compared([one[i] for one in shown]), str(i)) for i in common]
    return SampleRows(title, lead, columns, _fitting(rows, PICTURES))


def sample_table(report: Result) -> list[SampleTable]:
    """Values of single samples by check and attribution, of up to `MOST_SAMPLES`, first those that have pictures.

    None where no check keeps values of single samples.
    """
    shown = {str(e.id): _caption(e) for several in report.examples.values() for e in several}
    ids = sorted({int(i) for one in report.paired.values() for i in one["ids"]})
    kept = set([*map(int, shown), *(i for i in ids if str(i) not in shown)][:MOST_SAMPLES])
    measures = tuple(_measure(report, name, one, kept) for name, one in report.paired.items())
    lead = f"What each check measured on single samples. {_counted(len(kept), len(ids))}"
    called = {str(i): name for i, name in report.names.items()}
    return [SampleTable("Sample by sample", lead, measures, shown, called)] if measures and kept else []


def _counted(kept: int, measured: int) -> str:
    return f"{kept} of {measured} measured samples." if kept < measured else f"All {measured} measured samples."


def _measure(report: Result, name: str, one: Mapping[str, Any], kept: set[int]) -> Measure:
    about = next((label for label in report.labels if name.endswith(f" [{label}]")), "")
    pairs = zip(one["ids"], one["values"], strict=True)
    values = {str(i): value for i, value in pairs if value is not None and int(i) in kept}
    alone = len(report.labels) < 2
    return Measure(name.removesuffix(f" [{about}]"), values, one["better"], "" if alone else about)


class _Layouts:
    """How scores lie in pictures, in the data's own space and in a transform's; once for each size of sample."""

    def __init__(self, transform: Transform) -> None:
        self.in_pixels = isinstance(transform, Identity)
        self.pixels = cache(pixel_layout)
        self.coefficients = cache(lambda size: layout(transform, size))


def _fitting(rows: Sequence[SampleRow], most: int) -> tuple[SampleRow, ...]:
    """The first rows whose pictures fit into so many bytes, at least one."""
    sizes = accumulate(sum(figure.size for figure in row.figures) for row in rows)
    return tuple(row for i, (row, size) in enumerate(zip(rows, sizes, strict=True)) if not i or size <= most)


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
    space, own = space_name(report), {"pixel": "pixels", "data": "the data"}[_own_space(report)]
    parts: list[Section] = [
        sample_rows(
            report,
            label,
            f"Samples{suffix}",
            "Red raises the explained output, blue lowers it."
            if _in_pixels(report)
            else f"The same attribution, once in {own} and once in {space} space. Red raises the explained output, "
            "blue lowers it.",
        ),
        Curve(
            f"Where the scores lie{suffix}",
            "Mean share of |score| by group, with its 95 % interval over samples. Where the line leaves the amplitude "
            "of the input, the model and not the data decides.",
            band_chart({label: report}, label),
        ),
    ]
    parts += [
        replace(s, title=f"{s.title}{suffix}" if s.title else "")
        for several in report.sections.get(label, {}).values()
        for s in several
    ]
    return [replace(part, about=label) for part in parts] if suffix else parts


def _row(layouts: _Layouts, example: Example) -> SampleRow:
    figures = (
        _input(example),
        *_maps(layouts, example),
        input_figure(example.kept, "data from these coefficients alone", _kept(example)),
    )
    return SampleRow(_caption(example), figures, str(example.id))


def _own_space(report: Result) -> str:
    """What the data's own space consists of: "pixel" for pictures, else "data"."""
    return "pixel" if all(e.x.ndim == 3 for several in report.examples.values() for e in several) else "data"


def _in_pixels(report: Result) -> bool:
    return isinstance(report.transform, Identity)


def _maps(layouts: _Layouts, example: Example) -> tuple[Figure, ...]:
    alt = f"Scores of sample {example.called} in the data's own space."
    pixels = layouts.pixels(tuple(example.pixels.shape)).figure(example.pixels[None], alt)
    if layouts.in_pixels:
        return (pixels,)
    return pixels, layouts.coefficients(tuple(example.x.shape)).figure(example.scores)


def _compared(shown: Sequence[tuple[_Layouts, Example]]) -> tuple[Figure, ...]:
    return (_input(shown[0][1]), *(figure for layouts, example in shown for figure in _maps(layouts, example)))


def _input(example: Example) -> Figure:
    return input_figure(example.x, "", f"Sample {example.called}, label {example.label or 'unknown'}.")


def _kept(example: Example) -> str:
    return f"Sample {example.called} from the {KEPT:.0%} of its coefficients with the largest scores."


def _caption(example: Example) -> str:
    said = [f"Sample {example.called}"]
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
