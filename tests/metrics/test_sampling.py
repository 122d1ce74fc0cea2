"""Scores that hold a factor fixed, and the ranking of models, against loops written from their definitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from sklearn.linear_model import Lasso, LogisticRegression

from trimkit.data import FactorSampler
from trimkit.errors import DataError, OptionError, ShapeError, TrimkitWarning, UnknownNameError
from trimkit.metrics import disentanglement as metrics
from trimkit.metrics.bootstrap import generator, torch_generator
from trimkit.metrics.disentanglement import Groups
from trimkit.metrics.disentanglement.udr import lasso

FACTORS = torch.cartesian_prod(torch.arange(3), torch.arange(4), torch.arange(5))
NOISE = torch.randn(60, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
CODES = FACTORS.double() @ torch.tensor([[1, 0.5, 0.4], [0.7, 1, 0.3], [0.6, 0.2, 1]]).double() + NOISE
FEW = Groups(60, 40, size=8, variance=100)


def draw(purpose: str) -> tuple[FactorSampler, np.ndarray, torch.Generator]:
    """What a score draws from first: which factor each group holds fixed."""
    of = generator(0, purpose)
    return FactorSampler(FACTORS), of.integers(3, size=FEW.train + FEW.test), torch_generator(of)


def test_the_factor_vae_score_by_counting_votes():
    sampler, fixed, draws = draw("factor_vae_score")
    variances = CODES[sampler.sample(FEW.variance, draws)].var(0)
    votes = [int((CODES[sampler.sharing(int(k), 8, draws)].var(0) / variances).argmin()) for k in fixed]
    table = np.zeros((3, 3), int)
    for d, k in zip(votes[:60], fixed[:60], strict=True):
        table[d, k] += 1
    right = [table[d].argmax() == k for d, k in zip(votes[60:], fixed[60:], strict=True)]
    result = metrics.factor_vae_score(CODES, sampler, protocol=FEW)
    assert result.parts["votes"] == table.tolist()
    assert result.value == np.mean(right)
    for k in range(3):
        asked = [r for r, f in zip(right, fixed[60:], strict=True) if f == k]
        assert result.parts["per_factor"][str(k)] == pytest.approx(np.mean(asked))
    assert result.interval[0] < result.value < result.interval[1]


def test_the_beta_vae_score_by_comparing_pairs():
    sampler, shared, draws = draw("beta_vae_score")
    pairs = [sampler.pairs_sharing(int(k), 8, draws) for k in shared]
    features = np.stack([(CODES[a] - CODES[b]).abs().mean(0).numpy() for a, b in pairs])
    model = LogisticRegression().fit(features[:60], shared[:60])
    result = metrics.beta_vae_score(CODES, sampler, protocol=FEW)
    assert result.value == pytest.approx(model.score(features[60:], shared[60:]))
    assert result.parts["train"] == pytest.approx(model.score(features[:60], shared[:60]))


@pytest.mark.parametrize("score", [metrics.factor_vae_score, metrics.beta_vae_score])
def test_an_encoder_is_asked_once_for_each_sample_and_gives_what_its_codes_give(score):
    asked: list[int] = []

    def encode(numbers: torch.Tensor) -> torch.Tensor:
        asked.extend(numbers.tolist())
        return CODES[numbers].requires_grad_()

    found = score(encode, FactorSampler(FACTORS), protocol=FEW)
    assert found == score(CODES.numpy(), FactorSampler(FACTORS), protocol=FEW)
    assert len(asked) == len(set(asked)) == len(FACTORS)
    assert found != score(CODES, FactorSampler(FACTORS), protocol=FEW, seed=1)


def test_a_perfect_code_gets_every_vote_and_noise_those_of_chance():
    sampler = FactorSampler(FACTORS)
    perfect, noise = FACTORS.double(), torch.randn(60, 3, generator=torch.Generator().manual_seed(0))
    assert metrics.factor_vae_score(perfect, sampler, protocol=FEW).value == 1
    assert metrics.beta_vae_score(perfect, sampler, protocol=Groups(200, 100, 64)).value == 1
    assert metrics.factor_vae_score(noise, sampler, protocol=FEW).value < 0.7
    scaled = metrics.factor_vae_score(perfect[:, [2, 0, 1]] * torch.tensor([1, 8.0, 2]), sampler, protocol=FEW)
    assert scaled.value == 1


def test_dead_codes_have_no_vote_and_constant_factors_are_not_asked():
    sampler = FactorSampler(torch.hstack([torch.zeros(60, 1, dtype=torch.int64), FACTORS]))
    dead = torch.hstack([CODES, torch.full((60, 1), 0.1), 0.01 * CODES[:, :1]])
    result = metrics.factor_vae_score(dead, sampler, protocol=FEW, names=["colour", "a", "b", "c"])
    assert result.parts["active"] == [0, 1, 2]
    assert result.value == metrics.factor_vae_score(CODES, FactorSampler(FACTORS), protocol=FEW).value
    assert list(result.parts["per_factor"]) == ["a", "b", "c"]
    for code in (torch.full((60, 2), 0.1), 0.01 * CODES):
        nothing = metrics.factor_vae_score(code, sampler, protocol=FEW)
        assert (nothing.value, nothing.interval, nothing.parts["train"], nothing.parts["active"]) == (0, (0, 0), 0, [])
    kept = metrics.factor_vae_score(dead, sampler, protocol=FEW, dead=0)
    assert kept.parts["active"] == [0, 1, 2, 4]  # the constant one has no variance to compare with
    one = FactorSampler(FACTORS[:, :1])
    with pytest.warns(TrimkitWarning, match="the BetaVAE score is 1 for everything"):
        assert metrics.beta_vae_score(CODES, one, protocol=FEW).value == 1
    with pytest.warns(TrimkitWarning, match="the FactorVAE score is 1 for everything"):
        assert metrics.factor_vae_score(CODES, one, protocol=FEW).value == 1


@pytest.mark.parametrize(
    ("call", "error", "told"),
    [
        (
            lambda s: metrics.factor_vae_score(CODES, s, protocol="dlip"),
            UnknownNameError,
            "Did you mean 'dlib'",
        ),
        (
            lambda s: metrics.factor_vae_score(CODES, s, protocol=Groups(0, 1)),
            OptionError,
            "at least one group",
        ),
        (lambda s: metrics.factor_vae_score(CODES, s, protocol=FEW, dead=-1), OptionError, "deviation ≥ 0"),
        (lambda s: metrics.beta_vae_score(CODES[:9], s, protocol=FEW), ShapeError, "one for each sample .* got 9"),
        (lambda s: metrics.beta_vae_score(CODES * torch.nan, s, protocol=FEW), DataError, "NaN or infinity"),
        (
            lambda s: metrics.beta_vae_score(lambda n: CODES[:1], s, protocol=FEW),
            ShapeError,
            "one code for each",
        ),
        (
            lambda s: metrics.beta_vae_score(CODES, s, protocol=FEW, names=["a"]),
            OptionError,
            "each of 3 factors",
        ),
        (
            lambda s: metrics.evaluate(CODES, s, samples=19),
            OptionError,
            "samples: expected at least 20, got 19",
        ),
        (
            lambda s: metrics.beta_vae_score(CODES, FactorSampler(FACTORS[:5, :1])),
            DataError,
            "each of 1 has one value",
        ),
    ],
)
def test_what_does_not_fit_is_refused(call, error, told):
    with pytest.raises(error, match=told):
        call(FactorSampler(FACTORS))


def test_evaluate_adds_the_scores_to_the_report_of_the_same_rows():
    sampler, names = FactorSampler(FACTORS), ["a", "b", "c"]
    found = metrics.evaluate(CODES, sampler, samples=40, names=names, draws=3)
    rows = generator(0, "evaluate").permutation(60)[:40]
    report = metrics.report(CODES[rows], FACTORS[rows], names=names, draws=3)
    assert {name: found[name] for name in report} == report
    assert set(found) - set(report) == {"factor_vae_score", "beta_vae_score"}


def models(seed: int = 0) -> list[np.ndarray]:
    """Codes of three models of the same five sources, more and more mixed."""
    g = np.random.default_rng(seed)
    sources = g.standard_normal((500, 5))
    return [(sources @ (a * g.standard_normal((5, 5)) + np.eye(5)))[:, g.permutation(5)] for a in (0.0, 0.2, 0.6)]


def relative_strength(matrix) -> float:
    """½ [mean_b max_a R²/Σ_a R + mean_a max_b R²/Σ_b R], entry by entry."""
    each = [[max(row) ** 2 / sum(row) if sum(row) > 0 else 0 for row in rows] for rows in (matrix, matrix.T)]
    return (np.mean(each[0]) + np.mean(each[1])) / 2


@pytest.mark.parametrize("relation", ["lasso", "spearman"])
def test_ranking_by_comparing_all_pairs(relation):
    codes, kl = models(), [np.array([1, 1, 0.001, 1, 1]), np.ones(5), np.array([0, 1, 1, 1, 0.0])]
    result = metrics.udr(codes, kl, relation=relation, draws=20)
    kept = [((z - z.mean(0)) / z.std(0))[:, k > 0.01] for z, k in zip(codes, kl, strict=True)]
    pairs = np.zeros((3, 3))
    for i, a in enumerate(kept):
        for j, b in enumerate(kept):
            if i == j:
                continue
            if relation == "lasso":
                r = np.abs(Lasso(alpha=0.1, tol=1e-12, max_iter=100_000).fit(a, b).coef_).T
            else:
                r = np.array([[abs(spearmanr(x, y)[0]) for y in b.T] for x in a.T])
            pairs[i, j] = relative_strength(r)
    assert np.array(result.parts["pairs"]) == pytest.approx(pairs, abs=1e-6)
    expected = [np.median([pairs[i, j] for i in range(3) if i != j]) for j in range(3)]
    assert result.parts["per_model"] == pytest.approx(expected, abs=1e-6)
    assert result.interval[0] <= result.value <= result.interval[1]


def test_models_that_agree_up_to_order_and_sign_rank_first():
    one = models()[0]
    kl = [np.ones(5)] * 2
    same = metrics.udr([one, -one[:, ::-1]], kl, relation="spearman", draws=0).value
    other = metrics.udr([one, models()[2]], kl, relation="spearman", draws=0).value
    assert other < same
    assert metrics.udr([one, one], [np.zeros(5), np.ones(5)]).value == 0  # a model without informative codes
    flat = np.full((500, 2), 0.1)
    assert metrics.udr([flat, flat], [np.ones(2)] * 2, draws=2).value == 0


def test_lasso_of_uncorrelated_codes_shrinks_each_correlation():
    targets = np.array([[[0.5, -0.3], [0.05, 0.9]]])
    assert lasso(np.eye(2)[None], targets)[0] == pytest.approx(np.array([[0.4, -0.2], [0, 0.8]]))


@pytest.mark.parametrize(
    ("codes", "kl", "error", "told"),
    [
        (models()[:1], [np.ones(5)], OptionError, "at least two models, got 1 and 1"),
        (models()[:2], [np.ones(5), np.ones(4)], ShapeError, "KL of model 1: expected one number for each of 5"),
        ([models()[0], models()[1][:40]], [np.ones(5)] * 2, ShapeError, "those of the same samples"),
    ],
)
def test_models_that_do_not_fit_are_refused(codes, kl, error, told):
    with pytest.raises(error, match=told):
        metrics.udr(codes, kl)
    with pytest.raises(UnknownNameError, match="Did you mean 'spearman'"):
        metrics.udr(models(), [np.ones(5)] * 3, relation="spearmen")
