"""The demo end to end on one seed, and what its report says."""

import json
import re

import html5lib
import pytest
import torch
from safetensors.torch import load_file

from trimkit.cli import main
from trimkit.cli.demo import _free
from trimkit.data.shortcut import digits_shortcut, planted_mask
from trimkit.demo.networks import accuracy, digit_classifier, train_classifier
from trimkit.demo.story import shortcut_penalty
from trimkit.transforms import FFT


def test_the_shortcut_costs_a_plain_model_its_accuracy_and_the_penalty_gives_it_back(demo_folder):
    found = json.loads((demo_folder / "demo.json").read_text())["median_accuracy"]
    assert found["plain"]["random"] < 0.75
    assert found["trim"]["random"] > 0.93
    assert found["ceiling"]["random"] > 0.93
    assert abs(found["trim"]["random"] - found["ceiling"]["random"]) < 0.03


def test_the_planted_bin_stands_out_before_and_is_gone_after(demo_folder):
    shares = json.loads((demo_folder / "demo.json").read_text())["planted_share"]
    assert shares["plain"][1] > 3 * shares["input"][2]  # intervals, not estimates
    assert shares["trim"][2] < shares["chance"][0]


def test_the_weights_it_leaves_behind_are_those_it_speaks_of(demo_folder):
    expected = json.loads((demo_folder / "demo.json").read_text())["accuracy"]
    for name in ("plain", "trim", "ceiling"):
        model = digit_classifier().eval()
        model.load_state_dict(load_file(demo_folder / f"{name}.safetensors"))
        assert accuracy(model, digits_shortcut("test")) == pytest.approx(expected[name]["random"][0], abs=1e-9)


def test_the_report_is_one_valid_page_that_loads_nothing(demo_folder):
    html = (demo_folder / "report.html").read_text()
    document = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(html)
    assert all(img.get("alt") and img.get("src").startswith("data:image/png") for img in document.iter("img"))
    assert [(s.get("type"), s.get("src")) for s in document.iter("script")] == [
        ("application/json", None),
        (None, None),
    ]
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-" in html
    headings = [h.text for h in document.iter("h2")]
    for wanted in ("Accuracy on test digits", "The same digits, before and after", "Deletion curves", "Randomisation"):
        assert wanted in headings


def test_one_seed_has_no_median(demo_folder):
    html = (demo_folder / "report.html").read_text()
    assert "One training of each kind, seed 0." in html
    assert "Median of seeds" not in html


def test_the_status_is_about_the_explanation_not_the_model(demo_folder):
    assert re.search(r'<p class="word">Explanation: (PASS|INCONCLUSIVE)</p>', (demo_folder / "report.html").read_text())


def test_the_band_of_the_planted_bin_is_named_as_the_chart_names_it(demo_folder):
    groups = FFT().groups((1, 16, 16))
    name = groups.names[int(groups.labels[0][planted_mask(16)])]
    short = "–".join(f"{float(end):.2f}" for end in name.split("–"))
    html = (demo_folder / "report.html").read_text()
    assert f"the planted bin ({short} cycles a pixel)" in html
    assert html.count(short) > 1


def test_the_frequency_map_of_both_models_depends_on_what_they_learned(demo_folder):
    found = json.loads((demo_folder / "demo.json").read_text())["verdicts"]
    for key in ("fft", "fft-trim"):
        (verdict,) = [v for v in found[key] if v["check"] == "randomisation"]
        assert verdict["status"] == "PASS"


def test_a_folder_that_no_demo_wrote_is_left_alone(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    thesis = tmp_path / "trimkit-demo" / "thesis.txt"  # where a demo goes by default
    thesis.parent.mkdir()
    thesis.write_text("years of work")
    assert main(["demo"]) == 2
    assert "--out trimkit-demo exists and was not written by a demo" in capsys.readouterr().err
    assert thesis.read_text() == "years of work"


def test_the_folder_of_an_earlier_demo_may_be_replaced(demo_folder):
    assert _free(demo_folder) == demo_folder


@pytest.mark.parametrize("option", ["--seeds", "--samples"])
def test_numbers_must_be_positive(option, tmp_path, capsys):
    assert main(["demo", "--out", str(tmp_path / "x"), option, "0"]) == 2
    assert "≥ 1" in capsys.readouterr().err


def test_training_is_repeatable_and_leaves_the_global_random_state_alone():
    data = digits_shortcut("train").take(64)
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    one = train_classifier(data, penalty=shortcut_penalty(), weight=0.1, epochs=1)
    assert torch.equal(torch.rand(1), expected)
    two = train_classifier(data, penalty=shortcut_penalty(), weight=0.1, epochs=1)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
