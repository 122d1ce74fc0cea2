"""Time-contrastive learning: minimise E[−log softmax(A h(x) + b)_u], then linear ICA of the features h."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from trimkit.methods import Batch, Phase, StepResult, Term, Weight, adam, as_schedule, at_least_float32
from trimkit.registry.options import whole_number
from trimkit_ica.auxiliary import accuracy
from trimkit_ica.features import FeatureMethod
from trimkit_ica.networks import mlp


class TCL(FeatureMethod):
    """Time-contrastive learning (Hyvärinen & Morioka 2016, arXiv:1605.06336): features that tell segments apart.

    Where the sources' variances change from segment to segment, the features h = |MLP(x)| of a perfect classifier are a
    linear map of |s| (or s²) of the sources s; the linear ICA of them undoes the map. So a component stands for the
    size of a source: its sign is lost, and with it any way back to x.

    Args:
        shape: of one sample.
        latent_dim: number of features k: as many as there are sources.
        segments: number of segments, u in 0 … segments − 1; the data tell ``trimkit train``.
        hidden: width of the network.
        layers: its linear layers, with tanh(x) + .1 x between.
        learning_rate: of Adam.
        rate: factor of the learning rate over the steps: a number, or text such as "cosine(1, 0, 20000)".

    Raises:
        OptionError: an option out of range, or nothing said of u.
    """

    why = "the sign of a source is lost in |h|, so no data belong to a code"

    def __init__(
        self,
        shape: tuple[int, ...],
        latent_dim: int = 5,
        *,
        segments: int = 0,
        hidden: int = 100,
        layers: int = 3,
        learning_rate: float = 1e-2,
        rate: Weight = 1.0,
    ) -> None:
        super().__init__(shape, latent_dim, segments)
        self.hidden, self.layers = hidden, layers
        self.learning_rate, self.rate = learning_rate, rate
        whole_number("", hidden=hidden, layers=layers)
        self.network = mlp(self.size, latent_dim, hidden=hidden, layers=layers)
        self.classifier = nn.Linear(latent_dim, segments)

    def features(self, x: Tensor) -> Tensor:
        """h(x) = |MLP(x)|: (N, *shape) → (N, k) ≥ 0."""
        return at_least_float32(self.network(x.flatten(1))).abs()

    def phases(self) -> Sequence[Phase]:
        """One phase, for features and classifier."""
        optimiser = adam(self.learning_rate)
        return [
            Phase(
                "tcl",
                list(self.parameters()),
                self.loss,
                {"segments": 1.0},
                optimiser=optimiser,
                rate=as_schedule(self.rate),
            )
        ]

    def loss(self, batch: Batch, generator: torch.Generator, step: int) -> StepResult:
        """Term segments, the cross-entropy of u given h(x): (N,) nats; log M is chance where segments are of one size.

        Args:
            batch: of N samples with their segments u.
            generator: unused.
            step: unused.
        """
        u = self.auxiliary.needed(batch.aux, "in every batch")
        logits = at_least_float32(self.classifier(self.features(batch.x)))
        term = Term(cross_entropy(logits, u, reduction="none"))
        return StepResult({"segments": term}, diagnostics={"accuracy": accuracy(logits, u)})
