"""Runs that are resumed from folders, and with functions, that are not what they were."""

from __future__ import annotations

import shutil
import warnings
from functools import partial

import pytest

from trimkit.errors import CheckpointError, TrimkitWarning
from trimkit.training import train

OPTIONS = {"batch_size": 8, "log_every": 1, "checkpoint_every": 2}


@pytest.fixture
def go(toy, data, tmp_path):
    def run(steps: int, name: str = "run", **more):
        return train(toy(), data, folder=tmp_path / name, steps=steps, **{**OPTIONS, **more})

    return run


def contents(folder) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_complete_run_without_checkpoints_is_never_begun_anew(go, tmp_path):
    go(4)
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    before = contents(tmp_path / "run")
    with pytest.raises(CheckpointError, match=r"complete and has no checkpoints any more.*: --init-from .*/run"):
        go(6, resume=True)
    assert contents(tmp_path / "run") == before
    assert not (tmp_path / "run.partial").exists()
    assert go(2, "next", init_from=tmp_path / "run").steps == 2


def test_a_run_behind_a_link_goes_on_there(go, tmp_path):
    go(4)
    (tmp_path / "link").symlink_to("run")
    assert go(6, "link", resume=True).folder == (tmp_path / "run").resolve()
    assert (tmp_path / "link").is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "run"]
    assert (tmp_path / "link" / "COMPLETE").read_text() == "6 steps\n"


def test_a_link_to_nothing_gets_its_run(go, tmp_path):
    (tmp_path / "link").symlink_to("elsewhere")
    go(2, "link")
    assert (tmp_path / "elsewhere" / "COMPLETE").is_file()
    assert (tmp_path / "link").is_symlink()


def test_another_function_of_the_same_name_is_another_run(go):
    go(4, weights={"recon": lambda step: 1.0})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        go(6, weights={"recon": lambda step: 1.0}, resume=True)
    with pytest.raises(CheckpointError, match=r"is of another run: weights\.recon was '.*<lambda> [0-9a-f]{8}', is '"):
        go(8, weights={"recon": lambda step: 2.0}, resume=True)


def ramp(end):
    return lambda step: min(1.0, step / end)


def level(step, height):
    return height


@pytest.mark.parametrize("make", [ramp, lambda height: partial(level, height=height)], ids=["closure", "partial"])
def test_a_function_that_is_made_with_another_number_is_another_run(go, make):
    go(4, weights={"recon": make(2.0)})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        go(6, weights={"recon": make(2.0)}, resume=True)
    with pytest.raises(CheckpointError, match=r"is of another run: weights\.recon"):
        go(8, weights={"recon": make(3.0)}, resume=True)


def test_weights_of_a_run_without_hashes_are_taken_with_a_warning(go, tmp_path):
    go(4)
    (tmp_path / "run" / "MANIFEST.json").unlink()
    with pytest.warns(
        TrimkitWarning, match=r"run/MANIFEST\.json is missing, so that no file of the run is held against"
    ):
        go(2, "next", init_from=tmp_path / "run")
