"""The command line. Nothing heavy is imported before a command is known: help, `list` and `plugins` need no torch."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from io import TextIOWrapper

from trimkit.errors import PluginError, TrimkitError, UnknownNameError, nearest
from trimkit.registry.files import take_plugin_files
from trimkit.storage.signals import Terminated, ending_in_order
from trimkit.storage.versions import installed_version

OK, USAGE, INTERRUPTED, BROKEN_PIPE = 0, 2, 130, 141


_HELP = """\
usage: trimkit COMMAND [options]

Measure, penalise and audit what a model looks at, in the space where its explanation is simple.

commands:
{commands}

options:
  -h, --help     show this message; `trimkit COMMAND --help` shows a command's options
  --version      show the version
  --plugin FILE  a file with parts of your own, beside the plugins that are installed; with any command

environment:
  TRIMKIT_PLUGINS      plugins to load, separated by commas; empty loads none but trimkit's own
  TRIMKIT_PLUGINS_DIR  folder of files with parts of your own
  TRIMKIT_DEBUG        1 shows the traceback of an error

exit codes:
  0 done or passed, 1 an audit or check failed, 2 wrong usage or another error, 3 it could not decide;
  130 Ctrl-C, 129 SIGHUP, 143 SIGTERM
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: arguments after the program's name; those of the process by default.
    Returns:
        The exit code. Every error is one line on stderr and code 2, whoever raised it: 0 and 1 come from what a command
        returns alone, never from a ``sys.exit`` in a model, in data or in a plugin. Ctrl-C, SIGHUP and SIGTERM are 130,
        129 and 143; a KeyboardInterrupt that a model, data or a plugin raises cannot be told from Ctrl-C, and is 130.
    """
    arguments = [*(sys.argv[1:] if argv is None else argv)]  # not list(): the submodule of that name hides it here
    _encode_anything()
    try:
        with ending_in_order():
            code = _dispatch(take_plugin_files(arguments))
        sys.stdout.flush()  # a closed pipe must be noticed here, not while the interpreter shuts down
    except BrokenPipeError:  # `trimkit list | head`: let the shutdown's own flush go nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except Terminated as signal:
        sys.stderr.write(f"trimkit: {signal}: stopped\n")
        return signal.code
    except KeyboardInterrupt:
        sys.stderr.write("trimkit: interrupted\n")
        return INTERRUPTED
    except SystemExit as leaving:
        if _is_from_a_parser(leaving):  # after --help
            return OK
        error = PluginError(
            f"a model, data or plugin called sys.exit({leaving.code!r}), so nothing was decided; let it raise an error "
            "or return. TRIMKIT_DEBUG=1 shows where"
        )
        return _report(error, leaving)
    except BaseException as error:  # a model, data or plugin may raise what is no Exception: none is a verdict
        return _report(error, error.__cause__)
    return code


def help_text() -> str:
    """What ``trimkit --help`` prints: the commands that are installed, those of plugins after trimkit's own."""
    from trimkit.registry import available
    from trimkit.registry.loader import printable

    commands = available("commands")
    width = max(map(len, commands), default=0)
    lines = (f"  {name:<{width}}  {printable(spec.summary)}" for name, spec in commands.items())
    return _HELP.format(commands="\n".join(lines))


def _dispatch(arguments: Sequence[str]) -> int:
    if not arguments:
        sys.stderr.write(help_text())
        return USAGE
    command, *rest = arguments
    if command in ("-h", "--help", "--version"):
        sys.stdout.write(help_text() if command != "--version" else f"trimkit {installed_version('trimkit')}\n")
        return OK
    if command.startswith("-"):
        raise UnknownNameError(
            f"There is no option {command!r}. {nearest(command, ('--help', '--version'))} See `trimkit --help`."
        )
    return _run(command, rest)


def _run(command: str, arguments: list[str]) -> int:
    """The exit code of a command, by its name or as ``distribution:name``.

    Raises:
        UnknownNameError, NameConflictError: see `trimkit.registry.Registry.find`.
        PluginError: it cannot be imported, or gives no exit code.
    """
    from trimkit.registry import default

    part = default().find("command", command)
    code = part.load()(arguments)
    if not isinstance(code, int):
        raise PluginError(
            f"{part.label} of {part.plugin.distribution} must return its exit code, 0 for done, got "
            f"{type(code).__name__}"
        )
    return code


def _report(error: BaseException, cause: BaseException | None) -> int:
    """One line for an error; the error itself where the user debugs.

    OSError is a disk that is full, a folder that may not be written. Anything else that is no TrimkitError is a fault
    of trimkit or of the code that it ran, and its type is named.
    """
    if os.environ.get("TRIMKIT_DEBUG", "0") not in ("", "0"):
        raise error from cause
    from trimkit.registry.loader import printable, summary

    meant = isinstance(error, TrimkitError | OSError)
    message = str(error) if meant else f"{summary(error)} (unexpected; TRIMKIT_DEBUG=1 shows where)"
    sys.stderr.write(f"trimkit: error: {printable(message)}\n")
    return USAGE


def _is_from_a_parser(leaving: SystemExit) -> bool:
    *_, (innermost, _line) = traceback.walk_tb(leaving.__traceback__)
    return leaving.code in (None, OK) and innermost.f_globals.get("__name__") == "argparse"


def _encode_anything() -> None:
    """Let a terminal show ``?`` for what it cannot show, such as a file's name that is no UTF-8, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
