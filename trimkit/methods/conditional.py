"""Methods that may be told something of each sample: the options that say so, declared once for every family."""

from __future__ import annotations

from collections.abc import Sequence

from trimkit.methods.base import Method
from trimkit.methods.condition import make_condition


class ConditionalMethod(Method):
    """A method whose networks see auxiliary variables u beside each sample, where that is asked for.

    A subclass hands its further keywords on, so that the registry and the command line see these options:

        class Mine(ConditionalMethod):
            def __init__(self, shape: tuple[int, ...], *, width: int = 8, **conditions: Any) -> None:
                super().__init__(shape, **conditions)

    Args:
        shape: of one sample of data: (C, H, W), (C, L) or (F,).
        conditional: on the data's aux: classes, as of ``digits:aux=labels``, or vectors.
        segments: number of values of u, where u are labels; the data tell ``trimkit train``.
        aux_dim: number of entries of u, where u are vectors; the data tell ``trimkit train``.

    Raises:
        OptionError: conditional on nothing that is known of u, or sizes of a u that is not used.

    Attributes:
        condition: what u is; None where not conditional.
    """

    def __init__(self, shape: Sequence[int], *, conditional: bool = False, segments: int = 0, aux_dim: int = 0) -> None:
        super().__init__(shape)
        self.conditional, self.segments, self.aux_dim = conditional, segments, aux_dim
        self.condition = make_condition(type(self).__name__, conditional, segments, aux_dim)
