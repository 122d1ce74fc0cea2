"""Orders of groups, removal operators and deletion curves, against brute force."""

from __future__ import annotations

import torch

from trimkit.audit.removal import MOST_STEPS, curves, cuts, measured_value, order_by, random_order, replacements


def test_orders_put_the_largest_first_and_draw_ties(subject_of):
    subject = subject_of(samples=40)
    batch = next(iter(subject.batches()))
    values = torch.tensor([[0.0, 3.0, 0.0, 1.0]]).expand(len(batch), 4)
    order = order_by(values, subject, batch)
    assert order[:, :2].tolist() == [[1, 3]] * len(batch)
    assert set(map(tuple, order[:, 2:].tolist())) == {(0, 2), (2, 0)}


def test_random_orders_are_keyed_by_sample(subject_of):
    subject = subject_of(samples=20, batch_size=20)
    batch = next(iter(subject.batches()))
    whole = random_order(subject, batch, 6, "x")
    part = random_order(subject, batch.rows([4, 5]), 6, "x")
    assert torch.equal(part, whole[4:6])
    assert len(set(map(tuple, whole.tolist()))) > 10


def test_operators_replace_by_baseline_other_samples_and_mean(subject_of, data):
    subject = subject_of(samples=30, batch_size=30, baseline=0.5)
    batch = next(iter(subject.batches()))
    found = replacements(subject, batch)
    assert bool((found["baseline"] == 0.5).all())
    assert torch.allclose(found["mean"][0], data.x.mean(0), atol=1e-6)
    for row, i in enumerate(batch.ids):
        matches = (data.x == found["marginal"][row]).flatten(1).all(1).nonzero()
        assert len(matches) == 1
        assert int(matches) != i


def test_a_reference_gives_the_replacements(subject_of, data):
    reference = type(data)("flat", torch.full_like(data.x[:3], 7.0))
    subject = subject_of(samples=5, reference=reference)
    found = replacements(subject, next(iter(subject.batches())))
    assert bool((found["marginal"] == 7).all())
    assert bool((found["mean"] == 7).all())


def test_curves_equal_removal_one_by_one(subject_of):
    subject = subject_of(transform="fft", samples=6, batch_size=6)
    batch = next(iter(subject.batches()))
    groups = len(subject.groups.names)
    orders = {"a": random_order(subject, batch, groups, "a"), "b": random_order(subject, batch, groups, "b")}
    replacement = replacements(subject, batch)["marginal"]
    found = curves(subject, batch, orders, replacement)
    for name, order in orders.items():
        for n in range(len(batch)):
            for point, k in enumerate(cuts(groups)):
                gone = torch.isin(subject.groups.labels, order[n, :k])
                s = torch.where(gone, replacement[n], batch.s[n])
                x = subject.transform.inverse(s[None], batch.x.shape[1:])
                probability = subject.evaluate(x).softmax(1)[0, batch.target[n]]
                assert torch.isclose(found[name][n, point], probability.double(), atol=1e-5)


def test_equal_sets_are_evaluated_once(subject_of):
    subject = subject_of(samples=4, batch_size=4)
    batch = next(iter(subject.batches()))
    order = random_order(subject, batch, 16, "a")
    before = subject.model.counter.value
    curves(subject, batch, {str(i): order for i in range(5)}, replacements(subject, batch)["baseline"])
    assert subject.model.counter.value - before == 4 * 17


def test_many_groups_are_removed_several_at_a_time():
    assert cuts(200)[0] == 0
    assert cuts(200)[-1] == 200
    assert len(cuts(200)) == MOST_STEPS + 1
    assert cuts(3) == [0, 1, 2, 3]


def test_regression_is_measured_by_its_output():
    output = torch.tensor([[2.0], [5.0]])
    assert measured_value(output, None).tolist() == [2.0, 5.0]
    assert measured_value(output, lambda o: -o[:, 0]).tolist() == [-2.0, -5.0]
