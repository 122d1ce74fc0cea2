"""What results show of themselves in a notebook: a picture, small, escaped, without script, on light and on dark."""

from __future__ import annotations

import re
from dataclasses import replace

import html5lib
import pytest
import torch
from torch import nn

import trimkit
from trimkit.report import Chart, Series, Snippet, bar_figure, input_figure
from trimkit.report.verdicts import Status
from trimkit.training.plan import Run
from trimkit.trim.penalty import PenaltyReport

EVIL = "<script>alert('x')</script>"


def parsed(html):
    document = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parseFragment(html)
    for element in document.iter():
        element.tag = element.tag.rpartition("}")[2]  # those of SVG have a namespace
    return document


def texts(html):
    return [" ".join("".join(e.itertext()).split()) for e in parsed(html).iter("span")]


def fact(html, name):
    told = texts(html)
    return told[told.index(name) + 1]


def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.Tanh(), nn.Linear(8, 3)).eval()


@pytest.fixture(scope="module")
def result():
    x = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    return trimkit.Trim(model(), transform="fft")(x, target=1)


@pytest.fixture(scope="module")
def penalty():
    penalty = trimkit.TrimPenalty("l1", transform="fft")
    penalty(model().train(), torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(0)), target=1)
    return penalty.last


@pytest.fixture(scope="module")
def report():
    x = torch.randn(20, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    return trimkit.audit(model(), (x, torch.arange(20) % 3), transform="fft", checks=["reconstruction", "completeness"])


def run():
    history = [{"step": i, "phase": "vae", "loss": 1 / (1 + i)} for i in range(500)]
    history += [{"step": 1, "phase": "evaluation", "loss": float("nan")}]
    results = {
        "steps": 500,
        "seconds": 2.0,
        "images_per_second": 100.0,
        "test": {"samples": 3, "recon": 0.25, "kl": [1]},
    }
    return Run(None, 500, results, history)  # type: ignore[arg-type]


def test_every_result_shows_a_picture_and_is_small_and_bare(result, penalty, report):
    for shown in (result, penalty, report, run()):
        html = shown._repr_html_()
        document = parsed(html)
        assert [e for e in document.iter() if e.tag in ("img", "svg")]
        assert not [e for e in document.iter() if e.tag in ("script", "style", "link")]
        assert not re.search(r"https?:|url\(| on\w+=| class=", html)
        assert len(html) < 40_000
        for picture in document.iter("svg"):
            assert picture.get("aria-label")
        for picture in document.iter("img"):
            assert picture.get("alt")
            assert picture.get("src").startswith("data:image/png;base64,")


def test_text_takes_the_notebooks_colour(result, penalty, report):
    for shown in (result, penalty, report, run()):
        styles = [e.get("style", "") for e in parsed(shown._repr_html_()).iter()]
        assert not [
            s for s in styles if re.search(r"(?<!-)\bcolor: (?!inherit|#(3b7dd8|d9722e|1f9c8a|8b939d|b58900))", s)
        ]


def luminance(code):
    channels = [int(code[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_marks_stand_out_on_white_and_on_black():
    statuses = tuple(("s", status, "") for status in Status)
    styles = ("one", "two", "three", "random", "input")
    chart = Chart("", tuple(Series("a", (1.0, 2.0), style=style) for style in styles), (0.0, 1.0))
    html = Snippet("t", statuses, charts=(chart,), figures=(bar_figure([1, -1], "", "x"),)).to_html()
    codes = set(re.findall(r"#[0-9a-f]{6}", html))
    assert len(codes) >= len(styles)
    for code in codes:
        for ground in ("#ffffff", "#111111"):
            high, low = sorted((luminance(code), luminance(ground)), reverse=True)
            assert (high + 0.05) / (low + 0.05) >= 2.9, (code, ground)


def test_an_audit_tells_both_answers_and_every_verdict(report):
    html = report._repr_html_()
    told = ["".join(e.itertext()) for e in parsed(html).iter("b")]
    assert told == [f"Model: {report.model}", f"Explanation: {report.overall}"]
    assert fact(html, "completeness").startswith("INCONCLUSIVE · ")
    assert len(list(parsed(html).iter("img"))) == 4


def test_a_result_tells_where_its_scores_lie(result):
    html = result._repr_html_()
    assert fact(html, "samples") == "4"
    assert fact(html, "coefficients") == "4×1×8×5"
    means = result.groups.sums(result.scores.abs()).mean(0)
    told = [title.text for title in parsed(html).iter("title")]
    pairs = zip(result.groups.names, means.tolist(), strict=True)
    assert told == [f"{name}; mean |score|: {v:.3g}" for name, v in pairs]


def test_a_result_without_groups_and_of_several_inputs_is_shown_too(result):
    bare = replace(result, _name_groups=None)
    assert "Mean |score| by group" not in bare._repr_html_()
    two = trimkit.Trim(lambda a, b: a.sum(1) + b.sum(1), at=["a", "b"])
    html = two({"a": torch.rand(2, 3), "b": torch.rand(2, 4)})._repr_html_()
    assert fact(html, "coefficients") == "2×3, 2×4"


def test_a_penalty_tells_its_mean_and_its_dead_samples():
    html = PenaltyReport(torch.tensor([1.0, 0.0, 2.0]), torch.eye(3)[:, :2], 4)._repr_html_()
    assert fact(html, "mean over samples") == "1"
    assert fact(html, "without gradient, all scores zero") == "1"
    assert fact(html, "parameters reached") == "4"
    titles = [title.text for title in parsed(html).iter("title")]
    assert (titles[0], titles[16], titles[-1]) == ("0 %; penalty: 0", "50 %; penalty: 1", "100 %; penalty: 2")
    assert "<svg" not in PenaltyReport(torch.tensor([1.0]), torch.ones(1, 2), 4)._repr_html_()
    assert "<svg" not in PenaltyReport(torch.tensor([1.0, torch.nan]), torch.ones(2, 2), 4)._repr_html_()


def test_a_run_tells_its_numbers_and_draws_finite_losses():
    html = run()._repr_html_()
    assert fact(html, "on test data") == "samples 3, recon 0.25"
    (chart,) = parsed(html).iter("polyline")
    points = chart.get("points").split()
    assert len(points) <= 121
    assert (points[0], points[-1]) == ("0.00,0.00", f"100.00,{100 - 100 / 500:.2f}")


def test_a_run_in_closed_form_has_no_curve():
    assert "<svg" not in replace(run(), history=[])._repr_html_()


def test_hostile_text_stays_text():
    chart = Chart(EVIL, (Series(EVIL, (1.0, 2.0)), Series("b", (1.0, 2.0))), labels=(EVIL, "y"), x_axis=EVIL)
    figures = (bar_figure([1.0], EVIL, EVIL), input_figure(torch.rand(1, 4), EVIL, EVIL))
    html = Snippet(EVIL, ((EVIL, Status.FAIL, EVIL),), ((EVIL, EVIL),), figures, (chart,), EVIL).to_html()
    assert "<script" not in html
    assert not list(parsed(html).iter("script"))
    history = [{"step": i, "phase": EVIL, "loss": 1.0} for i in range(3)]
    assert "<script" not in replace(run(), history=history)._repr_html_()
