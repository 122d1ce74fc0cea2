"""Splitting and absorption of known concepts, on dictionaries whose numbers are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from trimkit_sae.concepts import describe_concepts, make_concepts, split_features

import trimkit
from trimkit.cli import main
from trimkit.data import Dataset

N = 4000
"""Vectors, of which the first half is for probes; each half repeats the same pattern, so that shares are exact."""

TRAIN = np.arange(N) < N // 2


def pattern(share):
    """A concept in every second vector, and which of those that hold it are of a share of them: (N,) flags each."""
    within = np.arange(N) % (N // 2)
    held = within % 2 == 0
    return held, held & ((within // 2) % 100 < 100 * share)


def features(*flags):
    """Features that are 1 where a flag is, and 0 elsewhere."""
    return torch.as_tensor(np.stack(flags, 1)).double()


def described(z, directions, held):
    x = z @ directions
    concepts = make_concepts(x, torch.as_tensor(held)[:, None].long(), ("a",), TRAIN)
    return describe_concepts(z, directions, [c for c in concepts if c.name == "a 1"], TRAIN)


def test_a_concept_with_a_feature_of_its_own_needs_one_and_is_not_absorbed():
    held, _ = pattern(0)
    other = np.random.default_rng(0).random(N) < 0.5
    found = described(features(held, other), torch.eye(2, dtype=torch.float64), held)
    assert found["features_per_concept"].value == 1
    assert found["absorption"].value == 0
    assert found["features_per_concept"].parts["f1"]["a 1"][0] == 1


@pytest.mark.parametrize(("parts", "expected"), [(2, [2 / 3, 1.0]), (4, [0.4, 2 / 3, 6 / 7, 1.0])])
def test_f1_by_features_of_a_split_concept_is_that_of_its_share(parts, expected):
    held, _ = pattern(0)
    number = np.arange(N) // 2 % parts
    split = [held & (number == part) for part in range(parts)]
    never = np.zeros(N, dtype=bool)
    needed, scores = split_features(features(*split, never).numpy(), held, TRAIN)
    assert sorted(needed) == list(range(parts))
    assert scores[:parts] == pytest.approx(expected)


@pytest.mark.parametrize("share", [0.02, 0.05])
def test_what_a_more_special_feature_has_absorbed_is_its_share(share):
    held, special = pattern(share)
    a, b, other = torch.eye(3, dtype=torch.float64)
    directions = torch.stack([a, (a + b) / 2**0.5, other])
    apart = np.random.default_rng(0).random(N) < 0.5
    z = features(held & ~special, special, apart) * torch.tensor([1.0, 2**0.5, 1.0], dtype=torch.float64)
    found = described(z, directions, held)
    assert found["features_per_concept"].value == 1
    assert found["absorption"].value == pytest.approx(share)


def test_a_feature_that_is_silent_without_another_in_its_place_has_not_been_absorbed():
    held, missed = pattern(0.05)
    a, other = torch.eye(2, dtype=torch.float64)
    z = features(held & ~missed, missed)
    concepts = make_concepts(
        features(held, missed) @ torch.stack([a, other]), torch.as_tensor(held)[:, None].long(), ("a",), TRAIN
    )
    found = describe_concepts(z, torch.stack([a, other]), concepts[1:], TRAIN)
    assert found["absorption"].value == 0


def test_values_and_quarters_are_concepts_and_rare_ones_are_none():
    x = torch.randn(400, 3, generator=torch.Generator().manual_seed(0))
    factors = torch.stack([torch.arange(400) % 2, torch.arange(400) % 40, (torch.arange(400) == 7).long()], 1)
    concepts = make_concepts(x, factors, ("even", "place", "rare"), np.arange(400) < 200)
    assert [c.name for c in concepts] == ["even 0", "even 1", *(f"place quarter {q}" for q in range(4))]
    assert all(float(c.direction.norm()) == pytest.approx(1) for c in concepts)
    assert describe_concepts(x, torch.eye(3), [], np.arange(400) < 200) == {}


def test_evaluate_gives_both_beside_dictionaries_that_were_not_trained(planted):
    directions, x = planted
    y = (x @ directions[0] > 0.5).long()
    method = trimkit.create("method", "topk-sae", shape=(20,), features=80, k=3, learning_rate=5e-3)
    trimkit.train(method, x, steps=300, batch_size=256)
    data = Dataset("planted", x, y, classes=("without", "with"))
    found = trimkit.evaluate(method, data, samples=2000, baselines=True)
    for metrics in (found.metrics, *found.baselines.values()):
        assert metrics["features_per_concept"].value >= 1
        assert 0 <= metrics["absorption"].value <= 1
    f1 = {name: metrics["features_per_concept"].parts["f1"] for name, metrics in found.baselines.items()}
    assert found.metrics["features_per_concept"].parts["f1"]["label 1"][0] > f1["random"]["label 1"][0]


def test_from_the_command_line_they_stand_in_the_table(tmp_path, capsys):
    x = torch.randn(300, 6, generator=torch.Generator().manual_seed(0))
    np.savez(tmp_path / "rows.npz", x=x.numpy(), y=(x[:, 0] > 0).long().numpy())
    method = trimkit.create("method", "topk-sae", shape=(6,), features=12, k=2)
    trimkit.train(method, str(tmp_path / "rows.npz"), folder=tmp_path / "run", steps=5, batch_size=50)
    assert main(["evaluate", str(tmp_path / "run"), "--data", str(tmp_path / "rows.npz"), "--baselines"]) == 0
    shown = capsys.readouterr().out
    assert "features_per_concept" in shown
    assert "absorption" in shown
