"""ICA that a predictor takes part in: its objective by brute force, its invariances and options."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from trimkit_ica.guided import TrimICA, unbiased_contrast

import trimkit
from trimkit.data.laws import random_rotation
from trimkit.errors import DataError, OptionError, ShapeError, TrainingError
from trimkit.methods import Batch, load_method
from trimkit.metrics.independence.log_cosh import GAUSSIAN_LOG_COSH, contrast, log_cosh
from trimkit.penalties import hoyer, l1

from .draws import generator
from .guided_cases import K, P, classifier, samples, sources

START = torch.Generator()


def prepared(x: torch.Tensor, components: int = K, seed: int = 0, **options) -> TrimICA:
    method = TrimICA(tuple(x.shape[1:]), components, **{"start": "random", **options})
    method.prepare(x, None, generator(seed))
    return method


def at_some_rotations(x: torch.Tensor, number: int = 3) -> list[TrimICA]:
    return [prepared(x, seed=seed) for seed in range(number)]


def test_the_contrast_is_the_mean_over_pairs_of_different_samples():
    s = sources(7, 3)
    u = log_cosh(s) - GAUSSIAN_LOG_COSH
    pairs = [u[i] * u[j] for i, j in itertools.permutations(range(7), 2)]
    torch.testing.assert_close(unbiased_contrast(s), torch.stack(pairs).mean(0))


def test_the_contrast_of_batches_is_that_of_all_samples_in_the_mean():
    s = sources(12, 3)
    batches = [unbiased_contrast(s[list(rows)]) for rows in itertools.combinations(range(12), 4)]
    torch.testing.assert_close(torch.stack(batches).mean(0), unbiased_contrast(s))
    biased = torch.stack([contrast(s[list(rows)]) for rows in itertools.combinations(range(12), 4)]).mean(0)
    assert bool((biased > unbiased_contrast(s) + 0.01).all())


def test_the_contrast_is_that_of_the_unmixing_for_many_samples():
    s = sources(20_000, 3)
    torch.testing.assert_close(unbiased_contrast(s), contrast(s), rtol=0, atol=1e-3)
    with pytest.raises(ShapeError, match="expected at least two samples a batch"):
        unbiased_contrast(s[:1])


def test_the_loss_is_minus_the_negentropy_of_the_components():
    x = samples()
    method = prepared(x)
    result = method.loss(Batch(x[:50]), START, 0)
    s = method.encode(x[:50]).mean
    assert result.terms.keys() == {"negentropy"}
    torch.testing.assert_close(result.terms["negentropy"].values, -unbiased_contrast(s).sum())
    torch.testing.assert_close(result.diagnostics["contrast_per_component"], unbiased_contrast(s))
    (phase,) = method.phases()
    assert phase.weights == {"negentropy": 50.0}


def test_the_kept_components_are_those_of_largest_attribution():
    x, f = samples(20), classifier()
    method = prepared(x)
    scores = method.attributions(x, f)
    s = method.encode(x).mean
    for row, code, rebuilt in zip(scores, s, method.reconstruct(x, f, 2), strict=True):
        first, second = sorted(range(K), key=lambda i: -abs(float(row[i])))[:2]
        alone = torch.zeros(K, dtype=torch.float64)
        alone[first], alone[second] = code[first], code[second]
        torch.testing.assert_close(rebuilt, method.decode(alone[None])[0])
    assert torch.equal(method.reconstruct(x, f), method.reconstruct(x, f, max(1, K // 4)))


def test_the_prediction_loss_is_differentiated_at_a_fixed_mask():
    x, f = samples(20), classifier()
    method, loss = prepared(x, kept=2), trimkit.PredictionLoss(classifier(), "kl")
    kept = method.attributions(x, f).abs().topk(2, dim=1).indices
    mask = torch.zeros(20, K, dtype=torch.float64).scatter(1, kept, 1.0)

    (raw,) = method.turning.parameters()
    (found,) = torch.autograd.grad(loss(method.reconstruct(x, f), x), raw)
    (expected,) = torch.autograd.grad(loss(method.decode(method.encode(x).mean * mask), x), raw)
    torch.testing.assert_close(found, expected)
    assert float(found.abs().max()) > 0
    step = torch.zeros_like(raw)
    step[4, 1] = 1e-6
    values = []
    with torch.no_grad():
        for sign in (1, -2):
            raw.add_(sign * step)
            values.append(loss(method.decode(method.encode(x).mean * mask), x))
    torch.testing.assert_close((values[0] - values[1]) / 2e-6, found[4, 1], rtol=1e-4, atol=1e-9)


def test_the_sum_of_the_attributions_and_with_it_the_floor_of_their_l1():
    x, f = samples(40), classifier()
    scores = [method.attributions(x, f) for method in at_some_rotations(x)]
    for one in scores:
        torch.testing.assert_close(one.sum(1), scores[0].sum(1), rtol=1e-9, atol=1e-12)
        assert bool((l1(one) >= one.sum(1).abs() - 1e-12).all())
    assert float((l1(scores[0]) - l1(scores[1])).abs().max()) > 1e-3


def test_one_sign_is_all_that_l1_asks_for():
    """A rotation that spreads a score over two components, with equal signs, has the same L1 as one that does not."""
    z = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    for angle in (0.0, 0.7):
        c, s = torch.cos(torch.tensor(angle)), torch.sin(torch.tensor(angle))
        q = torch.stack([torch.stack([c, -s]), torch.stack([s, c])]).double()
        scores = (z @ q.T) * (3 * z @ q.T)
        torch.testing.assert_close(l1(scores), torch.tensor([3.0]).double())
    assert float(hoyer(scores)) < 0.9


def test_the_length_of_the_gradients():
    x, f = samples(40), classifier()
    lengths = [(m.gradients(x, f) @ m.rotation.T).norm(dim=1).detach() for m in at_some_rotations(x)]
    for one in lengths:
        torch.testing.assert_close(one, lengths[0], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("components", [K, P])
def test_the_reconstruction_from_all_components(components):
    x, f = samples(40), classifier()
    methods = [prepared(x, components, seed) for seed in range(2)]
    one, two = (method.reconstruct(x, f, components) for method in methods)
    torch.testing.assert_close(one, two, rtol=1e-9, atol=1e-9)
    fewer, others = (method.reconstruct(x, f, 2) for method in methods)
    assert float((fewer - others).detach().abs().max()) > 0.1


def test_the_explained_output_which_is_the_predictors_own():
    """Attributions are taken with the residual, reconstructions without it."""
    x, f = samples(40), classifier()
    method = prepared(x)
    result = trimkit.Trim(f, method.as_transform(), "input_x_gradient")(x, target=f(x).argmax(1))
    torch.testing.assert_close(result.output, f(x).detach())
    torch.testing.assert_close(result.scores, method.attributions(x, f))
    assert float(result.residual.abs().max()) > 0.01
    rebuilt = method.reconstruct(x, f, K)
    torch.testing.assert_close(rebuilt + result.residual, x)


@pytest.mark.parametrize("shape", [(P,), (1, 3, 3), (3, 3)])
@pytest.mark.parametrize(
    ("dtype", "close"), [(torch.float64, 1e-9), (torch.float32, 1e-3), (torch.bfloat16, 0.1), (torch.float16, 0.02)]
)
def test_samples_of_any_shape_and_type(shape, dtype, close):
    x = samples().reshape(-1, *shape)
    method = prepared(x, P)
    codes = method.encode(x.to(dtype)).mean
    assert codes.dtype == dtype
    back = method.decode(codes)
    assert (back.dtype, back.shape) == (dtype, x.shape)
    torch.testing.assert_close(back.double(), x, rtol=0, atol=close * float(x.abs().max()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_a_method_in_a_narrower_type_still_turns(dtype):
    x = samples()
    method = prepared(x)
    wide = method.encode(x).mean.detach()
    narrow = method.to(dtype).encode(x).mean.detach()
    assert float((narrow - wide).norm() / wide.norm()) < 8 * torch.finfo(dtype).eps * 100


def test_whitening_is_exact_for_values_of_very_different_sizes():
    x = samples().float()
    method = prepared(x, P)
    s = method.encode(x.double()).mean.detach()
    torch.testing.assert_close(s.T @ s / len(s), torch.eye(P, dtype=torch.float64), rtol=0, atol=1e-9)
    torch.testing.assert_close(s.mean(0), torch.zeros(P, dtype=torch.float64), rtol=0, atol=1e-9)


def test_one_sample_and_none():
    x, f = samples(), classifier()
    method = prepared(x)
    assert method.encode(x[:0]).mean.shape == (0, K)
    assert method.decode(torch.zeros(0, K)).shape == (0, P)
    assert method.reconstruct(x[:1], f).shape == (1, P)


def test_data_of_another_shape():
    with pytest.raises(ShapeError, match=r"trim-ica: expected data \(N, 1, 3, 3\), got \(5, 9\)"):
        prepared(samples().unflatten(1, (1, 3, 3))).encode(torch.zeros(5, 9))


def test_before_training_there_is_nothing_to_encode_with(tmp_path):
    method = TrimICA((P,), K)
    for use in (lambda: method.encode(samples()), lambda: method.decode(torch.zeros(2, K))):
        with pytest.raises(TrainingError, match="trim-ica: expected a trained method"):
            use()
    trimkit.train(method, samples(), steps=1, batch_size=100, folder=tmp_path / "run")
    x = samples()[:3]
    assert torch.equal(load_method(tmp_path / "run").encode(x).mean, method.encode(x).mean)


def test_data_of_too_few_directions():
    flat = samples()[:, :4] @ torch.ones(4, P, dtype=torch.float64)
    with pytest.raises(DataError, match="the data have 1 usable components, got 6 asked for"):
        trimkit.train(TrimICA((P,), K), flat, steps=1, batch_size=8)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6), flip=st.booleans())
def test_any_orthogonal_matrix_is_taken_over_as_it_is(seed, flip):
    q = random_rotation(K, generator(seed))
    q[0] *= -1 if flip else 1
    method = TrimICA((P,), K)
    (raw,) = method.turning.parameters()
    method.rotate(q)
    torch.testing.assert_close(method.rotation.detach(), q, rtol=0, atol=1e-14)
    assert next(method.turning.parameters()) is raw  # optimisers hold it


def test_what_is_no_rotation_is_refused():
    method = TrimICA((P,), K)
    with pytest.raises(OptionError, match="expected an orthogonal matrix, got one with Q Qᵀ 3 off the identity"):
        method.rotate(2 * torch.eye(K))
    with pytest.raises(ShapeError, match=r"expected a rotation \(6, 6\), got \(5, 5\)"):
        method.rotate(torch.eye(5))


def test_where_it_starts():
    x = samples(2000)
    identity, chance, again, least_gaussian = (
        prepared(x, P, start=start) for start in ("identity", "random", "random", "fastica")
    )
    assert torch.equal(identity.rotation.detach(), torch.eye(P, dtype=torch.float64))
    assert torch.equal(chance.rotation, again.rotation)
    values = [float(contrast(m.encode(x).mean.detach()).sum()) for m in (identity, chance, least_gaussian)]
    assert values[2] > 1.5 * max(values[:2])
    true = sources(2000, P).T
    found = torch.corrcoef(torch.cat([least_gaussian.encode(x).mean.detach().T, true]))[:P, P:].abs()
    assert float(found.max(1).values.min()) > 0.97


def test_the_finished_components_have_an_order_and_signs():
    x, f = samples(), classifier()
    for order in ("variance", "negentropy"):
        method = prepared(x, order=order)
        before = method.loss(Batch(x), START, 0)
        same = method.reconstruct(x, f)
        method.finish(x)
        after = method.loss(Batch(x), START, 0)
        torch.testing.assert_close(after.terms["negentropy"].values, before.terms["negentropy"].values)
        torch.testing.assert_close(method.reconstruct(x, f), same)
        s = method.encode(x).mean.detach()
        assert bool((s.pow(3).mean(0) > 0).all())
        explained = method.decode(torch.eye(K).double()) - method.decode(torch.zeros(1, K).double())
        rising = explained.norm(dim=1) if order == "variance" else contrast(s)
        assert bool((rising.diff() <= 1e-9).all())


def test_as_a_transform_it_is_linear_with_a_fixed_scale():
    method = prepared(samples(), P)
    (space,) = method.latent_spaces()
    assert (space.name, space.shape, space.exact_inverse) == ("components", (P,), True)
    assert not TrimICA((P,), K).space().exact_inverse
    assert method.as_transform().norm_constrained
    assert method.as_transform().groups((P,)).names[:2] == ("component 1", "component 2")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"components": 1}, "expected from 2 to 9 components of 9 values, got 1"),
        ({"components": 2.5}, "expected from 2 to 9 components of 9 values, got 2.5"),
        ({"kept": 1.5}, "expected kept from 1 to 8 of 9 components, got 1.5"),
        ({"components": 10}, "expected from 2 to 9 components of 9 values, got 10"),
        ({"kept": 0}, "expected kept from 1 to 8 of 9 components, got 0"),
        ({"kept": 9}, "does not depend on the rotation, and a prediction loss would train nothing"),
        ({"negentropy_weight": -1.0}, "expected negentropy_weight ≥ 0, got -1.0"),
        ({"negentropy_weight": "much"}, "expected"),
        ({"start": "pca"}, "expected start to be one of fastica, identity, random, got 'pca'"),
        ({"order": "size"}, "expected order to be one of variance, negentropy, got 'size'"),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(OptionError, match=message):
        TrimICA((P,), **options)


def test_the_usual_options():
    small, large = TrimICA((P,)), TrimICA((1, 8, 8))
    assert (small.k, small.t, large.k, large.t) == (9, 2, 24, 6)
    assert large.options == {
        "shape": (1, 8, 8),
        "components": None,
        "negentropy_weight": 50.0,
        "kept": None,
        "start": "fastica",
        "order": "variance",
        "learning_rate": 1e-2,
        "rate": None,
    }
