"""VQ-VAE: an autoencoder whose codes are entries of a learned codebook."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot
from trimkit.coefficients.groups import Groups
from trimkit.errors import OptionError
from trimkit.methods import Batch, Delta, LatentSpace, Method, Phase, StepResult, Term, adam


class VQVAE(Method):
    """−log p(x|z_q) + ‖sg(z_e) − z_q‖² + β ‖z_e − sg(z_q)‖² (van den Oord et al. 2017, eq. 3), sg without gradient.

    The encoder gives `positions` vectors z_e of `width` numbers; each is replaced by the nearest of `entries` codebook
    vectors, z_q. The decoder's gradient is copied from z_q to z_e (straight through): gradients with respect to codes
    are those of the decoder, exact; those that reach the encoder are an estimate.

    Args:
        shape: of one sample of data.
        positions: vectors a sample, at least 1.
        width: numbers a vector, at least 1.
        entries: of the codebook, at least 2.
        hidden: units of the hidden layers, at least 1.
        commitment: β, at least 0.
        noise: standard deviation of p(x|z), above 0.
        learning_rate: of Adam, above 0.
    Raises:
        OptionError: an option out of range.
    """

    codebook: nn.Parameter
    frequencies: Tensor

    def __init__(
        self,
        shape: Sequence[int],
        positions: int = 8,
        width: int = 4,
        entries: int = 32,
        hidden: int = 128,
        commitment: float = 0.25,
        noise: float = 0.3,
        learning_rate: float = 1e-3,
    ) -> None:
        super().__init__(shape)
        if min(positions, width, hidden) < 1 or entries < 2 or commitment < 0 or not noise > 0:
            raise OptionError(
                "vq-vae: expected positions, width, hidden ≥ 1, entries ≥ 2, commitment ≥ 0 and noise > 0, got "
                f"{positions}, {width}, {hidden}, {entries}, {commitment} and {noise}"
            )
        self.positions, self.width, self.entries, self.hidden = positions, width, entries, hidden
        self.commitment, self.noise, self.learning_rate = commitment, noise, learning_rate
        size = math.prod(self.shape)
        self.encoder = nn.Sequential(nn.Linear(size, hidden), nn.ReLU(), nn.Linear(hidden, positions * width))
        self.decoder = nn.Sequential(nn.Linear(positions * width, hidden), nn.ReLU(), nn.Linear(hidden, size))
        self.codebook = nn.Parameter(torch.randn(entries, width))
        self.register_buffer("frequencies", torch.full((positions, entries), 1 / entries))

    def latent_spaces(self) -> Sequence[LatentSpace]:
        """One space, z: (positions, width), a group for each position."""
        labels = torch.arange(self.positions)[:, None].expand(self.positions, self.width)
        layout = Groups(tuple(f"position {i}" for i in range(self.positions)), labels, "position of the code")
        return [LatentSpace("z", (self.positions, self.width), layout)]

    def encode(self, x: Tensor, aux: Tensor | None = None, space: str | None = None) -> Delta:
        """The codebook vectors of data, (N, *shape) → (N, positions, width), with the straight-through gradient."""
        z = self.continuous(x)
        return Delta(z + (self.codebook[self.indices(z)] - z).detach())

    def continuous(self, x: Tensor) -> Tensor:
        """z_e, what the encoder gives before the codebook: (N, *shape) → (N, positions, width)."""
        return self.encoder(x.flatten(1)).unflatten(1, (self.positions, self.width))

    @torch.no_grad()
    def indices(self, z: Tensor) -> Tensor:
        """The nearest codebook entry of each vector: (N, positions, width) → (N, positions) int64."""
        return (z[:, :, None] - self.codebook).square().sum(-1).argmin(-1)

    def decode(self, z: Tensor, space: str | None = None) -> Tensor:
        """(N, positions, width) → (N, *shape); codes are taken as they are, in the codebook or not."""
        return self.decoder(z.flatten(1)).unflatten(1, self.shape)

    def sample(self, n: int, generator: torch.Generator | None = None, aux: Tensor | None = None) -> Tensor:
        """Means of the data for codes drawn at each position alone, as often as in the training data: (n, *shape)."""
        drawn = torch.multinomial(self.frequencies, n, replacement=True, generator=generator).T
        return self.decode(self.codebook[drawn])

    @torch.no_grad()
    def prepare(self, x: Tensor, aux: Tensor | None, generator: torch.Generator) -> None:
        """Start the codebook at encoded vectors of the data, so that no entry begins far from all of them."""
        vectors = self.continuous(x).flatten(0, 1)
        chosen = torch.randint(len(vectors), (self.entries,), generator=generator, device=generator.device)
        self.codebook.copy_(vectors[chosen])

    @torch.no_grad()
    def finish(self, x: Tensor, aux: Tensor | None = None) -> None:
        """Count how often each entry stands at each position."""
        counts = one_hot(self.indices(self.continuous(x)), self.entries).sum(0)
        self.frequencies.copy_(counts / counts.sum(1, keepdim=True))

    def phases(self) -> Sequence[Phase]:
        """One: networks and codebook together."""
        weights = {"recon": 1.0, "codebook": 1.0, "commitment": self.commitment}
        parameters = list(self.parameters())
        return [Phase("vq", parameters, self.loss, weights, adam(self.learning_rate), trains_decoder=True)]

    def loss(self, batch: Batch, generator: torch.Generator, step: int) -> StepResult:
        """The three terms, (N,) each, and how many entries of the codebook are in use."""
        z = self.continuous(batch.x)
        index = self.indices(z)
        entries = self.codebook[index]
        x_hat = self.decode(z + (entries - z).detach())
        squares = ((batch.x - x_hat) / self.noise).square().flatten(1)
        terms = {
            "recon": Term(0.5 * (squares + math.log(2 * math.pi * self.noise**2)).sum(1)),
            "codebook": Term((z.detach() - entries).square().flatten(1).sum(1)),
            "commitment": Term((z - entries.detach()).square().flatten(1).sum(1)),
        }
        used = torch.bincount(index.flatten(), minlength=self.entries).gt(0).float().sum()
        return StepResult(terms, x_hat, {"entries_in_use": used})
