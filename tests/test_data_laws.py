"""Laws of sources: moments against closed forms, and distribution functions where they have one."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats

from trimkit.data import checks, laws
from trimkit.errors import OptionError

KURTOSIS = {"gaussian": 0, "laplace": 3, "uniform": -1.2, "hypersecant": 2, "student": 6}

FUNCTIONS = {
    "gaussian": stats.norm(),
    "laplace": stats.laplace(scale=1 / math.sqrt(2)),
    "uniform": stats.uniform(-math.sqrt(3), 2 * math.sqrt(3)),
    "hypersecant": stats.hypsecant(scale=2 / math.pi),
    "student": stats.t(laws.FREEDOM, scale=math.sqrt(1 - 2 / laws.FREEDOM)),
}


def drawn(name: str, shape: tuple[int, ...] = (200_000,), seed: int = 0) -> torch.Tensor:
    return getattr(laws, name)(shape, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", KURTOSIS)
def test_each_law_has_mean_0_and_variance_1_and_the_distribution_it_names(name):
    s = drawn(name)
    assert s.dtype == torch.float64
    assert torch.isfinite(s).all()
    assert float(s.mean()) == pytest.approx(0, abs=0.01)
    assert float(s.var()) == pytest.approx(1, abs=0.03)
    assert FUNCTIONS[name].stats("k") == pytest.approx(KURTOSIS[name])
    assert stats.kstest(s[:20_000].numpy(), FUNCTIONS[name].cdf).pvalue > 0.01


def test_mixed_sources_are_laplace_and_uniform_in_turn():
    s = drawn("mixed", (20_000, 3))
    for column, name in enumerate(("laplace", "uniform", "laplace")):
        assert stats.kstest(s[:, column].numpy(), FUNCTIONS[name].cdf).pvalue > 0.01
    assert s.T.cov().sub(torch.eye(3)).abs().max() < 0.05


@pytest.mark.parametrize("name", [*KURTOSIS, "mixed"])
def test_the_generator_alone_decides(name):
    state = torch.random.get_rng_state()
    assert torch.equal(drawn(name, (5, 2)), drawn(name, (5, 2)))
    assert not torch.equal(drawn(name, (5, 2)), drawn(name, (5, 2), seed=1))
    assert torch.equal(state, torch.random.get_rng_state())
    assert drawn(name, (3, 0, 2)).shape == (3, 0, 2)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (
            lambda: laws.law_of("d", "laplacian", {"laplace": laws.laplace}),
            "no law 'laplacian' of sources. Did you mean",
        ),
        (lambda: checks.at_least("d", 1, n=0), "d: expected n as a whole number ≥ 1, got 0"),
        (lambda: checks.at_least("d", 1, m=1, n=2.0), "expected n as a whole number ≥ 1, got 2.0"),
        (lambda: checks.at_least("d", 0, n=True), "expected n as a whole number ≥ 0, got True"),
        (lambda: checks.numbers("d", 0.5, low=0.1), "expected low as a number ≥ 0.5, got 0.1"),
        (lambda: checks.numbers("d", 0, low=math.nan), "expected low as a number ≥ 0, got nan"),
        (lambda: checks.numbers("d", 0, low=math.inf), "expected low as a number ≥ 0, got inf"),
        (lambda: checks.numbers("d", 0, low="wide"), "expected low as a number ≥ 0, got 'wide'"),
        (lambda: checks.seeded("d", -1), "expected seed as a whole number ≥ 0, got -1"),
    ],
)
def test_options_that_do_not_fit_say_what_would(make, says):
    with pytest.raises(OptionError, match=says):
        make()
