"""Thousands of command lines that nobody should type: each is refused in one line, and nothing falls over.

``make fuzz`` runs as many as the environment variable TRIMKIT_FUZZ says, 20,000 by default; TRIMKIT_FUZZ_SEED begins
elsewhere, and TRIMKIT_FUZZ_LOG names a file that takes a line for each.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, seed, settings

from trimkit.cli import main
from trimkit.registry.loader import printable

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
KNOWN = COMMANDS[:-1]
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


@st.composite
def configurations(draw: st.DrawFn) -> dict[str, Any]:
    """YAML files for ``trimkit train``: mostly values of another type, or keys that do not exist."""
    leaves = st.none() | st.booleans() | st.integers(-3, 9) | st.floats() | st.sampled_from(["", "a", "l1@z:1", "1"])
    values = st.recursive(leaves, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=2))
    config = draw(st.dictionaries(KEYS, values, min_size=1, max_size=4))
    return config | draw(st.just({}) | st.fixed_dictionaries({"method": values | st.dictionaries(METHOD_KEYS, values)}))


pytestmark = pytest.mark.filterwarnings("default")
"""A command may warn; as an error the warning would end it."""

PLAIN = [option[2:].replace("-", "_") for option in OPTIONS["train"] if "." not in option and option != "--data"]
KEYS = st.sampled_from([*PLAIN, "method"])
METHOD_KEYS = st.sampled_from(["beta", "latent_dim", "network", "likelihood", "shape", "nothing", "rate"])


def assert_ends_as_documented(argv: list[str], capsys: pytest.CaptureFixture[str], typed: Iterable[str] = ()) -> None:
    """A command line ends with a code that is documented, and a refusal is one line that names what was typed."""
    code = main(argv)
    out, err = capsys.readouterr()
    log({"argv": argv, "code": code, "named": names(err, typed or argv[argv[0] in KNOWN :]), "said": err[-300:]})
    assert code in (0, 1, 2, 3), (argv, code)
    assert "Traceback" not in out + err, argv
    assert "(unexpected; " not in err, (argv, err)
    if code == 2:
        assert re.search(r"error: |^usage: ", err, re.MULTILINE), (argv, err)


def names(err: str, words: Iterable[str]) -> bool:
    """Whether a message names an option, a key or a value that was typed, or an option that was not and must be."""
    message = err.partition(" See `")[0]
    typed = {shown(word.partition("=")[0]) for word in words for shown in (str, printable, lambda w: repr(w)[1:-1])}
    named = any(word and re.search(rf"(?<!\w){re.escape(word)}(?!\w)", message) for word in typed)
    return named or "required: " in message or message.startswith("usage: ")


def log(row: dict[str, Any]) -> None:
    if path := os.environ.get("TRIMKIT_FUZZ_LOG"):
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


@pytest.fixture
def empty(tmp_path, monkeypatch):
    """An empty folder to work in, where nothing that a command line names exists."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def with_data(empty, tmp_path):
    """The same, with four pictures."""
    np.savez(tmp_path / "few.npz", x=np.linspace(0, 1, 256, dtype="f4").reshape(4, 1, 8, 8))


MANY = int(os.environ.get("TRIMKIT_FUZZ", "20000"))
BEGIN = int(os.environ.get("TRIMKIT_FUZZ_SEED", "0"))
CALM = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
FEW = settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=CALM)
VERY_MANY = settings(max_examples=MANY, deadline=None, database=None, suppress_health_check=CALM)


def assert_training_ends_as_documented(config: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    """Everything but the training itself, which ``--out .`` prevents."""
    Path("c.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    words = [str(word) for pair in config.items() for word in pair]
    inner = config["method"] if isinstance(config.get("method"), dict) else {}
    assert_ends_as_documented(
        ["train", "vae", "--config", "c.yaml", "--data", "few.npz", "--out", "."], capsys, [*words, *inner, "."]
    )


@pytest.mark.usefixtures("empty")
@FEW
@given(argv=command_lines())
def test_no_command_line_falls_over(argv, capsys):
    assert_ends_as_documented(argv, capsys)


@pytest.mark.usefixtures("with_data")
@FEW
@given(config=configurations())
def test_no_configuration_falls_over(config, capsys):
    assert_training_ends_as_documented(config, capsys)


@pytest.mark.slow
@pytest.mark.usefixtures("empty")
@seed(BEGIN)
@VERY_MANY
@given(argv=command_lines())
def test_no_command_line_of_very_many_falls_over(argv, capsys):
    assert_ends_as_documented(argv, capsys)


@pytest.mark.slow
@pytest.mark.usefixtures("with_data")
@seed(BEGIN)
@settings(VERY_MANY, max_examples=MANY // 4)
@given(config=configurations())
def test_no_configuration_of_very_many_falls_over(config, capsys):
    assert_training_ends_as_documented(config, capsys)
