"""``trimkit demo``: the planted-shortcut story on real digits, from training to a report."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from trimkit.cli._arguments import plain_parser
from trimkit.cli._folders import written_aside
from trimkit.cli._tables import verdict_line
from trimkit.errors import OptionError

if TYPE_CHECKING:
    from trimkit.demo.story import Story

_DESCRIPTION = """\
Real digits carry a planted frequency shortcut. Train a classifier on them, audit it in pixel and in frequency space,
train again with a TRIM penalty, and see the accuracy come back. Needs no network; ends in a report."""


def run(argv: list[str]) -> int:
    """Tell the story and write its folder: 0. OptionError where the folder is something else."""
    p = plain_parser("trimkit demo", _DESCRIPTION)
    p.add_argument("--out", metavar="DIR", default="trimkit-demo", help="folder of the report (trimkit-demo, replaced)")
    p.add_argument("--seeds", type=int, default=3, help="number of trainings of each kind (3)")
    p.add_argument("--samples", type=int, default=256, help="test digits in each audit (256)")
    arguments = p.parse_args(argv)
    if arguments.seeds < 1 or arguments.samples < 1:
        raise OptionError(f"expected --seeds ≥ 1 and --samples ≥ 1, got {arguments.seeds} and {arguments.samples}")
    folder = _free(Path(arguments.out))
    start = time.monotonic()

    import torch

    from trimkit.demo.story import tell

    torch.set_num_threads(1)  # as fast for a network this small, and far faster where other programs want the cores
    story = tell(tuple(range(arguments.seeds)), arguments.samples, _progress)
    path = _save(story, folder)
    _print(story, time.monotonic() - start)
    sys.stdout.write(f"{path}\n")
    return 0


def _free(folder: Path) -> Path:
    """A folder that does not exist, or that an earlier demo wrote: anything else is not ours to replace."""
    if folder.exists() and not (folder / "demo.json").is_file():
        raise OptionError(f"--out {folder} exists and was not written by a demo; name another folder")
    return folder


def _progress(text: str) -> None:
    sys.stderr.write(f"  {text}\n")
    sys.stderr.flush()


def _save(story: Story, folder: Path) -> Path:
    """Write weights, numbers and page aside, then put the folder in its place."""
    from safetensors.torch import save_file

    from trimkit.demo.page import page
    from trimkit.demo.story import summary
    from trimkit.report import write_text

    with written_aside(folder, replace=True) as aside:
        for name, model in story.models.items():
            save_file(model.state_dict(), aside / f"{name}.safetensors")
        write_text(aside / "demo.json", json.dumps(summary(story), indent=2, ensure_ascii=False) + "\n")
        write_text(aside / "report.html", page(story))
    return folder / "report.html"


def _print(story: Story, seconds: float) -> None:
    from trimkit.demo.page import percent
    from trimkit.demo.story import MODELS, TESTS

    write = sys.stdout.write
    width = max(map(len, MODELS.values()))
    several = f", median of {len(story.seeds)} seeds" if len(story.seeds) > 1 else ""
    write(f"\naccuracy on test digits{several}\n")
    write(f"  {'':<{width}}" + "".join(f"  {name:>14}" for name in TESTS.values()) + "\n")
    for model, name in MODELS.items():
        write(f"  {name:<{width}}" + "".join(f"  {story.median(model, test):>14.3f}" for test in TESTS) + "\n")
    write("\nshare of the explanation at the planted bin (integrated gradients, frequency space)\n")
    for key, text in {"plain": MODELS["plain"], "trim": MODELS["trim"], "input": "amplitude of the input"}.items():
        write(f"  {text:<{width}}  {percent(story.planted[key])}\n")
    titles = {
        "pixels": "plain model, pixels",
        "fft": "plain model, frequencies",
        "fft-trim": "with TRIM, frequencies",
    }
    for key, report in story.audits.items():
        write(f"\n{titles[key]}: explanation {report.overall}, model {report.model}\n")
        for v in report.verdicts:
            write(verdict_line(f"  {v.status:<14} {v.check:<16} ", v.sentence))
    write(f"\n{seconds:.0f} s. Next: trimkit audit --help, trimkit train --help, trimkit list\n")
