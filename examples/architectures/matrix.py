"""What works on which architecture, and what is refused, with its reason: prints docs/architectures.md."""

from __future__ import annotations

import argparse
import copy
import importlib
import re
import warnings
from pathlib import Path
from typing import Any

import torch
from _case import Case, train

import trimkit

SCRIPTS = (
    *("text_classifier", "vision_transformer", "decoder", "segmentation", "time_series", "audio", "graph"),
    "two_branches",
)

ATTRIBUTIONS: tuple[Any, ...] = (
    "input_x_gradient",
    "integrated_gradients",
    "expected_gradients",
    "layerwise_relevance",
    "contextual_decomposition",
    "feature_ablation",
    "captum:DeepLift",
    "captum:GradientShap",
    "captum:KernelShap",
    "captum:LRP",
)

HEAD = """\
# Architectures

What `python examples/architectures/matrix.py` prints: each attribution on each architecture of its folder, at small
size, with random weights, at the input or layer that the script explains. A penalty is trained for three steps.
✓ works; a number stands for a refusal or a warning below.
"""


def explain(case: Case, attribution: Any) -> str:
    """Why there are no scores, or what is to be said of them; empty where all is well."""
    options = {"groups": "coefficients"} if attribution == "contextual_decomposition" else {}
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", trimkit.TrimkitWarning)
            trim = trimkit.Trim(case.model, case.transform, (attribution, options), at=case.at, rows=case.rows)
            trim(case.inputs, case.target, generator=torch.Generator().manual_seed(0))
    except trimkit.TrimkitError as error:
        return f"refused: {_brief(error)}"
    notes = [w for w in caught if issubclass(w.category, trimkit.TrimkitWarning)]
    return f"warns: {_brief(notes[0].message)}" if notes else ""


def penalise(case: Case) -> str:
    """Why no penalty can be trained; empty where it can."""
    try:
        train(copy.deepcopy(case), steps=3)
    except trimkit.TrimkitError as error:
        return f"refused: {_brief(error)}"
    return ""


def page() -> str:
    """The page as Markdown."""
    cases = {name: importlib.import_module(name).case() for name in SCRIPTS}
    for case in cases.values():
        case.model.eval()
    reasons: list[str] = []

    def cell(reason: str) -> str:
        if not reason:
            return "✓"
        if reason not in reasons:
            reasons.append(reason)
        return str(1 + reasons.index(reason))

    rows = {"a penalty, trained": [cell(penalise(case)) for case in cases.values()]}
    for attribution in ATTRIBUTIONS:
        rows[f"`{attribution}`"] = [cell(explain(case, attribution)) for case in cases.values()]
    lines = ["| | " + " | ".join(name.replace("_", " ") for name in cases) + " |", "|---" * (len(cases) + 1) + "|"]
    lines += [f"| {name} | {' | '.join(cells)} |" for name, cells in rows.items()]
    notes = [f"{number}. {reason}" for number, reason in enumerate(reasons, start=1)]
    return "\n".join([HEAD, *lines, "", *notes, ""])


def _brief(error: Any) -> str:
    """The first sentence, without figures, which differ between machines."""
    text = re.split(r"; |\. |: scores miss|: the scores of", " ".join(str(error).split()))[0]
    return re.sub(r"\d+\.\d+", "…", text)


def main() -> None:
    """Print the page, or write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    text = page()
    if arguments.write:
        arguments.write.write_text(text)
    else:
        print(text)


if __name__ == "__main__":
    main()
