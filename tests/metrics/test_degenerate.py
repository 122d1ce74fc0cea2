"""What no metric says anything of: one factor, one code; and codes far from 0, or in units far apart."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import trimkit
from trimkit.data import FactorSampler, dataset_of
from trimkit.errors import TrimkitWarning
from trimkit.metrics import disentanglement, independence

RNG = np.random.default_rng(0)
NOISE = RNG.standard_normal((400, 3))
ONE = RNG.integers(0, 4, (400, 1))
SEVERAL = RNG.integers(0, 4, (400, 3))
BY_DEFINITION = {"dci_disentanglement", "modularity", "factor_vae_score", "beta_vae_score"}


@pytest.mark.parametrize("factors", [ONE, np.hstack([ONE, np.zeros_like(ONE)])])
def test_what_is_1_by_definition_is_left_out_where_one_factor_varies(factors):
    named = {"draws": 0}
    for results in (
        disentanglement.report(NOISE, factors, **named),
        disentanglement.evaluate(NOISE, FactorSampler(torch.from_numpy(factors)), **named),
    ):
        assert not BY_DEFINITION & set(results)
        assert {"mutual_information_gap", "dci_completeness", "dci_informativeness", "sap", "irs"} <= set(results)


@pytest.mark.parametrize("score", ["dci", "modularity", "factor_vae_score", "beta_vae_score"])
def test_those_who_ask_for_one_of_them_are_told(score):
    votes = score.endswith("score")
    factors = FactorSampler(torch.from_numpy(ONE)) if votes else ONE
    with pytest.warns(TrimkitWarning, match="is 1 for everything, noise too, where there is one factor that varies"):
        getattr(disentanglement, score)(NOISE, factors, draws=0)


def test_completeness_says_nothing_of_one_code():
    assert "dci_completeness" not in disentanglement.report(NOISE[:, :1], SEVERAL, draws=0)
    with pytest.warns(TrimkitWarning, match="completeness is 1 for everything, noise too, where there is one code"):
        disentanglement.dci(NOISE[:, :1], SEVERAL, draws=0)


def test_an_evaluation_says_what_is_not_applicable():
    data = dataset_of("one", NOISE, factors=np.hstack([ONE, np.zeros_like(ONE)]))
    evaluation = trimkit.evaluate(lambda x: x[:, :1], data, samples=200)
    assert not BY_DEFINITION & set(evaluation.metrics)
    notes = " | ".join(evaluation.notes)
    assert "one factor of one varies: votes need several, and are left out" in notes
    assert "not applicable: dci_disentanglement and modularity" in notes
    assert "not applicable: dci_completeness, which is 1 where there is one code" in notes


def test_an_evaluation_says_that_codes_are_too_small_for_votes():
    data = dataset_of("small", SEVERAL.astype(np.float32), factors=SEVERAL)
    small, usual = (trimkit.evaluate(lambda x, by=by: x * by, data, samples=200) for by in (1e-4, 1))
    assert any("spread is below 0.05" in note for note in small.notes)
    assert not any("spread is below" in note for note in usual.notes)


@pytest.mark.parametrize(("scale", "offset"), [(1, 1e8), (1e-8, 0), (1e8, 1e16), (1e-8, 1e-2), (1, -1e8)])
def test_dci_does_not_depend_on_the_unit_and_origin_of_codes(scale, offset):
    plain = disentanglement.dci(SEVERAL.astype(float), SEVERAL, draws=0)
    moved = disentanglement.dci(SEVERAL * scale + offset, SEVERAL, draws=0)
    assert [result.value for result in moved] == pytest.approx([result.value for result in plain])
    assert plain.informativeness.value > 0.99


@pytest.mark.parametrize("offset", [20, -1e3, 1e8])
def test_sap_of_codes_far_from_zero_is_that_of_the_same_codes_there(offset):
    codes = SEVERAL - SEVERAL.mean(0)
    near, far = (disentanglement.sap(codes + offset, SEVERAL, draws=0) for offset in (0.0, offset))
    assert far.value == pytest.approx(near.value, abs=0.01)
    assert near.value > 0.2
    assert far.protocol["centred"] == [0, 1, 2]
    assert "centred" not in near.protocol


def test_baselines_find_sources_whose_entries_have_units_far_apart():
    sources = RNG.laplace(size=(2000, 3))
    mixed = sources @ np.array([[1.0, 0.5, 0.2], [0.1, 1.0, 0.3], [0.4, 0.2, 1.0]])
    plain = independence.mcc_baselines(mixed, sources, draws=0)["fastica"].value
    apart = independence.mcc_baselines(mixed * np.array([1e8, 1.0, 1e-8]), sources, draws=0)["fastica"].value
    assert plain > 0.98
    assert apart == pytest.approx(plain, abs=0.01)
