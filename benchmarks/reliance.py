"""Does the audit say of a model what is true of it? Planted shortcuts in four spaces, and clean models by the hundred.

In each space digits carry one thing that gives the label away in training: a swatch of pixels, a Fourier bin, a scale
and direction of a wavelet, a latent of a small VAE. Three models learn from them: poisoned (the shortcut holds in
training), repaired (the same data with a TRIM penalty on the shortcut) and clean (the shortcut is there, at random).
All are audited on test digits where it is random: with the shortcut forbidden by name, and by search.

    python benchmarks/reliance.py                         # five seeds, chosen before: 0 … 4
    python benchmarks/reliance.py --seeds 1 --clean 20    # a quick look
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from scipy.stats import binomtest
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import trimkit
from trimkit.audit import Report
from trimkit.data import Dataset, in_memory
from trimkit.data.digits import digits
from trimkit.data.shortcut import digits_shortcut
from trimkit.demo.networks import accuracy, train_classifier
from trimkit.transforms import Transform

SAMPLES = 256
LATENTS = 10
SPACES = ("pixel swatch", "Fourier bin", "wavelet scale", "VAE latent")

Make = Callable[[str, str], Dataset]
"""Split and pattern ("label" or "random") → digits with the shortcut."""


@dataclass(frozen=True)
class Shortcut:
    """A planted shortcut.

    Attributes:
        name: of the row.
        make: the data.
        transform: the space.
        forbidden: what to forbid.
        group: the group that a search should name first.
        mask: what the penalty takes.
        weight: of the penalty.
    """

    name: str
    make: Make
    transform: str | tuple[str, dict[str, int]] | Transform
    forbidden: str
    group: str
    mask: Tensor | list[str]
    weight: float = 0.1


def main() -> None:
    """Print both tables."""
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--seeds", type=int, default=5)
    p.add_argument("--clean", type=int, default=200, help="clean small models for the search's false alarms")
    p.add_argument("--spaces", nargs="+", choices=SPACES, default=SPACES)
    arguments = p.parse_args()
    torch.set_num_threads(1)
    planted(arguments.seeds, arguments.spaces)
    if arguments.clean:
        false_alarms(arguments.clean)


def planted(seeds: int, names: Sequence[str]) -> None:
    """The spaces that are named, three models each."""
    print(f"{'space':<14}{'model':<10}{'accuracy':<24}{'forbidden by name':<34}search")
    right = Counter()
    for shortcut in map(make_shortcut, names):
        test = shortcut.make("test", "random")
        for kind in ("poisoned", "repaired", "clean"):
            models = [train(shortcut, kind, seed) for seed in range(seeds)]
            named = [audit(model, test, shortcut, forbid=shortcut.forbidden) for model in models]
            searched = [audit(model, test, shortcut) for model in models]
            firsts = [flagged(report)[:1] == [shortcut.group] for report in searched]
            right[kind] += sum(firsts) if kind == "poisoned" else sum(not flagged(report) for report in searched)
            accuracies = sorted(accuracy(model, test) for model in models)
            low, middle, high = accuracies[0], accuracies[len(accuracies) // 2], accuracies[-1]
            verdicts = counted(str(report.model) for report in named)
            answer = counted(str(report.model) for report in searched)
            answer += f"; right group first {sum(firsts)}/{seeds}" if kind == "poisoned" else ""
            print(
                f"{shortcut.name:<14}{kind:<10}{f'{middle:.3f} ({low:.3f}–{high:.3f})':<24}{verdicts:<34}{answer}",
                flush=True,
            )
    silent, others = right["repaired"] + right["clean"], 2 * len(names) * seeds
    print(f"power of the search: {interval(right['poisoned'], len(names) * seeds)} of the poisoned, right group first")
    print(f"silence of the search: {interval(silent, others)} of the repaired and clean")


def false_alarms(count: int) -> None:
    """How often the search warns of small models that learned from data without any shortcut."""
    alarms = Counter()
    tried = Counter()
    for number in range(count):
        kind, report = clean_digits(number) if number % 4 == 0 else clean_table(number)
        tried[kind] += 1
        alarms[kind] += report.model == "WARN"
    print(f"\nfalse alarms of the search over {count} clean small models: {interval(alarms.total(), count)}")
    for kind in sorted(tried):
        print(f"  {kind:<22}{interval(alarms[kind], tried[kind])}")


def make_shortcut(name: str) -> Shortcut:
    """One of `SPACES`; the VAE is trained here."""
    if name == "pixel swatch":
        mask = torch.zeros(1, 16, 16, dtype=torch.bool)
        mask[:, :3, 13:] = True
        return Shortcut(name, swatch, "identity", "row 0, column 3", "row 0, column 3", mask)
    if name == "Fourier bin":
        mask = torch.zeros(1, 16, 9, dtype=torch.bool)
        mask[:, 5, 5] = True
        return Shortcut(name, digits_shortcut, "fft", "bin 5,5", "0.354–0.442", mask)
    if name == "wavelet scale":
        return Shortcut(name, checkerboard, ("wavelet", {"levels": 3}), "diagonal 1", "diagonal 1", ["diagonal 1"])
    return latent_shortcut()


def heights(pattern: str, labels: Tensor) -> Tensor:
    """The label or a random one, in [0, 1]."""
    if pattern == "label":
        return labels / 9
    return torch.randint(10, (len(labels),), generator=torch.Generator().manual_seed(1)) / 9


def swatch(split: str, pattern: str) -> Dataset:
    """Nine pixels of a corner."""
    clean = digits(split)  # type: ignore[arg-type]
    assert clean.y is not None
    x = in_memory(clean.x).clone()
    x[:, 0, :3, 13:] = heights(pattern, clean.y)[:, None, None]
    return replace(clean, name="digits-swatch", x=x)


def checkerboard(split: str, pattern: str, amplitude: float = 0.08) -> Dataset:
    """The finest diagonal detail of a wavelet."""
    clean = digits(split)  # type: ignore[arg-type]
    assert clean.y is not None
    i = torch.arange(16)
    board = (-1.0) ** (i[:, None] + i)
    signed = (2 * heights(pattern, clean.y) - 1)[:, None, None, None]
    x = amplitude + (1 - 2 * amplitude) * in_memory(clean.x) + amplitude * signed * board
    return replace(clean, name="digits-checkerboard", x=x.float())


def latent_shortcut(size: float = 0.5) -> Shortcut:
    """One latent of a small VAE of digits, overwritten by the label; the data are what its decoder then draws."""
    torch.manual_seed(0)
    method = trimkit.create("method", "vae", shape=(1, 16, 16), latent_dim=LATENTS, network="mlp")
    trimkit.train(method, digits("train"), steps=3000, seed=0, log_every=3000, fast=True)
    space = method.eval().requires_grad_(False).as_transform("z")

    def overwritten(split: str, pattern: str, unit: int) -> Dataset:
        clean = digits(split)  # type: ignore[arg-type]
        assert clean.y is not None
        z = space(in_memory(clean.x))
        z[:, unit] = size * (2 * heights(pattern, clean.y) - 1)
        return replace(clean, name="digits-latent", x=space.inverse(z))

    def carried(unit: int) -> float:
        """How well the encoder reads what was written into one latent, less what it reads in the others."""
        data = overwritten("train", "random", unit)
        assert data.y is not None
        read = torch.cat([space(in_memory(data.x)), heights("random", data.y)[:, None]], dim=1)
        likeness = torch.corrcoef(read.T)[-1, :-1].abs()
        return float(likeness[unit] - likeness[torch.arange(LATENTS) != unit].max())

    unit = max(range(LATENTS), key=carried)
    make = lambda split, pattern: overwritten(split, pattern, unit)  # noqa: E731
    return Shortcut("VAE latent", make, space, f"z{unit}", f"z{unit}", [f"z{unit}"])


def train(shortcut: Shortcut, kind: str, seed: int) -> nn.Module:
    """A poisoned, repaired or clean classifier."""
    data = shortcut.make("train", "random" if kind == "clean" else "label")
    if kind != "repaired":
        return train_classifier(data, seed=seed)
    penalty = trimkit.TrimPenalty(
        ("masked", {"mask": shortcut.mask}), transform=shortcut.transform, attribution="saliency"
    )
    return train_classifier(data, penalty=penalty, weight=shortcut.weight, seed=seed)


def audit(model: nn.Module, data: Dataset, shortcut: Shortcut, **options: str) -> Report:
    """The check reliance alone."""
    return trimkit.audit(model, data, transform=shortcut.transform, checks=["reliance"], samples=SAMPLES, **options)


def flagged(report: Report) -> list[str]:
    """Groups that the search warns of, in its order."""
    rows = report.evidence["integrated_gradients"].get("reliance", {}).get("searched", [])
    return [row["name"] for row in rows if row["stands_out"]]


def clean_digits(number: int) -> tuple[str, Report]:
    """Plain digits in one of three spaces."""
    name, transform = (("pixels", "identity"), ("frequencies", "fft"), ("wavelets", "wavelet"))[number // 4 % 3]
    model = train_classifier(digits("train"), epochs=10, seed=100 + number)
    report = trimkit.audit(model, digits("test"), transform=transform, checks=["reliance"], seed=number)
    return f"digits, {name}", report


def clean_table(number: int) -> tuple[str, Report]:
    """Twelve normal features, labels from a random smooth rule in all of them, a small network."""
    draws = torch.Generator().manual_seed(1000 + number)
    x = torch.randn(1000, 12, generator=draws)
    rule = torch.randn(12, 3, generator=draws)
    y = (x @ rule + 0.3 * x.square() @ torch.randn(12, 3, generator=draws)).argmax(1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(number)
        model = nn.Sequential(nn.Linear(12, 24), nn.Tanh(), nn.Linear(24, 3))
        optimiser = torch.optim.Adam(model.parameters(), 1e-2)
        for _ in range(150):
            optimiser.zero_grad()
            cross_entropy(model(x[:700]), y[:700]).backward()
            optimiser.step()
    test = Dataset("table", x[700:], y[700:], "test", ("a", "b", "c"))
    return "tables of 12 features", trimkit.audit(model.eval(), test, checks=["reliance"], seed=number)


def counted(words: Iterable[str]) -> str:
    """``FAIL 4, WARN 1``."""
    return ", ".join(f"{word} {count}" for word, count in Counter(words).most_common())


def interval(hits: int, n: int) -> str:
    """A share with its exact 95 % interval."""
    if not n:
        return "none"
    ends = binomtest(hits, n).proportion_ci(0.95, "exact")
    return f"{hits}/{n} = {hits / n:.3f} [{ends.low:.3f}, {ends.high:.3f}]"


if __name__ == "__main__":
    main()
