"""Disentanglement metrics: trimkit beside the loops that their definitions are usually written as.

Codes of ten dimensions and the five factors of dSprites, 10,000 samples. "scikit-learn" is a `mutual_info_score`, or a
`LinearSVC`, for each code and factor; LIBLINEAR stops early, so SAP differs by a sample or two. Votes "one by one" are
other draws than trimkit's. "with interval" adds 200 resamples of the rows.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable

import numpy as np
import torch
from _timing import interleaved, print_table
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import mutual_info_score
from sklearn.svm import LinearSVC

from trimkit.data import FactorSampler
from trimkit.metrics import disentanglement
from trimkit.metrics.arrays import halves
from trimkit.metrics.bootstrap import generator
from trimkit.metrics.disentanglement import Groups

SIZES = (3, 6, 40, 32, 32)
VOTES = Groups(400, 200)


def example(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Codes (n, 10) that mix the factors, a third of them noise, and factors (n, 5)."""
    g = np.random.default_rng(0)
    factors = np.stack([g.integers(0, size, n) for size in SIZES], axis=1)
    scaled = factors / np.array(SIZES)
    mixed = scaled @ g.standard_normal((5, 7)) + 0.1 * g.standard_normal((n, 7))
    return np.hstack([mixed, g.standard_normal((n, 3))]), factors


def gap_by_pairs(codes: np.ndarray, factors: np.ndarray) -> float:
    """The mutual information gap, one pair of columns at a time."""
    binned = [np.digitize(z, np.histogram_bin_edges(z, 20)[:-1]) for z in codes.T]
    information = np.array([[mutual_info_score(v, z) for v in factors.T] for z in binned])
    entropy = np.array([mutual_info_score(v, v) for v in factors.T])
    ordered = np.sort(information, axis=0)
    return float(((ordered[-1] - ordered[-2]) / entropy).mean())


def sap_by_pairs(codes: np.ndarray, factors: np.ndarray) -> float:
    """SAP, one machine a code and factor."""
    rows = halves(len(codes), 1 / 3, generator(0, "sap"))
    scores = np.empty((codes.shape[1], factors.shape[1]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for d, z in enumerate(codes.T):
            for k, v in enumerate(factors.T):
                machine = LinearSVC(C=0.01, class_weight="balanced").fit(z[rows.train, None], v[rows.train])
                scores[d, k] = machine.score(z[rows.test, None], v[rows.test])
    ordered = np.sort(scores, axis=0)
    return float((ordered[-1] - ordered[-2]).mean())


def votes_one_by_one(codes: np.ndarray, sampler: FactorSampler) -> float:
    """The FactorVAE score with a lookup and a variance for each vote."""
    g, draws = np.random.default_rng(0), torch.Generator().manual_seed(0)
    variances = codes[sampler.sample(VOTES.variance, draws).numpy()].var(0, ddof=1)
    table, right = np.zeros((codes.shape[1], len(SIZES))), 0
    for vote in range(VOTES.train + VOTES.test):
        k = int(g.integers(len(SIZES)))
        group = codes[sampler.sharing(k, VOTES.size, draws).numpy()]
        d = int((group.var(0, ddof=1) / variances).argmin())
        if vote < VOTES.train:
            table[d, k] += 1
        else:
            right += int(table[d].argmax() == k)
    return right / VOTES.test


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--samples", type=int, default=10_000)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    z, v = example(arguments.samples)
    sampler = FactorSampler(torch.tensor(v))
    tables: dict[str, tuple[int, dict[str, Callable[[], object]]]] = {
        "mutual information gap": (
            arguments.rounds,
            {
                "scikit-learn": lambda: gap_by_pairs(z, v),
                "trimkit": lambda: disentanglement.mutual_information_gap(z, v, draws=0).value,
                "trimkit, with interval": lambda: disentanglement.mutual_information_gap(z, v).value,
            },
        ),
        "SAP": (
            max(arguments.rounds // 3, 1),
            {
                "scikit-learn": lambda: sap_by_pairs(z, v),
                "trimkit": lambda: disentanglement.sap(z, v, draws=0).value,
                "trimkit, with interval": lambda: disentanglement.sap(z, v).value,
            },
        ),
        "FactorVAE score, 400 + 200 votes": (
            arguments.rounds,
            {
                "votes one by one": lambda: votes_one_by_one(z, sampler),
                "trimkit, with interval": lambda: disentanglement.factor_vae_score(z, sampler, protocol=VOTES).value,
            },
        ),
    }
    for title, (rounds, candidates) in tables.items():
        values = {name: f"= {compute():.12f}" for name, compute in candidates.items()}
        print_table(title, interleaved(candidates, rounds, warmup=1), next(iter(candidates)), values)


if __name__ == "__main__":
    main()
