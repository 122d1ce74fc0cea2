from collections import OrderedDict, namedtuple

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import trimkit
from trimkit.coefficients import tree
from trimkit.errors import ShapeError

Pair = namedtuple("Pair", "low high")

shapes = st.lists(st.integers(1, 4), min_size=0, max_size=2).map(lambda rest: (3, *rest))
tensors = shapes.map(lambda shape: torch.arange(float(torch.tensor(shape).prod())).reshape(shape))
trees = st.recursive(
    tensors,
    lambda child: st.one_of(
        st.lists(child, min_size=1, max_size=3),
        st.tuples(child, child),
        st.builds(Pair, child, child),
        st.dictionaries(st.text(max_size=3), child, min_size=1, max_size=3),
    ),
    max_leaves=6,
)


def same(a, b):
    assert type(a) is type(b)
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))


@given(trees)
def test_rebuilding_from_its_leaves_gives_the_same_tree(found):
    assert same(tree.rebuild(found, tree.leaves(found)), found)


@given(trees)
def test_rows_hold_every_entry_of_a_sample_once(found):
    rows = tree.rows(found)
    assert rows.shape == (3, sum(leaf[0].numel() for leaf in tree.leaves(found)))
    assert torch.allclose(rows.sum(1), tree.sample_sums(found))


@given(trees)
def test_concatenating_twice_doubles_the_batch(found):
    double = tree.concatenate([found, found])
    assert tree.batch_size(double) == 6
    assert same(tree.map_leaves(lambda leaf: leaf[3:], double), found)


def test_ordered_dicts_stay_ordered_dicts():
    found = OrderedDict(b=torch.ones(2), a=torch.zeros(2))
    assert list(tree.map_leaves(torch.neg, found)) == ["b", "a"]
    assert isinstance(tree.map_leaves(torch.neg, found), OrderedDict)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (3.0, "got float"),
        ("text", "got str"),
        ({"a": None}, "got NoneType"),
    ],
)
def test_what_is_no_tree_is_named(wrong, says):
    with pytest.raises(ShapeError, match=says):
        tree.leaves(wrong)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (torch.ones(()), r"\[-1\]"),
        (torch.ones(0, 3), "empty batch"),
        ([torch.ones(2, 1), torch.ones(3, 1)], r"\[2, 3\]"),
        ([], r"\[\]"),
    ],
)
def test_batches_that_disagree_are_refused(wrong, says):
    with pytest.raises(ShapeError, match=says):
        tree.batch_size(wrong)


def test_complex_scores_are_refused():
    with pytest.raises(ShapeError, match="real scores"):
        tree.rows(torch.ones(2, 3, dtype=torch.complex64))


def test_trees_of_different_structure_are_refused():
    with pytest.raises(ShapeError, match=r"\[2, 1\] leaves"):
        tree.map_leaves(torch.add, [torch.ones(1), torch.ones(1)], torch.ones(1))


def test_dicts_are_matched_by_key_in_any_order():
    first, second = {"a": torch.ones(2, 1), "b": 2 * torch.ones(2, 1)}, {"b": torch.ones(2, 1), "a": torch.zeros(2, 1)}
    total = tree.map_leaves(torch.sub, first, second)
    assert total["a"].tolist() == [[1.0], [1.0]]
    assert total["b"].tolist() == [[1.0], [1.0]]
    assert tree.concatenate([first, second])["a"].flatten().tolist() == [1.0, 1.0, 0.0, 0.0]
    with pytest.raises(ShapeError, match=r"the keys \['a', 'b'\], got \['c', 'd'\]"):
        tree.map_leaves(torch.sub, first, {"c": torch.ones(2, 1), "d": torch.ones(2, 1)})


def test_a_baseline_with_keys_in_another_order_is_the_same_baseline():
    def function(s):
        return (2 * s["a"] + s["b"] ** 2).sum(1)

    s = {"a": torch.ones(2, 3), "b": 2 * torch.ones(2, 3)}
    baseline = {"b": torch.ones(2, 3), "a": torch.zeros(2, 3)}
    scores = trimkit.create("attribution", "integrated_gradients")(function, s, baseline=baseline)
    torch.testing.assert_close(scores["a"], torch.full((2, 3), 2.0))
    torch.testing.assert_close(scores["b"], torch.full((2, 3), 3.0))
