"""A run that goes on: nothing of the complete one is lost, and no moment of death is a dead end."""

from __future__ import annotations

import json
import shutil
import warnings

import pytest
import torch

from trimkit.errors import CheckpointError, ModelError, TrimkitWarning
from trimkit.methods import load_method
from trimkit.storage import BusyError, find_damage, locked
from trimkit.storage.manifest import signed
from trimkit.training import RunFolder, train
from trimkit.training.loop import Loop

OPTIONS = {"batch_size": 8, "log_every": 1, "checkpoint_every": 2}


@pytest.fixture
def go(toy, data, tmp_path):
    def run(steps: int, resume: bool = True, name: str = "run", **more):
        return train(toy(), data, folder=tmp_path / name, steps=steps, resume=resume, **{**OPTIONS, **more})

    return run


def contents(folder) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def newest(folder):
    return torch.load(sorted((folder / "checkpoints").glob("*.pt"))[-1], weights_only=True)


def killed_at(step: int, monkeypatch) -> None:
    advance = Loop._advance

    def kill(loop: Loop, batch) -> None:
        if loop.step == step:
            raise KeyboardInterrupt
        advance(loop, batch)

    monkeypatch.setattr(Loop, "_advance", kill)


def rewrite(folder, change) -> None:
    """Change the newest checkpoint as somebody would who writes honest hashes."""
    import hashlib
    import io

    path = sorted((folder / "checkpoints").glob("*.json"))[-1]
    state, manifest = torch.load(path.with_suffix(".pt"), weights_only=True), json.loads(path.read_text())
    change(state)
    buffer = io.BytesIO()
    torch.save(state, buffer)
    path.with_suffix(".pt").write_bytes(buffer.getvalue())
    del manifest["manifest_sha256"]
    manifest |= {"bytes": len(buffer.getvalue()), "sha256": hashlib.sha256(buffer.getvalue()).hexdigest()}
    path.write_text(json.dumps(signed(manifest)))


def test_every_file_of_a_run_is_in_its_manifest(go, tmp_path):
    go(4, resume=False)
    files = set(json.loads((tmp_path / "run" / "MANIFEST.json").read_text())["files"])
    assert files == set(contents(tmp_path / "run")) - {"MANIFEST.json"}
    assert find_damage(tmp_path / "run") is None


def test_a_continuation_that_fails_leaves_the_complete_run_as_it_was(go, tmp_path, monkeypatch, same):
    go(4, resume=False)
    before = contents(tmp_path / "run")
    killed_at(7, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        go(10)
    monkeypatch.undo()
    assert contents(tmp_path / "run") == before
    go(10)
    go(10, resume=False, name="whole")
    assert not (tmp_path / "run.partial").exists()
    assert same(newest(tmp_path / "run"), newest(tmp_path / "whole"))
    assert (tmp_path / "run" / "COMPLETE").read_text() == "10 steps\n"
    assert find_damage(tmp_path / "run") is None


def test_a_continuation_with_other_settings_leaves_nothing_behind(go, tmp_path):
    go(4, resume=False)
    before = contents(tmp_path / "run")
    with pytest.raises(CheckpointError, match="seed was 0, is 1"):
        go(6, seed=1)
    assert contents(tmp_path) == {f"run/{name}": content for name, content in before.items()}


def test_a_damaged_checkpoint_of_a_complete_run_is_not_touched(go, tmp_path):
    go(4, resume=False)
    path = tmp_path / "run" / "checkpoints" / "step-00000004.pt"
    path.write_bytes(path.read_bytes()[:-1])
    before = contents(tmp_path / "run")
    with (
        pytest.warns(TrimkitWarning, match=r"step-00000004\.pt is damaged.*going on from step-00000002"),
        pytest.raises(CheckpointError, match="ask for more steps"),
    ):
        go(1)
    assert contents(tmp_path / "run") == before
    with pytest.warns(TrimkitWarning, match=r"step-00000004\.pt is damaged"):
        go(6)


def test_a_run_that_was_killed_before_its_first_checkpoint_begins_at_its_start(go, tmp_path, same):
    RunFolder(tmp_path / "run").begin({})
    with pytest.warns(TrimkitWarning, match=r"run\.partial has no checkpoint yet: .* begins at step 0"):
        go(4)
    go(4, resume=False, name="whole")
    assert same(newest(tmp_path / "run"), newest(tmp_path / "whole"))


def test_a_first_checkpoint_that_was_half_written_is_no_checkpoint(go, tmp_path):
    RunFolder(tmp_path / "run").begin({})
    folder = tmp_path / "run.partial" / "checkpoints"
    folder.mkdir()
    (folder / "step-00000000.pt").write_bytes(b"half")
    with pytest.warns(TrimkitWarning, match="has no checkpoint yet"):
        go(2)


def test_the_mark_that_an_older_version_took_off_is_no_dead_end(go, tmp_path):
    go(4, resume=False)
    (tmp_path / "run" / "COMPLETE").unlink()
    go(6)
    assert (tmp_path / "run" / "COMPLETE").read_text() == "6 steps\n"


@pytest.mark.parametrize("moment", ["marked", "first rename", "second rename", "cleaning"])
def test_a_kill_while_a_run_gets_its_name_is_mended(go, tmp_path, moment):
    go(4, resume=False)
    run, partial, before = tmp_path / "run", tmp_path / "run.partial", tmp_path / ".run.before"
    if moment == "marked":
        run.rename(partial)
    else:
        shutil.copytree(run, before if moment != "cleaning" else tmp_path / ".run.tmp-1")
        if moment == "first rename":
            run.rename(partial)
        (partial if moment == "first rename" else run).joinpath("CONTINUES").write_text("4 steps\n")
    go(6)
    assert (run / "COMPLETE").read_text() == "6 steps\n"
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_run_in_use_is_not_resumed(go, tmp_path):
    go(4, resume=False)
    before = contents(tmp_path / "run")
    with locked(tmp_path / "run"), pytest.raises(BusyError, match="is in use by"):
        go(6)
    assert contents(tmp_path / "run") == before


def test_a_folder_needs_a_name(go):
    for path in (".", "..", "/", "a/.."):
        with pytest.raises(ValueError, match=r"expected a new folder for the run, got"):
            RunFolder(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state.update(optimisers=None),
        lambda state: state.update(averages=None),
        lambda state: state.update(networks=[]),
        lambda state: state.update(nonfinite=3),
        lambda state: state.pop("scale"),
        lambda state: state["optimisers"]["networks"].update(param_groups=[]),
        lambda state: state["optimisers"]["networks"]["param_groups"][0].pop("betas"),
        lambda state: state["optimisers"]["networks"]["state"][0].update(exp_avg=torch.zeros(2)),
    ],
    ids=["optimisers", "averages", "networks", "counts", "missing", "groups", "options", "moments"],
)
def test_content_that_does_not_fit_is_refused_in_one_line(go, tmp_path, change):
    go(4, resume=False)
    rewrite(tmp_path / "run", change)
    with pytest.raises(CheckpointError, match=r"the checkpoint does not fit Toy as it is installed now: .*train anew"):
        go(6)
    assert (tmp_path / "run" / "COMPLETE").exists()


def test_the_state_of_another_step_is_damage(go, tmp_path):
    go(4, resume=False)
    rewrite(tmp_path / "run", lambda state: state.update(step=3))
    with pytest.warns(TrimkitWarning, match=r"expected step 4 in it, got 3; going on from step-00000002"):
        go(6)


def test_damaged_metrics_do_not_stop_a_run_that_goes_on(go, tmp_path):
    go(4, resume=False)
    path = tmp_path / "run" / "metrics.jsonl"
    path.write_bytes(b"\xff" + path.read_bytes())
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        run = go(6)
    messages = [str(warning.message) for warning in said]
    assert any("metrics.jsonl is damaged: 1 of its 8 lines cannot be read" in message for message in messages)
    assert any("the lines that can be read are kept" in message for message in messages)
    assert {row["step"] for row in run.history} == {1, 2, 3, 4, 5, 6}


def test_a_lazy_phase_is_logged_after_a_stop_as_without_one(go, tmp_path):
    go(7, resume=False, name="whole")
    go(3, resume=False)
    run = go(7)
    rows = [json.loads(line) for line in (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()]
    pace = "images_per_second"
    assert [{**row, pace: 0} for row in run.history] == [{**row, pace: 0} for row in rows]


def test_a_checkpoint_without_a_hash_of_its_manifest_is_gone_on_from(go, tmp_path):
    """As format 2 had it."""
    go(4, resume=False)
    for path in (tmp_path / "run" / "checkpoints").glob("*.json"):
        manifest = json.loads(path.read_text())
        del manifest["manifest_sha256"]
        path.write_text(json.dumps({**manifest, "format": 2}))
    rewrite_old = sorted((tmp_path / "run" / "checkpoints").glob("*.pt"))[-1]
    assert torch.load(rewrite_old, weights_only=True)["numbers"]
    assert go(6).steps == 6


def test_a_manifest_of_this_format_without_its_hash_is_damaged(go, tmp_path):
    go(4, resume=False)
    path = sorted((tmp_path / "run" / "checkpoints").glob("*.json"))[-1]
    manifest = json.loads(path.read_text())
    del manifest["manifest_sha256"]
    path.write_text(json.dumps(manifest))
    with pytest.warns(TrimkitWarning, match=r"manifest .*step-00000004\.json is damaged: its sha256"):
        go(6)


def test_a_damaged_file_of_the_method_is_said_by_whoever_loads_it(go, tmp_path):
    go(4, resume=False)
    path = tmp_path / "run" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(
        ModelError, match=r"model\.safetensors is damaged: its sha256 is not .* put it back .*\(--resume\)"
    ):
        load_method(tmp_path / "run")
    for checkpoint in (tmp_path / "run" / "checkpoints").iterdir():  # as after a fit in one go
        checkpoint.unlink()
    with pytest.raises(ModelError, match="put it back from a copy, or make the run again"):
        load_method(tmp_path / "run")


@pytest.mark.parametrize("name", ["results.json", "environment.json", "command.txt", "config.yaml", "COMPLETE"])
def test_a_damaged_file_that_is_not_needed_is_named_by_who_goes_on(go, tmp_path, name):
    go(4, resume=False)
    path = tmp_path / "run" / name
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.warns(TrimkitWarning, match=f"{name} is damaged: .*; the run goes on"):
        assert go(6).steps == 6


def test_a_damaged_older_checkpoint_is_named_by_who_goes_on_from_the_newest(go, tmp_path):
    go(4, resume=False)
    path = tmp_path / "run" / "checkpoints" / "step-00000002.pt"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.warns(TrimkitWarning, match=r"step-00000002\.pt is damaged.*step-00000004\.pt, which is gone on from"):
        go(6)
