"""Attributions with one fault each, and the sound ones that they are made from."""

from __future__ import annotations

import torch
from torch import nn

from trimkit.attributions import Attribution
from trimkit.coefficients import tree

from .register import fault, sound


@sound("attribution")
class Products(Attribution):
    """Coefficient times gradient."""

    def attribute(self, probe, s, baseline, generator):
        return tree.map_leaves(lambda g, leaf: (g.conj() * leaf).real, probe.gradient(), s)


@fault("attribution", "gradient", "set differentiable = False")
class DetachedScores(Products):
    """The gradient is cut, and differentiable says it is not."""

    def attribute(self, probe, s, baseline, generator):
        return tree.map_leaves(lambda g, leaf: (g.detach().conj() * leaf).real, probe.gradient(), s)


@fault("attribution", "completeness", "or set complete = False")
class FalselyComplete(Products):
    """Contributions of a linear model, said to sum up for any."""

    complete = True


@fault("attribution", "randomness", "draw from the generator it is given")
class GloballyRandom(Products):
    """Noise from the global random state."""

    stochastic = True

    def attribute(self, probe, s, baseline, generator):
        return tree.map_leaves(lambda a: a + torch.rand_like(a), super().attribute(probe, s, baseline, generator))


@fault("attribution", "randomness", "set stochastic = True")
class SecretlyRandom(Products):
    """Noise from the generator, and stochastic is False."""

    def attribute(self, probe, s, baseline, generator):
        noise = torch.rand((), generator=generator)
        return tree.map_leaves(lambda a: a + noise, super().attribute(probe, s, baseline, generator))


@fault("attribution", "randomness", "set it to False")
class NeverRandom(Products):
    """It says that it draws, and draws nothing."""

    stochastic = True


@fault("attribution", "leaves_the_model", "train or eval mode are others; restore them in a finally")
class LeavingTrainMode(Products):
    """The model is in train mode afterwards."""

    def attribute(self, probe, s, baseline, generator):
        if isinstance(probe.model, nn.Module):
            probe.model.train()
        return super().attribute(probe, s, baseline, generator)


@fault("attribution", "leaves_the_model", "gradients are others")
class LeavingGradients(Products):
    """A backward pass that fills the parameters' grad."""

    def attribute(self, probe, s, baseline, generator):
        probe.output.sum().backward(retain_graph=True)
        return super().attribute(probe, s, baseline, generator)


@fault("attribution", "batch_independence", "no batch statistics")
class DividedByTheBatch(Products):
    """Scores relative to the largest of the batch."""

    def attribute(self, probe, s, baseline, generator):
        return tree.map_leaves(lambda a: a / a.abs().max(), super().attribute(probe, s, baseline, generator))


@fault("attribution", "complex_and_trees", "Re.conj.g.·Δ")
class ComplexScores(Products):
    """The gradient itself, complex where coefficients are."""

    def attribute(self, probe, s, baseline, generator):
        return probe.gradient()
