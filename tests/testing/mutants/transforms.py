"""Transforms with one fault each, and the sound ones that they are made from."""

from __future__ import annotations

import torch

from trimkit.coefficients.groups import Groups
from trimkit.transforms import Transform

from .register import fault, sound


@sound("transform")
class Doubling(Transform):
    """s = 2 (x − m) with the mean m of the data it is fitted to."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(()))

    def fit(self, x):
        self.mean.copy_(x.mean())
        return self

    def forward(self, x):
        return 2 * (x - self.mean)

    def inverse(self, s, size=None):
        return s / 2 + self.mean

    def groups(self, size):
        labels = torch.zeros(size, dtype=torch.long)
        labels[..., size[-1] // 2 :] = 1
        return Groups(("left", "right"), labels, "position")


@fault("transform", "facts", "measured: False; mend the class")
class FalselyComplex(Doubling):
    """Real coefficients, said to be complex."""

    complex_coefficients = True


@fault("transform", "round_trip", "mend inverse, or set exact = False")
class InverseOffByTwo(Doubling):
    """Half of the data come back, and exact says all."""

    def inverse(self, s, size=None):
        return s / 4 + self.mean


@fault("transform", "groups", "share a name.*rename one")
class OverlappingGroups(Doubling):
    """Two groups of one name."""

    def groups(self, size):
        return Groups(("left", "left"), super().groups(size).labels, "position")


@fault("transform", "groups", "labels have the shapes .* make them alike")
class GroupsOfAnotherSize(Doubling):
    """One label is missing."""

    def groups(self, size):
        return super().groups((*size[:-1], size[-1] - 1))


@fault("transform", "groups", "count from 0")
class GroupsFromOne(Doubling):
    """Labels 1 and 2 for two names."""

    def groups(self, size):
        left = super().groups(size)
        return Groups(left.names, left.labels + 1, "position")


@fault("transform", "batch_independence", "no batch statistics")
class CentredByTheBatch(Doubling):
    """Whitening over whatever samples come together."""

    exact = False

    def forward(self, x):
        return x - x.mean(0)


@fault("transform", "first_derivatives", "without detach")
class Detaching(Doubling):
    """A forward that is cut from its graph."""

    def forward(self, x):
        return 2 * x - x.detach() - 2 * self.mean + x


class OnceOnly(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return 3 * x**2 * gradient


@fault("transform", "second_derivatives", "once_differentiable")
class OnceDifferentiable(Doubling):
    """A cube whose gradient has no gradient."""

    exact = False

    def forward(self, x):
        return OnceOnly.apply(x)


@fault("transform", "dtypes", "make constants with x's dtype")
class AlwaysDouble(Doubling):
    """A constant in float64."""

    def forward(self, x):
        return super().forward(x) * torch.ones(1, dtype=torch.float64)


@fault("transform", "odd_sizes", "crop to size")
class EvenOnly(Doubling):
    """The last of an odd number of entries is lost without a word."""

    def inverse(self, s, size=None):
        return super().inverse(s)[..., : s.shape[-1] // 2 * 2]


@fault("transform", "pickling", "can't pickle|Can't pickle|Can't get")
class Unpicklable(Doubling):
    """A lambda among its attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = lambda x: 2 * x


@fault("transform", "state", "register_buffer what fit learns")
class FitNotSaved(Doubling):
    """What fit learned is a plain attribute."""

    def fit(self, x):
        self.learned = x.mean()
        return self

    def forward(self, x):
        return 2 * (x - self.learned)

    def inverse(self, s, size=None):
        return s / 2 + self.learned


@fault("transform", "state", "draw nothing")
class Noisy(Doubling):
    """Noise on every coefficient."""

    exact = False

    def forward(self, x):
        return x + torch.randn_like(x)


@fault("transform", "state", "work on a copy")
class WritingIntoData(Doubling):
    """The caller's data are clamped in place."""

    exact = False

    def forward(self, x):
        with torch.no_grad():
            x.clamp_(-0.1, 0.1)
        return 2 * x
