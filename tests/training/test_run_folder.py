"""Run folders: made aside, complete or not there, never overwritten."""

from __future__ import annotations

import json
import math

import pytest
import yaml

from trimkit.cli.evaluate import FILE
from trimkit.errors import TrainingError
from trimkit.training import RunFolder
from trimkit.training.run_folder import environment


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path / "runs" / "a", command="trimkit train toy")


def finish(folder: RunFolder, steps: int = 3) -> None:
    folder.begin({"steps": steps})
    folder.complete(steps)


def test_it_is_built_aside_and_renamed(folder):
    folder.begin({"steps": 3, "shape": (1, 2)})
    assert folder.current == folder.working
    assert not folder.path.exists()
    folder.complete(3)
    assert folder.current == folder.path
    assert not folder.working.exists()
    assert sorted(path.name for path in folder.path.iterdir()) == [
        "COMPLETE",
        "MANIFEST.json",
        "command.txt",
        "config.yaml",
        "environment.json",
    ]
    assert (folder.path / "COMPLETE").read_text() == "3 steps\n"
    assert yaml.safe_load((folder.path / "config.yaml").read_text()) == {"steps": 3, "shape": [1, 2]}


def test_a_new_path_is_free(folder):
    folder.check(resume=False)
    with pytest.raises(TrainingError, match=r"there is no run .*a to resume; start it without resume"):
        folder.check(resume=True)


def test_a_complete_run_is_not_overwritten(folder):
    finish(folder)
    folder.check(resume=True)
    with pytest.raises(
        TrainingError, match=r"a exists already \(complete\); choose another name, remove it, or resume"
    ):
        folder.check(resume=False)


def test_an_unfinished_run_is_not_overwritten(folder):
    folder.begin({})
    folder.check(resume=True)
    with pytest.raises(TrainingError, match=r"a\.partial exists already \(unfinished\)"):
        folder.check(resume=False)


@pytest.mark.parametrize("resume", [True, False])
def test_other_folders_are_left_alone(folder, resume):
    folder.path.mkdir(parents=True)
    with pytest.raises(TrainingError, match="exists and is no run; choose another name"):
        folder.check(resume=resume)


def test_two_versions_of_one_run_are_refused(folder):
    finish(folder)
    folder.working.mkdir()
    with pytest.raises(TrainingError, match=r"both .*a and .*a\.partial exist"):
        folder.check(resume=True)


def test_a_complete_run_stays_until_its_continuation_is_done(folder):
    finish(folder)
    folder.begin({"steps": 6})
    assert (folder.path / "COMPLETE").read_text() == "3 steps\n"
    assert folder.current == folder.working
    assert not (folder.working / "COMPLETE").exists()
    folder.complete(6)
    assert not folder.working.exists()
    assert (folder.path / "COMPLETE").read_text() == "6 steps\n"
    assert (folder.path / "command.txt").read_text() == "trimkit train toy\n" * 2


def test_what_was_said_of_the_run_before_is_gone(folder):
    finish(folder)
    (folder.path / FILE).write_text("{}")
    folder.begin({"steps": 6})
    assert not (folder.working / FILE).exists()


def test_what_json_does_not_know_is_null(folder):
    folder.begin({})
    folder.append_row({"step": 1, "loss": math.nan, "kl": [math.inf, 1.0]})
    folder.write_json("results.json", {"train": {"recon": -math.inf}})
    assert (folder.working / "metrics.jsonl").read_text() == '{"step": 1, "loss": null, "kl": [null, 1.0]}\n'
    assert json.loads((folder.working / "results.json").read_text()) == {"train": {"recon": None}}
    assert folder.keep_metrics(1) == [{"step": 1, "loss": None, "kl": [None, 1.0]}]


def test_results_are_not_lost_when_the_name_is_taken_meanwhile(folder):
    folder.begin({})
    folder.path.mkdir()
    with pytest.raises(TrainingError, match=r"has appeared during the run, whose results are in .*a\.partial"):
        folder.complete(3)
    assert (folder.working / "COMPLETE").exists()


def test_metrics_after_the_step_that_is_gone_on_from_are_dropped(folder):
    folder.begin({})
    for step in (1, 2, 3):
        folder.append_row({"step": step, "loss": 1.5})
    with (folder.working / "metrics.jsonl").open("a") as file:
        file.write('{"step": 1, "lo')
    rows = folder.keep_metrics(2)
    assert [row["step"] for row in rows] == [1, 2]
    lines = (folder.working / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == rows


def test_the_given_configuration_is_recorded(tmp_path):
    folder = RunFolder(tmp_path / "a", config={"data": "digits", "method": {"beta": 4.0}})
    folder.begin({"ignored": 1})
    assert yaml.safe_load((folder.working / "config.yaml").read_text()) == {"data": "digits", "method": {"beta": 4.0}}
    assert (folder.working / "command.txt").read_text().startswith("trimkit.train, called from ")


def test_the_environment_names_versions_and_plugins():
    found = environment()
    assert found["versions"]["torch"]
    assert "trimkit" in [plugin["name"] for plugin in found["plugins"]]
    json.dumps(found)
