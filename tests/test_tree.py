import gc
from collections import OrderedDict, namedtuple

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

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
    with pytest.raises(ShapeError, match="2 parts and one Tensor"):
        tree.map_leaves(torch.add, [torch.ones(1), torch.ones(1)], torch.ones(1))


def test_leaves_of_dicts_are_matched_by_key():
    one = {"a": torch.ones(2), "b": torch.zeros(2)}
    other = {"b": torch.full((2,), 5.0), "a": torch.full((2,), 3.0)}
    summed = tree.map_leaves(torch.add, one, other)
    assert {key: leaf.tolist() for key, leaf in summed.items()} == {"a": [4, 4], "b": [5, 5]}
    joined = tree.concatenate([one, other])
    assert joined["a"].tolist() == [1, 1, 3, 3]


def test_keys_that_do_not_exist_are_refused():
    with pytest.raises(ShapeError, match="a dict with 'a' and a dict with 'c'"):
        tree.map_leaves(torch.add, {"a": torch.ones(2)}, {"c": torch.ones(2)})


def test_trees_leave_nothing_to_the_garbage_collector():
    s = {"a": torch.zeros(2, 3), "b": (torch.zeros(2), torch.zeros(2, 1))}
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            tree.map_leaves(torch.neg, s)
        assert gc.collect() == 0
    finally:
        gc.enable()
