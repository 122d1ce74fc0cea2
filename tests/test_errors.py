"""Errors are one family, also the standard kind that they specialise, and name what was nearly right."""

from __future__ import annotations

import pytest

from trimkit import errors
from trimkit.errors import TrimkitError, nearest

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, TrimkitError)]


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_is_caught_as_trimkits_own(kind):
    assert kind.__doc__
    with pytest.raises(TrimkitError, match="what to do"):
        raise kind("what to do")


def test_an_error_is_caught_by_its_standard_kind():
    with pytest.raises(LookupError):
        raise errors.UnknownNameError("no such name")
    with pytest.raises(TypeError):
        raise errors.OptionError("no such option")


@pytest.mark.parametrize(
    ("name", "known", "told"),
    [
        ("fff", ["fft", "dct"], "Did you mean 'fft'?"),
        ("FFT", ["fft", "dct"], "Did you mean 'fft'?"),
        ("hoier", ["hoyer", "Hoyer2", "l1"], "Did you mean 'hoyer' or 'Hoyer2'?"),
        ("zzz", ["fft", "dct"], "Known: dct, fft."),
        ("zzz", [], "None is installed."),
    ],
)
def test_nearest_names(name, known, told):
    assert nearest(name, known) == told


def test_nearest_names_are_at_most_as_many_as_asked():
    assert nearest("vae", ["vae1", "vae2", "vae3"], most=1) == "Did you mean 'vae3'?"
