"""Audits in anyone's tests: the fixture ``trimkit_audit``, and ``pytest --trimkit-report DIR``.

    def test_model_is_sound(trimkit_audit):
        trimkit_audit(model, data, transform="fft", forbid="bin 5,3")

pytest imports this file in every environment that has trimkit, so it imports torch when the first audit runs.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from trimkit.audit import Report

FAIL_ON = ("fail", "inconclusive", "warn", "not-judged")
"""What fails a test: a FAIL; an open answer too; a WARN too; a model without a verdict too. Each holds those before."""

_LINES: pytest.StashKey[list[str]] = pytest.StashKey()
_PAGES: pytest.StashKey[set[Path]] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--trimkit-report DIR``."""
    group = parser.getgroup("trimkit")
    group.addoption("--trimkit-report", metavar="DIR", help="write the page of every audit into a folder of DIR")


def pytest_configure(config: pytest.Config) -> None:
    """A place for what the audits answered, and for the folders they have taken."""
    config.stash[_LINES] = []
    config.stash[_PAGES] = set()


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """One line an audit: both answers, and where the page is."""
    lines = config.stash[_LINES]
    if lines:
        terminalreporter.section("trimkit audits")
        for line in lines:
            terminalreporter.write_line(line)


@pytest.fixture
def trimkit_audit(request: pytest.FixtureRequest) -> Callable[..., Report]:
    """A function that audits a model, and fails the test with the verdicts where an answer is against it.

    It takes what `trimkit.audit` takes, and ``fail_on``: "fail" (default), "inconclusive", "warn" or "not-judged", each
    of which includes those before. It returns the report.
    """

    def audit(model: Any, data: Any, *, fail_on: str = "fail", **options: Any) -> Report:
        import trimkit
        from trimkit.errors import OptionError, nearest

        if fail_on not in FAIL_ON:
            raise OptionError(f"trimkit_audit: there is no fail_on={fail_on!r}. {nearest(fail_on, FAIL_ON)}")
        report = trimkit.audit(model, data, **options)
        page = _save(report, request)
        line = f"{request.node.nodeid}: explanation {report.overall}, model {report.model}"
        request.config.stash[_LINES].append(f"{line}{f', {page}' if page else ''}")
        if _is_against(report, fail_on):
            pytest.fail(verdict_lines(report), pytrace=False)
        return report

    return audit


def verdict_lines(report: Report) -> str:
    """Both answers, and every verdict that is no PASS."""
    lines = [f"explanation {report.overall}, model {report.model}"]
    for verdict in report.verdicts:
        if verdict.status != "PASS":
            figures = f"  ({verdict.figures})" if verdict.figures else ""
            lines.append(f"{verdict.status:<14} {verdict.label}  {verdict.sentence}{figures}")
    return "\n".join(lines)


def _is_against(report: Report, fail_on: str) -> bool:
    bad = {"FAIL", *("INCONCLUSIVE", "WARN", "NOT JUDGED")[: FAIL_ON.index(fail_on)]}
    return report.overall in bad or report.model in bad


def _save(report: Report, request: pytest.FixtureRequest) -> Path | None:
    """The page in a folder named by the test; a number is added where a test audits several times."""
    where = request.config.getoption("--trimkit-report")
    if not where:
        return None
    base = re.sub(r"[^\w.-]+", "-", request.node.nodeid).strip("-.")
    taken = request.config.stash[_PAGES]
    names = (base if number == 1 else f"{base}-{number}" for number in itertools.count(1))
    folder = next(folder for name in names if (folder := Path(where) / name) not in taken)
    taken.add(folder)
    return report.save(folder / "report.html")
