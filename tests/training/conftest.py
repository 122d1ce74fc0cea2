"""A small method that uses everything a phase may use, and data and a predictor for it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

import trimkit
from trimkit.data import Dataset
from trimkit.methods import Batch, DiagonalGaussian, LatentSpace, Method, Phase, StepResult, Term, adam, linear
from trimkit.registry import default
from trimkit.registry.calling import signature_of


class Toy(Method):
    """Two phases: an autoencoder with noise, dropout and batch normalisation, and a critic at every second step."""

    def __init__(self, shape: Sequence[int] = (6,), rate: float = 1e-2) -> None:
        super().__init__(shape)
        self.rate = rate
        self.encoder = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.1), nn.Linear(8, 6))
        self.decoder = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 6))
        self.critic = nn.Linear(3, 2)

    def latent_spaces(self) -> Sequence[LatentSpace]:
        return [LatentSpace("z", (3,), stochastic=True)]

    def encode(self, x: Tensor, aux: Tensor | None = None, space: str | None = None) -> DiagonalGaussian:
        return DiagonalGaussian(*self.encoder(x).chunk(2, 1))

    def decode(self, z: Tensor, space: str | None = None) -> Tensor:
        return self.decoder(z)

    def phases(self) -> Sequence[Phase]:
        networks = [*self.encoder.parameters(), *self.decoder.parameters()]
        weights = {"recon": 1.0, "kl": linear(0.0, 0.1, 10), "fooled": 0.1}
        return [
            Phase("networks", networks, self.reconstruct, weights, adam(self.rate), trains_decoder=True),
            Phase(
                "critic", list(self.critic.parameters()), self.criticise, {"critic": 1.0}, adam(self.rate), interval=2
            ),
        ]

    def reconstruct(self, batch: Batch, generator: torch.Generator, step: int) -> StepResult:
        posterior = self.encode(batch.x)
        z = posterior.rsample(generator)
        x_hat = self.decode(z)
        terms = {
            "recon": Term((x_hat - batch.x).square().sum(1)),
            "kl": Term(posterior.kl().sum(1)),
            "fooled": Term(self.critic(z).square().sum(1)),
        }
        return StepResult(terms, x_hat, {"kl_per_dimension": posterior.kl().detach().mean(0)})

    def criticise(self, batch: Batch, generator: torch.Generator, step: int) -> StepResult:
        z = self.encode(batch.x).rsample(generator)  # not detached: the loop must keep the encoder still
        return StepResult({"critic": Term((self.critic(z) - 1).square().sum(1))})


def make_toy(seed: int = 0, kind: type[Method] = Toy) -> Method:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return kind((6,))


@pytest.fixture
def toy():
    """Makes a method of the same initial weights each time."""
    return make_toy


@pytest.fixture
def toy_class():
    return Toy


@pytest.fixture
def data():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(40, 6, generator=generator)
    return Dataset("noise", x, (x[:, 0] > 0).long(), classes=("low", "high"))


@pytest.fixture
def predictor():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 2))


@pytest.fixture
def same():
    """Are two trees of tensors and numbers equal bit for bit?"""

    def compare(one, other) -> bool:
        if isinstance(one, Tensor):
            return torch.equal(one, other)
        if isinstance(one, dict):
            return one.keys() == other.keys() and all(compare(one[key], other[key]) for key in one)
        if isinstance(one, list | tuple):
            return len(one) == len(other) and all(map(compare, one, other))
        return one == other

    return compare


SMALL = {
    "vae": {"shape": (6,), "network": "mlp", "latent_dim": 3, "dataset_size": 40, "discriminator_width": 16},
    "gan": {
        "shape": (1, 8, 8),
        "noise_dim": 4,
        "categories": (3,),
        "z_dim": 8,
        "w_dim": 8,
        "mapping_layers": 2,
        "channel_base": 64,
        "channel_max": 8,
        "grow_steps": 4,
        "r1_interval": 2,
        "path_weight": 2.0,
        "path_interval": 3,
        "mixing": 0.9,
    },
    "ica": {
        "shape": (6,),
        "latent_dim": 3,
        "segments": 2,
        "hidden": 8,
        "layers": 2,
        "flow_layers": 2,
        "flow_hidden": 8,
        "preset": "released",
    },
}
"""Options of registered methods by family and name of the argument: what makes any of them small."""


def registered_methods() -> list[tuple[str, dict]]:
    """Name and options of every installed method that is trained by phases."""
    cases = []
    for name, spec in trimkit.available("methods").items():
        taken = signature_of(default().find("method", name).load()).parameters
        options = {option: value for option, value in SMALL.get(spec.family, SMALL["vae"]).items() if option in taken}
        if trimkit.create("method", name, **options).phases():
            cases.append((name, options))
    return cases


@pytest.fixture
def samples_of():
    """Makes forty samples in [0, 1] of a shape, of two classes, which are the auxiliary variable too."""

    def make(shape: Sequence[int]) -> Dataset:
        x = torch.rand(40, *shape, generator=torch.Generator().manual_seed(0))
        y = (x.flatten(1)[:, 0] > 0.5).long()
        return Dataset("noise", x, y, classes=("low", "high"), aux=y)

    return make


@pytest.fixture(scope="session")
def registered():
    """Every installed method that is trained by phases: its name and the options that make it small."""
    return registered_methods()


def pytest_generate_tests(metafunc):
    """A test of ``method_case`` runs for every installed method that is trained by phases."""
    if "method_case" in metafunc.fixturenames:
        cases = registered_methods()
        metafunc.parametrize("method_case", cases, ids=[name for name, _ in cases])
