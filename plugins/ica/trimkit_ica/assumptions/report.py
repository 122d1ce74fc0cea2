"""What `check_ica` returns: its findings, which can be written as a page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from trimkit_ica.assumptions.findings import Findings


@dataclass(frozen=True)
class IcaReport(Findings):
    """The result of `trimkit.metrics.independence.check_ica`: see `Findings` for what it holds."""

    def to_html(self) -> str:
        """The report as one self-contained page."""
        from trimkit_ica.assumptions.page import page

        return page(self)

    def save(self, path: str | Path) -> Path:
        """Write the page, and results.json beside it. Each file is written aside and renamed.

        Args:
            path: of the page, such as "report.html".
        Returns:
            The page's path.
        """
        from trimkit.report.page import write_text

        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        write_text(target.parent / "results.json", self.to_json())
        write_text(target, self.to_html())
        return target
