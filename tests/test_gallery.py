"""The gallery draws every transform and method that is installed."""

from __future__ import annotations

import html5lib
import pytest

import trimkit

AFTER_TRAINING = ("latent", "projection")


@pytest.fixture(scope="module")
def gallery(import_from_docs):
    return import_from_docs("draw_gallery")


def drawn(figure):
    return bool(figure.uri or figure.bars or figure.line)


@pytest.mark.filterwarnings("ignore::trimkit.errors.TrimkitWarning")
@pytest.mark.parametrize("name", [name for name in trimkit.available("transforms") if name not in AFTER_TRAINING])
def test_a_transform_shows_a_sample_and_its_coefficients(gallery, name):
    sample, coefficients = gallery.transform_figures(name)
    assert drawn(sample)
    assert drawn(coefficients)
    assert coefficients.caption.startswith(f"{name}: ")
    assert coefficients.alt


@pytest.mark.parametrize("name", ["fastica", "tcl", "topk-sae"])
@pytest.mark.filterwarnings("ignore::trimkit.errors.TrimkitWarning")
def test_a_method_shows_what_it_makes_of_data(gallery, name):
    figure = gallery.method_figure(name)
    assert drawn(figure)
    assert figure.caption.startswith(f"{name}: ")


@pytest.mark.slow
def test_the_page_has_them_all(gallery, tmp_path):
    gallery.main(tmp_path / "gallery.html")
    page = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(
        (tmp_path / "gallery.html").read_text(encoding="utf-8")
    )
    captions = [caption.text for caption in page.iter("figcaption")]
    for kind in ("transforms", "methods"):
        for name in trimkit.available(kind):
            assert any(caption.startswith(f"{name}: ") for caption in captions)
