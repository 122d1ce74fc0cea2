"""InfoGAN's codes c: categorical ones as one-hot vectors and continuous ones in [−1, 1], side by side in one vector."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import torch
from torch import Tensor
from torch.nn.functional import log_softmax, one_hot, softplus

from trimkit.coefficients.groups import Groups
from trimkit.errors import OptionError
from trimkit.methods import at_least_float32, standard_normal

LEAST_LOG_VARIANCE = -6.0
"""Of Q's Gaussian heads: σ ≥ 0.05, so that a code which is recovered exactly has a finite likelihood."""


@dataclass(frozen=True)
class CodeLayout:
    """How many codes there are, and where each lies in c.

    Attributes:
        categories: number of values of each categorical code, each at least 2.
        continuous: number of codes that are uniform on [−1, 1].

    Raises:
        OptionError: no code at all, or a categorical code of one value.
    """

    categories: tuple[int, ...]
    continuous: int

    def __post_init__(self) -> None:
        if any(size < 2 for size in self.categories):
            raise OptionError(f"expected categories with at least 2 values each, got {list(self.categories)}")
        if self.continuous < 0:
            raise OptionError(f"expected continuous ≥ 0, got {self.continuous}")
        if not self.size:
            raise OptionError("InfoGAN needs a code: give categories such as (10,), continuous such as 2, or both")

    @property
    def size(self) -> int:
        """Of c: Σ categories + continuous."""
        return sum(self.categories) + self.continuous

    @property
    def outputs(self) -> int:
        """Of Q's head: logits of each categorical code, then μ and log σ² of each continuous one."""
        return sum(self.categories) + 2 * self.continuous

    @property
    def names(self) -> tuple[str, ...]:
        """Of the codes: "category 0", …, "continuous 0", …"""
        categorical = (f"category {k}" for k in range(len(self.categories)))
        return (*categorical, *(f"continuous {k}" for k in range(self.continuous)))

    def groups(self, noise: int = 0) -> Groups:
        """One group a code; before them "noise" where the vector begins with noise."""
        names = ("noise",) * bool(noise) + self.names
        sizes = [noise] * bool(noise) + [*self.categories, *[1] * self.continuous]
        labels = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
        return Groups(names, labels, "code of the generator")

    def entropies(self) -> Tensor:
        """H of each code's prior in nats: log K, and log 2 (differential) for continuous ones: (codes,), float64."""
        return torch.tensor([*map(math.log, self.categories), *[math.log(2)] * self.continuous], dtype=torch.float64)

    def draw(self, like: Tensor, generator: torch.Generator | None) -> Tensor:
        """Codes from the prior: (N, size), of the type and device of ``like`` (N, ...).

        They are made from normal numbers by their distribution function, so that every process of a run draws the rows
        that one process would draw (see `trimkit.methods.standard_normal`).
        """
        codes = len(self.names)
        normal = standard_normal(at_least_float32(like.new_empty(len(like), codes)), generator)
        uniform = torch.special.ndtr(normal)
        hot = [
            one_hot((size * uniform[:, k]).long().clamp(max=size - 1), size) for k, size in enumerate(self.categories)
        ]
        return torch.cat([*hot, 2 * uniform[:, codes - self.continuous :] - 1], dim=1).to(like.dtype)

    def split(self, c: Tensor) -> tuple[list[Tensor], Tensor]:
        """(N, size) → the (N, K) of each categorical code, and the continuous ones (N, continuous)."""
        ends = [*accumulate(self.categories, initial=0)]
        hot = [c[:, start:end] for start, end in pairwise(ends)]
        return hot, c[:, ends[-1] : ends[-1] + self.continuous]


@dataclass(frozen=True)
class CodePosterior:
    """Q(c|x) = Π_k Cat(c_k) · Π_j N(u_j; μ_j, σ_j²).

    Attributes:
        log_probabilities: of each categorical code, (N, K).
        centre: μ of the continuous codes, (N, continuous).
        log_variance: like ``centre``, above `LEAST_LOG_VARIANCE`.
    """

    log_probabilities: Sequence[Tensor]
    centre: Tensor
    log_variance: Tensor

    @classmethod
    def of(cls, outputs: Tensor, layout: CodeLayout) -> CodePosterior:
        """From the head's (N, layout.outputs)."""
        hot, centre = layout.split(outputs)
        raw = outputs[:, layout.size :]
        floor = LEAST_LOG_VARIANCE
        return cls([log_softmax(logits, dim=1) for logits in hot], centre, floor + softplus(raw - floor))

    @property
    def mean(self) -> Tensor:
        """Probabilities of the categorical codes, then μ: (N, size)."""
        return torch.cat([*(log_p.exp() for log_p in self.log_probabilities), self.centre], dim=1)

    def rsample(self, generator: torch.Generator | None = None) -> Tensor:
        """One draw a sample, (N, size): one-hot vectors whose gradient is that of the probabilities, and μ + σ·ε."""
        hot = [_straight_through(log_p, generator) for log_p in self.log_probabilities]
        spread = (0.5 * self.log_variance).exp() * standard_normal(self.centre, generator)
        return torch.cat([*hot, self.centre + spread], dim=1)

    def log_prob(self, z: Tensor) -> Tensor:
        """log Q(c|x) of one code a sample, (N, size) → (N,) nats."""
        return self.log_prob_per_code(z).sum(1)

    def log_prob_per_code(self, c: Tensor) -> Tensor:
        """log Q of each code by itself: (N, size) → (N, codes) nats, categorical ones first."""
        layout = CodeLayout(tuple(log_p.shape[1] for log_p in self.log_probabilities), self.centre.shape[1])
        hot, values = layout.split(c)
        categorical = [(one * log_p).sum(1) for one, log_p in zip(hot, self.log_probabilities, strict=True)]
        squared = (values - self.centre).square() * (-self.log_variance).exp()
        continuous = -0.5 * (squared + self.log_variance + math.log(2 * math.pi))
        return torch.stack([*categorical, *continuous.unbind(1)], dim=1)


def _straight_through(log_p: Tensor, generator: torch.Generator | None) -> Tensor:
    """A one-hot draw forward, the probabilities backward: (N, K)."""
    uniform = torch.special.ndtr(standard_normal(at_least_float32(log_p.detach()), generator))
    gumbel = -(-uniform.clamp(1e-7, 1 - 1e-7).log()).log()
    hard = one_hot((log_p.detach() + gumbel).argmax(1), log_p.shape[1]).to(log_p.dtype)
    return hard + log_p.exp() - log_p.exp().detach()


def batch_information(log_p: Tensor) -> Tensor:
    """H(mean of Q(c|x)) − mean of H(Q(c|x)): what a category tells of the samples (Krause et al. 2010, eq. 1).

    Args:
        log_p: (N, K) log-probabilities of the categories of N samples.
    Returns:
        A scalar in nats, from 0 where all samples are told alike to log K.
    """
    marginal = log_p.exp().mean(0).clamp_min(torch.finfo(log_p.dtype).tiny)
    return torch.special.entr(marginal).sum() + (log_p.exp() * log_p).sum(1).mean()
