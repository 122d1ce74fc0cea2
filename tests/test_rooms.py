"""The map of the house is true: its picture follows from the imports, and what it tells newcomers to write works."""

from __future__ import annotations

import re
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import torch

import trimkit
from trimkit.registry import Registry

ROOT = Path(__file__).parents[1]
EXTENDING = ROOT / "examples" / "extending"


@pytest.fixture
def drawing(import_from_docs):
    return import_from_docs("draw_rooms")


@pytest.fixture
def registry(monkeypatch):
    """The parts of examples/extending, as their registration module names them."""
    monkeypatch.syspath_prepend(str(EXTENDING))
    yield Registry([EntryPoint("extending", "plugin", "trimkit")])
    for name in ("plugin", "penalty", "variant", "check"):
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def report():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(EXTENDING))
        from check import Concentration

        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(256, 10)).eval()
        data = trimkit.data.load("digits", "test").take(24)
        return trimkit.audit(model, data, transform="fft", checks=[Concentration(groups=5, share=0.01)])


def test_the_picture_is_that_of_the_imports(drawing):
    assert drawing.PICTURE.read_text() == drawing.draw(drawing.read_imports(ROOT)), "run `make rooms`"


def test_rooms_that_import_each_other_are_refused(drawing):
    with pytest.raises(ValueError, match=r"in a circle: \['a', 'b'\]"):
        drawing.floors({"a": {"b"}, "b": {"a"}, "c": set()})


def test_an_arrow_that_follows_from_others_is_left_out(drawing):
    assert drawing.direct({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == {"a": {"b"}, "b": {"c"}, "c": set()}


def test_every_file_that_the_map_names_is_there():
    named = re.findall(
        r"`((?:trimkit|plugins|tests|examples|docs|benchmarks)/[\w./-]+)`", (ROOT / "docs/rooms.md").read_text()
    )
    assert len(named) >= 20
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_a_new_penalty_is_a_function_and_a_record(registry):
    penalty = registry.create("penalty", "log-sum", epsilon=1.0)
    assert penalty(torch.tensor([[0.0, 1.0], [0.0, 0.0]])).tolist() == pytest.approx(
        [torch.tensor(2.0).log().item(), 0.0]
    )
    assert torch.autograd.gradcheck(penalty, torch.randn(3, 4, dtype=torch.float64, requires_grad=True))
    with pytest.raises(trimkit.errors.OptionError, match="epsilon: expected a magnitude > 0, got 0"):
        registry.create("penalty", "log-sum", epsilon=0.0)(torch.ones(1, 2))


def test_a_vae_variant_takes_the_familys_options_and_trains_its_term(registry):
    data = trimkit.data.load("toy-factors").take(40)
    method = registry.create("method", "sparse-means-vae", data.x.shape[1:], 3, sparsity=0.5, network="mlp")
    assert method.options["network"] == "mlp"
    run = trimkit.train(method, data, steps=2, batch_size=8, log_every=1)
    assert {"kl", "sparse"} <= run.history[-1].keys()
    with pytest.raises(trimkit.errors.OptionError, match="netwrk"):
        registry.create("method", "sparse-means-vae", data.x.shape[1:], netwrk="mlp")


def test_a_vae_variant_is_short():
    code = (EXTENDING / "variant.py").read_text().split("class ", 1)[1]
    assert len([line for line in code.splitlines() if line.strip()]) <= 25


def test_a_check_judges_and_draws_its_own_picture(report):
    (verdict,) = report.verdicts
    assert (verdict.check, verdict.status) == ("concentration", trimkit.audit.Status.PASS)
    assert 0.01 < verdict.estimate.low <= verdict.estimate.value <= 1


def test_a_checks_picture_is_on_the_page(report, tmp_path):
    report.save(tmp_path / "audit.html")
    page = (tmp_path / "audit.html").read_text(encoding="utf-8")
    assert re.search(r"<h2[^>]*>Concentration</h2>", page)
    assert "The steeper the rise, the fewer groups the explanation needs." in page
