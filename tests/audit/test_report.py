"""The page: well-formed, self-contained, escaped, accessible; its pictures and charts show what they say."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import math
import re
from dataclasses import replace

import html5lib
import numpy as np
import pytest
import torch
from jinja2 import UndefinedError
from PIL import Image
from torch import nn

import trimkit
from trimkit.audit.evidence import Example
from trimkit.audit.page import compare_bands, compare_samples, sections_of
from trimkit.audit.pictures import coefficient_figure, layout
from trimkit.audit.spectrum import full_spectrum, log_radius, warp
from trimkit.coefficients import tree
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
    input_figure,
    render,
    signed_figure,
)
from trimkit.report.charts import round_numbers
from trimkit.report.page import Readout
from trimkit.report.pictures import Places, mosaic, palette, robust_limit
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


def pixels(figure):
    data = base64.b64decode(figure.uri.removeprefix("data:image/png;base64,"))
    return Image.open(io.BytesIO(data))


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


# pictures


def test_the_palette_is_rdbu_reversed_with_white_in_the_middle():
    colours = palette()
    assert colours.shape == (255, 3)
    assert colours[0].tolist() == [0x05, 0x30, 0x61]
    assert colours[127].tolist() == [0xF7, 0xF7, 0xF7]
    assert colours[254].tolist() == [0x67, 0x00, 0x1F]
    brightness = colours @ [0.2126, 0.7152, 0.0722]
    assert (brightness[:127] <= brightness[1:128]).all()


def test_signed_maps_are_centred_at_zero():
    image = pixels(signed_figure(torch.tensor([[-2.0, 0.0], [1.0, 2.0]]), "", "", limit=2.0))
    assert image.mode == "P"
    assert list(image.get_flattened_data()) == [0, 127, 191, 254]


def test_a_map_of_zeros_is_white():
    assert set(pixels(signed_figure(torch.zeros(3, 3), "", "")).get_flattened_data()) == {127}


@pytest.mark.parametrize(("shape", "mode"), [((1, 4, 6), "L"), ((3, 4, 6), "RGB"), ((2, 4, 6), "L")])
def test_inputs_are_shown_as_pictures(shape, mode):
    figure = input_figure(torch.rand(shape), "", "x")
    assert pixels(figure).mode == mode
    assert figure.aspect == 1.5


def test_signals_are_lines_and_scores_are_bars():
    assert input_figure(torch.tensor([0.0, 1.0, 0.5]), "", "x").line == "0.00,96.00 50.00,4.00 100.00,50.00"
    up, down = bar_figure([2.0, -1.0], "", "x").bars
    assert (up.negative, up.y, up.height) == (False, 2.0, 48.0)
    assert (down.negative, down.y, down.height) == (True, 50.0, 24.0)


def test_mosaics_are_nearly_square_and_have_gaps():
    maps = torch.arange(1.0, 4.0).reshape(3, 1, 1).expand(3, 1, 2)
    assert mosaic(maps).tolist() == [[1, 1, 0, 2, 2], [0, 0, 0, 0, 0], [3, 3, 0, 0, 0]]
    assert mosaic(torch.ones(5, 4, 4)).shape == (9, 14)


@pytest.mark.parametrize("size", [(6, 6), (6, 7), (5, 8)])
def test_the_full_spectrum_has_both_conjugates(size):
    x = torch.randn(size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    half = torch.fft.rfft2(x).abs()
    assert torch.allclose(full_spectrum(half, size[1]), torch.fft.fftshift(torch.fft.fft2(x).abs()))


def test_log_radius_enlarges_the_middle_and_keeps_every_ray():
    spectrum = torch.zeros(32, 32)
    spectrum[16, 16], spectrum[16, 26] = 1.0, 2.0
    shown = log_radius(spectrum, 161)
    assert shown[80, 80] == 1
    middle = int((shown == 1)[80].sum())
    assert middle > 161 / 32
    assert bool((shown[80, 80:] == 2).any())
    assert not bool((shown[80, :80] == 2).any())
    assert warp(4) < 1e-3
    assert warp(1000) > warp(100)


class Latent(trimkit.Transform):
    """A space without pictures."""

    def forward(self, x):
        return x.flatten(1)[:, :5]

    def inverse(self, s, size=None):
        raise NotImplementedError

    def groups(self, size):
        labels = torch.arange(5)
        return trimkit.transforms.Groups(tuple(f"z{i}" for i in range(5)), labels, "latent")


@pytest.mark.parametrize(
    ("transform", "size", "kind"),
    [
        ("fft", (1, 8, 8), "uri"),
        ("fft", (2, 9), "bars"),
        ("dct", (3, 8, 8), "uri"),
        ("dct", (12,), "bars"),
        ("frequency_bands", (1, 8, 8), "uri"),
        ("frequency_bands", (1, 9), "bars"),
        ("identity", (1, 8, 8), "uri"),
        ("identity", (12,), "bars"),
        (Latent(), (1, 8, 8), "bars"),
    ],
)
def test_coefficients_have_a_picture_in_every_space(transform, size, kind):
    made = trimkit.create("transform", transform) if isinstance(transform, str) else transform
    x = torch.rand(1, *size)
    coefficients = made(x)
    figure = coefficient_figure(made, coefficients.real, size)
    assert getattr(figure, kind)
    assert "the strongest group is" in figure.alt


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


# readouts


def drawn(index, values):
    """The values laid out as the index says, 0 where nothing lies."""
    index = torch.as_tensor(index)
    return torch.where(index < 0, 0.0, torch.tensor(values)[index.clamp_min(0)])


@pytest.mark.parametrize("transform", ["identity", "dct", "wavelet"])
def test_a_readout_tells_what_the_picture_shows(transform):
    made = trimkit.create("transform", transform)
    scores = tree.map_leaves(torch.real, made(torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))))
    figure = layout(made, (1, 8, 8)).figure(scores)
    shown = drawn(figure.places.index, figure.scores)
    again = signed_figure(shown, "", "", robust_limit(shown))
    assert figure.uri == again.uri


def test_a_readout_of_a_spectrum_tells_each_frequency_and_both_of_its_places():
    made = trimkit.create("transform", "fft", sample_rate="10/mm")
    places = layout(made, (1, 8, 8)).places
    rows, columns = (places.index == 2 * 5 + 3).nonzero()  # ±2 down, 3 across
    assert (places.marks[2 * 5 + 3], places.unit) == (f"{10 * math.hypot(2 / 8, 3 / 8):.4g}", " cycles/mm")
    side, both = places.index.shape[0] - 1, set(zip(rows.tolist(), columns.tolist(), strict=True))
    assert {(side - r, side - c) for r, c in both} == both
    assert places.groups[places.group[0]] == "dc"


def test_channels_in_different_groups_have_no_common_one():
    class Colours(trimkit.transforms.Identity):
        def groups(self, size):
            return trimkit.transforms.Groups(("r", "g"), torch.arange(2)[:, None, None].expand(size), "channel")

    assert set(layout(Colours(), (2, 4, 4)).places.group) == {-1}


def test_a_map_of_many_coefficients_is_read_by_groups():
    made = layout(trimkit.transforms.Identity(), (1, 100, 100))
    scores = torch.rand(1, 1, 100, 100)
    figure = made.figure(scores)
    assert figure.scores == pytest.approx(made.groups.sums(scores)[0].tolist())
    assert set(figure.places.index.flatten().tolist()) == set(range(16))


def test_a_long_signal_has_as_many_bars_as_fit_and_keeps_its_sum():
    figure = coefficient_figure(trimkit.create("transform", "dct"), torch.ones(1, 1, 1000), (1, 1000))
    assert len(figure.bars) == len(figure.scores) == 256
    assert sum(figure.scores) == 1000
    assert figure.places.marks[0] == "0 to 0.0015"
    assert len(input_figure(torch.rand(1, 9999), "", "").line.split()) == 512


def test_bars_over_spans_are_found_where_they_are_drawn():
    made = trimkit.create("transform", "wavelet", sample_rate=64)
    size = (1, 64)
    figure = coefficient_figure(made, tree.map_leaves(torch.ones_like, made(torch.zeros(1, *size))), size)
    width = figure.places.index.shape[1]
    for i, bar in enumerate(figure.bars):
        assert figure.places.index[0, int((bar.x + bar.width / 2) / 100 * width)] == i


def test_readouts_share_what_lies_where_and_keep_scores_to_16_bits():
    readout = Readout()
    scores = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    made = layout(trimkit.transforms.Identity(), (1, 8, 8))
    assert [readout.add(made.figure(one[None])) for one in scores] == [0, 1]
    assert readout.add(input_figure(scores[0], "", "")) is None
    content = readout.as_json()
    assert len(content["places"]) == 1
    for one, figure in zip(scores, content["figures"], strict=True):
        back = np.frombuffer(base64.b64decode(figure["scores"]), "<i2") / 32767 * figure["largest"]
        assert np.abs(back - one.flatten().numpy()).max() <= figure["largest"] / 32767


def test_scores_that_are_not_finite_are_packed_as_such():
    readout = Readout()
    places = Places("", ("g",), (0, 0, 0), np.array([[0, 1, 2]]))
    readout.add(Figure("", "", line="0,0", places=places, scores=(math.nan, -2.0, math.inf)))
    (figure,) = readout.as_json()["figures"]
    assert figure["largest"] == 2.0
    assert np.frombuffer(base64.b64decode(figure["scores"]), "<i2").tolist() == [-32768, -32767, -32768]


def test_a_place_without_a_coefficient_is_packed_as_the_largest_number():
    for count, kind, none in ((3, "u1", 255), (300, "<u2", 65535)):
        places = Places("", ("g",), (0,) * count, np.array([[-1, count - 1]]))
        assert np.frombuffer(base64.b64decode(places.as_json()["index"]), kind).tolist() == [none, count - 1]


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
