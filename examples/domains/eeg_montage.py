"""Which rhythm of which electrode does a classifier read? Groups "alpha, Oz" in a made montage of eight channels.

Eyes closed or open: closed eyes have a rhythm of 10 Hz at Pz, O1 and O2. Two networks of one form learn it: from clean
recordings, and from recordings where the mains at 50 Hz on T7 tells the class as well. Integrated gradients of Fourier
coefficients, grouped by band and electrode, are asked for alpha at the three electrodes: the means for closed eyes less
those for open ones.
"""

from __future__ import annotations

import torch
from _domain import arguments, judge, shares, table, train, write_page
from torch import Tensor, nn

import trimkit
from trimkit.transforms import ChannelsXBands

RATE, LENGTH = 128, 256
CHANNELS = ("Fz", "Cz", "T7", "T8", "Pz", "O1", "O2", "M1")
BACK = [CHANNELS.index(name) for name in ("Pz", "O1", "O2")]
BANDS = {"delta": (0.5, 4), "theta": (4, 8), "alpha": (8, 13), "beta": (13, 30), "gamma": (30, 48), "mains": (48, 52)}


def recordings(n: int, mains: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Signals (n, 8, 256) of 2 s at 128 Hz, with noise that falls with frequency; 1 for eyes closed."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(2, (n,), generator=generator)
    noise = torch.fft.rfft(torch.randn(n, len(CHANNELS), LENGTH, generator=generator))
    x = torch.fft.irfft(noise / (1 + torch.arange(LENGTH // 2 + 1)).sqrt(), LENGTH) * 6
    t = torch.arange(LENGTH) / RATE
    phase = 2 * torch.pi * torch.rand(n, 2, 1, generator=generator)
    alpha = torch.cos(2 * torch.pi * 10 * t + phase[:, :1]) * (0.4 + 1.2 * y[:, None, None])
    x[:, BACK] += alpha * torch.rand(n, 1, 1, generator=generator).add(0.5)
    x[:, 2:3] += mains * y[:, None, None] * torch.cos(2 * torch.pi * 50 * t + phase[:, 1:])
    return x, y


class Reader(nn.Module):
    """A linear layer, which starts at zero, on the logarithms of the channels' power in steps of 2 Hz."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(len(CHANNELS) * LENGTH // 8, 2)
        nn.init.zeros_(self.head.weight)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 8, 256) → (N, 2)."""
        power = torch.fft.rfft(x, norm="ortho").abs().square()[..., 1:]
        return self.head(power.unflatten(-1, (-1, 4)).mean(-1).add(1).log().flatten(1))


def main() -> None:
    """Train, explain, judge, and write the page."""
    options = arguments(__doc__)
    space = ChannelsXBands(BANDS, CHANNELS, sample_rate=RATE)
    groups = space.groups((len(CHANNELS), LENGTH))
    allowed = [f"alpha, {CHANNELS[i]}" for i in BACK]
    parts = []
    for kind, mains in (("clean recordings", 0.0), ("recordings with the mains", 1.0)):
        torch.manual_seed(0)
        x, y = recordings(options.samples, mains)
        model = train(Reader(), x, y, decay=0.3)
        sums = groups.sums(trimkit.Trim(model, space)(x[:100], 1).scores)
        closed = y[:100] == 1
        values = shares(sums[closed] - sums[~closed].mean(0))  # what is there in both decides nothing
        picture = table(values.reshape(-1, len(CHANNELS)), [*BANDS, "other"], CHANNELS)
        parts.append((judge(kind, values, groups.names, allowed, "alpha at the back of the head"), picture))
    write_page(options.out / "eeg_montage.html", "Which rhythm of which electrode decides?", parts)


if __name__ == "__main__":
    main()
