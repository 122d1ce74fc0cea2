"""What integrated gradients cost at a layer: the part below it runs once, not once a path point.

An encoder of four layers, 32 path points. Prints, in one interleaved run, the time at the third layer and at the first
as a ratio to that at the embedding, with Captum's LayerIntegratedGradients at the third layer beside it, whose path
points run through the whole model.
"""

from __future__ import annotations

import argparse

import torch
from _timing import interleaved, print_table, ratio
from captum.attr import LayerIntegratedGradients
from torch import Tensor, nn

import trimkit
from trimkit.coefficients import tree

STEPS = 32


class Encoder(nn.Module):
    """Token ids (N, 32) → three logits."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.embedding = nn.Embedding(100, width)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(width, 4, 4 * width, dropout=0.0, batch_first=True) for _ in range(4)
        )
        self.head = nn.Linear(width, 3)

    def forward(self, ids: Tensor) -> Tensor:
        """(N, 3)."""
        return self.head(self.below(ids, len(self.layers)).mean(1))

    def below(self, ids: Tensor, layers: int) -> Tensor:
        """The output of the first layers, (N, 32, width)."""
        h = self.embedding(ids)
        for layer in self.layers[:layers]:
            h = layer(h)
        return h


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--batch", type=int, default=8)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model, ids = Encoder().eval(), torch.randint(100, (arguments.batch, 32))
    method = ("integrated_gradients", {"n_steps": STEPS, "tolerance": None})
    ours = {at: trimkit.Trim(model, "identity", method, at=at) for at in ("embedding", "layers.0", "layers.2")}
    captums = LayerIntegratedGradients(model, model.layers[2])
    theirs = captums.attribute(ids, target=0, n_steps=STEPS)
    assert isinstance(theirs, Tensor)
    (scores,) = tree.leaves(ours["layers.2"](ids, 0, baseline=lambda x: model.below(0 * x, 3)).scores)  # as Captum's
    difference = float((scores - theirs).abs().max() / theirs.abs().max())
    print(f"scores at the third layer differ from Captum's by at most {difference:.1e} (relative)")
    seconds = interleaved(
        {
            **{f"trimkit at {at}": lambda trim=trim: trim(ids, 0) for at, trim in ours.items()},
            "captum at layers.2": lambda: captums.attribute(ids, target=0, n_steps=STEPS),
        },
        arguments.rounds,
    )
    print_table(f"{STEPS} path points, batch {arguments.batch}", seconds, "trimkit at embedding")
    print(f"third layer / embedding: {ratio(seconds, 'trimkit at layers.2', 'trimkit at embedding'):.2f}  (aim ≤ 0.35)")
    print(f"captum / trimkit:        {ratio(seconds, 'captum at layers.2', 'trimkit at layers.2'):.2f}")


if __name__ == "__main__":
    main()
