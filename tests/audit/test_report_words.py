"""A reader who has the page alone sees which number a verdict rests on, beside what, and in which space."""

import pytest
import torch
from torch import nn

import trimkit
from trimkit.report.verdicts import Status


@pytest.fixture(scope="module")
def report():
    torch.manual_seed(0)
    model = nn.Linear(24, 2).eval()
    return trimkit.audit(model, torch.randn(100, 24), checks=["controls", "randomisation"])


def test_a_table_is_not_in_pixels(report):
    page = report.to_html()
    assert "in data space" in page
    assert "pixel space" not in page


def test_pictures_are_in_pixels():
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 2)).eval()
    page = trimkit.audit(model, torch.randn(30, 1, 4, 4), checks=["reconstruction"]).to_html()
    assert "in pixel space" in page


def test_a_pass_of_the_controls_names_its_number(report):
    verdict = report.verdict("controls")
    least = min(report.evidence["integrated_gradients"]["controls"]["comparisons"], key=lambda one: one["value"])
    assert verdict.status is Status.PASS
    assert (
        f"by {least['value']:.3g} on the mean of the curve, against the {least['control']} control" in verdict.sentence
    )
    assert verdict.settings["removal"][least["operator"]] in verdict.sentence


def test_a_pass_of_the_randomisation_names_its_copies(report):
    verdict = report.verdict("randomisation")
    assert verdict.status is Status.PASS
    assert f"with {verdict.settings['copies']} random copies" in verdict.sentence
