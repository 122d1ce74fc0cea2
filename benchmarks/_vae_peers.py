"""One training step of the peer libraries' VAEs, with this benchmark's networks, batch and optimiser.

Neither is ever a dependency. Where one cannot be imported, it is left out; see benchmarks/vae_training.py.
"""

from __future__ import annotations

import contextlib
import sys
import types
from collections.abc import Callable, Mapping
from unittest.mock import MagicMock

import torch
from torch import Tensor, nn

Step = Callable[[], object]
NetworkMaker = Callable[[], tuple[nn.Module, nn.Module]]
"""A new encoder (N, *shape) → (N, 2D) and decoder (N, D) → logits (N, *shape)."""


def peers(make: NetworkMaker, shape: tuple[int, ...], latent_dim: int, draw: Callable[[], Tensor]) -> dict[str, Step]:
    """The steps of every peer that can be imported.

    Args:
        make: the networks.
        shape: of one sample.
        latent_dim: D.
        draw: a batch of binary samples.
    Returns:
        "pythae vae", "disent beta-tcvae", … → its step.
    """
    steps: dict[str, Step] = {}
    for maker in (_pythae, _disent):
        with contextlib.suppress(ImportError):
            steps |= maker(make, shape, latent_dim, draw)
    return steps


def _pythae(make: NetworkMaker, shape: tuple[int, ...], latent_dim: int, draw: Callable[[], Tensor]) -> dict[str, Step]:
    """Its models and the updates of its trainers, without callbacks and logs."""
    from pythae import models  # type: ignore[import-not-found]

    def model(name: str, **options: float) -> nn.Module:
        encoder, decoder = _pythae_networks(*make(), latent_dim)
        sizes = {"input_dim": shape, "latent_dim": latent_dim, "reconstruction_loss": "bce"}
        config = getattr(models, f"{name}Config")(**sizes, **options)
        return getattr(models, name)(config, encoder=encoder, decoder=decoder)

    def step(made: nn.Module) -> Step:
        return _step(made, lambda: made({"data": draw()}, dataset_size=737_280).loss)

    return {
        "pythae vae": step(model("VAE")),
        "pythae beta-vae": step(model("BetaVAE", beta=4.0)),
        "pythae beta-tcvae": step(model("BetaTCVAE", beta=6.0)),
        "pythae factor-vae": _adversarial_step(model("FactorVAE", gamma=6.4), draw),
    }


def _pythae_networks(encoder: nn.Module, decoder: nn.Module, latent_dim: int) -> tuple[nn.Module, nn.Module]:
    """The networks in pythae's own classes."""
    from pythae.models.base.base_utils import ModelOutput  # type: ignore[import-not-found]
    from pythae.models.nn import BaseDecoder, BaseEncoder  # type: ignore[import-not-found]

    class Encoder(BaseEncoder):
        def __init__(self) -> None:
            BaseEncoder.__init__(self)
            self.network, self.latent_dim = encoder, latent_dim

        def forward(self, x: Tensor) -> object:
            mean, log_variance = self.network(x).chunk(2, 1)
            return ModelOutput(embedding=mean, log_covariance=log_variance)

    class Decoder(BaseDecoder):
        def __init__(self) -> None:
            BaseDecoder.__init__(self)
            self.network = decoder

        def forward(self, z: Tensor) -> object:
            return ModelOutput(reconstruction=self.network(z).sigmoid())

    return Encoder(), Decoder()


def _adversarial_step(made: nn.Module, draw: Callable[[], Tensor]) -> Step:
    """Its model halves the batch it is given, so two are given, as the paper draws two."""
    encoder, decoder, discriminator = map(made.get_submodule, ("encoder", "decoder", "discriminator"))
    first = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], 1e-4)
    second = torch.optim.Adam(discriminator.parameters(), 1e-4, (0.5, 0.9))

    def run() -> None:
        output = made({"data": torch.cat([draw(), draw()])})
        first.zero_grad()
        output.autoencoder_loss.backward(retain_graph=True)
        second.zero_grad()
        output.discriminator_loss.backward()
        first.step()
        second.step()

    return run


def _disent(make: NetworkMaker, shape: tuple[int, ...], latent_dim: int, draw: Callable[[], Tensor]) -> dict[str, Step]:
    """Its frameworks' training steps. They import torchvision for datasets that are not used here: it is replaced."""
    import lightning  # type: ignore[import-not-found]  # noqa: F401  before the replacement, which it would try to use

    names = ("torchvision", *(f"torchvision.{part}" for part in ("transforms", "models", "datasets", "utils")))
    sys.modules |= {name: _Absent(name) for name in (*names, "torchvision.transforms.functional")}
    from disent.frameworks.vae import BetaTcVae, BetaVae, DipVae, Vae  # type: ignore[import-not-found]
    from disent.model import AutoEncoder, DisentDecoder, DisentEncoder  # type: ignore[import-not-found]

    class Encoder(DisentEncoder):
        def __init__(self, network: nn.Module) -> None:
            super().__init__(shape, latent_dim, 2)
            self.network = network

        def encode(self, x: Tensor) -> Tensor:
            return self.network(x)

    class Decoder(DisentDecoder):
        def __init__(self, network: nn.Module) -> None:
            super().__init__(shape, latent_dim)
            self.network = network

        def decode(self, z: Tensor) -> Tensor:
            return self.network(z)

    def step(kind: type, **options: float) -> Step:
        encoder, decoder = make()
        config = kind.cfg(recon_loss="bce", loss_reduction="mean_sum", **options)
        made = kind(AutoEncoder(Encoder(encoder), Decoder(decoder)), config)
        made.log = made.log_dict = lambda *args, **more: None  # these need a Lightning trainer

        def loss() -> Tensor:
            x = draw()
            return made.do_training_step({"x_targ": (x,), "x": (x,)}, 0)

        return _step(made, loss)

    kinds: Mapping[str, tuple[type, dict[str, float]]] = {
        "vae": (Vae, {}),
        "beta-vae": (BetaVae, {"beta": 4.0}),
        "beta-tcvae": (BetaTcVae, {"beta": 6.0}),
        "dip-vae-i": (DipVae, {}),
    }
    return {f"disent {name}": step(kind, **options) for name, (kind, options) in kinds.items()}


def _step(made: nn.Module, loss: Callable[[], Tensor]) -> Step:
    """One update of all parameters by Adam."""
    optimiser = torch.optim.Adam(made.parameters(), 5e-4)

    def run() -> None:
        optimiser.zero_grad()
        loss().backward()
        optimiser.step()

    return run


class _Absent(types.ModuleType):
    """A module whose every name exists and does nothing."""

    def __getattr__(self, name: str) -> object:
        return MagicMock()
