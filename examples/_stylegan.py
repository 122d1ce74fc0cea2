"""The generators of `stylegan_sprites`, and what is measured and drawn of them."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from _seeds import Row, spread
from _sprite_reader import CHUNK, FACTORS, Reader, likeness, sprites
from torch import Tensor, nn
from trimkit_gan.noise import noise_share
from trimkit_gan.styled import StyleBased

import trimkit
from trimkit.methods import GeneratedTransform
from trimkit.metrics import generation
from trimkit.metrics.disentanglement import dci, mutual_information_gap

COMMON: dict[str, Any] = {"z_dim": 64, "w_dim": 64, "mapping_layers": 4, "convolutions": 2, "channel_base": 2048}
COMMON |= {"channel_max": 32, "learning_rate": 2e-3, "mixing": 0.9, "mapping_multiplier": 0.01, "ema_decay": 0.995}
"""Options of all: two convolutions of 32 channels at every resolution, style mixing, the published pace of mapping."""

VARIANTS = {"stylegan2 + path": "stylegan2", "stylegan2": "stylegan2", "stylegan": "stylegan"}
"""Name → method."""

PATH_WEIGHT = 20.0
"""Ten times the published one, whose gradient is a tenth to a fiftieth of the adversarial loss's here, and moves little
in so few steps: with it seed 0 had a path length in w of 85,820, and 80,377 without."""


def make(variant: str, shape: Sequence[int], steps: int, seed: int, small: bool) -> StyleBased:
    """The method of a variant, with weights of a seed, for so many steps."""
    own: dict[str, dict[str, Any]] = {
        "stylegan2 + path": {"path_weight": PATH_WEIGHT, "r1_gamma": 1.0},
        "stylegan2": {"path_weight": 0.0, "r1_gamma": 1.0},
        "stylegan": {"grow_steps": max(1, steps // 10), "r1_gamma": 3.0},  # all 32 pixels after 0.4 of the steps
    }
    options = COMMON | own[variant] | ({"channel_max": 4, "mapping_layers": 1} if small else {})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return trimkit.create("method", VARIANTS[variant], shape=tuple(shape), **options)


class Sizes(NamedTuple):
    """How much is looked at.

    Attributes:
        samples: pictures of each set that are compared.
        codes: pictures whose factors are read, for disentanglement and separability; the forests of DCI on s take a
            minute for each thousand.
        pairs: of codes, for path lengths.
        explained: pictures whose attributions are taken.
        points: of the Fréchet distance over the training, behind that of the untrained generator.
        sprites: to train on, of the nine tenths of 5,160,960 that are not for the test.
    """

    samples: int = 2048
    codes: int = 1000
    pairs: int = 500
    explained: int = 256
    points: int = 6
    sprites: int = 500_000


@torch.no_grad()
def draw(method: StyleBased, n: int, seed: int) -> Tensor:
    """New pictures with random noise, without truncation: (n, 3, 32, 32) in [0, 1]."""
    of = torch.Generator().manual_seed(seed)
    return torch.cat([method.sample(min(CHUNK, n - start), of).clamp(0, 1) for start in range(0, n, CHUNK)])


def path_lengths(method: StyleBased, f: Reader, sizes: Sizes, seed: int) -> dict[str, float]:
    """Perceptual path lengths in the CNN's features, float64: along great circles of z, along lines of w."""
    exact, seen = copy.deepcopy(method).double(), copy.deepcopy(f.features).double()
    of, found = torch.Generator().manual_seed(seed), {}
    for space, path in (("z", "spherical"), ("w", "linear")):
        ends = [exact.draw_z(sizes.pairs, of) for _ in range(2)]
        start, end = ends if space == "z" else [exact.mapping(z).detach() for z in ends]
        for where in ("full", "end"):
            images: Callable[[Tensor], Tensor] = lambda code, space=space: exact.decode(code, space)  # noqa: E731
            length = generation.perceptual_path_length(start, end, images, seen, path=path, where=where, draws=0)  # type: ignore[arg-type]
            found[f"ppl_{space}_{where}"] = length.value
    return found


@torch.no_grad()
def disentangled(method: StyleBased, f: Reader, sizes: Sizes, seed: int) -> dict[str, float]:
    """DCI and MIG of s, w and z, the separability of w and z: with factors as the CNN reads them off the pictures.

    Beside them "chance": the same numbers for the codes of other pictures.
    """
    of, found = torch.Generator().manual_seed(seed), {}
    codes = [method.codes(z, "z") for z in method.draw_z(sizes.codes, of).split(CHUNK)]
    factors, sure = f.read(torch.cat([method.decode(part["s"], "s").clamp(0, 1) for part in codes]))
    other = torch.randperm(sizes.codes, generator=of)
    for space in ("s", "w", "z"):
        code = torch.cat([part[space] for part in codes])
        for chance, rows in (("", code), ("_chance", code[other])):
            named: dict[str, Any] = {"names": tuple(FACTORS), "seed": seed, "draws": 0}
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "disentanglement is 1")  # a CNN of a few steps reads one factor
                found[f"dci_{space}{chance}"] = dci(rows, factors, **named).disentanglement.value
            found[f"mig_{space}{chance}"] = mutual_information_gap(rows, factors, **named).value
            if space != "s":
                value = generation.linear_separability(rows, factors, sure, **named).value
                found[f"separability_{space}{chance}"] = value
    return found


def explained(method: StyleBased, f: nn.Module, sizes: Sizes, kind: Any = "input_x_gradient") -> Tensor:
    """The share of each entry of s in the attribution of the shape that f reads, from the mean image: (N, S)."""
    transform = GeneratedTransform(method, method.space("s"))
    transform.codes = method.sample_codes(sizes.explained, torch.Generator().manual_seed(1), "s").detach()
    x = method.decode(transform.codes, "s").detach()
    found = trimkit.Trim(f, transform, kind)(x, f(x).argmax(1), baseline=method.baseline("s"))
    assert isinstance(found.scores, Tensor)
    return found.scores.abs() / found.scores.abs().sum(1, keepdim=True).clamp_min(1e-12)


def channels_for(share: Tensor, level: float = 0.9) -> float:
    """How many entries, the largest first, carry ``level`` of the attribution: mean over (N, S) shares."""
    carried = share.sort(1, descending=True).values.cumsum(1)
    return float((carried < level).sum(1).add(1).double().mean())


def focus(method: StyleBased, reading: Reader, sizes: Sizes) -> dict[str, float]:
    """How many style channels carry the shape, by two attributions, and whether the shapes are still all there."""
    f, gradients = reading.shape, ("integrated_gradients", {"n_steps": 16, "tolerance": None})
    share = explained(method, f, sizes)
    shapes = reading.read(draw(method, sizes.codes, 2))[0][:, list(FACTORS).index("shape")]
    shares = torch.bincount(shapes, minlength=3).double() / len(shapes)
    return {
        "channels": share.shape[1],
        "channels_90": channels_for(share),
        "channels_90_ig": channels_for(explained(method, f, sizes, gradients)),
        "rarest_shape": float(shares.min()),
        "noise_share": noise_share(method, f, generator=torch.Generator().manual_seed(3)),
    }


def baselines(f: Reader, sizes: Sizes) -> dict[str, dict[str, float]]:
    """What needs no training: other sprites, one mean picture, and noise."""
    others = sprites("train", sizes.samples).x[:]
    of = torch.Generator().manual_seed(0)
    sets = {
        "training sprites": others,
        "their mean": others.mean(0, keepdim=True).expand_as(others),
        "noise": torch.rand(others.shape, generator=of),
    }
    return {name: likeness(f, x) for name, x in sets.items()}


def table(rows: Sequence[Row], by: str, columns: Sequence[str], others: Any = ()) -> None:
    """A line a variant: each column's median [smallest, largest]; then lines of single numbers."""
    print(f"{'':18}" + "".join(f"{column:>24}" for column in columns))
    for name in dict.fromkeys(row[by] for row in rows):
        own = [row for row in rows if row[by] == name]
        print(f"{name:18}" + "".join(f"{spread(row[column] for row in own):>24}" for column in columns))
    for name, values in dict(others).items():
        print(f"{name:18}" + "".join(f"{values[column]:>24.3f}" for column in columns))


def draw_curves(rows: Sequence[Row], floor: float, path: Path) -> None:
    """The Fréchet distance over the training, a line a run, above that of training sprites."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    colours = {name: f"C{n}" for n, name in enumerate(dict.fromkeys(row["variant"] for row in rows))}
    for row in rows:
        label = row["variant"] if row["seed"] == 0 else None
        axes.plot(*zip(*row["curve"], strict=True), color=colours[row["variant"]], marker="o", ms=3, label=label)
    axes.axhline(floor, color="0.6", lw=1, label="training sprites")
    axes.set(yscale="log", xlabel="steps", ylabel="Fréchet distance (sprite CNN)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=110)
