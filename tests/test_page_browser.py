"""The page in a real browser: pointing, keys, choices and sorting; nothing requested, no error, nothing cut off."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import nn

import trimkit
from trimkit.audit.pictures import layout
from trimkit.data import Dataset
from trimkit.report.verdicts import number

from .chromium import CHROMIUM, Browser

HERE = str(Path(__file__).parent)

EVIL = "</script><script>window.hacked=1</script><img src=x onerror=window.hacked=1>"
NAMES = ("a", "b & c", EVIL)

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")


def wave(row, column, size=8):
    phase = torch.arange(size) / size
    return torch.cos(2 * math.pi * (row * phase[:, None] + column * phase))


class Named(trimkit.Transform):
    """The pixels, in two halves with hostile names."""

    def forward(self, x):
        return x

    def inverse(self, s, size=None):
        return s

    def groups(self, size):
        labels = torch.arange(size[-2])[:, None].expand(*size) * 2 // size[-2]
        return trimkit.transforms.Groups((EVIL, "b & \"c\" 'd'"), labels, EVIL)


@pytest.fixture(scope="module")
def audited():
    """A model of three waves, on data that hold them beside smooth pictures: (model, data)."""
    source = torch.Generator().manual_seed(0)
    waves = torch.stack([wave(*place) for place in ((3, 1), (1, 3), (3, 0))])
    y = torch.randint(3, (60,), generator=source)
    smooth = nn.functional.interpolate(torch.randn(60, 1, 2, 2, generator=source), size=(8, 8), mode="bilinear")
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).eval()
    with torch.no_grad():
        model[1].weight.copy_(waves.flatten(1) / 4)
    return model, Dataset("planted", 3 * smooth + 0.6 * waves[y][:, None], y, "test", NAMES)


@pytest.fixture(scope="module")
def report(audited):
    checks = ["completeness", "controls", "reliance"]
    return trimkit.audit(
        *audited, transform="fft", attributions=["integrated_gradients", "saliency"], samples=60, checks=checks
    )


@pytest.fixture(scope="module")
def path(report, tmp_path_factory):
    return report.save(tmp_path_factory.mktemp("page") / "report.html")


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture
def browser(chromium, path):
    chromium.open(path)
    yield chromium
    assert chromium.complaints == []
    assert chromium.requested == [path.as_uri()]


VISIBLE = "[...document.querySelectorAll('{}')].filter(e => e.checkVisibility())"
TIP = "[...document.querySelectorAll('.tip:not([hidden]) > *')].map(e => e.textContent)"
FIRST_MAP = "document.querySelectorAll('.samples .sample:not(.aside) .picture[data-figure]')[1]"


def visible(browser, selector, value="e.dataset.sample"):
    return browser.list(f"{VISIBLE.format(selector)}.map(e => {value})")


def test_one_sample_is_shown_and_a_click_shows_another(browser, report):
    ids = [str(example.id) for example in report.examples["saliency"]]
    assert visible(browser, ".sample") == [ids[0]] * 2
    browser.click("document.querySelectorAll('.picker')[1].querySelectorAll('label')[2]")
    assert visible(browser, ".sample") == [ids[2]] * 2
    browser.click("document.querySelector('.picker').lastElementChild")
    assert visible(browser, ".sample") == ids * 2


def test_arrow_keys_go_from_sample_to_sample(browser, report):
    browser.run("document.querySelector('.picker input:checked').focus()")
    browser.press("ArrowRight")
    assert visible(browser, ".sample") == [str(report.examples["saliency"][1].id)] * 2


def test_pointing_at_a_coefficient_tells_its_frequency_band_and_score(browser, report):
    example = report.examples["integrated_gradients"][0]
    shown = layout(report.transform, (1, 8, 8))
    cell = 3 * 5 + 1  # row 3, column 1 of the half spectrum of 8 × 8: (⅜, ⅛) cycles a pixel
    rows, columns = (shown.places.index == cell).nonzero()
    height, width = shown.places.index.shape
    browser.point(FIRST_MAP, (columns[0] + 0.5) / width, (rows[0] + 0.5) / height)
    mark, group, score = browser.list(TIP)
    assert mark == f"{math.hypot(3 / 8, 1 / 8):.4g} cycles/pixel"
    assert group == "frequency (cycles/pixel): 0.354–0.442"
    expected = float(example.scores[0, 0, 3, 1]) / 2  # the stored bin stands for two
    assert float(score.removeprefix("score ").replace("−", "-")) == pytest.approx(expected, rel=0.01)
    outline = browser.run(f"{FIRST_MAP}.querySelector('.outlined path').getAttribute('d')")
    starts = {tuple(map(int, edge.split("h")[0].split())) for edge in outline.split("M") if "h1" in edge}
    inside = set(zip(columns.tolist(), rows.tolist(), strict=True))  # the bin, and its conjugate across the centre
    above = {(c, r) for c, r in inside if (c, r - 1) not in inside}
    below = {(c, r + 1) for c, r in inside if (c, r + 1) not in inside}
    assert starts == above | below
    browser.send("Input.dispatchMouseEvent", type="mouseMoved", x=2, y=2)
    assert browser.list(TIP) == []


def test_arrow_keys_read_a_map_row_by_row(browser, report):
    pixels = "document.querySelector('.samples .sample:not(.aside) .picture[data-figure]')"
    browser.run(f"{pixels}.focus()")
    browser.press("Home")
    browser.press("ArrowDown")
    browser.press("ArrowRight")
    text = browser.run(f"{pixels}.getAttribute('aria-valuetext')")
    assert text.startswith("row 1, column 1; patch: row 0, column 0; score ")
    score = float(text.rpartition(" ")[2].replace("−", "-"))
    largest = float(report.examples["integrated_gradients"][0].pixels.abs().max())
    assert score == pytest.approx(
        float(report.examples["integrated_gradients"][0].pixels[0, 1, 1]), abs=0.001 * largest
    )
    assert browser.list(TIP)[0] == "row 1, column 1"
    browser.press("End")
    assert browser.run(f"{pixels}.getAttribute('aria-valuetext')").startswith("row 7, column 7; ")


def test_a_chart_is_read_by_pointer_and_by_keys(browser, report):
    area = "document.querySelector('.curve .area')"
    band = report.evidence["integrated_gradients"]["bands"]
    browser.point(area, 0.5 / len(band["names"]))
    assert browser.list(TIP)[0] == "frequency (cycles/pixel): dc"
    browser.run(f"{area}.focus()")
    browser.press("End")
    last = browser.run(f"{area}.getAttribute('aria-valuetext')")
    share = number(band["share"]["value"][-1], "%")
    assert last.startswith("frequency (cycles/pixel): 0.62–0.71; ")
    assert f"integrated_gradients: {share} % [" in last
    browser.press("ArrowLeft")
    assert browser.run(f"{area}.getAttribute('aria-valuenow')") == str(len(band["names"]) - 2)


def test_a_heading_sorts_the_worst_first_and_the_pictures_follow(browser, report):
    name = next(n for n in report.paired if n.startswith("controls: lead over random [integrated"))
    column = list(report.paired).index(name) + 1
    button = f"document.querySelectorAll('table.sortable thead th')[{column}].querySelector('button')"
    pairs = dict(zip(report.paired[name]["ids"], report.paired[name]["values"], strict=True))
    for direction, turned in (("ascending", False), ("descending", True)):
        browser.click(button)
        assert browser.run(f"{button}.parentElement.getAttribute('aria-sort')") == direction
        order = browser.list("[...document.querySelectorAll('.sortable tbody tr')].map(e => Number(e.dataset.sample))")
        values = [float(f"{pairs[i]:.3g}") for i in order]
        assert len(order) == 60
        assert values == sorted(values, reverse=turned)
    shown = browser.list(
        "[...document.querySelector('.samples').querySelectorAll('.sample')].map(e => +e.dataset.sample)"
    )
    assert shown == [i for i in order if i in shown]


def test_a_row_of_the_table_shows_its_sample(browser, report):
    wanted = str(report.examples["saliency"][3].id)
    browser.click(f"document.querySelector('.sortable tr[data-sample=\"{wanted}\"] th button')")
    assert visible(browser, ".sample") == [wanted] * 2


def test_attributions_are_switched_and_paper_shows_all(browser, report):
    both = visible(browser, "section", "e.id")
    browser.click("document.querySelectorAll('.switch label')[2]")
    one = visible(browser, "section", "e.id")
    assert {i for i in both if "integrated" in i}.isdisjoint(one)
    assert {i for i in both if "saliency" in i} < set(one)
    heads = visible(browser, ".sortable thead th", "e.dataset.about ?? ''")
    assert set(heads) == {"", "saliency"}
    browser.send("Emulation.setEmulatedMedia", media="print")
    assert visible(browser, "section", "e.id") == both
    browser.send("Emulation.setDeviceMetricsOverride", width=680, height=960, deviceScaleFactor=1, mobile=False)
    assert browser.run("document.scrollingElement.scrollWidth") <= 680  # A4 between its margins
    assert len(visible(browser, ".sample")) == 2 * len(report.examples["saliency"])


def test_all_is_shown_and_no_control_is_dead_where_scripts_are_off(chromium, path, report):
    chromium.open(path, scripts=False)
    document = chromium.send("DOM.getDocument", depth=0)["root"]["nodeId"]

    def count(selector):
        return len(chromium.send("DOM.querySelectorAll", nodeId=document, selector=selector)["nodeIds"])

    assert count("button, input, [role=slider], [hidden], .aside, .away") == 0
    assert count(".sample") == 2 * len(report.examples["saliency"])
    assert count(".values tbody tr") > 20


@pytest.mark.parametrize("width", [400, 1300])
def test_nothing_is_wider_than_the_window(chromium, path, width):
    chromium.open(path, width)
    assert chromium.run("document.scrollingElement.scrollWidth") <= width
    chromium.point(FIRST_MAP, 0.02, 0.02)
    chromium.run("document.querySelector('.curve .area').focus()")
    for key in ("Home", "End"):
        chromium.press(key)
        left, right = chromium.list("(b => [b.left, b.right])(document.querySelector('.tip').getBoundingClientRect())")
        assert 0 <= left < right <= width


def test_what_can_be_reached_has_a_name(browser):
    nodes = browser.send("Accessibility.getFullAXTree")["nodes"]
    roles = ("image", "slider", "radio", "button", "region")
    named = [
        (n["role"]["value"], n.get("name", {}).get("value", "")) for n in nodes if "role" in n and not n["ignored"]
    ]
    checked = [(role, name) for role, name in named if role in roles]
    assert {role for role, _ in checked} >= {"slider", "radio", "button"}
    assert [(role, name) for role, name in checked if not name.strip()] == []


def test_the_tab_key_reaches_every_kind_of_control_in_sight(browser):
    active = "(e => [e.getAttribute('role') ?? e.localName, getComputedStyle(e.closest('label') ?? e).outlineStyle])"
    reached = dict(browser.list(f"{active}(document.activeElement)") for _ in range(60) if browser.press("Tab") is None)
    assert set(reached) >= {"slider", "input", "summary", "button", "region"}
    assert [role for role, outline in reached.items() if outline == "none" and role != "body"] == []


def test_hostile_names_stay_text(chromium, audited, tmp_path):
    hostile = trimkit.audit(*audited, transform=Named(), samples=20, checks=["completeness", "controls"])
    chromium.open(hostile.save(tmp_path / "report.html"))
    assert chromium.run("window.hacked") is None
    assert chromium.complaints == []
    chromium.point(FIRST_MAP, 0.1, 0.1)
    assert chromium.list(TIP)[1] == f"{EVIL}: {EVIL}"
    chromium.point(FIRST_MAP, 0.1, 0.9)
    assert chromium.list(TIP)[1] == f"{EVIL}: b & \"c\" 'd'"
    assert chromium.run("window.hacked") is None
