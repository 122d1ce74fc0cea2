"""Train 2k ≡ train k, resume, train k: bit for bit, wherever the run stops."""

from __future__ import annotations

import json

import pytest
import torch

import trimkit
from trimkit.errors import CheckpointError, OptionError, TrainingError
from trimkit.training import train

TOTAL = 14
OPTIONS = {"batch_size": 8, "log_every": 1, "checkpoint_every": 100}  # 40 samples: 5 steps an epoch


@pytest.fixture
def guided(toy, data, predictor):
    """Train the toy method around the predictor, with everything random that a run can have."""

    def run(folder, steps: int, *, resume: bool = False, seed: int = 0, **more):
        torch.manual_seed(steps)  # the caller's stream must not matter
        options = {**OPTIONS, **more}
        return train(
            toy(seed=7 if resume else 0),
            data,
            predictor=predictor,
            trim=["l1@z:0.1"],
            folder=folder,
            resume=resume,
            steps=steps,
            seed=seed,
            **options,
        )

    return run


def newest(folder):
    (path,) = sorted((folder / "checkpoints").glob("*.pt"))[-1:]
    return torch.load(path, weights_only=True)


@pytest.mark.parametrize("stop", [7, 9, 10], ids=["mid-epoch", "last batch", "epoch end"])
def test_a_resumed_run_is_an_uninterrupted_one(guided, tmp_path, same, stop):
    guided(tmp_path / "whole", TOTAL)
    guided(tmp_path / "parts", stop)
    run = guided(tmp_path / "parts", TOTAL, resume=True)
    whole, parts = newest(tmp_path / "whole"), newest(tmp_path / "parts")
    assert same(whole, parts)
    assert [row["step"] for row in run.history if row["phase"] == "networks"] == list(range(1, TOTAL + 1))


def test_two_uninterrupted_runs_are_the_same(guided, tmp_path, same):
    guided(tmp_path / "one", 6)
    guided(tmp_path / "two", 6)
    assert same(newest(tmp_path / "one"), newest(tmp_path / "two"))


def test_another_seed_gives_another_run(guided, tmp_path, same):
    guided(tmp_path / "one", 3)
    guided(tmp_path / "two", 3, seed=1)
    assert not same(newest(tmp_path / "one")["networks"], newest(tmp_path / "two")["networks"])


def test_a_killed_run_goes_on_from_its_last_checkpoint(guided, tmp_path, same, monkeypatch):
    from trimkit.training.loop import Loop

    advance = Loop._advance

    def killed(loop: Loop, batch) -> None:
        if loop.step == 11:
            raise KeyboardInterrupt
        advance(loop, batch)

    monkeypatch.setattr(Loop, "_advance", killed)
    with pytest.raises(KeyboardInterrupt):
        guided(tmp_path / "parts", TOTAL, checkpoint_every=4)
    monkeypatch.undo()
    assert (tmp_path / "parts.partial" / "checkpoints" / "step-00000008.pt").exists()
    assert not (tmp_path / "parts").exists()
    guided(tmp_path / "parts", TOTAL, resume=True, checkpoint_every=4)
    guided(tmp_path / "whole", TOTAL)
    assert same(newest(tmp_path / "whole"), newest(tmp_path / "parts"))
    rows = (tmp_path / "parts" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(row)["step"] for row in rows if '"networks"' in row] == list(range(1, TOTAL + 1))


def test_a_run_killed_before_its_first_checkpoint_goes_on_from_its_start(guided, tmp_path, same, monkeypatch):
    from trimkit.training.loop import Loop

    def killed(loop: Loop, batch) -> None:  # not by exec of a string: Python would remember it and exit with 130
        raise KeyboardInterrupt

    monkeypatch.setattr(Loop, "_advance", killed)
    with pytest.raises(KeyboardInterrupt):
        guided(tmp_path / "parts", 5)
    monkeypatch.undo()
    guided(tmp_path / "parts", 5, resume=True)
    guided(tmp_path / "whole", 5)
    assert same(newest(tmp_path / "whole"), newest(tmp_path / "parts"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 1}, "seed was 0, is 1"),
        ({"batch_size": 10}, "batch_size was 8, is 10"),
        ({"clip": 1.0}, "clip was None, is 1.0"),
        ({"weights": {"recon": 2.0}}, "weights.recon was None, is 2.0"),
    ],
)
def test_a_run_is_not_gone_on_with_under_other_settings(guided, tmp_path, change, message):
    guided(tmp_path / "run", 2)
    with pytest.raises(CheckpointError, match=f"is of another run: {message}; resume with the same settings"):
        guided(tmp_path / "run", 4, resume=True, **change)
    assert (tmp_path / "run" / "COMPLETE").exists()


def test_another_methods_checkpoint_is_refused(guided, toy, toy_class, data, tmp_path):
    class Other(toy_class):
        pass

    train(toy(), data, folder=tmp_path / "run", steps=1, **OPTIONS)
    with pytest.raises(CheckpointError, match=r"method was '.*Toy', is '.*Other'"):
        train(toy(kind=Other), data, folder=tmp_path / "run", steps=2, resume=True, **OPTIONS)


def test_networks_that_changed_since_are_refused(toy, toy_class, data, tmp_path):
    train(toy(), data, folder=tmp_path / "run", steps=1, **OPTIONS)
    changed = toy()
    changed.critic = torch.nn.Linear(3, 5)
    with pytest.raises(CheckpointError, match=r"does not fit Toy as it is installed now: .*critic"):
        train(changed, data, folder=tmp_path / "run", steps=2, resume=True, **OPTIONS)


def test_a_finished_run_needs_more_steps(guided, tmp_path):
    guided(tmp_path / "run", 3)
    with pytest.raises(CheckpointError, match="at step 3 already, and 3 are asked for; ask for more steps"):
        guided(tmp_path / "run", 3, resume=True)
    assert (tmp_path / "run" / "COMPLETE").read_text() == "3 steps\n"


def test_there_must_be_something_to_resume(guided, tmp_path):
    with pytest.raises(TrainingError, match=r"there is no run .* to resume"):
        guided(tmp_path / "nothing", 3, resume=True)
    with pytest.raises(OptionError, match="resume needs the folder"):
        guided(None, 3, resume=True)


def trained(case, samples_of, folder, steps: int, **more):
    """The newest state of a run of a registered method; another run's networks would be found by the checkpoint."""
    name, options = case
    torch.manual_seed(0)
    method = trimkit.create("method", name, **options)
    train(method, samples_of(options["shape"]), folder=folder, steps=steps, ema=0.9, **{**OPTIONS, **more})
    return newest(folder)


@pytest.mark.parametrize("stop", [7, 9, 10], ids=["mid-epoch", "last batch", "epoch end"])
def test_every_method_resumes_bit_for_bit(method_case, samples_of, tmp_path, same, stop):
    whole = trained(method_case, samples_of, tmp_path / "whole", 12)
    trained(method_case, samples_of, tmp_path / "parts", stop)
    assert same(whole, trained(method_case, samples_of, tmp_path / "parts", 12, resume=True))


@pytest.mark.slow
@pytest.mark.parametrize("stop", [7, 9, 10], ids=["mid-epoch", "last batch", "epoch end"])
def test_every_method_resumes_bit_for_bit_with_workers(method_case, samples_of, tmp_path, same, stop):
    whole = trained(method_case, samples_of, tmp_path / "whole", 12)
    trained(method_case, samples_of, tmp_path / "parts", stop, workers=2)
    assert same(whole, trained(method_case, samples_of, tmp_path / "parts", 12, resume=True, workers=2))


def test_workers_and_resumption_change_nothing(guided, tmp_path, same):
    guided(tmp_path / "whole", TOTAL, ema=0.9, nonfinite="skip")
    guided(tmp_path / "parts", 9, ema=0.9, nonfinite="skip", workers=2)
    guided(tmp_path / "parts", TOTAL, ema=0.9, nonfinite="skip", workers=2, resume=True)
    assert same(newest(tmp_path / "whole"), newest(tmp_path / "parts"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"accumulate": 2}, "accumulate was 1, is 2"),
        ({"ema": 0.5}, "ema was None, is 0.5"),
        ({"precision": "64"}, "precision was '32', is '64'"),
        ({"nonfinite": "skip"}, "nonfinite was 'raise', is 'skip'"),
    ],
)
def test_the_engines_settings_are_part_of_a_run(toy, data, tmp_path, change, message):
    train(toy(), data, folder=tmp_path / "run", steps=1, **OPTIONS)
    with pytest.raises(CheckpointError, match=f"is of another run: {message}"):
        train(toy(), data, folder=tmp_path / "run", steps=2, resume=True, **OPTIONS, **change)
