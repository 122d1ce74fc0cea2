import warnings

import numpy as np
import pytest
import sklearn.decomposition
import torch
from scipy.optimize import nnls
from sklearn.datasets import load_digits

import trimkit
from trimkit.errors import DataError, OptionError, ShapeError, TransformError, TrimkitWarning
from trimkit.transforms import NMF, PCA, ZCA, Dictionary
from trimkit.transforms.fitted import active_parts

from .draws import double

DIGITS = torch.from_numpy(load_digits().images / 16)[:400, None]  # (400, 1, 8, 8) in [0, 1]
FITTED = [PCA(5), PCA(), ZCA(), NMF(6)]


@pytest.fixture(scope="module")
def nmf():
    return NMF(6).fit(DIGITS)


def test_principal_components_are_scikit_learns():
    ours, theirs = PCA(5).fit(DIGITS), sklearn.decomposition.PCA(5, svd_solver="full").fit(DIGITS.flatten(1).numpy())
    overlap = (ours.components @ torch.from_numpy(theirs.components_).T).abs()
    assert torch.allclose(overlap, torch.eye(5, dtype=torch.float64), atol=1e-8)
    assert np.allclose(ours.variance, theirs.explained_variance_)
    assert (ours.components.gather(1, ours.components.abs().argmax(1, keepdim=True)) > 0).all()


def test_all_principal_components_give_the_data_back_and_few_leave_a_residual():
    x = DIGITS[:10]
    assert torch.allclose(PCA().fit(DIGITS).inverse(PCA().fit(DIGITS)(x)), x, atol=1e-10)
    pca = PCA(5).fit(DIGITS)
    rest = pca.residual(x, pca(x))
    assert rest.abs().max() > 0.1
    assert (rest.flatten(1) @ pca.components.T).abs().max() < 1e-10


def test_fewer_samples_than_entries_give_fewer_components():
    pca = PCA().fit(double(6, 20))
    assert pca.components.shape == (5, 20)


def test_whitened_data_have_unit_covariance_and_resemble_the_data():
    x = double(4000, 3) @ torch.tensor([[2.0, 0, 0], [1, 1, 0], [0, 0.5, 0.3]], dtype=torch.float64)
    zca = ZCA(epsilon=1e-9).fit(x)
    assert torch.allclose(torch.cov(zca(x).T), torch.eye(3, dtype=torch.float64), atol=1e-5)
    assert torch.allclose(zca.whitening, zca.whitening.T)
    assert torch.allclose(zca.inverse(zca(x)), x, atol=1e-10)


def test_whitening_agrees_with_kornia():
    enhance = pytest.importorskip("kornia.enhance")
    x = double(50, 6)
    mean_variance = float(torch.cov(x.T).diagonal().mean())
    theirs = enhance.ZCAWhitening(eps=1e-3 * mean_variance, unbiased=True).fit(x)
    assert torch.allclose(ZCA(epsilon=1e-3).fit(x)(x), theirs(x), atol=1e-8)


def test_parts_and_weights_are_not_negative_and_weights_are_least_squares(nmf):
    x = DIGITS[:20]
    s = nmf(x)
    assert (s >= -1e-12).all()
    assert (nmf.components >= 0).all()
    assert torch.allclose(nmf.components.norm(dim=1), torch.ones(6, dtype=torch.float64))
    for row, found in zip(x.flatten(1).numpy(), s, strict=True):
        assert np.allclose(found, nnls(nmf.components.T.numpy(), row)[0], atol=1e-9)


def test_parts_reconstruct_as_well_as_scikit_learns(nmf):
    flat = DIGITS.flatten(1).numpy()
    theirs = sklearn.decomposition.NMF(6, init="nndsvda", max_iter=400, random_state=0).fit(flat)
    ours = nmf.residual(DIGITS, nmf(DIGITS)).norm()
    assert ours <= 1.001 * theirs.reconstruction_err_


def test_the_parts_that_are_on_are_found_in_single_precision_too(nmf):
    rows = DIGITS[:50].flatten(1)
    single = active_parts(rows.float(), nmf.components.float())
    assert (single == active_parts(rows, nmf.components)).double().mean() > 0.99


def test_an_unfinished_fit_says_so():
    with pytest.warns(TrimkitWarning, match="not converged after 2 iterations"):
        NMF(6, iterations=2).fit(DIGITS)


@pytest.mark.parametrize("transform", FITTED, ids=lambda t: type(t).__name__)
def test_a_saved_transform_is_the_same_after_loading(transform, tmp_path):
    transform.fit(DIGITS)
    torch.save(transform.state_dict(), tmp_path / "fitted.pt")
    fresh = type(transform)()
    fresh.load_state_dict(torch.load(tmp_path / "fitted.pt", weights_only=True))
    x = DIGITS[:5]
    assert fresh.fitted_size == (1, 8, 8)
    assert all(torch.equal(a, b) for a, b in zip(fresh.buffers(), transform.buffers(), strict=True))
    assert torch.allclose(fresh.inverse(fresh(x), (1, 8, 8)), transform.inverse(transform(x)))


@pytest.mark.parametrize("transform", FITTED, ids=lambda t: type(t).__name__)
def test_it_explains_a_model(transform):
    transform.fit(DIGITS)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10), torch.nn.Tanh()).double()
    result = trimkit.Trim(model, transform)(DIGITS[:3], target=2)
    assert torch.allclose(result.output, model(DIGITS[:3]), atol=1e-10)
    assert result.gap.abs().max() < 1e-8


def test_scores_of_a_fitted_transform_can_be_trained_through():
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10)).double()
    for transform in (PCA(5), ZCA(), NMF(6)):
        _, value = trimkit.TrimPenalty("l1", transform=transform.fit(DIGITS))(model, DIGITS[:4], target=1)
        value.backward()
        assert model[1].weight.grad.abs().sum() > 0
        model.zero_grad()


class TestDictionary:
    def test_it_is_least_squares(self):
        matrix, x = double(3, 12), double(5, 2, 2, 3).flip(0)
        s = Dictionary(matrix)(x)
        theirs = torch.linalg.lstsq(matrix.T, x.flatten(1).T).solution.T
        assert torch.allclose(s, theirs)
        assert Dictionary(matrix).inverse(s, (2, 2, 3)).shape == x.shape
        assert Dictionary(matrix).inverse(s).shape == (5, 12)

    def test_a_basis_gives_the_data_back_and_a_frame_the_shortest_weights(self):
        x = double(5, 4)
        basis, frame = double(4, 4), double(7, 4)
        assert torch.allclose(Dictionary(basis).inverse(Dictionary(basis)(x)), x)
        s = Dictionary(frame)(x)
        assert torch.allclose(s @ frame, x)
        other = s + (torch.eye(7, dtype=torch.float64) - frame @ torch.linalg.pinv(frame))[0]
        assert (other.norm(dim=1) >= s.norm(dim=1)).all()

    def test_it_names_its_patterns(self):
        assert Dictionary([[1.0, 0.0], [0.0, 1.0]]).groups((2,)).names == ("component 1", "component 2")


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: PCA(0), OptionError, "components ≥ 1, got 0"),
        (lambda: ZCA(0), OptionError, "epsilon > 0, got 0"),
        (lambda: PCA()(DIGITS), TransformError, "pca is not fitted; call fit"),
        (lambda: NMF().inverse(double(2, 16)), TransformError, "nmf is not fitted"),
        (lambda: ZCA().groups((1, 8, 8)), TransformError, "zca is not fitted"),
        (
            lambda: PCA().fit(DIGITS)(DIGITS[..., :4]),
            ShapeError,
            r"fitted to samples of size \(1, 8, 8\), got \(1, 8, 4\)",
        ),
        (lambda: PCA(9).fit(double(5, 20)), OptionError, "components ≤ 4 for 5 samples of 20 entries, got 9"),
        (lambda: PCA().fit(double(1, 20)), ShapeError, "at least two samples"),
        (lambda: PCA().fit(torch.ones(3, 4, dtype=torch.int64)), ShapeError, "floating tensor"),
        (lambda: PCA().fit([[1.0]]), ShapeError, "got list"),
        (lambda: PCA().fit(torch.full((3, 4), float("nan"))), DataError, "NaN or infinity"),
        (lambda: ZCA().fit(torch.ones(3, 4)), DataError, "samples that are all alike"),
        (lambda: NMF().fit(-DIGITS), DataError, "data ≥ 0, got negative"),
        (lambda: Dictionary([1.0, 2.0]), OptionError, r"matrix \(k, n\)"),
        (lambda: Dictionary([[float("nan")]]), DataError, "NaN or infinity"),
        (lambda: Dictionary([[1.0, 2.0]])(torch.ones(2, 3)), ShapeError, r"samples of 2 entries, .* got size \(3,\)"),
        (lambda: Dictionary([[1.0, 2.0]]).inverse(torch.ones(2, 3)), ShapeError, r"\(N, 1\), got \(2, 3\)"),
        (lambda: Dictionary([[1.0, 2.0]])(torch.ones(2, 2, dtype=torch.int64)), ShapeError, "got torch.int64"),
    ],
)
def test_what_does_not_fit_says_what_would(make, error, says):
    with warnings.catch_warnings(), pytest.raises(error, match=says):
        make()
