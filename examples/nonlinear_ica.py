"""Which nonlinear methods find the sources of the benchmarks, and what do linear ones and rotations reach there?

The mean correlation (MCC) of codes with the true sources on held-out rows: posterior means, matched one to one, Pearson
and Spearman. No code is chosen by its score: features h and their ICA are two rows, TCL's compared with |s|, since the
signs are lost. Below the data's own rows: x, PCA, FastICA, and random rotations of the *true* sources; a method that
stays within the rotations has found no source. "ceiling" is the network of the methods trained on the true sources, the
most that it could give. Below a method, each run's loss on held-out rows beside its MCC.

"nonstationary" is the benchmark of iVAE and TCL: 40 segments of 1000 rows, 5 sources, 3 layers of one repeated matrix,
as in the released code. iVAE's "released" weights are no ELBO, see `trimkit_ica.ivae`; there an encoder that sees u may
write u into the codes, which those weights reward, so that q(z|x) and q(z|x, u) are rows of their own. "imca" has
sources that depend on each other given u: ICE-BeeM's own generator, of which any one data set may be far easier or
harder than another, so that --data-seeds matter more than seeds of weights.

    python examples/nonlinear_ica.py --data nonstationary --seeds 6                # the tables of docs/methods/ica.md
    python examples/nonlinear_ica.py --data imca --seeds 1 --data-seeds 0 1 2 3 4
    python examples/nonlinear_ica.py --seeds 1 --methods tcl "ivae released"
"""

from __future__ import annotations

import argparse
import time
import warnings
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import torch
from _seeds import Task, rows_of, spread
from _sources import DATA, KINDS, baselines, fit_truth, line, scores, splits
from trimkit_ica.restarts import held_out_loss

import trimkit
from trimkit.data import Dataset
from trimkit.errors import TrimkitWarning


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
_CLASSES: dict[str, Any] = {
    "estimation": "classes",
    "form": "even",
    "whitened": True,
    "activation": "leaky_relu",
    "learning_rate": 1e-2,
}
_FEATURES = ("h", "components")

SETTINGS = {
    "ivae released": Setting("ivae", "nonstationary", {**_WITH_U, "encoder_aux": False}, 24, 128),
    "ivae released, q(z|x, u)": Setting("ivae", "nonstationary", _WITH_U, 12, 64),
    "ivae annealed": Setting("ivae", "nonstationary", {"preset": "annealed", "encoder_aux": False}, 24, 128),
    "ivae elbo": Setting("ivae", "nonstationary", {"preset": "elbo", "variance": 0.01}, 20, 512),
    "vae": Setting("vae", "nonstationary", _VAE, 20, 512),
    "tcl": Setting("tcl", "nonstationary", {}, 30, 256, _FEATURES),
    "ceiling": Setting("tcl", "nonstationary", {}, 30, 256, ("truth",)),
    "icebeem": Setting("icebeem", "nonstationary", {**_CLASSES, "activation": "leaky_tanh"}, 30, 512, _FEATURES),
    "icebeem flow": Setting("icebeem", "imca", {"estimation": "flow"}, 40, 512, _FEATURES),
    "icebeem score": Setting("icebeem", "imca", {"estimation": "score"}, 40, 512, _FEATURES),
    "icebeem classes": Setting("icebeem", "imca", _CLASSES, 30, 512, _FEATURES),
    "icebeem classes, may fold": Setting("icebeem", "imca", {**_CLASSES, "invertible": 0.0}, 30, 512, _FEATURES),
    "ceiling of icebeem": Setting("icebeem", "imca", _CLASSES, 30, 512, ("truth",)),
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
    steps = epochs * (len(train) // size)
    method = make(setting, train, seed, steps)
    row: dict[str, Any] = {"name": name, "seed": seed, "data_seed": data_seed}
    started = time.process_time()
    if setting.spaces == ("truth",):
        codes = fit_truth(method.network, train, test, steps, size)
        return {**row, "codes": {"truth": codes}, "seconds": time.process_time() - started, "objective": None}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TrimkitWarning)  # an ICA that did not converge is told in its row
        trimkit.train(method, train, steps=steps, batch_size=size, seed=seed, log_every=steps, device="cpu")
    row["seconds"] = time.process_time() - started
    row["codes"] = {space: scores(method, test, space, setting.method == "tcl") for space in setting.spaces}
    row["objective"] = held_out_loss(method, test, steps, size)
    return {**row, "converged": bool(getattr(method, "converged", True))}


def make(setting: Setting, data: Dataset, seed: int, steps: int) -> Any:
    """The method for the data, its weights drawn by the seed, its rate up and down once over the steps."""
    assert data.aux is not None
    assert data.sources is not None
    options: dict[str, Any] = {"shape": data.shape, "latent_dim": data.sources.shape[1], **setting.options}
    if setting.method != "vae":
        options |= {"segments": int(data.aux.max()) + 1, "rate": f"one_cycle(0.04, 1, {steps})"}
    if options.get("preset") == "annealed":
        options["anneal_steps"] = round(steps / 1.6)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return trimkit.create("method", setting.method, **options)


def show(name: str, rows: list[dict[str, Any]]) -> None:
    """Print a method's line for each of its spaces, and each seed's MCC beside its objective."""
    for space in SETTINGS[name].spaces:
        label = f"{name}, {space}" if len(SETTINGS[name].spaces) > 1 else name
        note = f"{spread((row['seconds'] for row in rows), 0):>14}"
        if space == "components":
            note += f"; ICA converged {sum(row['converged'] for row in rows)}/{len(rows)}"
        label += ", with |s|" if name == "tcl" else ""
        print(line(label, [[row["codes"][space][kind] for row in rows] for kind in KINDS], note))
    if len(rows) > 1 and rows[0]["objective"] is not None:
        show_restarts([(row["data_seed"], row["objective"], row["codes"][SETTINGS[name].spaces[0]]) for row in rows])


def show_restarts(runs: list[tuple[int, float, dict[str, float]]]) -> None:
    """Print each data set's runs by their loss on held-out rows, and what choosing by that loss gives."""
    by_data = {seed: sorted((loss, *codes.values()) for data, loss, codes in runs if data == seed) for seed, *_ in runs}
    for seed, ordered in by_data.items():
        print(f"    data {seed}, loss:MCC  " + "  ".join(f"{loss:.3f}:{mcc:.3f}" for loss, mcc, *_ in ordered))
    if len(runs) > len(by_data):
        columns = [list(column) for column in zip(*(ordered[0][1:] for ordered in by_data.values()), strict=True)]
        print(line(f"    of {len(runs) // len(by_data)}, that of the lowest loss", columns))


def main() -> None:
    """Print a table for each data set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=list(SETTINGS), choices=list(SETTINGS), metavar="METHOD")
    parser.add_argument("--data", nargs="+", default=list(DATA), choices=list(DATA))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--data-seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--jobs", type=int, default=2, help="processes of one thread each")
    parser.add_argument("--log", type=Path, help="rows as JSON lines; an interrupted call goes on from them")
    parser.add_argument("--small", action="store_true", help="one epoch of little data, to see that it runs")
    chosen = parser.parse_args()
    if chosen.small:
        chosen.seeds, chosen.jobs = 1, 1
    names = [name for name in chosen.methods if SETTINGS[name].data in chosen.data]
    seeds = product(range(chosen.seeds), chosen.data_seeds)
    rows = rows_of(run, [(name, *pair, chosen.small) for pair in seeds for name in names], chosen.jobs, chosen.log)
    for data in {SETTINGS[name].data: None for name in names}:
        print(f"{data}, data of seeds {chosen.data_seeds}, {chosen.seeds} seeds: MCC, median [smallest, largest]")
        print(f"  {'':34}{'Pearson':>24}{'Spearman':>24}   CPU s")
        for name in (name for name in names if SETTINGS[name].data == data):
            show(name, [dict(row) for row in rows if row["name"] == name])
        baselines(data, chosen.data_seeds, small=chosen.small)


if __name__ == "__main__":
    main()
