"""``trimkit check-ica``: what it prints and writes, how it exits, and one line for every mistake."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from trimkit_ica.command import _samples

from trimkit import cli
from trimkit.data import Dataset
from trimkit.data.samples import Bytes

MIXING = np.array([[1.0, 0.4], [0.3, 1.2]])
QUICK = ["--bootstraps", "2"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A working folder with data of every kind of answer, and of none."""
    monkeypatch.chdir(tmp_path)
    draws = np.random.default_rng(0)
    laplace, normal = draws.laplace(size=(3000, 2)), draws.normal(size=(4000, 2))
    scale = draws.choice([0.3, 1.0, 2.5], size=(4000, 1))
    for name, x in {
        "good": laplace @ MIXING.T,
        "dependent": scale * normal,
        "few": normal[:100] @ MIXING.T,
        "one": laplace[:, :1],
        "nan": np.where(np.arange(6000).reshape(3000, 2) == 7, np.nan, laplace),
        "constant": np.ones((90, 3)),
        "images": laplace[:400, :1].reshape(100, 4) @ draws.normal(size=(4, 12)),
    }.items():
        np.savez(tmp_path / f"{name}.npz", x=x.astype(np.float32))
    return tmp_path


def error(capsys):
    line = capsys.readouterr().err
    assert line.startswith("trimkit: error: ")
    assert line.count("\n") == 1
    return line


def test_data_that_can_be_unmixed_pass(folder, capsys):
    assert cli.main(["check-ica", "good.npz", "--out", "result", *QUICK]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "data         good, split train: 3000 samples of 2"
    assert out[-1] == "result/report.html"
    assert any(line.startswith("PASS           non-Gaussianity") for line in out)
    assert any(line.startswith("PASS           overall") for line in out)
    assert any(line.split() == ["component", "variance", "negentropy", "kurtosis", "Anderson–Darling", "p", "stability"]
               for line in out)  # fmt: skip
    assert sorted(path.name for path in (folder / "result").iterdir()) == ["report.html", "results.json"]


def test_dependent_sources_fail_with_code_1(capsys):
    assert cli.main(["check-ica", "dependent.npz", *QUICK]) == 1
    assert "They are not independent." in capsys.readouterr().out


def test_what_few_samples_do_not_decide_has_code_3(capsys):
    assert cli.main(["check-ica", "few.npz", *QUICK, "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["overall"] == "INCONCLUSIVE"


def test_json_is_the_file_and_nothing_else(folder, capsys):
    code = cli.main(["check-ica", "good.npz", "--samples", "400", "--seed", "3", "--json", "--out", "r", *QUICK])
    printed = capsys.readouterr().out
    content = json.loads(printed)
    assert printed == (folder / "r" / "results.json").read_text("utf-8")
    assert content["exit_code"] == code
    record = content["record"]
    assert (record["rows"], record["available"], record["seed"], record["split"]) == (400, 3000, 3, "train")


def test_components_are_as_many_as_asked_for(capsys):
    cli.main(["check-ica", "images.npz", "--components", "2", "--json", *QUICK])
    assert len(json.loads(capsys.readouterr().out)["components"]) == 2


def test_of_samples_that_are_made_when_asked_for_no_more_are_made_than_needed():
    data = Dataset("bytes", Bytes(torch.randint(256, (500, 6), dtype=torch.uint8)))
    assert _samples(data, 120).shape == (120, 6)


def test_a_report_is_not_overwritten_unless_asked_to(folder, capsys):
    (folder / "mine").mkdir()
    (folder / "mine" / "thesis.txt").write_text("precious")
    assert cli.main(["check-ica", "good.npz", "--out", "mine", *QUICK]) == 2
    assert "--out mine exists" in error(capsys)
    assert cli.main(["check-ica", "good.npz", "--out", "mine", "--force", *QUICK]) == 2
    assert "no report folder" in error(capsys)
    assert (folder / "mine" / "thesis.txt").read_text() == "precious"


def test_without_out_folders_are_numbered(folder):
    few = ["check-ica", "few.npz", *QUICK]
    assert cli.main(few) == cli.main(few) == 3
    assert (folder / "trimkit-check-ica" / "report.html").is_file()
    assert (folder / "trimkit-check-ica-2" / "report.html").is_file()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["one.npz"], "at least two variables"),
        (["nan.npz"], "NaN or infinity"),
        (["constant.npz"], "all 90 rows are the same"),
        (["nowhere.npz"], "nowhere.npz"),
        (["good.npz", "--components", "1"], "--components: expected a number ≥ 2, got 1"),
        (["good.npz", "--components", "3"], "at most 2, the rank of x, got 3"),
        (["good.npz", "--samples", "10"], "--samples: expected a number ≥ 80, got 10"),
        (["good.npz", "--bootstraps", "1"], "--bootstraps: expected a number ≥ 2, got 1"),
        (["good.npz", "--seed", "-1"], "--seed: expected a number ≥ 0, got -1"),
        (["good.npz", "--component", "2"], "Did you mean '--components'?"),
        ([], "required: DATA"),
    ],
)
def test_mistakes_are_one_line_with_code_2_and_leave_no_folder(arguments, told, folder, capsys):
    assert cli.main(["check-ica", *arguments]) == 2
    assert told in error(capsys)
    assert not (folder / "trimkit-check-ica").exists()


def test_the_command_needs_no_torch_before_it_works():
    program = "import sys, trimkit_ica.command; sys.exit(any(m in sys.modules for m in ('torch', 'numpy', 'scipy')))"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


def test_two_checks_at_once_get_a_folder_each(folder):
    both = [
        subprocess.Popen([sys.executable, "-m", "trimkit", "check-ica", "few.npz", "--seed", seed, *QUICK])
        for seed in ("0", "1")
    ]
    assert all(process.wait(120) in (0, 1, 3) for process in both)
    seeds = [
        json.loads(path.read_text())["verdicts"][0]["seed"] for path in folder.glob("trimkit-check-ica*/results.json")
    ]
    assert sorted(seeds) == [0, 1]
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == [
        "trimkit-check-ica",
        "trimkit-check-ica-2",
    ]
