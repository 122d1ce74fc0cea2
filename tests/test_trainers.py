"""The table of trainers in the docs is what the command prints, row by row."""

import importlib
import re
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "howto" / "trainers.md").read_text()
HERE = ("a loop of one's own", "`torch.compile`", "autocast to bfloat16")


@pytest.fixture
def trainers(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    return importlib.import_module("trainers")


def row(name):
    found = re.search(rf"^\| {re.escape(name)} \| (.*) \|$", PAGE, re.MULTILINE)
    assert found, name
    return found[1]


def test_the_page_has_a_row_for_each(trainers):
    rows = PAGE.split("|---|---|\n")[1].strip().splitlines()
    assert [line.split(" | ")[0].removeprefix("| ") for line in rows] == list(trainers.TRAINERS)
    assert "not installed" not in PAGE


@pytest.mark.parametrize("name", [*HERE, *(f"gradient checkpointing, `use_reentrant={again}`" for again in (0, 1))])
def test_in_one_process_it_does_what_the_page_says(trainers, name):
    name = name.replace("=0", "=False").replace("=1", "=True")
    assert trainers.verdict(*trainers.TRAINERS[name]) == row(name)


@pytest.mark.slow
def test_every_other_trainer_does_what_the_page_says(trainers):
    for name, trainer in trainers.TRAINERS.items():
        said = trainers.verdict(*trainer)
        assert said.startswith("not installed") or said == row(name), name


def test_a_trainer_that_does_something_else_is_seen(trainers):
    assert trainers.verdict(lambda: trainers.by_hand() + 1e-3, 1e-5).startswith("✗ off by")
    assert trainers.verdict(lambda: trainers.weights(trainers.Network()), 1e-5) == "✗ off by 1 of what three steps move"


def test_steps_by_hand_differ_from_those_without_a_penalty(trainers):
    model = trainers.Network()
    optimiser = torch.optim.SGD(model.parameters(), trainers.RATE)
    for x, y in zip(trainers.X.split(trainers.BATCH), trainers.Y.split(trainers.BATCH), strict=True):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(model(x), y).backward()
        optimiser.step()
    moved = (trainers.by_hand() - trainers.weights(trainers.Network())).norm()
    assert float((trainers.by_hand() - trainers.weights(model)).norm()) > 0.3 * float(moved)
