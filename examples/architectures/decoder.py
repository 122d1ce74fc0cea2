"""A language model as GPT is: causal attention; the logit of the next word is explained by the words before it."""

from __future__ import annotations

import torch
from _case import Case, show
from torch import Tensor, nn
from torch.nn import functional as F


class Block(nn.Module):
    """Causal attention and a gated layer, each on a normed residual stream."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList([nn.RMSNorm(width), nn.RMSNorm(width)])
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.gate, self.up, self.down = nn.Linear(width, 32), nn.Linear(width, 32), nn.Linear(32, width)

    def forward(self, h: Tensor) -> Tensor:
        """(N, T, width) → the same."""
        heads = (x.unflatten(-1, (2, -1)).transpose(1, 2) for x in self.qkv(self.norms[0](h)).chunk(3, -1))
        h = h + self.out(F.scaled_dot_product_attention(*heads, is_causal=True).transpose(1, 2).flatten(2))
        z = self.norms[1](h)
        return h + self.down(F.silu(self.gate(z)) * self.up(z))


class Decoder(nn.Module):
    """Token ids → logits of the next token, at every place."""

    def __init__(self, width: int = 16, words: int = 30) -> None:
        super().__init__()
        self.embedding, self.blocks = nn.Embedding(words, width), nn.Sequential(Block(width), Block(width))
        self.head = nn.Linear(width, words)

    def forward(self, input_ids: Tensor) -> Tensor:
        """(N, T) → (N, T, words)."""
        return self.head(self.blocks(self.embedding(input_ids)))


def case() -> Case:
    """Eight sentences; the logit of word 7 after the last place is explained at the first block."""
    torch.manual_seed(0)
    ids = torch.randint(0, 30, (8, 10))

    def loss(output: Tensor) -> Tensor:
        return F.cross_entropy(output[:, :-1].flatten(0, 1), ids[:, 1:].flatten())

    return Case(Decoder(), {"input_ids": ids}, loss, (-1, 7), at="blocks.0")


if __name__ == "__main__":
    show(case())
