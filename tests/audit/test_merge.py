"""``trimkit audit --shard`` and ``trimkit merge``: files, exit codes, resuming, and what is refused."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import save_file

from trimkit import cli

from .contents import read_results

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "many-samples.md"
SOURCE = """
from torch import nn

def net(classes: int = 3):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, classes))
"""
AUDIT = ["audit", "--model", "mine.py:net", "--weights", "net.safetensors", "--data", "scans.safetensors"]
OPTIONS = ["--transform", "fft", "--samples", "all", "--batch-size", "16", "--checks", "completeness", "reconstruction"]


@pytest.fixture
def folder(tmp_path, monkeypatch, model, data):
    """A working folder with a user's module, weights and data."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(SOURCE)
    save_file(model.state_dict(), tmp_path / "net.safetensors")
    save_file({"x": data.x, "y": data.y}, tmp_path / "scans.safetensors")
    return tmp_path


def results(folder):
    return read_results((folder / "results.json").read_text())


def shard(number, count, *more):
    return cli.main([*AUDIT, *OPTIONS, "--shard", f"{number}/{count}", "--out", "parts", *more])


def test_shards_are_merged_to_the_report_of_one_run(folder, capsys):
    code = cli.main([*AUDIT, *OPTIONS, "--out", "whole"])
    for number in (3, 1, 2):
        assert shard(number, 3) == 0
        out, err = capsys.readouterr()
        assert out.splitlines()[-1] == f"parts/shard-{number}-of-3.trimkit-shard"
        assert re.search(rf"^shard {number}/3: \d+ samples in [\d.]+ s, [\d.e+]+ a second$", err, re.M)
    assert cli.main(["merge", "parts", "--out", "merged", "--junit", "j.xml", "--summary", "s.md"]) == code
    assert capsys.readouterr().out.splitlines()[-1] == "merged/report.html"
    assert results(folder / "merged") == results(folder / "whole")
    assert (folder / "j.xml").exists()
    assert "completeness" in (folder / "s.md").read_text()


def test_a_shard_that_died_is_run_again_alone(folder, capsys):
    assert [shard(1, 2), shard(2, 2)] == [0, 0]
    first, second = (folder / "parts" / f"shard-{i}-of-2.trimkit-shard" for i in (1, 2))
    second.write_bytes(second.read_bytes()[:5000])
    kept = first.stat().st_mtime_ns
    capsys.readouterr()
    assert [shard(1, 2, "--resume"), shard(2, 2, "--resume")] == [0, 0]
    assert "shard-1-of-2.trimkit-shard is there already" in capsys.readouterr().out
    assert first.stat().st_mtime_ns == kept
    assert cli.main(["merge", str(first), str(second), "--out", "merged"]) in (0, 3)


def assert_fails(capsys, argv, message):
    assert cli.main(argv) == 2
    assert re.search(message, capsys.readouterr().err)


def test_what_cannot_be_merged_is_one_line(folder, capsys):
    assert shard(1, 3) == 0
    assert_fails(
        capsys, ["merge", "parts", "--out", "m"], r"2 of 3 shards are missing: 2, 3; run them again with --shard 2/3"
    )
    part = "parts/shard-1-of-3.trimkit-shard"
    assert_fails(capsys, ["merge", part, part], "is named twice")
    assert_fails(capsys, ["merge", "mine.py"], r"mine\.py is no shard of an audit")
    (folder / "empty").mkdir()
    assert_fails(capsys, ["merge", "empty"], "holds no shards")
    shutil.copy(part, "again.trimkit-shard")
    assert_fails(capsys, ["merge", "parts", "again.trimkit-shard"], "shard 1 of 3 is there twice")
    assert not (folder / "m").exists()


def test_another_model_is_noticed(folder, capsys, model):
    assert shard(1, 1) == 0
    changed = {name: value + 1 for name, value in model.state_dict().items()}
    save_file(changed, folder / "net.safetensors")
    assert_fails(capsys, ["merge", "parts"], "belongs to another audit: its model differ")


def test_what_is_there_is_not_overwritten(folder, capsys):
    assert shard(1, 1) == 0
    assert_fails(capsys, [*AUDIT, *OPTIONS, "--shard", "1/1", "--out", "parts"], "is there already; add --resume")
    other = [*AUDIT, *OPTIONS, "--seed", "5", "--shard", "1/1", "--out", "parts", "--resume"]
    assert_fails(capsys, other, "was made with other options")
    assert shard(1, 1, "--force") == 0


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--shard", "5/3"], "1 ≤ i ≤ n"),
        (["--shard", "one"], "as i/n, such as 3/8"),
        (["--shard", "1/2", "--until-decided"], "--until-decided does not go with --shard"),
        (["--shard", "1/2", "--junit", "j.xml"], "--junit does not go with --shard"),
        (["--resume"], "needs --shard i/n"),
        (["--engine", "cluster"], "expected an engine as processes:8"),
        (["--samples", "some"], "--samples"),
    ],
)
def test_wrong_usage_is_one_line(folder, capsys, more, message):
    assert_fails(capsys, [*AUDIT, *OPTIONS, *more], message)


def test_engine_and_looks_tell_how_far_they_are(folder, capsys):
    assert cli.main([*AUDIT, *OPTIONS, "--until-decided", "--out", "looked"]) in (0, 3)
    err = capsys.readouterr().err
    assert re.search(r"^16 of 160 samples, [\d.e+]+ a second, [\d.]+ (s|min) left$", err, re.M)
    assert results(folder / "looked")["provenance"]["audited"]["looks"]["taken"] == 1


def scripts():
    return re.findall(r"```bash\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)


@pytest.mark.parametrize("number", range(len(scripts())))
def test_scripts_of_the_page_are_bash(number):
    done = subprocess.run(["bash", "-n"], input=scripts()[number], text=True, capture_output=True)
    assert done.returncode == 0, done.stderr


def test_the_jobs_of_the_array_give_a_report(folder):
    (array,) = [text for text in scripts() if "#SBATCH --array" in text]
    (merge,) = [text for text in scripts() if "trimkit merge" in text and "#SBATCH" not in text]
    program = folder / "trimkit"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m trimkit "$@"\n')
    program.chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "SLURM_ARRAY_TASK_COUNT": "2",  # the page's array has more, which tells no more and takes longer
    }
    for number in (1, 2):
        job = {**environment, "SLURM_ARRAY_TASK_ID": str(number), "SLURM_CPUS_PER_TASK": "1"}
        subprocess.run(["bash", "-e"], input=array, text=True, env=job, check=True, capture_output=True)
    done = subprocess.run(["bash", "-e"], input=merge, text=True, env=environment, capture_output=True)
    assert done.returncode in (0, 3), done.stderr
    assert (folder / "report" / "results.json").exists()
