"""The command line's frame: help, exit codes, one line for an error."""

from __future__ import annotations

import sys
import types

import pytest

from trimkit import cli
from trimkit.errors import DataError, PluginError
from trimkit.registry import available

FAKE = """
from trimkit.hooks import CommandSpec, hookimpl
TRIMKIT_API = 1
@hookimpl
def trimkit_commands():
    yield CommandSpec("fake", "fake_command_target:run", "A fake.")
"""


@pytest.fixture
def command(monkeypatch, site, use_site):
    """Make `trimkit fake …` run a function."""
    site.add("fake-command", FAKE)
    use_site()

    def install(run):
        monkeypatch.setitem(sys.modules, "fake_command_target", types.SimpleNamespace(run=run))

    return install


def raising(error):
    def run(argv):
        raise error

    return run


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_goes_to_stdout_and_names_every_command(flag, capsys):
    assert cli.main([flag]) == 0
    out = capsys.readouterr().out
    assert all(f"  {name} " in out for name in available("commands"))


def test_no_arguments_is_help_on_stderr_and_code_2(capsys):
    assert cli.main([]) == 2
    captured = capsys.readouterr()
    assert captured.err == cli.help_text()
    assert captured.out == ""


def test_version(capsys):
    import trimkit

    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"trimkit {trimkit.__version__}\n"


@pytest.mark.parametrize(
    ("argument", "told"),
    [
        ("pluginz", "There is no command 'pluginz'. Did you mean 'plugins' or 'new-plugin'?"),
        ("--versoin", "There is no option '--versoin'."),
        ("", "There is no command ''."),
    ],
)
def test_an_unknown_command_is_one_line_and_code_2(argument, told, capsys):
    assert cli.main([argument]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"trimkit: error: {told}")
    assert err.count("\n") == 1


def test_an_error_is_one_line_without_a_traceback(command, capsys):
    command(raising(DataError("no samples\n  in the\tfolder")))
    assert cli.main(["fake"]) == 2
    assert capsys.readouterr().err == "trimkit: error: no samples in the folder\n"


def test_an_error_of_the_system_is_one_line(command, capsys):
    command(raising(PermissionError(13, "Permission denied", "runs/a")))
    assert cli.main(["fake"]) == 2
    assert capsys.readouterr().err == "trimkit: error: [Errno 13] Permission denied: 'runs/a'\n"


def test_debugging_raises_the_error(command, monkeypatch):
    monkeypatch.setenv("TRIMKIT_DEBUG", "1")
    command(raising(DataError("no samples")))
    with pytest.raises(DataError):
        cli.main(["fake"])


def test_a_bug_is_one_line_that_says_how_to_see_more(command, monkeypatch, capsys):
    command(raising(ZeroDivisionError("by zero")))
    assert cli.main(["fake"]) == 2
    expected = "trimkit: error: ZeroDivisionError: by zero (unexpected; TRIMKIT_DEBUG=1 shows where)\n"
    assert capsys.readouterr().err == expected
    monkeypatch.setenv("TRIMKIT_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        cli.main(["fake"])


def test_an_interrupt_is_130(command, capsys):
    command(raising(KeyboardInterrupt()))
    assert cli.main(["fake"]) == 130
    assert capsys.readouterr().err == "trimkit: interrupted\n"


@pytest.mark.parametrize("raised", [None, 0, 1, 4, "in words"])
def test_an_exit_of_a_model_is_an_error_whatever_its_code(raised, command, monkeypatch, capsys):
    command(raising(SystemExit(raised)))
    assert cli.main(["fake"]) == 2
    err = capsys.readouterr().err
    assert f"called sys.exit({raised!r}), so nothing was decided" in err
    assert err.count("\n") == 1
    monkeypatch.setenv("TRIMKIT_DEBUG", "1")
    with pytest.raises(PluginError) as caught:
        cli.main(["fake"])
    assert isinstance(caught.value.__cause__, SystemExit)


def test_names_that_are_not_utf_8_reach_the_command_and_are_printed_with_question_marks(command, capsys):
    def run(argv):
        sys.stdout.write(f"{' '.join(argv)}\n")
        raise DataError(f"nothing in {argv[1]}")

    command(run)
    assert cli.main(["fake", "--data", "caf\udce9.npz"]) == 2
    said = capsys.readouterr()
    assert said.out == "--data caf?.npz\n"
    assert said.err == "trimkit: error: nothing in caf?.npz\n"


def test_a_pipe_that_closes_is_no_traceback(site):
    import subprocess

    command = f"{sys.executable} -m trimkit list --json | true"
    done = subprocess.run(["bash", "-c", f"{command}; echo ${{PIPESTATUS[0]}}"], capture_output=True, text=True)
    assert done.stderr == ""
    assert done.stdout.strip() in ("141", "0")  # 0 where everything was written before the pipe closed


def test_a_terminal_that_is_not_utf_8_still_gets_an_answer(site):
    done = site.run("list", PYTHONIOENCODING="ascii")
    assert done.returncode == 0
    assert "8 ? 8 interpolated" in done.stdout
