"""Parsers for commands: typed options of parts, and mistakes in one line with the nearest option."""

from __future__ import annotations

import pytest

from trimkit import registry
from trimkit.cli import _arguments
from trimkit.cli._arguments import add_part, make_part, parser, plain_parser
from trimkit.errors import OptionError, PluginError
from trimkit.registry.spelling import parse_spec

PARTS = '''
from dataclasses import dataclass
from trimkit.hooks import DatasetSpec, MethodSpec, PenaltySpec, TransformSpec, hookimpl

TRIMKIT_API = 1

@dataclass
class Inner:
    """A group.

    Args:
        width: of it.
    """

    width: int = 8

class Method:
    """A method.

    Args:
        beta: weight of the KL term.
        layers: their sizes.
        inner: a group.
        data: given by the command.
    """

    def __init__(self, beta: float = 4.0, layers: tuple[int, ...] = (1, 2), inner: Inner = Inner(), data: int = 0):
        self.beta, self.layers, self.inner, self.data = beta, layers, inner, data

def soft(scores: object, *, power: float = 2.0) -> object:
    """A penalty.

    Args:
        scores: of it.
        power: of it.
    """
    return scores ** power

def points(n: int = 10) -> list:
    """A dataset.

    Args:
        n: how many.
    """
    return [0] * n

def untyped(n):
    return n

@hookimpl
def trimkit_transforms():
    yield TransformSpec("untyped", f"{__name__}:untyped", "")

@hookimpl
def trimkit_methods():
    yield MethodSpec("acme", f"{__name__}:Method", "")

@hookimpl
def trimkit_penalties():
    yield PenaltySpec("soft", f"{__name__}:soft", "")

@hookimpl
def trimkit_datasets():
    yield DatasetSpec("points", f"{__name__}:points", "")
'''


@pytest.fixture
def command(site, monkeypatch):
    site.add("acme-trim", PARTS)
    acme = site.registry()
    monkeypatch.setattr(_arguments, "default", lambda: acme)
    p = parser("trimkit train acme", "Train it.")
    p.add_argument("--config", action="config", help="YAML file")
    add_part(p, "method", "acme", "method", skip={"data"})
    add_part(p, "penalty", "soft", "penalty")
    add_part(p, "dataset", "points", "data")
    return p


def test_options_of_parts_reach_their_constructors(command):
    config = command.parse_args(["--method.beta", "2", "--method.inner.width", "3", "--data.n=2", "--penalty.power=3"])
    method = make_part(command, config, "method", "acme", "method", data="x")
    assert (method.beta, method.layers, method.inner.width, method.data) == (2.0, (1, 2), 3, "x")
    assert make_part(command, config, "penalty", "soft", "penalty")(2.0) == 8.0
    assert make_part(command, config, "dataset", "points", "data") == [0, 0]


def test_help_comes_from_the_docstring(command, capsys):
    with pytest.raises(SystemExit):
        command.parse_args(["--help"])
    out = capsys.readouterr().out
    assert "weight of the KL term" in out
    assert "scores" not in out


def test_a_config_file_and_an_override(command, tmp_path):
    (tmp_path / "c.yaml").write_text("method:\n  beta: 8\n  layers: [5]\n")
    config = command.parse_args(["--config", str(tmp_path / "c.yaml"), "--method.beta", "9"])
    assert (config.method.beta, config.method.layers) == (9.0, (5,))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--method.bta", "1"], "Unexpected '--method.bta'. Did you mean '--method.beta'?"),
        (["--method.bet=1"], "Unexpected '--method.bet'. Did you mean '--method.beta'?"),
        (["stray"], "Unexpected 'stray'."),
        (["--method.beta", "abc"], "--method.beta: Expected a float. Got value: abc."),
        (["--method.beta"], "argument --method.beta: expected one argument."),
        (["--method.layers", "[1, x]"], "--method.layers: "),
    ],
)
def test_mistakes_on_the_command_line(command, arguments, told):
    with pytest.raises(OptionError) as caught:
        command.parse_args(arguments)
    assert str(caught.value).startswith(told)
    assert str(caught.value).endswith("See `trimkit train acme --help`.")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("yaml", "told"),
    [
        ("method: {bta: 1}", "Unexpected 'method.bta'. Did you mean 'method.beta'?"),
        ("methd: {beta: 1}", "Unexpected 'methd.beta'. Did you mean 'method.beta'?"),
        ("method: {beta: abc}", "--method.beta: Expected a float."),
        ("method: [", "Problems parsing config: "),
    ],
)
def test_mistakes_in_a_file(command, tmp_path, yaml, told):
    (tmp_path / "c.yaml").write_text(yaml)
    with pytest.raises(OptionError) as caught:
        command.parse_args(["--config", str(tmp_path / "c.yaml")])
    assert str(caught.value).startswith(told)
    assert "\n" not in str(caught.value)


def test_a_section_of_a_file_with_nothing_in_it_leaves_the_defaults(command, tmp_path):
    (tmp_path / "c.yaml").write_text("method: null\n")
    config = command.parse_args(["--config", str(tmp_path / "c.yaml")])
    assert make_part(command, config, "method", "acme", "method").beta == 4.0


def test_a_section_that_is_no_mapping_is_named(command, tmp_path):
    (tmp_path / "c.yaml").write_text("method: []\n")
    config = command.parse_args(["--config", str(tmp_path / "c.yaml")])
    with pytest.raises(OptionError, match=r"^method: expected a mapping of options, .*, got \[\]$"):
        make_part(command, config, "method", "acme", "method")


def test_an_option_that_the_parser_itself_fails_at_is_named(command, tmp_path):
    (tmp_path / "c.bin").write_bytes(b"\xff\xfe")
    with pytest.raises(OptionError, match=rf"^--method {tmp_path}/c\.bin cannot be read \(UnicodeDecodeError: "):
        command.parse_args(["--method.beta", "2", "--method", str(tmp_path / "c.bin")])


def test_a_key_of_a_file_that_does_not_go_with_an_option_is_named(tmp_path):
    p = parser("trimkit train acme", "Train.")
    p.add_argument("--config", action="config")
    p.add_argument("--trim", nargs="+", action="extend", default=[])
    (tmp_path / "c.yaml").write_text("trim: {a: 1}\n")
    with pytest.raises(OptionError, match=r"c\.yaml, key 'trim' and --trim l1@z do not go together, or one is of"):
        p.parse_args(["--config", str(tmp_path / "c.yaml"), "--trim", "l1@z"])


def test_a_part_without_types_is_its_plugins_fault(command):
    with pytest.raises(PluginError, match=r"transform 'untyped' has a signature without options: .* give it types"):
        add_part(command, "transform", "untyped", "transform")


def test_real_parts_can_be_added():
    p = parser("trimkit audit", "Audit.")
    add_part(p, "transform", "fft", "transform")
    config = p.parse_args([])
    made = make_part(p, config, "transform", "fft", "transform")
    assert isinstance(made, registry.default().find("transform", "fft").load())


def test_the_example_of_a_command_follows_whatever_part_it_names():
    assert "example:" in _arguments.example_of("trimkit train beta-vae")
    assert _arguments.example_of("trimkit train beta-vae") == _arguments.example_of("trimkit train")
    assert _arguments.example_of("trimkit nothing") == ""


def test_an_option_with_several_values_may_be_repeated():
    p = plain_parser("trimkit audit", "Audit.")
    p.add_argument("--checks", nargs="+", default=["all"])
    p.add_argument("--attribution", nargs="+", action="extend")
    assert p.parse_args(["--checks", "a", "b", "--checks", "c"]).checks == ["a", "b", "c"]
    assert p.parse_args(["--attribution", "a", "--attribution", "b"]).attribution == ["a", "b"]
    assert p.parse_args([]).checks == ["all"]
    assert p.parse_args(["--checks", "a"]).checks == ["a"]


@pytest.mark.parametrize("second", [["--method.layers=[3]"], ["--method.layers", "[3]"]])
def test_a_list_of_a_part_that_is_repeated_is_refused_by_name(command, second):
    with pytest.raises(OptionError, match=r"^--method\.layers is given more than once, and takes all its val"):
        command.parse_args(["--method.layers", "[1,2]", *second])
    assert command.parse_args(["--method.beta", "1", "--method.beta", "2"]).method.beta == 2.0


@pytest.mark.parametrize("text", ["fft:bands=4,bands=8", "a:b=1,c=2,b=1"])
def test_an_option_of_a_part_in_words_is_given_once(text):
    with pytest.raises(OptionError, match=r"b\w* is given twice, as \d and as '\d'; give it once"):
        parse_spec(text)


@pytest.mark.parametrize(
    ("text", "key"), [("method: {beta: 1}\nmethod: {}\n", "method"), ("method:\n  beta: 1\n  beta: 2\n", "beta")]
)
@pytest.mark.parametrize("joined", [True, False])
def test_a_key_of_a_file_that_stands_there_twice_is_named(command, tmp_path, text, key, joined):
    (tmp_path / "c.yaml").write_text(text)
    path = str(tmp_path / "c.yaml")
    with pytest.raises(OptionError, match=rf"c\.yaml, key '{key}' stands there twice; write it once"):
        command.parse_args([f"--config={path}"] if joined else ["--config", path])


def test_a_file_whose_mapping_holds_itself_is_refused_in_one_line(command, tmp_path):
    (tmp_path / "c.yaml").write_text("method: &again {beta: *again}\n")
    with pytest.raises(OptionError):
        command.parse_args(["--config", str(tmp_path / "c.yaml")])


def test_an_option_may_be_added_by_its_destination_alone():
    p = plain_parser("trimkit x", "X.")
    p.add_argument(dest="names", nargs="+")
    assert p.parse_args(["a", "b"]).names == ["a", "b"]
