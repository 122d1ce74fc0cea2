"""Which nonlinear methods find the sources of the benchmarks, and what do linear ones and rotations reach there?

The mean correlation (MCC) of codes with the true sources on held-out rows: posterior means, matched one to one, Pearson
and Spearman. No code is chosen by its score: TCL's features h and their ICA are two rows, compared with |s|, since the
signs are lost. Below the data's own rows: x, PCA, FastICA, and random rotations of the *true* sources; a method that
stays within the rotations has found no source.

"nonstationary" is the benchmark of iVAE and TCL: 40 segments of 1000 rows, 5 sources, 3 layers of one repeated matrix,
as in the released code. iVAE's "released" weights are no ELBO, see `trimkit_ica.ivae`; there an encoder that sees u may
write u into the codes, which those weights reward, so that q(z|x) and q(z|x, u) are rows of their own. "imca" has
sources that depend on each other given u: ICE-BeeM's own generator.

Seeds are of weights, order and noise, on one data set; --data-seed takes another, which may be far harder.

    python examples/nonlinear_ica.py                  # the table of docs/methods/ica.md, some ten minutes of one core
    python examples/nonlinear_ica.py --seeds 1 --methods tcl "ivae released"
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import torch
from _seeds import Task, rows_of, spread

import trimkit
from trimkit.data import Dataset, load
from trimkit.errors import TrimkitWarning
from trimkit.metrics.independence import mcc_baselines, mean_correlation

DATA: dict[str, dict[str, Any]] = {
    "nonstationary": {"segments": 40, "observations": 1000, "layers": 3, "repeat": True},
    "imca": {"segments": 20, "observations": 2000, "layers": 4},
}

SMALL = {"segments": 4, "observations": 50}
"""What --small makes of either."""


class Setting(NamedTuple):
    """How a method is trained.

    Attributes:
        method: registered name.
        data: name of the data.
        options: of the method; those that the data give are filled in.
        epochs: passes over the data.
        batch_size: samples a step.
        spaces: whose codes are scored.
    """

    method: str
    data: str
    options: dict[str, Any]
    epochs: int
    batch_size: int
    spaces: tuple[str, ...] = ("z",)


_WITH_U: dict[str, Any] = {"preset": "released"}
_VAE: dict[str, Any] = {"network": "mlp", "scale": 0.1, "learning_rate": 1e-3}
_FEATURES = ("h", "components")

SETTINGS = {
    "ivae released": Setting("ivae", "nonstationary", {**_WITH_U, "encoder_aux": False}, 24, 128),
    "ivae released, q(z|x, u)": Setting("ivae", "nonstationary", _WITH_U, 12, 64),
    "ivae elbo": Setting("ivae", "nonstationary", {"preset": "elbo", "variance": 0.01}, 20, 512),
    "vae": Setting("vae", "nonstationary", _VAE, 20, 512),
    "tcl": Setting("tcl", "nonstationary", {}, 30, 256, _FEATURES),
    "icebeem flow": Setting("icebeem", "imca", {"estimation": "flow"}, 40, 512, _FEATURES),
    "icebeem score": Setting("icebeem", "imca", {"estimation": "score"}, 40, 512, _FEATURES),
}


def run(task: Task) -> dict[str, Any]:
    """Train one method and score its codes on held-out rows.

    Args:
        task: name in `SETTINGS`, seed, seed of the data, and whether a few small steps will do.
    Returns:
        Rows of the table by their label: plain values.
    """
    name, seed, data_seed, small = task
    setting = SETTINGS[name]
    train, test = splits(setting.data, data_seed, small=small)
    epochs, size = (1, 32) if small else (setting.epochs, setting.batch_size)
    method, steps = make(setting, train, seed, epochs * (len(train) // size)), epochs * (len(train) // size)
    started = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TrimkitWarning)  # an ICA that did not converge is told in its row
        trimkit.train(method, train, steps=steps, batch_size=size, seed=seed, log_every=steps, device="cpu")
    seconds = time.process_time() - started
    found = {space: scores(method, test, space, magnitudes=setting.method == "tcl") for space in setting.spaces}
    converged = bool(getattr(method, "converged", True))
    return {"name": name, "seed": seed, "seconds": seconds, "codes": found, "converged": converged}


def splits(name: str, seed: int, *, small: bool) -> tuple[Dataset, Dataset]:
    """Training and held-out rows."""
    options = {**DATA[name], "seed": seed, **(SMALL if small else {})}
    return load(name, "train", **options), load(name, "test", **options)


def make(setting: Setting, data: Dataset, seed: int, steps: int) -> trimkit.methods.Method:
    """The method for the data, its weights drawn by the seed, its rate up and down once over the steps."""
    assert data.aux is not None
    assert data.sources is not None
    options = {"shape": data.shape, "latent_dim": data.sources.shape[1], **setting.options}
    if setting.method != "vae":
        options |= {"segments": int(data.aux.max()) + 1, "rate": f"one_cycle(0.04, 1, {steps})"}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return trimkit.create("method", setting.method, **options)


@torch.inference_mode()
def scores(method: trimkit.methods.Method, data: Dataset, space: str, *, magnitudes: bool) -> dict[str, float]:
    """MCC of the posterior means, by Pearson's and Spearman's correlation."""
    assert data.sources is not None
    codes = method.eval().encode(data.x[:], data.aux, space).mean
    truth = data.sources.abs() if magnitudes else data.sources
    kinds = ("pearson", "spearman")
    return {kind: mean_correlation(codes, truth, kind=kind, draws=0).value for kind in kinds}


def baselines(name: str, seed: int, *, small: bool) -> None:
    """Print what needs no training, on the same rows."""
    train, test = splits(name, seed, small=small)
    kinds = ("pearson", "spearman")
    for magnitudes in (False, True) if name == "nonstationary" else (False,):
        given: dict[str, Any] = {"fitted_to": train.x, "magnitudes": magnitudes, "draws": 0}
        found = [mcc_baselines(test.x, test.sources, kind=kind, **given) for kind in kinds]
        for label in found[0]:
            parts = [result[label].parts or {} for result in found]
            draws = [part.get("draws", [result[label].value]) for part, result in zip(parts, found, strict=True)]
            print(line(label + (", with |s|" if magnitudes else ""), draws))


def line(label: str, columns: list[list[float]], note: str = "") -> str:
    """A line of the table: median [smallest, largest] of each column."""
    return f"  {label:34}" + "".join(f"{spread(values):>24}" for values in columns) + note


def main() -> None:
    """Print a table for each data set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=list(SETTINGS), choices=list(SETTINGS), metavar="METHOD")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--data-seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2, help="processes of one thread each")
    parser.add_argument("--log", type=Path, help="rows as JSON lines; an interrupted call goes on from them")
    parser.add_argument("--small", action="store_true", help="one epoch of little data, to see that it runs")
    chosen = parser.parse_args()
    if chosen.small:
        chosen.seeds, chosen.jobs = 1, 1
    tasks = [(name, seed, chosen.data_seed, chosen.small) for seed in range(chosen.seeds) for name in chosen.methods]
    rows = rows_of(run, tasks, chosen.jobs, chosen.log)
    for data in DATA:
        names = [name for name in chosen.methods if SETTINGS[name].data == data]
        if not names:
            continue
        print(f"{data}, data of seed {chosen.data_seed}, {chosen.seeds} seeds: MCC, median [smallest, largest]")
        print(f"  {'':34}{'Pearson':>24}{'Spearman':>24}   CPU s")
        for name in names:
            own = [row for row in rows if row["name"] == name]
            note = f"{spread((row['seconds'] for row in own), 0):>14}"
            for space in SETTINGS[name].spaces:
                label = name if space == "z" else f"{name}, {space}" + (", with |s|" if name == "tcl" else "")
                fits = f"; ICA converged {sum(row['converged'] for row in own)}/{len(own)}"
                columns = [[row["codes"][space][kind] for row in own] for kind in ("pearson", "spearman")]
                print(line(label, columns, note + (fits if space == "components" else "")))
        baselines(data, chosen.data_seed, small=chosen.small)


if __name__ == "__main__":
    main()
