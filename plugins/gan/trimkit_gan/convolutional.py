"""Plain networks for adversarial games, DCGAN-like or fully connected: generators z → x and trunks x → features."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from trimkit.errors import DataError, OptionError, ShapeError
from trimkit.methods import chosen

PlainName: TypeAlias = Literal["conv", "mlp"]

PlainChoice: TypeAlias = PlainName | str | Callable[[tuple[int, ...], int], Any]
"""A name; a function (shape, inputs) → (generator, trunk); or that function as text, ``pkg.mod:function``."""

Output: TypeAlias = Literal["sigmoid", "tanh", "linear"]

OUTPUTS: dict[str, tuple[type[nn.Module], float, float]] = {
    "sigmoid": (nn.Sigmoid, 0.0, 1.0),
    "tanh": (nn.Tanh, -1.0, 1.0),
    "linear": (nn.Identity, -math.inf, math.inf),
}
"""The generator's last activation, and the range of what it gives."""

WIDTH = 256
"""Of every fully connected layer."""

CHANNELS = 32
MOST_CHANNELS = 256
"""Channels at half of the full size; twice as many after each further halving, up to the most."""

SLOPE = 0.1
"""Of every LeakyReLU in a trunk (Chen et al. 2016, appendix C)."""


class Plain(NamedTuple):
    """The two networks of a game.

    Attributes:
        generator: (N, inputs) → (N, *shape), before the last activation.
        trunk: (N, *shape) → (N, features).
        features: of the trunk.
    """

    generator: nn.Module
    trunk: nn.Module
    features: int


def make_plain(choice: PlainChoice, shape: Sequence[int], inputs: int) -> Plain:
    """Generator and trunk by name, or the user's own.

    Args:
        choice: "conv" for square images of 8, 16, 32 or 64 pixels with any number of channels, "mlp" for data of any
            shape; or a function (shape, inputs) → (generator, trunk), also as text "pkg.mod:function".
        shape: of one sample.
        inputs: of the generator, at least 1.
    Raises:
        OptionError: an unknown name, or a function that returns something else than two modules.
        ShapeError: data that the network does not take, or own networks whose shapes do not fit.
        ModelError: text that names nothing.
    """
    ours = {"conv": conv, "mlp": mlp}
    made = chosen("network", choice, ours)(tuple(shape), inputs)
    return made if isinstance(made, Plain) else _checked(made, tuple(shape), inputs)


def conv(shape: Sequence[int], inputs: int) -> Plain:
    """DCGAN-like networks: 4×4 kernels, stride 2, between 4×4 pixels and the full size.

    The generator has batch normalisation; the trunk has none, since real and generated images would share statistics.
    Convolutions start at N(0, .02), as Radford et al. 2015.

    Args:
        shape: (C, S, S), S = 8, 16, 32 or 64.
        inputs: of the generator.
    Raises:
        ShapeError: another shape.
    """
    widths = [min(CHANNELS * 2**i, MOST_CHANNELS) for i in range(_halvings(shape))]
    flat = widths[-1] * 4 * 4
    ups: list[nn.Module] = []
    downs: list[nn.Module] = []
    for before, after in itertools.pairwise((shape[0], *widths)):
        downs += [nn.Conv2d(before, after, 4, stride=2, padding=1), nn.LeakyReLU(SLOPE)]
        ups = [nn.BatchNorm2d(after), nn.ReLU(), nn.ConvTranspose2d(after, before, 4, stride=2, padding=1), *ups]
    generator = Normalised(
        nn.Linear(inputs, WIDTH),
        nn.BatchNorm1d(WIDTH),
        nn.ReLU(),
        nn.Linear(WIDTH, flat),
        nn.Unflatten(1, (widths[-1], 4, 4)),
        *ups,
    )
    trunk = nn.Sequential(*downs, nn.Flatten(), nn.Linear(flat, WIDTH), nn.LeakyReLU(SLOPE))
    return Plain(generator.apply(_small), trunk.apply(_small), WIDTH)


def mlp(shape: Sequence[int], inputs: int) -> Plain:
    """Two hidden layers of 256 each way, on flattened data of any shape.

    Args:
        shape: of one sample.
        inputs: of the generator.
    """
    size = math.prod(shape)
    generator = nn.Sequential(*hidden(inputs, WIDTH, WIDTH), nn.Linear(WIDTH, size), nn.Unflatten(1, tuple(shape)))
    trunk = nn.Sequential(nn.Flatten(), *hidden(size, WIDTH, WIDTH, slope=SLOPE))
    return Plain(generator, trunk, WIDTH)


def hidden(*widths: int, slope: float = 0.0) -> list[nn.Module]:
    """Linear layers from width to width, a (leaky) ReLU after each."""
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        layers += [nn.Linear(before, after), nn.LeakyReLU(slope) if slope else nn.ReLU()]
    return layers


class Normalised(nn.Sequential):
    """Layers with batch normalisation, which a single sample has no statistics for."""

    def forward(self, input: Tensor) -> Tensor:
        """(N, inputs) → (N, *shape).

        Raises:
            ShapeError: one sample, in training.
        """
        if self.training and len(input) < 2:
            raise ShapeError(
                "network 'conv' normalises over the batch: expected at least 2 samples a turn in training, got 1; take "
                "larger batches, or network 'mlp'"
            )
        return super().forward(input)


def make_output(choice: Output) -> nn.Module:
    """The generator's last activation.

    Raises:
        OptionError: an unknown choice.
    """
    if choice not in OUTPUTS:
        raise OptionError(f"expected output as one of {', '.join(map(repr, OUTPUTS))}, got {choice!r}")
    return OUTPUTS[choice][0]()


def check_range(x: Tensor, choice: Output) -> None:
    """Refuse data that no generator with this output could make.

    Args:
        x: (N, ...) data.
        choice: see `make_output`.
    Raises:
        DataError: data outside its range.
    """
    _, low, high = OUTPUTS[choice]
    least, most = float(x.min()), float(x.max())
    if least < low or most > high:
        raise DataError(
            f"output {choice!r} needs data in [{low:g}, {high:g}], got {least:g} … {most:g}; rescale them, or use "
            "output 'linear'"
        )


def _halvings(shape: Sequence[int]) -> int:
    """How often a square image is halved until it is 4×4."""
    size = shape[-1]
    if len(shape) != 3 or shape[1] != size or size not in (8, 16, 32, 64):
        raise ShapeError(
            f"network 'conv' takes square images (C, S, S) with S = 8, 16, 32 or 64, got {tuple(shape)}; pad or "
            "resize them, or use network 'mlp'"
        )
    return int(math.log2(size)) - 2


def _small(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)


def _checked(made: Any, shape: tuple[int, ...], inputs: int) -> Plain:
    """The user's pair, after two samples of zeros went through each."""
    pair = tuple(made) if isinstance(made, Sequence) else ()
    if len(pair) != 2 or not all(isinstance(module, nn.Module) for module in pair):
        raise OptionError(f"own network: expected a pair of modules (generator, trunk), got {type(made).__name__}")
    image = _probed("generator", pair[0], (inputs,))
    if image != shape:
        raise ShapeError(f"own generator: expected (N, {inputs}) → (N, {_listed(shape)}), got (N, {_listed(image)})")
    features = _probed("trunk", pair[1], shape)
    if len(features) != 1:
        raise ShapeError(f"own trunk: expected (N, {_listed(shape)}) → (N, features), got (N, {_listed(features)})")
    return Plain(*pair, features[0])


@torch.no_grad()
def _probed(name: str, module: nn.Module, takes: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a module's output for one sample; it runs in eval mode, so no buffer changes."""
    modes = [(inner, inner.training) for inner in module.modules()]
    weight = next(module.parameters(), torch.zeros(()))
    try:
        found = module.eval()(torch.zeros(2, *takes, dtype=weight.dtype, device=weight.device))
    except Exception as error:
        raise ShapeError(f"own {name}: does not take (N, {_listed(takes)}): {' '.join(str(error).split())}") from error
    finally:
        for inner, training in modes:
            inner.training = training
    if not isinstance(found, Tensor) or found.ndim < 2 or len(found) != 2:
        got = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise ShapeError(f"own {name}: expected a batch of 2 for a batch of 2, got {got}")
    return tuple(found.shape[1:])


def _listed(sizes: Sequence[int]) -> str:
    return ", ".join(map(str, sizes))
