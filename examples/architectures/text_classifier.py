"""A text classifier as BERT is: attention in both directions, padding, tokens explained at the embedding."""

from __future__ import annotations

import torch
from _case import Case, show
from torch import Tensor, nn
from torch.nn.functional import cross_entropy


class Classifier(nn.Module):
    """Token ids and an attention mask → three logits of the first token."""

    def __init__(self, width: int = 16, words: int = 30) -> None:
        super().__init__()
        self.embedding, self.positions = nn.Embedding(words, width), nn.Embedding(12, width)
        layer = nn.TransformerEncoderLayer(width, 2, 2 * width, dropout=0.0, activation="gelu", batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(width, 3)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """(N, T) and (N, T) → (N, 3)."""
        h = self.embedding(input_ids) + self.positions(torch.arange(input_ids.shape[1], device=input_ids.device))
        return self.head(self.encoder(h, src_key_padding_mask=attention_mask == 0)[:, 0])


def case() -> Case:
    """Eight sentences of up to ten tokens; a sparse use of them is rewarded."""
    torch.manual_seed(0)
    ids, labels = torch.randint(1, 30, (8, 10)), torch.arange(8) % 3
    mask = (torch.arange(10) < torch.randint(4, 11, (8, 1))).long()
    inputs = {"input_ids": ids * mask, "attention_mask": mask}
    return Case(Classifier(), inputs, lambda output: cross_entropy(output, labels), labels, at="embedding")


if __name__ == "__main__":
    show(case())
