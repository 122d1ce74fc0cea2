"""``trimkit new-plugin NAME --kind KIND``: a distribution with working parts and their tests, to be changed."""

from __future__ import annotations

import datetime
import keyword
import re
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import NamedTuple

from trimkit.cli._arguments import plain_parser
from trimkit.cli._folders import written_aside
from trimkit.errors import OptionError
from trimkit.hooks import GROUP, KINDS, TRIMKIT_API, Hooks

LICENCES = ("MIT", "BSD-3-Clause")


class _Example(NamedTuple):
    """The part that a new plugin has of one kind.

    Attributes:
        name: behind the plugin's own, such as "differences" in "acme-differences".
        target: class or function in the module that is named after the kind.
        summary: for ``trimkit list``.
        use: a command line that uses it; NAME stands for the part.
        more: further arguments of its record.
    """

    name: str
    target: str
    summary: str
    use: str
    more: tuple[str, ...] = ()


# fmt: off
EXAMPLES = {
    "transform": _Example("differences", "Differences",
        "How a signal changes: its first value, and differences of neighbours.",
        "trimkit audit --model FILE.py:model --data digits --transform NAME"),
    "attribution": _Example("midpoint", "Midpoint",
        "Contributions by one gradient, half way between baseline and point.",
        "trimkit audit --model FILE.py:model --data digits --attribution NAME"),
    "penalty": _Example("count", "count",
        "A smooth count of the coefficients that matter.",
        "trimkit train vae --data digits --predictor FILE.py:model --trim NAME@z:0.1",
        ('"Geman, McClure 1985"',)),
    "method": _Example("linear-vae", "LinearVAE",
        "A VAE with linear networks, whose best decoder is probabilistic principal components.",
        "trimkit train NAME --data digits",
        ('"Lucas et al. 2019, arXiv:1911.02469"', 'family="linear"')),
    "check": _Example("monopoly", "Monopoly",
        "Do several groups share the explanation?",
        "trimkit audit --model FILE.py:model --data digits   # asks it too"),
    "dataset": _Example("bumps", "bumps",
        "Signals with a bump on the left or on the right.",
        "trimkit train vae --data NAME",
        ("shape=(1, 32)", "classes=2")),
    "command": _Example("summary", "run",
        "What a dataset holds: samples, their shape, classes.",
        "trimkit NAME digits",
        ('example="trimkit NAME digits"',)),
}
# fmt: on
"""Kind → the example of that kind."""


def run(argv: list[str]) -> int:
    """Write a plugin, see `write_plugin`, and say what to do next: 0."""
    arguments = _parser().parse_args(argv)
    kinds = arguments.kind or _asked_kinds()
    folder = Path(arguments.out or arguments.name)
    paths = write_plugin(arguments.name, kinds, folder, licence=arguments.licence, author=arguments.author)
    sys.stdout.write(f"{folder}: {len(paths)} files, {', '.join(kinds)}\n")
    sys.stdout.write(f"Next: cd {folder} && python -m pytest && pip install -e . && trimkit plugins\n")
    return 0


def write_plugin(
    name: str, kinds: Sequence[str], folder: Path, *, licence: str = "MIT", author: str = ""
) -> list[Path]:
    """Write a distribution with one working part of each kind; the folder appears whole or not at all.

    Args:
        name: of the distribution, such as "trimkit-graph"; its package is "trimkit_graph", its plugin "graph".
        kinds: of the parts, such as ("transform", "check").
        folder: to be made.
        licence: one of `LICENCES`.
        author: who holds the copyright; the authors of the distribution by default.
    Returns:
        The files, relative to the folder.
    Raises:
        OptionError: a name that no distribution can have, a folder that exists, an unknown kind or licence.
    """
    _check(name, kinds, licence, folder)
    values = _values(name, list(dict.fromkeys(kinds)), licence, author or f"the {name} authors")
    written = []
    with written_aside(folder) as aside:
        for path, text in _files(values):
            target = aside / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
            written.append(Path(path))
    return written


def _parser():  # noqa: ANN202, argparse's own
    parser = plain_parser("trimkit new-plugin", "Write a plugin: a distribution with working parts and their tests.")
    parser.add_argument("name", metavar="NAME", help="of the distribution, such as trimkit-graph")
    parser.add_argument(
        "--kind", action="append", metavar="KIND", help=f"of a part, as often as wanted: {', '.join(EXAMPLES)}"
    )
    parser.add_argument("--out", metavar="FOLDER", help="to be made; NAME by default")
    parser.add_argument("--licence", default="MIT", metavar="NAME", help=f"{' or '.join(LICENCES)} (MIT)")
    parser.add_argument("--author", default="", help="who holds the copyright; the authors of NAME by default")
    return parser


def _asked_kinds() -> list[str]:
    """The kinds that the user types where a terminal is there, else a transform."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return ["transform"]
    answer = input(f"kinds of parts, of {', '.join(EXAMPLES)} [transform]: ")
    return re.findall(r"[\w-]+", answer) or ["transform"]


def _check(name: str, kinds: Sequence[str], licence: str, folder: Path) -> None:
    package = _package(name)
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9]*([-_.][A-Za-z0-9]+)*", name) or keyword.iskeyword(package):
        raise OptionError(f"expected a name of letters, digits, single - _ . that starts with a letter, got {name!r}")
    if package in sys.stdlib_module_names or package == "trimkit":
        raise OptionError(f"the name {name!r} is taken by a module that Python or trimkit needs; choose another")
    for kind in kinds:
        if kind not in EXAMPLES:
            raise OptionError(f"expected --kind as one of {', '.join(EXAMPLES)}, got {kind!r}")
    if licence not in LICENCES:
        raise OptionError(f"expected --licence as one of {', '.join(LICENCES)}, got {licence!r}; change LICENSE later")
    if folder.exists():
        raise OptionError(f"{folder} exists; name another folder with --out")


def _package(name: str) -> str:
    return re.sub(r"[-.]+", "_", name).lower()


def _values(name: str, kinds: list[str], licence: str, author: str) -> dict[str, object]:
    """What the templates are filled with."""
    plugin = name.lower().removeprefix("trimkit-")
    parts = [_part(plural, EXAMPLES[record.kind], plugin) for plural, record in KINDS.items() if record.kind in kinds]
    return {
        "name": name,
        "package": _package(name),
        "plugin": plugin,
        "parts": parts,
        "names": {part["kind"]: part["name"] for part in parts},
        "description": f"A plugin for trimkit: {', '.join(EXAMPLES[kind].name for kind in kinds)}.",
        "licence": licence,
        "author": author,
        "year": datetime.date.today().year,
        "version": version("trimkit"),
        "api": TRIMKIT_API,
    }


def _part(plural: str, example: _Example, plugin: str) -> dict[str, object]:
    """What the templates say of one part."""
    name = f"{plugin}-{example.name}"
    return {
        "kind": KINDS[plural].kind,
        "plural": plural,
        "spec": KINDS[plural].__name__,
        "hook": getattr(Hooks, f"{GROUP}_{plural}").__doc__,
        "name": name,
        "target": example.target,
        "summary": example.summary,
        "use": example.use.replace("NAME", name),
        "more": [line.replace("NAME", name) for line in example.more],
    }


def _files(values: dict[str, object]) -> Iterator[tuple[str, str]]:
    """Paths in the distribution, and their text."""
    import jinja2

    environment = jinja2.Environment(
        block_start_string="[%",
        block_end_string="%]",
        variable_start_string="[[",
        variable_end_string="]]",
        comment_start_string="[#",
        comment_end_string="#]",
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    package, names = f"src/{values['package']}", values["names"]
    assert isinstance(names, dict)
    for path, source in _templates(files("trimkit.cli") / "new_plugin_files"):
        module = path.removeprefix("src/").removesuffix(".py")
        if module in EXAMPLES and module not in names:
            continue
        place = _PLACES.get(path, path.replace("src", package, 1) if path.startswith("src/") else path)
        yield place, environment.from_string(source).render(values)
    yield f"{package}/py.typed", ""


_PLACES = {
    "gitignore": ".gitignore",
    "pre-commit-config.yaml": ".pre-commit-config.yaml",
    "workflow.yml": ".github/workflows/test.yml",
}
"""Files whose names begin with a dot, which packaging leaves out where a template has such a name."""


def _templates(folder: Traversable, prefix: str = "") -> Iterator[tuple[str, str]]:
    for entry in sorted(folder.iterdir(), key=lambda each: each.name):
        if entry.is_dir():
            yield from _templates(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(".j2"):
            yield prefix + entry.name.removesuffix(".j2"), entry.read_text(encoding="utf-8")
