"""Which pitch does a classifier of notes listen to? Constant-Q groups, a semitone each; and what it sounds like.

Four notes between 220 and 415 Hz with two harmonics, noise and any phase. Two networks of one form learn them: one from
clean recordings, one from recordings where each note comes with its own quiet whistle above 2 kHz. Integrated gradients
in the constant-Q transform are asked for the semitones of the notes and of their harmonics. The page plays a recording,
and what is left of it in the semitones that hold most of the attribution.
"""

from __future__ import annotations

import torch
from _domain import arguments, chart, judge, shares, sound, train, write_page
from torch import Tensor, nn

import trimkit
from trimkit.coefficients import tree
from trimkit.transforms import CQT

RATE, LENGTH = 8000, 1600
NOTES = torch.tensor([220.0, 277.18, 329.63, 415.3])
WHISTLES = torch.tensor([2100.0, 2400.0, 2700.0, 3100.0])


def recordings(n: int, whistle: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Signals (n, 1600) of 0.2 s, and which of the four notes they are."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(4, (n,), generator=generator)
    t = torch.arange(LENGTH) / RATE

    def tone(frequency: Tensor, size: Tensor) -> Tensor:
        phase = 2 * torch.pi * torch.rand(n, 1, generator=generator)
        return size * torch.cos(2 * torch.pi * frequency[:, None] * t + phase)

    x = 0.3 * torch.randn(n, LENGTH, generator=generator)
    for harmonic, size in ((1, 1.0), (2, 0.5), (3, 0.3)):
        x = x + tone(NOTES[y] * harmonic, size * (0.5 + torch.rand(n, 1, generator=generator)))
    return x + whistle * tone(WHISTLES[y], torch.ones(n, 1)), y


class Listener(nn.Module):
    """A linear layer on the logarithm of the power spectrum."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(LENGTH // 2 + 1, 4)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 1600) → (N, 4)."""
        return self.head(torch.fft.rfft(x, norm="ortho").abs().square().add(1).log())


def main() -> None:
    """Train, explain, judge, and write the page."""
    options = arguments(__doc__)
    space = CQT(12, lowest=110, sample_rate=RATE)
    groups = space.groups((LENGTH,))
    octaves = [float((note * k / 110).log2()) for note in NOTES for k in (1, 2, 3)]
    notes = [
        name
        for name, span in zip(groups.names, groups.spans, strict=True)
        if span and any(span[0] - 1 / 12 <= octave <= span[1] + 1 / 12 for octave in octaves)
    ]  # a note's window reaches one semitone to each side
    parts, kept = [], {}
    for kind, whistle in (("clean recordings", 0.0), ("recordings with a whistle", 2.0)):
        torch.manual_seed(0)
        x, y = recordings(options.samples, whistle)
        model = train(Listener(), x, y, decay=0.3)
        result = trimkit.Trim(model, space)(x[:50], y[:50])
        sums = groups.sums(result.scores)
        values = shares(sums)
        parts.append((judge(kind, values, groups.names, notes, "the notes and their harmonics"), chart(values, groups)))
        strongest = sums[0].abs().topk(6).indices
        s = tree.map_leaves(
            lambda leaf, label, most=strongest: leaf[:1] * torch.isin(label, most), result.coefficients, groups.labels
        )
        kept[f"{kind}: a recording"] = sound(x[0], RATE)
        kept[f"{kind}: its six strongest semitones"] = sound(space.inverse(s, (LENGTH,))[0], RATE)
    write_page(options.out / "audio_pitch.html", "Which pitch decides?", parts, kept)


if __name__ == "__main__":
    main()
