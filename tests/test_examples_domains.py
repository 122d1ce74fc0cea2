"""Each domain example tells a network that reads what it should from one that does not, and draws it."""

import runpy
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "examples" / "domains"
EXAMPLES = sorted(path for path in FOLDER.glob("*.py") if not path.stem.startswith("_"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_it_passes_the_sound_network_and_fails_the_other(path, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(sys, "argv", [str(path), "--small", "--out", str(tmp_path)])
    monkeypatch.syspath_prepend(str(path.parent))
    runpy.run_path(str(path), run_name="__main__")
    verdicts = [
        line.split(":")[0] for line in capsys.readouterr().out.splitlines() if ": " in line and "of the" in line
    ]
    assert verdicts == ["PASS", "FAIL"]
    page = (tmp_path / f"{path.stem}.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 2
    assert page.count("data:audio/wav;base64,") == (4 if path.stem == "audio_pitch" else 0)


def test_there_are_five_domains():
    assert len(EXAMPLES) == 5
