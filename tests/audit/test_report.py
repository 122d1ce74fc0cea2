"""The page: well-formed, self-contained, escaped, accessible; its pictures and charts show what they say."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from dataclasses import replace

import html5lib
import pytest
import torch
from jinja2 import UndefinedError
from torch import nn

import trimkit
from trimkit.audit.evidence import Example
from trimkit.audit.page import compare_bands, compare_samples, sections_of
from trimkit.report import (
    Chart,
    Curve,
    DeletionCurves,
    Figure,
    Headline,
    Provenance,
    RandomisationPanel,
    SampleRow,
    SampleRows,
    Section,
    Series,
    Signature,
    Table,
    Text,
    VerdictTable,
    bar_figure,
    render,
)
from trimkit.report.charts import round_numbers
from trimkit.report.samples import Measure, SampleTable
from trimkit.report.verdicts import Estimate, Status, Verdict, number

EVIL = "<script>alert('x')</script>"


@pytest.fixture(scope="module")
def page(report):
    return report.to_html()


def parsed(html):
    document = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(html)
    for element in document.iter():
        element.tag = str(element.tag).rpartition("}")[2]  # those of SVG have a namespace
    return document


def scripts(html):
    """The page's data and its script, which are all the scripts that it has."""
    assert html.count("<script") == html.count("</script>") == 2
    return re.search(
        r'<script type="application/json" id="readout">(.*)</script>\n<script>(.*)</script>', html, re.S
    ).groups()


def test_the_page_is_valid_html5(page):
    document = parsed(page)
    assert document.find("head/title").text == "What Sequential looks at in planted"
    assert len(document.findall(".//section")) == 7 + 2 * 7


def test_the_page_loads_nothing_and_runs_its_own_script_alone(page):
    data, script = scripts(page)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    assert f'http-equiv="Content-Security-Policy" content="{policy}"' in page
    bare = re.sub(r"base64,[\w+/=]+", "", page.replace(data, ""))
    assert not re.search(r"https?:|//\w|@import|url\(|fetch|import\(|XMLHttp|WebSocket|\beval\(", bare)
    assert not re.search(r"<link|<iframe|<object| on\w+=", page)
    sources = {element.get("src") for element in parsed(page).iter() if element.get("src")}
    assert sources
    assert all(source.startswith("data:image/png;base64,") for source in sources)


def test_every_picture_says_what_it_shows(page):
    document = parsed(page)
    images = list(document.iter("img"))
    assert len(images) == 2 * (6 * 4 + 1)  # and where the group that stands out lies
    assert all(image.get("alt") for image in images)
    drawings = list(document.iter("svg"))
    assert len(drawings) > 20
    for svg in drawings:
        assert svg.get("aria-hidden") == "true" or (svg.get("role") == "img" and svg.get("aria-label"))


def test_the_page_adapts_to_screen_theme_and_paper(page):
    for rule in ("prefers-color-scheme: dark", "@media print", "max-width: 600px", "image-rendering: pixelated"):
        assert rule in page
    assert 'name="viewport"' in page


def test_the_page_is_small(page):
    assert len(page) < 250_000


def test_a_page_of_256_samples_stays_below_a_megabyte(model, report):
    x = torch.randn(256, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    large = nn.Sequential(nn.AdaptiveAvgPool2d(8), *model).eval()
    two = ["saliency", "input_x_gradient"]
    many = trimkit.audit(large, x, transform="fft", attributions=two, checks=["controls", "reliance"], samples=256)
    assert many.to_html().count("<tr data-sample") == 256
    assert len(many.to_html().encode()) < 1_000_000


def test_photographs_are_made_small_or_left_out(report):
    noise = torch.rand(3, 224, 224, generator=torch.Generator().manual_seed(0))
    scores = torch.fft.rfft2(noise)[None].real
    photographs = tuple(Example(i, "", "", noise, noise, scores, noise) for i in range(24))
    html = replace(report, examples=dict.fromkeys(report.examples, photographs)).to_html()
    assert 2 <= html.count("data-sample=") <= 48 + 128
    assert 'id="samples-saliency-sample-0"' in html
    assert len(html.encode()) < 1_000_000


def test_a_table_of_samples_has_the_values_of_every_check(report):
    table = next(s for s in sections_of(report)[2] if isinstance(s, SampleTable))
    names = [m.name for m in table.measures if m.about == "saliency"]
    assert names == ["controls: lead over random", "controls: lead over input-only", "randomisation: excess"]
    assert table.measures[0].name == "accuracy"
    rows = dict(table.rows)
    assert len(rows) == 128
    assert list(rows)[:6] == [str(example.id) for example in report.examples["saliency"]]
    one = report.paired["controls: lead over random [saliency]"]
    column = [m.about for m in table.measures].index("saliency")
    assert [rows[str(i)][column][0] for i in one["ids"]] == [number(value) for value in one["values"]]


def test_values_that_are_missing_are_dashes():
    table = SampleTable("", "", (Measure("a", {"2": 1.5, "10": -0.25}), Measure("b", {"2": math.nan})))
    assert table.rows == [("2", [("1.5", ""), ("–", "")]), ("10", [("−0.25", "-0.25"), ("–", "")])]


def test_anchors_are_unique(page):
    ids = [element.get("id") for element in parsed(page).iter() if element.get("id")]
    assert len(ids) == len(set(ids)) > 5


def test_results_lie_beside_the_page(report, tmp_path):
    path = report.save(tmp_path / "deep" / "report.html")
    assert path.read_text(encoding="utf-8") == report.to_html()
    found = json.loads((path.parent / "results.json").read_text(encoding="utf-8"))
    assert found["overall"] == str(report.overall)
    assert len(found["verdicts"]) == len(report.verdicts)
    assert {p.name for p in path.parent.iterdir()} == {"report.html", "results.json"}
    report.save(tmp_path / "alone" / "report.html", results=False)
    assert {p.name for p in (tmp_path / "alone").iterdir()} == {"report.html"}


def test_a_class_named_script_is_escaped(model, data):
    named = type(data)(EVIL, data.x, data.y, "test", (EVIL, "b & c", '"quoted"'))
    html = trimkit.audit(model, named, samples=20, checks=["reconstruction"]).to_html()
    assert "<" not in scripts(html)[0]
    assert "<script>alert" not in html
    assert "&lt;script&gt;" in html
    parsed(html)


EVERY = [
    Headline("", "", Status.WARN, EVIL, ((EVIL, EVIL),)),
    VerdictTable(
        "Verdicts",
        EVIL,
        (
            Verdict(
                EVIL,
                EVIL,
                Status.PASS,
                EVIL,
                Estimate(0.1, 0.0, math.inf),
                0.2,
                settings={EVIL: [EVIL], "a": {"b": EVIL}},
            ),
            Verdict("b", "?", Status.NOT_APPLICABLE, "No.", attribution=EVIL),
            Verdict("b", "?", Status.FAIL, "No.", Estimate(-1, -2, 0), 0.0, "≥", attribution="c"),
        ),
    ),
    SampleRows(
        "Samples",
        EVIL,
        (EVIL, "b"),
        (SampleRow(EVIL, (bar_figure([1, -1], EVIL, EVIL), Figure(EVIL, EVIL, line="0,0"))),),
    ),
    Curve(
        "Curve", EVIL, Chart(EVIL, (Series(EVIL, (1, 2)),), labels=(EVIL, "b"), x_axis=EVIL, y_axis=EVIL, kind="points")
    ),
    DeletionCurves("Deletion", EVIL, (Chart(EVIL, (Series("a", (1, 0), (0.5, 0), (1, 0)),), (0, 1), subtitle=EVIL),)),
    RandomisationPanel("Randomisation", EVIL, (-1.0, 0.0, 1.0), (1, 3), (2, 2), ((EVIL, 0.5),)),
    Table("Table", EVIL, (EVIL, "b"), ((EVIL, EVIL), ("c", "d")), EVIL, strong=1),
    Text("Text", EVIL, (EVIL,), (EVIL,)),
    Provenance("Provenance", EVIL, ((EVIL, EVIL),), {EVIL: EVIL}),
    Signature(EVIL),
]


@pytest.mark.parametrize("section", EVERY, ids=lambda section: type(section).__name__)
def test_every_section_is_drawn_valid_and_escaped(section):
    html = render(EVIL, EVIL, [section])
    assert "<script" not in html
    parsed(html)


def test_all_sections_stand_on_one_page():
    html = render("All", "", EVERY)
    assert [s.get("class") for s in parsed(html).iter("section")] == [section.macro for section in EVERY]


def test_a_section_without_its_macro_is_an_error():
    class Unknown(Section):
        macro = "unknown"

    with pytest.raises(UndefinedError):
        render("t", "", [Unknown("x")])


def test_verdicts_are_grouped_where_several_attributions_are_audited(report):
    table = next(s for s in sections_of(report)[2] if isinstance(s, VerdictTable))
    assert [label for label, _ in table.groups] == ["", "integrated_gradients", "saliency"]
    single = VerdictTable("", "", tuple(v for v in report.verdicts if v.attribution != "saliency"))
    assert [label for label, _ in single.groups] == [""]


def test_gauges_put_the_threshold_between_good_and_bad():
    gauge = VerdictTable.gauge(Verdict("c", "?", Status.PASS, ".", Estimate(0.01, 0.0, 0.02), 0.05))
    assert gauge.low == 0.0 < gauge.value < gauge.high < gauge.threshold < 100
    assert gauge.good_left
    endless = VerdictTable.gauge(Verdict("c", "?", Status.PASS, ".", Estimate(0.01, 0.0, math.inf), 0.05))
    assert endless.high == 100


def test_before_and_after_are_put_side_by_side(report, model, data):
    after = trimkit.audit(model, data, transform="fft", samples=128, checks=["reconstruction"])
    reports = {"before": report, "after": after}
    curve = compare_bands("Bands", "", reports, "integrated_gradients")
    assert [s.name for s in curve.chart.series] == ["before", "after", "amplitude of the input"]
    assert curve.chart.kind == "line"
    rows = compare_samples("Maps", "", reports, "integrated_gradients")
    assert rows.columns == ("Input", "before: pixels", "before: coefficients", "after: pixels", "after: coefficients")
    assert len(rows.rows) == 6
    assert all(len(row.figures) == 5 for row in rows.rows)
    parsed(render("Both", "", [curve, rows]))


def test_signals_have_no_pixels():
    signals = torch.randn(20, 1, 16, generator=torch.Generator().manual_seed(0))
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 2)).eval()
    report = trimkit.audit(model, signals, transform="fft", samples=20, checks=["reconstruction"])
    rows = next(s for s in sections_of(report)[2] if isinstance(s, SampleRows))
    assert rows.columns == ("Input", "Data map", "Coefficient map", "Top 10%")
    assert compare_samples("", "", {"a": report}, report.labels[0]).columns == ("Input", "a: data", "a: coefficients")
    assert "pixel" not in rows.lead


def test_pixel_space_needs_no_second_map(model, data):
    report = trimkit.audit(model, data, samples=20, checks=["reconstruction"])
    rows = next(s for s in sections_of(report)[2] if isinstance(s, SampleRows))
    assert rows.columns == ("Input", "Pixel map", "Top 10%")
    assert {len(row.figures) for row in rows.rows} == {3}


# charts


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (-0.3, 0.3, [-0.2, 0, 0.2]),
        (0, 4.1, [0, 1, 2, 3, 4]),
        (0, 1e-5, [0, 2e-6, 4e-6, 6e-6, 8e-6, 1e-5]),
    ],
)
def test_ticks_are_round_numbers(low, high, expected):
    assert round_numbers(low, high) == pytest.approx(expected)


def test_charts_put_points_in_per_cent():
    chart = Chart("", (Series("a", (0.0, 2.0), (0.0, 1.0), (0.5, 2.0)),), (10.0, 20.0))
    (shape,) = chart.shapes
    assert shape.line == "0.00,100.00 100.00,0.00"
    assert shape.interval == "0.00,100.00 100.00,50.00 100.00,0.00 0.00,75.00"
    assert chart.zero == 100.0
    assert "a: largest 2" in chart.alt


def test_controls_are_drawn_below():
    chart = Chart("", (Series("a", (1.0,)), Series("r", (1.0,), style="random")), labels=("x",))
    assert [shape.series.name for shape in chart.shapes] == ["r", "a"]


def test_many_labels_are_thinned():
    chart = Chart("", (Series("a", (1.0,) * 40),), labels=tuple(map(str, range(40))))
    assert len(chart.x_ticks) <= 9
    assert [tick.minor for tick in chart.x_ticks[:4]] == [False, True, True, False]


def test_equal_values_have_an_axis():
    assert Chart("", (Series("a", (0.0, 0.0)),), (0.0, 1.0)).limits == (0.0, 1.0)


def test_a_charts_table_has_a_row_for_each_place():
    one = Series("a", (0.25, 0.5), (0.125, 0.25), (0.5, 1.0))
    assert [row.cells for row in Chart("", (one,), labels=("x", "y"), percent=True).rows] == [
        ("25 % [12.5 %, 50 %]",), ("50 % [25 %, 100 %]",)
    ]  # fmt: skip
    rows = Chart("", (Series("a", (1.0, -2.0, 3.0)), Series("b", (4.0,))), (0.0, 0.5, 2.0), x_percent=False).rows
    assert [(row.at, row.name, row.cells) for row in rows] == [
        (0.0, "0", ("1", "4")), (25.0, "0.5", ("−2", "–")), (100.0, "2", ("3", "–"))
    ]  # fmt: skip


def test_a_histograms_table_has_shares():
    panel = RandomisationPanel("", "", (-1.0, 0.0, 1.0), (1, 3), (2, 2))
    assert [(row.at, row.name, row.cells) for row in panel.rows] == [
        (25.0, "−1 to 0", ("25 %", "50 %")), (75.0, "0 to 1", ("75 %", "50 %"))
    ]  # fmt: skip


def luminance(code):
    channels = [int(code[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_text_has_the_contrast_that_wcag_asks_for(page):
    light, dark = (dict(re.findall(r"--([a-z]+): (#[0-9a-f]{6})", part)) for part in page.split(":root {")[1:3])
    for theme in (light, dark):
        for ground in ("paper", "card", "wash"):
            for text in ("ink", "soft", "faint", "pass", "warn", "fail", "open", "none"):
                high, low = sorted((luminance(theme[text]), luminance(theme[ground])), reverse=True)
                assert (high + 0.05) / (low + 0.05) >= 4.5, (text, ground)
