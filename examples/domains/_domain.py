"""What the domain examples share: a small training loop, shares of attribution, a verdict, and a page with pictures."""

from __future__ import annotations

import argparse
import base64
import html
import io
import wave
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from trimkit.coefficients.groups import Groups

THRESHOLD = 0.8
"""Of the attribution at least so much has to lie where the domain says that the answer is."""


def arguments(doc: str | None) -> argparse.Namespace:
    """Where the pages go, and how many samples there are."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="few samples: to see that it runs")
    parser.add_argument("--out", type=Path, default=Path("pages"), help="folder of the pages")
    found = parser.parse_args()
    found.samples = 600 if found.small else 3000
    found.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    return found


def train(model: nn.Module, x: Tensor, y: Tensor, epochs: int = 20, decay: float = 0.0, seed: int = 0) -> nn.Module:
    """Adam at 2e-3 in batches of 32, with decay of the weights, on all but the first 100 samples."""
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(model.parameters(), 2e-3, weight_decay=decay)
    for _ in range(epochs):
        for rows in (torch.randperm(len(x) - 100, generator=generator) + 100).split(32):
            optimiser.zero_grad()
            cross_entropy(model(x[rows]), y[rows]).backward()
            optimiser.step()
    model.eval()
    right = float((model(x[:100]).argmax(1) == y[:100]).double().mean())
    print(f"accuracy on held-out samples {right:.2f}")
    return model


def shares(sums: Tensor) -> Tensor:
    """Share of each group in what decides on average, |mean over samples of its sum of scores|: (N, G) → (G,)."""
    sizes = sums.detach().mean(0).abs()
    return sizes / sizes.sum()


def judge(name: str, values: Tensor, names: Sequence[str], allowed: Sequence[str], what: str) -> str:
    """PASS where the allowed groups hold at least `THRESHOLD` of the attribution, else FAIL with the largest other."""
    inside = float(sum(value for value, group in zip(values, names, strict=True) if group in allowed))
    others = {group: float(value) for value, group in zip(values, names, strict=True) if group not in allowed}
    worst = max(others, key=others.__getitem__)
    verdict = "PASS" if inside >= THRESHOLD else "FAIL"
    beside = "" if verdict == "PASS" else f"; most of the rest, {others[worst]:.2f}, is in {worst}"
    line = f"{verdict}: {name}: {inside:.2f} of the attribution lies in {what} (at least {THRESHOLD} expected){beside}"
    print(line)
    return line


def chart(values: Tensor, groups: Groups) -> str:
    """Bars of the groups' shares as a data URI, to the scale of the groups' axis where it has one."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3), layout="constrained")
    axes = figure.subplots()
    if groups.spans:
        placed = [(span, float(v)) for span, v in zip(groups.spans, values, strict=True) if span is not None]
        starts, widths = [low for (low, _), _ in placed], [high - low for (low, high), _ in placed]
        axes.bar(starts, [v for _, v in placed], widths, align="edge", edgecolor="white")
    else:
        axes.bar(range(len(values)), values.tolist())
        axes.set_xticks(range(len(values)), groups.names, rotation=60, ha="right", fontsize=7)
    axes.set_xlabel(groups.axis)
    axes.set_ylabel("share of attribution")
    return _png(figure)


def table(values: Tensor, rows: Sequence[str], columns: Sequence[str]) -> str:
    """A heat map (rows, columns) as a data URI."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3), layout="constrained")
    axes = figure.subplots()
    picture = axes.imshow(values.numpy(), aspect="auto", cmap="viridis", vmin=0)
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    figure.colorbar(picture, label="share of attribution")
    return _png(figure)


def sound(x: Tensor, rate: int) -> str:
    """A signal (n,) as a WAV, a data URI of 16 bits at its loudest."""
    samples = (x / x.abs().max().clamp_min(1e-9) * 32000).to(torch.int16).numpy()
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.tobytes())
    return "data:audio/wav;base64," + base64.b64encode(buffer.getvalue()).decode()


def write_page(
    path: Path, title: str, parts: Sequence[tuple[str, str]], sounds: Mapping[str, str] | None = None
) -> None:
    """One page without outside parts: verdicts with their pictures, and sounds by what they are."""
    body = [f"<h1>{html.escape(title)}</h1>"]
    for verdict, picture in parts:
        body.append(f'<p><b>{html.escape(verdict)}</b></p><img alt="{html.escape(verdict)}" src="{picture}">')
    for name, uri in (sounds or {}).items():
        body.append(f'<p>{html.escape(name)}<br><audio controls src="{uri}"></audio></p>')
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>'
    path.write_text(head + "\n".join(body) + "</html>\n", encoding="utf-8")
    print(f"page: {path}")


def _png(figure: object) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=80)  # type: ignore[attr-defined]
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
