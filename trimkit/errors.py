"""What can go wrong, by name. Every message says what was expected, what was got, and how to mend it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class TrimkitError(Exception):
    """Base of every error that trimkit raises on purpose; the command line prints it as one line and exits with 2."""


class UnknownNameError(TrimkitError, LookupError):
    """A name that nothing answers to: a part, an option, a dataset, a check."""


class NameConflictError(TrimkitError, LookupError):
    """A short name that two plugins claim."""


class PluginError(TrimkitError):
    """A plugin whose part cannot be loaded or built."""


class OptionError(TrimkitError, TypeError, ValueError):
    """An option that is missing, unknown, or of the wrong type or range, wherever it is given."""


class ShapeError(TrimkitError, ValueError):
    """A tensor of the wrong shape, type or device."""


class DataError(TrimkitError, ValueError):
    """Data that cannot be read or used: missing, empty, NaN, of the wrong range."""


class ModelError(TrimkitError, ValueError):
    """A model that cannot be taken in, or whose behaviour forbids what was asked."""


class TransformError(TrimkitError, ValueError):
    """A transform that cannot do what was asked, such as an inverse that does not exist."""


class AttributionError(TrimkitError, RuntimeError):
    """An attribution that cannot be computed, or not be differentiated."""


class PenaltyError(TrimkitError, RuntimeError):
    """A penalty that would train nothing, or the wrong thing."""


class TrainingError(TrimkitError, RuntimeError):
    """A training run that cannot start or go on."""


class CheckpointError(TrimkitError, RuntimeError):
    """A checkpoint that is missing, damaged, or belongs to something else."""


class FrozenError(TrimkitError, RuntimeError):
    """A frozen predictor whose weights changed."""


class TrimkitWarning(UserWarning):
    """Something legal that probably is not what was meant."""


class DeprecatedWarning(TrimkitWarning):
    """A name, option or hook that still works, until which version, and what to use instead."""


def nearest(name: str, known: Iterable[str], *, most: int = 3) -> str:
    """A hint for a mistyped name: ``"Did you mean 'fft'?"``, or the known names where none is near.

    Args:
        name: what was typed.
        known: the names that exist.
        most: how many near names to offer.
    Returns:
        One sentence, ending in punctuation.
    """
    names = sorted(known)
    folded = {known_name.casefold(): known_name for known_name in names}
    near = difflib.get_close_matches(name.casefold(), folded, n=most, cutoff=0.5)
    if near:
        return f"Did you mean {' or '.join(repr(folded[n]) for n in near)}?"
    between = "; " if any("," in one for one in names) else ", "
    return f"Known: {between.join(names)}." if names else "None is installed."
