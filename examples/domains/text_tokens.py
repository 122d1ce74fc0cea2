"""Which words does a classifier of reviews read? Tokens as groups, at the embedding layer of the model.

Made reviews of twelve words; the label is whether praise outweighs blame. Two networks of one form learn it: from plain
reviews, and from reviews that mostly name the shop they come from, which tells the label. Token ids have no gradient,
so integrated gradients are taken at the embedding (``at="words"``), of the whole model, padding masked out. They are
asked for the words of praise and of blame.
"""

from __future__ import annotations

import torch
from _domain import arguments, chart, judge, shares, train, write_page
from torch import Tensor, nn

import trimkit
from trimkit.coefficients.groups import Groups

PRAISE, BLAME = ("good", "fine", "lovely", "superb"), ("bad", "poor", "awful", "dull")
SHOPS = ("north", "south")
WORDS = ("·", *PRAISE, *BLAME, *SHOPS, *("the", "a", "was", "it", "we", "had", "and", "film", "very", "there"))
LENGTH = 12
BASELINE = 0.0


def reviews(n: int, shops: bool, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Token ids (n, 12), "·" for padding at the end; 1 for praise."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(2, (n,), generator=generator)
    plain = torch.randint(11, len(WORDS), (n, LENGTH), generator=generator)
    strong = torch.randint(1, 5, (n, LENGTH), generator=generator)
    ids = plain.clone()
    ids[:, :2] = strong[:, :2] + 4 * (1 - y[:, None])  # two words of the label's side
    ids[:, 2] = strong[:, 2] + 4 * y  # one of the other
    if shops:
        ids[:, 3] = 9 + y
    order = torch.rand(n, 10, generator=generator).argsort(1)
    ids[:, :10] = ids[:, :10].gather(1, order)
    lengths = torch.randint(10, LENGTH + 1, (n, 1), generator=generator)
    return ids.masked_fill(torch.arange(LENGTH) >= lengths, 0), y


class Judge(nn.Module):
    """Embeddings, a layer for each word, their sum, two logits."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(len(WORDS), 16, padding_idx=0)
        self.each = nn.Sequential(nn.Linear(16, 16), nn.Tanh())
        self.head = nn.Linear(16, 2)

    def forward(self, ids: Tensor) -> Tensor:
        """(N, 12) → (N, 2)."""
        return self.head((self.each(self.words(ids)) * (ids > 0)[..., None]).sum(1))


def main() -> None:
    """Train, explain, judge, and write the page."""
    options = arguments(__doc__)
    space = trimkit.create("transform", "segments", axes="token", layout="token width")
    parts = []
    for kind, shops in (("plain reviews", False), ("reviews that name the shop", True)):
        torch.manual_seed(0)
        ids, y = reviews(options.samples, shops)
        model = train(Judge(), ids, y, epochs=15 if not options.small else 40)
        result = trimkit.Trim(model, space, at="words")(ids[:100], y[:100], baseline=BASELINE)
        tokens = space.groups((LENGTH, 16)).sums(result.scores)
        sums = torch.zeros(100, len(WORDS)).scatter_add_(1, ids[:100], tokens.detach().abs())
        values = shares(sums)
        groups = Groups(WORDS, torch.arange(len(WORDS)), "word")
        line = judge(kind, values, WORDS, PRAISE + BLAME, "words of praise and blame")
        parts.append((line, chart(values, groups)))
    write_page(options.out / "text_tokens.html", "Which words decide?", parts)


if __name__ == "__main__":
    main()
