"""What a method is told of each sample: what it can be, as rows and as numbers, and how transforms hold it."""

from __future__ import annotations

import pytest
import torch

from trimkit.errors import DataError, OptionError, ShapeError
from trimkit.methods import CodeTransform, Condition, LatentSpace, decode_codes, make_condition

LABELS, VECTORS = Condition("Mine", 4, 0), Condition("Mine", 0, 2)


class Shifted:
    """A coder whose data are its codes plus u."""

    shape = (2,)

    def encode(self, x, aux=None, space=None):
        raise NotImplementedError

    def decode(self, z, space=None, aux=None):
        return z if aux is None else z + aux[:, None]


PLAIN, HELD = LatentSpace("z", (2,)), LatentSpace("z", (2,), decoding_needs_aux=True)


@pytest.mark.parametrize(
    ("given", "expected"), [(3, [3]), (torch.tensor([1, 0]), [1, 0]), ([2, 3, 0], [2, 3, 0]), (torch.tensor(2), [2])]
)
def test_labels_as_rows(given, expected):
    assert LABELS.rows(given).tolist() == expected


@pytest.mark.parametrize(("given", "shape"), [([0.5, 1], (1, 2)), ([1, 2], (1, 2)), (torch.zeros(3, 2), (3, 2))])
def test_vectors_as_rows(given, shape):
    rows = VECTORS.rows(given)
    assert rows.shape == shape
    assert rows.is_floating_point()


@pytest.mark.parametrize(
    ("condition", "given", "says"),
    [(LABELS, 4, "labels u in 0 … 3"), (LABELS, 0.5, "as integers"), (VECTORS, [1.0], r"floats \(N, 2\)")],
)
def test_rows_of_another_kind_are_refused(condition, given, says):
    with pytest.raises(DataError, match=f"Mine was made for .*{says}"):
        condition.rows(given)


def test_labels_are_one_hot_and_vectors_as_they_are():
    like = torch.zeros(1, dtype=torch.float64)
    assert LABELS.vectors(torch.tensor([2, 0]), like).tolist() == [[0, 0, 1, 0], [1, 0, 0, 0]]
    assert LABELS.vectors(torch.tensor([2]), like).dtype == torch.float64
    assert torch.equal(VECTORS.vectors(torch.ones(3, 2), like), torch.ones(3, 2, dtype=torch.float64))
    assert (LABELS.size, VECTORS.size) == (4, 2)


def test_classes_are_drawn_with_equal_chances_and_by_the_generator_alone():
    before = torch.get_rng_state()
    drawn = [LABELS.draw(8000, torch.Generator().manual_seed(seed), "to draw") for seed in (0, 0, 1)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert torch.equal(torch.get_rng_state(), before)
    assert (torch.bincount(drawn[0], minlength=4) / 8000 - 0.25).abs().max() < 0.03
    with pytest.raises(DataError, match="Mine needs the auxiliary variable u to draw, got none"):
        VECTORS.draw(2, None, "to draw")


def test_a_condition_is_made_where_it_is_asked_for():
    assert make_condition("Mine", True, 4, 0) == LABELS
    assert make_condition("Mine", False, 0, 0) is None
    with pytest.raises(OptionError, match=r"Mine needs segments.*its networks see u.*digits:aux=labels"):
        make_condition("Mine", True, 0, 0)
    with pytest.raises(OptionError, match="give that too"):
        make_condition("Mine", False, 4, 0)


def test_only_a_space_that_needs_u_is_decoded_with_it():
    z, u = torch.zeros(3, 2), torch.tensor([1, 2, 3])
    assert decode_codes(Shifted(), z, HELD, u)[:, 0].tolist() == [1, 2, 3]
    assert decode_codes(Shifted(), z, PLAIN, u)[:, 0].tolist() == [0, 0, 0]


def test_copies_of_a_batch_get_each_samples_u_and_selected_rows_their_own():
    class Codes(CodeTransform):
        def forward(self, x):
            return x

    transform = Codes(Shifted(), HELD, torch.tensor([1, 2, 3]))
    assert transform.inverse(torch.zeros(6, 2))[:, 0].tolist() == [1, 2, 3, 1, 2, 3]
    assert transform.at_rows(torch.tensor([2, 2, 0, 1])).inverse(torch.zeros(4, 2))[:, 0].tolist() == [3, 3, 1, 2]
    assert transform.holds_rows
    one = Codes(Shifted(), HELD, torch.tensor([5]))
    assert one.at_rows(torch.tensor([2, 0])) is one
    assert one.inverse(torch.zeros(4, 2))[:, 0].tolist() == [5] * 4
    with pytest.raises(ShapeError, match="holds aux of 3 samples, got 4 rows"):
        transform.inverse(torch.zeros(4, 2))
