import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trimkit.data import FactorSampler, load
from trimkit.data.toy import NAMES, SIZES, mixed, perfect_code, toy_factors
from trimkit.errors import DataError, OptionError

GRID = torch.cartesian_prod(torch.arange(3), torch.arange(4), torch.arange(5))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


tables = st.integers(1, 4).flatmap(
    lambda k: st.lists(st.lists(st.integers(0, 6), min_size=k, max_size=k), min_size=1, max_size=20)
)


@given(tables, st.integers(0, 2**31))
def test_samples_that_share_a_value_do_so_in_any_table(table, seed):
    factors = torch.tensor(table)
    sampler = FactorSampler(factors)
    for k in range(factors.shape[1]):
        rows = sampler.sharing(k, 7, seeded(seed))
        assert len(factors[rows, k].unique()) == 1
        left, right = sampler.pairs_sharing(k, 7, seeded(seed))
        assert torch.equal(factors[left, k], factors[right, k])
        value = int(factors[-1, k])
        assert (factors[sampler.sharing(k, 3, seeded(seed), value), k] == value).all()


def test_every_row_of_a_value_is_drawn_alike():
    factors = torch.tensor([[2], [0], [2], [2], [0]])
    drawn = FactorSampler(factors).sharing(0, 30_000, seeded(), value=2)
    shares = torch.bincount(drawn, minlength=5) / 30_000
    assert shares.tolist() == pytest.approx([1 / 3, 0, 1 / 3, 1 / 3, 0], abs=0.01)


def test_on_a_grid_values_are_uniform_and_the_other_factors_independent():
    sampler = FactorSampler(GRID)
    values = [int(GRID[sampler.sharing(1, 1, seeded(i))[0], 1]) for i in range(4000)]
    assert (torch.bincount(torch.tensor(values)) / 4000).tolist() == pytest.approx([0.25] * 4, abs=0.03)
    left, right = sampler.pairs_sharing(1, 60_000, seeded())
    for k, size in ((0, 3), (2, 5)):
        joint = torch.bincount(GRID[left, k] * size + GRID[right, k], minlength=size**2) / 60_000
        assert joint.tolist() == pytest.approx([1 / size**2] * size**2, abs=0.01)
    assert (torch.bincount(left, minlength=60) / 60_000).tolist() == pytest.approx([1 / 60] * 60, abs=0.004)


def test_a_value_is_shared_as_often_as_it_occurs():
    factors = torch.tensor([[0]] * 9 + [[1]])
    sampler = FactorSampler(factors)
    rare = sum(int(factors[sampler.sharing(0, 1, seeded(i))[0], 0]) for i in range(3000)) / 3000
    assert rare == pytest.approx(0.1, abs=0.02)
    assert sampler.sharing(0, 4, seeded(), value=1).tolist() == [9] * 4


def test_draws_depend_on_the_generator_alone():
    one, other = FactorSampler(GRID), FactorSampler(GRID.to(torch.uint8))
    one.pairs_sharing(0, 5, seeded(1))
    for draw in (
        lambda s: s.sharing(2, 9, seeded(3)),
        lambda s: s.sample(9, seeded(3)),
        lambda s: torch.cat(s.pairs_sharing(2, 9, seeded(3))),
    ):
        assert torch.equal(draw(one), draw(other))
    assert one.sample(1000, seeded()).unique().numel() == 60
    assert (len(one), one.sizes) == (60, (3, 4, 5))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: FactorSampler(GRID.float()), r"integers \(N, K\), N and K ≥ 1, got torch.float32 \(60, 3\)"),
        (lambda: FactorSampler(GRID[:0]), r"got torch.int64 \(0, 3\)"),
        (lambda: FactorSampler(GRID[:, :0]), r"got torch.int64 \(60, 0\)"),
        (lambda: FactorSampler(GRID - 1), "from 0, got -1"),
        (lambda: FactorSampler(GRID).sharing(3, 4, seeded()), "0 … 2, got 3"),
        (lambda: FactorSampler(GRID).pairs_sharing(-1, 4, seeded()), "0 … 2, got -1"),
        (lambda: FactorSampler(GRID).sharing(0, 0, seeded()), "≥ 1, got 0"),
        (lambda: FactorSampler(GRID).sample(0, seeded()), "≥ 1, got 0"),
        (lambda: FactorSampler(GRID).sharing(0, 4, seeded(), value=3), "no sample has the value 3"),
        (lambda: FactorSampler(GRID).sharing(0, 4, seeded(), value=-1), "no sample has the value -1"),
        (lambda: FactorSampler(2 * GRID).sharing(0, 4, seeded(), value=1), "no sample has the value 1"),
    ],
)
def test_what_cannot_be_drawn_is_refused(make, says):
    with pytest.raises(DataError, match=says):
        make()


@pytest.mark.parametrize("mixing", ["smooth", "linear"])
def test_the_toy_is_what_its_docstring_says(mixing):
    data = toy_factors("all", mixing)
    assert torch.equal(data.factors, torch.cartesian_prod(*(torch.arange(n) for n in SIZES)))
    assert data.factor_names == NAMES
    assert data.factor_sizes == SIZES
    code = perfect_code(data.factors)
    assert code.mean(0).abs().max() < 1e-12
    assert torch.allclose(code.T @ code / len(code), torch.eye(4, dtype=torch.float64), atol=1e-12)
    assert torch.allclose(data.x.double(), mixed(code, mixing), atol=1e-7)
    assert float((data.x - 0.5).abs().max()) == pytest.approx(0.5)
    assert len(load(f"toy-factors:mixing={mixing}", "train")) == 1080
    assert len(load(f"toy-factors:mixing={mixing}", "test")) == 120


def test_the_mixing_is_injective_and_linear_only_where_it_says_so():
    code = perfect_code(toy_factors("all").factors)
    for mixing in ("linear", "smooth"):
        x = mixed(code, mixing)
        centred = x - x.mean(0)
        strength = torch.linalg.svdvals(centred)
        assert int((strength > 1e-9 * strength[0]).sum()) == 4  # both lie in the span of A's four columns
        fitted = code @ torch.linalg.lstsq(code, centred).solution
        error = float((fitted - centred).square().sum() / centred.square().sum())
        assert (error < 1e-20) == (mixing == "linear")
        jacobian = torch.func.vmap(torch.func.jacrev(lambda c, m=mixing: mixed(c[None], m)[0]))(code[::50])
        least = torch.linalg.svdvals(jacobian)[:, -1] / torch.linalg.svdvals(jacobian)[:, 0]
        assert least.min() > 0.1  # slopes lie in [0.2, 1.8], so directions are never lost


def test_the_toy_is_seeded():
    assert toy_factors("all").sha256 == toy_factors("all").sha256
    assert toy_factors("all").sha256 != toy_factors("all", seed=1).sha256
    with pytest.raises(OptionError, match="'smooth' or 'linear', got 'cubic'"):
        load("toy-factors:mixing=cubic")
    with pytest.raises(DataError, match="'train', 'test' or 'all'"):
        toy_factors("valid")
