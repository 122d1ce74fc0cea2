"""Are the tests of a module hurt when the module is wrong?

    python benchmarks/mutation.py --log mutation.jsonl --most 30

Small faults are put into the modules below, one at a time, drawn at random with a fixed seed: another comparison,
another operator, a condition the other way round, a number that is one off, a statement left out. The tests of that
module alone run on it, in a forked process. A fault that no test notices survives, and is either the same program or a
gap in the tests. Text and annotations are left alone. Each fault is a line of the log, so a stopped run goes on.

mutmut imports a copy of the sources from one root, and here five distributions are imported from folders of their own;
cosmic-ray writes each fault into the file itself, which whatever else runs then would import. Here nothing is written,
and no fault waits for torch to be imported.
"""

from __future__ import annotations

import argparse
import ast
import copy
import json
import os
import random
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from importlib.machinery import SourceFileLoader
from itertools import islice
from math import sqrt
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
MODULES = {
    "trimkit/storage/manifest.py": ["tests/storage"],
    "trimkit/storage/files.py": ["tests/storage", "tests/training/test_checkpoint.py"],
    "trimkit/storage/lock.py": ["tests/storage"],
    "trimkit/training/checkpoint.py": ["tests/training/test_checkpoint.py"],
    "trimkit/audit/statistics.py": ["tests/audit/test_statistics.py"],
    "trimkit/predictor/guards.py": [
        "tests/test_guards.py",
        "tests/test_predictor.py",
        "tests/test_trim.py",
        "tests/test_refusals.py",
    ],
    "trimkit/predictor/frozen.py": ["tests/test_predictor.py", "tests/test_trim_contract.py"],
    "trimkit/predictor/turns.py": ["tests/test_threads.py"],
    "trimkit/trim/trim.py": [
        "tests/test_trim.py",
        "tests/test_trim_contract.py",
        "tests/test_trim_steps.py",
        "tests/test_trim_leaves_alone.py",
        "tests/test_refusals.py",
    ],
    "trimkit/trim/penalty.py": ["tests/test_trim_penalty.py", "tests/test_trim_contract.py", "tests/test_refusals.py"],
    "trimkit/cli/_arguments.py": ["tests/test_cli_arguments.py"],
    "trimkit/cli/_folders.py": ["tests/test_cli_folders.py"],
}
COMPARED = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
            ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In}  # fmt: skip
OPERATED = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
            ast.Mod: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.Pow: ast.Mult}  # fmt: skip
LONGEST = 120.0
"""Seconds of the processor after which a fault counts as noticed: the tests do not end."""


def faults(tree: ast.Module) -> list[tuple[str, ast.Module]]:
    """Every fault that can be put into a module: what it is, and the module with it."""
    made = []
    for number, node in enumerate(ast.walk(tree)):
        for what, change in _changes(node):
            mutant = copy.deepcopy(tree)
            change(next(islice(ast.walk(mutant), number, None)))
            made.append((f"line {getattr(node, 'lineno', 0)}: {what}", ast.fix_missing_locations(mutant)))
    return made


def _changes(node: ast.AST) -> Iterator[tuple[str, Any]]:
    if isinstance(node, ast.Compare) and type(node.ops[0]) in COMPARED:
        other = COMPARED[type(node.ops[0])]
        yield f"{type(node.ops[0]).__name__} → {other.__name__}", lambda n: n.ops.__setitem__(0, other())
    elif isinstance(node, ast.BinOp) and type(node.op) in OPERATED:
        kind = OPERATED[type(node.op)]
        yield f"{type(node.op).__name__} → {kind.__name__}", lambda n: setattr(n, "op", kind())
    elif isinstance(node, ast.BoolOp):
        kind = ast.Or if isinstance(node.op, ast.And) else ast.And
        yield f"{type(node.op).__name__} → {kind.__name__}", lambda n: setattr(n, "op", kind())
    elif isinstance(node, ast.If | ast.IfExp | ast.While):
        yield "condition negated", lambda n: setattr(n, "test", ast.UnaryOp(ast.Not(), n.test))
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float):
        value = not node.value if isinstance(node.value, bool) else node.value + 1
        yield f"{node.value} → {value}", lambda n: setattr(n, "value", value)
    elif isinstance(node, ast.FunctionDef | ast.With | ast.For | ast.If):
        pass
    if isinstance(node, ast.FunctionDef | ast.With | ast.For | ast.If | ast.Try):
        for i, statement in enumerate(node.body):
            if _is_doing(statement):
                text = ast.unparse(statement).splitlines()[0][:60]
                yield f"left out: {text}", lambda n, i=i: n.body.__setitem__(i, ast.Pass())


def _is_doing(statement: ast.stmt) -> bool:
    """A call or an assignment to something that is there already."""
    if isinstance(statement, ast.AugAssign | ast.Raise | ast.Delete):
        return True
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call)


def without_text(tree: ast.Module) -> ast.Module:
    """A module without annotations, in whose place faults change nothing."""
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            node.annotation = None
        elif isinstance(node, ast.FunctionDef):
            node.returns = None
    return tree


def is_noticed(path: Path, content: bytes, tests: list[str]) -> bool:
    """Whether tests fail with another content of a file."""
    process = os.fork()
    if not process:
        _test(path, content, tests)
    began = time.monotonic()
    while True:
        ended, status, _ = os.wait4(process, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status) != 0
        if time.monotonic() - began > 20 * LONGEST:
            os.killpg(process, signal.SIGKILL)
        time.sleep(0.05)


def _test(path: Path, content: bytes, tests: list[str]) -> None:
    import resource

    os.setsid()
    resource.setrlimit(resource.RLIMIT_CPU, (int(LONGEST), int(LONGEST)))
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    read = SourceFileLoader.get_data

    def get_data(self: SourceFileLoader, name: str) -> bytes:
        if Path(name).suffix == ".pyc" and path.stem in Path(name).name:
            raise OSError("no cache of a file that is changed")
        return content if Path(name) == path else read(self, name)

    SourceFileLoader.get_data = get_data  # type: ignore[method-assign]
    sys.dont_write_bytecode = True
    code = 70
    try:
        import pytest

        code = int(pytest.main(["-x", "-q", "--assert=plain", "--tb=no", "-p", "no:xdist", "-m", "not slow", *tests]))
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def interval(successes: int, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share."""
    z, share = 1.96, successes / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return max(0.0, middle - half), min(1.0, middle + half)


def table(rows: list[dict[str, Any]]) -> str:
    """Faults that were noticed, by module, and those that were not."""
    tried, noticed = (Counter(r["module"] for r in rows if r["noticed"] or kind) for kind in (True, False))
    lines = ["| module | faults | noticed |", "|---|---|---|"]
    lines += [f"| {name} | {count} | {noticed[name]} |" for name, count in sorted(tried.items())]
    if rows:
        low, high = interval(noticed.total(), tried.total())
        share = noticed.total() / tried.total()
        lines.append(f"| all | {tried.total()} | {noticed.total()} ({share:.0%}, {low:.0%} … {high:.0%}) |")
    survivors = [f"- {r['module']}, {r['fault']}" for r in rows if not r["noticed"]]
    return "\n".join([*lines, "", *survivors])


def main() -> None:
    """Try faults that the log lacks, then print the table."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--log", type=Path, default=Path("mutation.jsonl"), help="lines of faults that were tried")
    p.add_argument("--each", type=int, default=15, help="faults a module")
    p.add_argument("--only", help="part of a module's path")
    p.add_argument("--most", type=int, default=10**9, help="stop after so many new lines")
    p.add_argument("--table", action="store_true", help="print the table of a log, do nothing")
    arguments = p.parse_args()
    rows = [json.loads(line) for line in arguments.log.read_text().splitlines()] if arguments.log.exists() else []
    if not arguments.table:
        rows += try_faults(arguments, {(row["module"], row["fault"]) for row in rows})
    sys.stdout.write(table(rows) + "\n")


def try_faults(arguments: argparse.Namespace, done: set[tuple[str, str]]) -> list[dict[str, Any]]:
    """New lines of the log."""
    os.chdir(ROOT)
    import scipy.stats  # noqa: F401 (heavy, and the same for all: forked processes need not import them)
    import sklearn  # noqa: F401
    import torch  # noqa: F401

    rows: list[dict[str, Any]] = []
    with arguments.log.open("a") as log:
        for module, tests in MODULES.items():
            if arguments.only and arguments.only not in module:
                continue
            source = without_text(ast.parse((ROOT / module).read_text()))
            every = faults(source)
            chosen = random.Random(module).sample(every, min(arguments.each, len(every)))
            chosen = [fault for fault in chosen if (module, fault[0]) not in done][: arguments.most - len(rows)]
            if chosen and is_noticed(ROOT / module, ast.unparse(source).encode(), tests):
                raise SystemExit(f"the tests of {module} fail without a fault")
            if chosen and not is_noticed(ROOT / module, b"raise ImportError", tests):
                raise SystemExit(f"the tests of {module} do not import it from {ROOT}")
            for what, mutant in chosen:
                noticed = is_noticed(ROOT / module, ast.unparse(mutant).encode(), tests)
                rows.append({"module": module, "fault": what, "noticed": noticed})
                log.write(json.dumps(rows[-1], ensure_ascii=False) + "\n")
                log.flush()
    return rows


if __name__ == "__main__":
    main()
