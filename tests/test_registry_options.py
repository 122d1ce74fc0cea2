"""Options out of range are one exception, everywhere."""

import numpy as np
import pytest

import trimkit
from trimkit.errors import OptionError
from trimkit.registry.options import one_of, real_number, whole_number


@pytest.mark.parametrize(
    ("check", "says"),
    [
        (lambda: whole_number("fft", bands=0), "^fft: expected bands ≥ 1, got 0$"),
        (lambda: whole_number("", 2, layers=2.5), "^expected layers as a whole number ≥ 2, got 2.5$"),
        (lambda: whole_number("d", 0, n=True), "^d: expected n as a whole number ≥ 0, got True$"),
        (lambda: real_number("zca", above=True, epsilon=0), "^zca: expected epsilon > 0, got 0$"),
        (lambda: real_number("d", 0, 1, share=2.0), r"^d: expected share in \[0, 1\], got 2.0$"),
        (lambda: real_number("d", noise=float("nan")), "^d: expected noise ≥ 0, got nan$"),
        (lambda: one_of("d", (None, 1, 2), dims=True), "^d: expected dims 1 or 2, got True$"),
        (lambda: one_of("d", ("a", "b", "c"), kind="x"), "^d: expected kind 'a', 'b' or 'c', got 'x'$"),
    ],
)
def test_what_is_out_of_range_is_refused(check, says):
    with pytest.raises(OptionError, match=says):
        check()


def test_what_is_in_range_is_taken():
    assert whole_number("d", 0, n=np.int64(0), m=3) is None
    assert real_number("d", 0, 1, share=np.float32(1), other=0) is None
    assert one_of("d", (None, 1, 2), dims=None, other=2) is None


@pytest.mark.parametrize(
    ("kind", "name", "options"),
    [
        ("attribution", "integrated_gradients", {"n_steps": 0}),
        ("attribution", "gradient_of_loss", {"loss": "hinge"}),
        ("attribution", "smoothgrad", {"samples": 0}),
        ("transform", "identity", {"parts": 0}),
        ("transform", "stft", {"n_fft": 7}),
        ("transform", "pca", {"components": 0}),
    ],
)
def test_every_part_refuses_in_the_same_way(kind, name, options):
    with pytest.raises(OptionError, match="expected"):
        trimkit.create(kind, name, **options)
