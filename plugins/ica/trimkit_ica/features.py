"""What methods share that learn features h(x) alone: two spaces, the features and their linear ICA, and no way back."""

from __future__ import annotations

import math
import warnings
from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from trimkit.errors import DataError, TrimkitWarning
from trimkit.methods import Delta, LatentSpace, Method, Posterior
from trimkit.registry.options import whole_number
from trimkit_ica.auxiliary import Auxiliary
from trimkit_ica.unmixing import canonical, fastica, whiten

ROWS = 4096
"""Samples whose features are computed at once."""


class FeatureMethod(Method):
    """Base of methods without decoder: spaces "h", the features, and "components", a linear ICA of them.

    The ICA is fitted to the training data's features when the training ends (`finish`): it is part of the trained
    state, and is fitted anew when a run goes on.

    Args:
        shape: of one sample.
        latent_dim: number of features k.
        segments: number of values of u, where u are labels.
        aux_dim: number of entries of u, where u are vectors.

    Attributes:
        auxiliary: what u is.
        converged: whether the ICA of the features found a fixed point; False before training.
    """

    why: str = "the method learns features of the data alone"

    def __init__(self, shape: Sequence[int], latent_dim: int, segments: int, aux_dim: int = 0) -> None:
        super().__init__(shape)
        whole_number("", latent_dim=latent_dim)
        self.latent_dim = latent_dim
        self.segments = segments
        self.auxiliary = Auxiliary(type(self).__name__, segments, aux_dim)
        self.size = math.prod(self.shape)
        self.register_buffer("centre", torch.zeros(latent_dim))
        self.register_buffer("unmixing", torch.eye(latent_dim))
        self.register_buffer("converged", torch.tensor(False))
        self.centre: Tensor
        self.unmixing: Tensor
        self.converged: Tensor

    @abstractmethod
    def features(self, x: Tensor) -> Tensor:
        """h(x): (N, *shape) → (N, k), in float32 or better."""

    def latent_spaces(self) -> Sequence[LatentSpace]:
        """The features, and their components."""
        return [
            LatentSpace(name, (self.latent_dim,), can_decode=False, reason=self.why) for name in ("h", "components")
        ]

    def encode(self, x: Tensor, aux: Tensor | None = None, space: str | None = None) -> Posterior:
        """The features, or their components W (h − μ): (N, *shape) → points in (N, k); u is not needed."""
        h = self.features(x)
        if self.space(space).name == "h":
            return Delta(h)
        return Delta((h - self.centre.to(h)) @ self.unmixing.to(h).T)

    def check_aux(self, aux: Tensor | None) -> None:
        """Data without u, or with another than the method was made for, are refused."""
        self.auxiliary.check(aux)

    @torch.no_grad()
    def finish(self, x: Tensor, aux: Tensor | None = None) -> None:
        """Fit the components: whitening and FastICA of the features, in the canonical order and sign.

        Args:
            x: (N, *shape) training data.
            aux: unused.
        Warns:
            TrimkitWarning: features that depend on each other linearly, whose missing components are 0; or an ICA that
                did not converge.
        """
        h = torch.cat(
            [self.features(part) for part in x.split(ROWS)]
        )  # in its own type, whose rounding whiten allows for
        self.centre.copy_(h.double().mean(0))
        self.unmixing.zero_()
        self.converged.fill_(False)
        try:
            whitening = whiten(h)
            z = whitening.apply(h.double())
            rotation = fastica(z)
        except DataError as error:
            self._warn(f"its components are all 0: {error}")
            return
        mixing = whitening.backward @ rotation.matrix.T
        order, signs = canonical(mixing, z @ rotation.matrix.T)
        unmixing = (rotation.matrix @ whitening.forward)[order] * signs[:, None]
        self.unmixing[: len(unmixing)].copy_(unmixing)
        self.converged.fill_(bool(rotation.converged))
        if len(unmixing) < self.latent_dim:
            self._warn(f"its {self.latent_dim} features have {len(unmixing)} independent directions; the other are 0")
        if not rotation.converged:
            self._warn(
                f"FastICA of its features did not converge in {rotation.iterations} iterations; the components may be "
                "another rotation of them in each run"
            )

    def _warn(self, message: str) -> None:
        warnings.warn(f"{type(self).__name__}: {message}", TrimkitWarning, stacklevel=3)
