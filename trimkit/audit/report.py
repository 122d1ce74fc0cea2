"""What an audit returns: its result, and the page that shows it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from trimkit.audit.page import sections_of, snippet
from trimkit.audit.result import Result
from trimkit.report.page import render, write_text


@dataclass(frozen=True)
class Report(Result):
    """The result of `trimkit.audit`, which can be written down. Attributes: see `trimkit.audit.result.Result`.

    >>> import torch, trimkit
    >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(256, 10)).eval()
    >>> data = trimkit.data.load("digits", "test")
    >>> report = trimkit.audit(model, data, transform="fft", checks=["reconstruction"], samples=20)
    >>> [(verdict.check, verdict.status.name) for verdict in report.verdicts]
    [('reconstruction', 'PASS')]
    """

    def to_html(self) -> str:
        """The report as one self-contained page."""
        return render(*sections_of(self), interactive=True)

    def _repr_html_(self) -> str:
        """Verdicts, a sample and a chart, for notebooks."""
        return snippet(self).to_html()

    def save(self, path: str | Path, *, results: bool = True) -> Path:
        """Write the page, and results.json beside it. Each file is written aside and renamed.

        Args:
            path: of the page, such as "report.html".
            results: also write results.json into the same folder.
        Returns:
            The page's path.
        """
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        if results:
            write_text(target.parent / "results.json", self.to_json())
        write_text(target, self.to_html())
        return target
