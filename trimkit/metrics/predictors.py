"""What scikit-learn fits to codes: quietly, and deterministic given a seed."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning

_ALL: Any = 1.0  # share of the codes; scikit-learn's default, a word, is all that type checkers know of it

PREDICTORS: dict[str, Callable[[int], Any]] = {
    "forest": lambda seed: RandomForestClassifier(50, max_depth=12, max_features=_ALL, random_state=seed),
    "boosting": lambda seed: GradientBoostingClassifier(random_state=seed),
}
"""What tells how much a code matters for a factor. A tree of the forest chooses among all codes at each split: among √D
of them, as is usual, it would often have to split by codes of noise, and a perfect code would score far below 1.
"boosting" is that of disentanglement_lib, 100 small trees a value."""


def seed_of(generator: np.random.Generator) -> int:
    """A seed for scikit-learn, whose own state is 32 bits.

    >>> import numpy as np
    >>> seed_of(np.random.default_rng(0)) == seed_of(np.random.default_rng(0))
    True
    """
    return int(generator.integers(2**32))


@contextmanager
def quiet() -> Iterator[None]:
    """Without warnings of what is meant: protocols fix the number of steps, and factors may have many values."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("ignore", message="The number of unique classes is greater")
        yield
