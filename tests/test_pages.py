"""Sections that pages share: panels of charts, galleries, square tables; and numbers as verdicts write them."""

from __future__ import annotations

from unittest.mock import Mock

import html5lib
import pytest

from trimkit.report import Chart, Figure, Series, Text, render, write_text
from trimkit.report.sections import Gallery, Matrices, Matrix, Panels
from trimkit.report.verdicts import Estimate, Status, Verdict, number


def parsed(*sections, **options):
    page = render("Title", "", sections, **options)
    return html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(page)


def chart(**options):
    return Chart("A chart", (Series("one", (0.0, 1.0, 0.5)),), (-2.0, 0.0, 2.0), **options)


def test_panels_share_a_legend_only_where_they_share_their_series():
    shared, own = (parsed(Panels("P", "", (chart(), chart()), shared_legend=shared)) for shared in (True, False))
    for page, legends in ((shared, 1), (own, 0)):
        assert len(list(page.iter("figure"))) == 2
        assert len([u for u in page.iter("ul") if u.get("class") == "legend"]) == legends


def test_an_axis_is_in_per_cent_or_in_numbers():
    assert [tick.text for tick in chart().x_ticks] == ["−200 %", "−100 %", "0 %", "100 %", "200 %"]
    assert [tick.text for tick in chart(x_percent=False).x_ticks] == ["−2", "−1", "0", "1", "2"]
    assert "at 0." in chart(x_percent=False).alt
    assert "at 0 %." in chart().alt


def test_a_gallery_shows_every_picture_with_its_caption():
    page = parsed(Gallery("G", "", tuple(Figure(f"{i}", f"picture {i}", line="0,0 100,100") for i in range(3))))
    assert [caption.text for caption in page.iter("figcaption")] == ["0", "1", "2"]
    shown = [e.get("aria-label") for e in page.iter() if e.get("role") == "img"]
    assert shown == ["picture 0", "picture 1", "picture 2"]


def test_a_matrix_hides_its_diagonal_and_deepens_with_magnitude():
    matrix = Matrix("M", ("a", "b"), ((1.0, -0.25), (0.8, 1.0)), "a note")
    assert matrix.rows == [("a", [("", 0.0), ("−0.25", 50.0)]), ("b", [("0.80", 100.0), ("", 0.0)])]
    page = parsed(Matrices("D", "", (matrix, matrix)))
    assert len(list(page.iter("table"))) == 2
    assert [th.text for th in page.iter("th")] == ["a", "b", "a", "b"] * 2


def test_the_brand_is_the_command():
    brands = list(parsed(Text("T", paragraphs=("x",)), brand="trimkit check").iter("p"))
    assert "".join(brands[0].itertext()) == "trimkit check"


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    page = tmp_path / "page.html"
    write_text(page, "old")
    monkeypatch.setattr("os.replace", Mock(side_effect=OSError("no space")))
    with pytest.raises(OSError, match="no space"):
        write_text(page, "new")
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
    assert page.read_text() == "old"


@pytest.mark.parametrize(
    ("value", "text"),
    [(3000, "3000"), (-12, "−12"), (0.0, "0"), (999_999, "999999"), (1e6, "10⁶"), (0.5, "0.5"), (1234.5, "1.23·10³")],
)
def test_counts_are_written_in_full(value, text):
    assert number(value) == text.replace("10⁶", "1·10⁶")


def test_a_number_that_was_counted_has_no_interval():
    counted = Verdict("c", "?", Status.PASS, ".", Estimate(4.0, 4.0, 4.0), 4.0, "≥", 10)
    assert counted.figures == "4, threshold ≥ 4, n = 10"
    assert not Estimate(4.0, 3.0, 4.0).exact
