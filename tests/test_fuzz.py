"""Thousands of command lines that nobody should type: each is refused in one line, and nothing falls over.

``make fuzz`` runs as many as the environment variable TRIMKIT_FUZZ says, 20,000 by default.
"""

from __future__ import annotations

import os
import re

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from trimkit.cli import main

COMMANDS = (
    "train",
    "evaluate",
    "audit",
    "revise",
    "compare",
    "sample",
    "encode",
    "interpolate",
    "list",
    "plugins",
    "check-ica",
    "nothing",
)
OPTIONS = {
    "train": (
        "--data",
        "--steps",
        "--batch-size",
        "--seed",
        "--out",
        "--trim",
        "--predictor",
        "--precision",
        "--config",
        "--method.beta",
        "--method.latent_dim",
        "--resume",
        "--device",
        "--checkpoint-minutes",
        "--patience",
    ),
    "evaluate": ("--data", "--samples", "--seed", "--protocol", "--space", "--baselines", "--predictor"),
    "audit": (
        "--model",
        "--weights",
        "--data",
        "--transform",
        "--attribution",
        "--target",
        "--samples",
        "--seed",
        "--threshold",
        "--checks",
        "--forbid",
        "--allow",
        "--fail-on",
        "--at",
        "--out",
        "--device",
    ),
    "revise": ("--model", "--data", "--transform", "--forbid", "--by", "--epochs", "--weight", "--samples", "--groups"),
    "compare": ("--margin",),
    "sample": ("--n", "--seed", "--out"),
    "encode": ("--out", "--space", "--split"),
    "interpolate": ("--between", "--data", "--space", "--path", "--frames", "--pairs", "--seed", "--out"),
    "list": ("--json",),
    "plugins": ("--json", "--check", "--trace"),
    "check-ica": ("--components", "--samples", "--seed", "--out"),
    "nothing": ("--help-me",),
}
VALUES = st.one_of(
    st.sampled_from(
        [
            "digits",
            "vae",
            "fft",
            "fft:bands=-1",
            "fft:bands",
            "nothere.npz",
            "a,b",
            "l1@z:x",
            "x:1e999",
            "torch:nn",
            "-1",
            "0",
            "1e9",
            "nan",
            "inf",
            "true",
            "[]",
            "{}",
            "mine.py:f",
            "a.b:c",
            "..",
            ".",
            "cuda:99",
            "16",
            "bin 99,99",
            "haar:levels=99",
            "linear(0,",
            "picard",
            "none",
            "label",
            "é",
            "a\x00b",
            "--",
            "'",
            "\\",
        ]
    ),
    st.integers(-3, 10**9).map(str),
    st.floats(allow_nan=True).map(str),
    st.text(max_size=12),
)


@st.composite
def command_lines(draw: st.DrawFn) -> list[str]:
    """A command with options of its own, positionals and values that mostly do not fit."""
    command = draw(st.sampled_from(COMMANDS))
    options = draw(st.lists(st.tuples(st.sampled_from(OPTIONS[command]), st.none() | VALUES), max_size=5))
    words = [word for option, value in options for word in (option, value) if word is not None]
    return [command, *draw(st.lists(VALUES, max_size=2)), *words]


def check(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A command line ends with a code that is documented, and a refusal is one line."""
    code = main(argv)
    out, err = capsys.readouterr()
    assert code in (0, 1, 2, 3), (argv, code)
    assert "Traceback" not in out + err, argv
    if code == 2:
        assert re.search(r"error: |^usage: ", err, re.MULTILINE), (argv, err)


@pytest.fixture
def empty(tmp_path, monkeypatch):
    """An empty folder to work in, where nothing that a command line names exists."""
    monkeypatch.chdir(tmp_path)


MANY = int(os.environ.get("TRIMKIT_FUZZ", "20000"))
CALM = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@pytest.mark.usefixtures("empty")
@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=CALM)
@given(argv=command_lines())
def test_no_command_line_falls_over(argv, capsys):
    check(argv, capsys)


@pytest.mark.slow
@pytest.mark.usefixtures("empty")
@settings(
    max_examples=int(os.environ.get("TRIMKIT_FUZZ", "20000")),
    deadline=None,
    derandomize=True,
    suppress_health_check=CALM,
)
@given(argv=command_lines())
def test_no_command_line_of_very_many_falls_over(argv, capsys):
    check(argv, capsys)
