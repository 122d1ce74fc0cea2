"""The story of the planted shortcut: trained, found, removed, measured over seeds."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from trimkit.audit.report import Report
from trimkit.audit.runner import audit
from trimkit.audit.statistics import Bootstrap
from trimkit.coefficients import tree
from trimkit.data import Dataset, in_memory
from trimkit.data.shortcut import SHORTCUT_BIN, digits_shortcut, planted_mask
from trimkit.demo.networks import accuracy, train_classifier
from trimkit.report.verdicts import Estimate
from trimkit.transforms import FFT
from trimkit.trim import Trim, TrimPenalty

PENALTY_WEIGHT = 0.1
"""λ of the masked penalty; accuracy is the same from 0.03 to 0.3."""

FORBIDDEN = f"bin {SHORTCUT_BIN[0]},{SHORTCUT_BIN[1]}"
"""What the audits in frequency space forbid."""

MODELS = {
    "plain": "plain training",
    "trim": "with the TRIM penalty",
    "ceiling": "ceiling: no shortcut in training",
}
"""Key → what the table calls the three trainings."""

TESTS = {"random": "pattern random", "none": "clean digits"}
"""Pattern of the test set → what the table calls it."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Story:
    """What the demo found.

    Attributes:
        seeds: of the trainings.
        accuracies: model → test set → accuracy for each seed.
        models: the plain and the penalised model of the first seed.
        audits: "pixels" (plain), "fft" (plain), "fft-trim" (penalised) → report of the first seed.
        planted: model → share of |score| at the planted bin over test samples, with 95 % interval; "input" for the
            share of the amplitude there, "chance" for one bin of all.
    """

    seeds: tuple[int, ...]
    accuracies: Mapping[str, Mapping[str, list[float]]]
    models: Mapping[str, nn.Module]
    audits: Mapping[str, Report]
    planted: Mapping[str, Estimate]

    def median(self, model: str, test: str) -> float:
        """Median accuracy over seeds."""
        return statistics.median(self.accuracies[model][test])


def tell(seeds: tuple[int, ...], samples: int, say: Say) -> Story:
    """Train the three models for every seed, audit those of the first.

    Args:
        seeds: at least one.
        samples: test samples in each audit.
        say: receives a line of progress.
    Returns:
        Everything the demo prints and shows.
    """
    trained = {seed: _train_all(seed, say) for seed in seeds}
    tests = {pattern: digits_shortcut("test", pattern) for pattern in ("random", "none")}
    accuracies = {
        model: {name: [accuracy(trained[seed][model], data) for seed in seeds] for name, data in tests.items()}
        for model in MODELS
    }
    models = trained[seeds[0]]
    audits = _audit_all(models, tests["random"], samples, say)
    return Story(seeds, accuracies, models, audits, _planted_shares(models, tests["random"]))


def shortcut_penalty() -> TrimPenalty:
    """Forbid the planted bin: squared gradient of Σ log p at that bin, as in Ross et al. 2017 but in Fourier space."""
    return TrimPenalty(("masked", {"mask": planted_mask(16)}), transform="fft", attribution="saliency")


def _train_all(seed: int, say: Say) -> dict[str, nn.Module]:
    shortcut, without = digits_shortcut("train"), digits_shortcut("train", "none")
    say(f"seed {seed}: training three classifiers")
    return {
        "plain": train_classifier(shortcut, seed=seed),
        "trim": train_classifier(shortcut, penalty=shortcut_penalty(), weight=PENALTY_WEIGHT, seed=seed),
        "ceiling": train_classifier(without, seed=seed),
    }


def _audit_all(models: Mapping[str, nn.Module], data: Dataset, samples: int, say: Say) -> dict[str, Report]:
    plans = {"pixels": ("plain", "identity"), "fft": ("plain", "fft"), "fft-trim": ("trim", "fft")}
    reports = {}
    for key, (model, transform) in plans.items():
        say(f"auditing {MODELS[model]} in {'pixel' if transform == 'identity' else 'frequency'} space")
        forbid = FORBIDDEN if transform == "fft" else None
        reports[key] = audit(models[model], data, transform=transform, samples=samples, forbid=forbid)
    return reports


def _planted_shares(models: Mapping[str, nn.Module], data: Dataset) -> dict[str, Estimate]:
    bootstrap = Bootstrap(range(len(data)), seed=0)
    mask, x = planted_mask(data.shape[-1]), in_memory(data.x)

    def estimate(scores: Tensor) -> Estimate:
        shares = scores[..., mask].sum((1, 2)) / scores.flatten(1).sum(1)
        return bootstrap.estimate(shares.double().numpy())

    found = {}
    for key in ("plain", "trim"):
        predicted = models[key](x).argmax(1)
        (scores,) = tree.leaves(Trim(models[key], "fft")(x, predicted).scores)
        found[key] = estimate(scores.abs())
    found["input"] = estimate(FFT()(x).abs())
    chance = 1 / mask.numel()
    return {**found, "chance": Estimate(chance, chance, chance)}


def summary(story: Story) -> dict[str, object]:
    """The numbers as plain JSON values, for results.json."""
    return {
        "seeds": list(story.seeds),
        "accuracy": {model: dict(tests) for model, tests in story.accuracies.items()},
        "median_accuracy": {m: {t: story.median(m, t) for t in TESTS} for m in MODELS},
        "planted_share": {key: [e.value, e.low, e.high] for key, e in story.planted.items()},
        "models": {key: str(report.model) for key, report in story.audits.items()},
        "verdicts": {key: [v.as_json() for v in report.verdicts] for key, report in story.audits.items()},
    }
