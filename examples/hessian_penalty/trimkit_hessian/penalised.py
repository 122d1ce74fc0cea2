"""The Hessian penalty around any method: off-diagonal second derivatives of the decoder are driven to 0.

It is no function of attributions, so it is no penalty in trimkit's sense. It is one more lazy phase of training, over
the parameters of the phase that trains the decoder, and with that phase's optimiser: all of it public interface.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

import trimkit
from trimkit.errors import OptionError
from trimkit.methods import Batch, LatentSpace, Method, Phase, Posterior, StepResult, Term, standard_normal

CODES = "hessian_penalty_codes"
"""Under which the decoder's phase hands its codes on."""


def hessian_penalty(
    decode: Callable[[Tensor], Tensor],
    z: Tensor,
    *,
    directions: int = 2,
    epsilon: float = 0.1,
    generator: torch.Generator | None = None,
) -> Tensor:
    """max over outputs of Var_v [vᵀ H v], v of random signs: an estimate of 2 Σ_{i≠j} H_ij² (eq. 2 and 5).

    vᵀ H v is the second central difference (G(z + εv) − 2 G(z) + G(z − εv)) / ε².

    Args:
        decode: (N, ...) codes → (N, ...) data.
        z: (N, ...) codes.
        directions: draws of v, at least 2.
        epsilon: length of a step along each entry.
        generator: of v.
    Returns:
        (N,) values ≥ 0.
    Raises:
        OptionError: fewer than two directions.
    """
    if directions < 2:
        raise OptionError(f"hessian penalty: expected directions ≥ 2, got {directions}")
    steps = [epsilon * standard_normal(z, generator).sign() for _ in range(directions)]
    outputs = decode(torch.cat([z, *(z + v for v in steps), *(z - v for v in steps)])).unflatten(0, (-1, len(z)))
    centre, plus, minus = outputs[0], outputs[1 : directions + 1], outputs[directions + 1 :]
    curvature = (plus - 2 * centre + minus) / epsilon**2
    return curvature.var(0).flatten(1).max(1).values


class HessianPenalised(Method):
    """A method with a Hessian penalty on its decoder (Peebles et al. 2020, eq. 8).

    Style-based generators should be penalised in z: in w, what varies can hide in the noise of the first layer.

    Args:
        shape: of one sample.
        of: name of the method, such as "stylegan2" or "vae".
        settings: of that method.
        codes: name of the space that is penalised; the method's first by default.
        weight: of the penalty.
        interval: steps between two penalties, each of which counts that many times.
        directions: draws of v a penalty.
        epsilon: step of the differences.

    Attributes:
        inner: the method.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        of: str = "vae",
        settings: dict[str, Any] | None = None,
        codes: str | None = None,
        weight: float = 0.1,
        interval: int = 4,
        directions: int = 2,
        epsilon: float = 0.1,
    ) -> None:
        super().__init__(shape)
        self.of, self.settings, self.codes, self.weight = of, settings, codes, weight
        self.interval, self.directions, self.epsilon = interval, directions, epsilon
        self.inner: Method = trimkit.create("method", of, shape=self.shape, **(settings or {}))
        self.inner.space(codes)  # refuses what is none

    def latent_spaces(self) -> Sequence[LatentSpace]:
        """Those of the method."""
        return self.inner.latent_spaces()

    def encode(self, x: Tensor, aux: Tensor | None = None, space: str | None = None) -> Posterior:
        """As the method does."""
        return self.inner.encode(x, aux, space)

    def decode(self, z: Tensor, space: str | None = None) -> Tensor:
        """As the method does."""
        return self.inner.decode(z, space)

    def sample(self, n: int, generator: torch.Generator | None = None, aux: Tensor | None = None) -> Tensor:
        """As the method does."""
        return self.inner.sample(n, generator, aux)

    def baseline(self, space: str | None = None) -> Tensor | None:
        """As the method does."""
        return self.inner.baseline(space)

    def check(self, x: Tensor) -> None:
        """As the method does."""
        self.inner.check(x)

    def phases(self) -> Sequence[Phase]:
        """Those of the method, the decoder's handing its codes on, and the penalty after it.

        Raises:
            OptionError: a method without a phase that trains its decoder.
        """
        phases = list(self.inner.phases())
        place = next((n for n, phase in enumerate(phases) if phase.trains_decoder), None)
        if place is None:
            raise OptionError(f"{self.of} has no phase that trains its decoder, so there is nothing to penalise")
        decoding = phases[place]
        penalty = Phase(
            "hessian_penalty",
            decoding.parameters,
            self.penalise,
            {"hessian": self.weight},
            interval=self.interval,
            lazy=True,
            shares=decoding.shares or decoding.name,
        )
        return [*phases[:place], replace(decoding, loss=self._handing_on(decoding)), penalty, *phases[place + 1 :]]

    def penalise(self, batch: Batch, generator: torch.Generator, step: int) -> StepResult:
        """The penalty at the codes of the decoder's phase.

        Returns:
            The term "hessian", (N,).
        """

        def decode(z: Tensor) -> Tensor:
            return self.inner.decode(z, self.codes)

        options: dict[str, Any] = {"directions": self.directions, "epsilon": self.epsilon}
        return StepResult(
            {"hessian": Term(hessian_penalty(decode, batch.carried[CODES], generator=generator, **options))}
        )

    def _handing_on(self, phase: Phase) -> Callable[[Batch, torch.Generator, int], StepResult]:
        def loss(batch: Batch, generator: torch.Generator, step: int) -> StepResult:
            result = phase.loss(batch, generator, step)
            space = self.inner.space(self.codes)
            if phase.generates:
                codes = result.codes[space.name]
            else:
                codes = self.inner.encode(batch.x, batch.aux, space.name).mean
            return replace(result, carried={**result.carried, CODES: codes})

        return loss
