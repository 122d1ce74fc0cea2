"""What a call costs beside its arithmetic: saliency of a linear layer for a large batch, direct, by trimkit, by Captum.

Captum differentiates one scalar a sample; trimkit one sum, as one would by hand. The two ways in: an `Attribution`
called on the model, and `Trim` in the data's own space, which also checks its input and gives the residual.
"""

from __future__ import annotations

import argparse

import captum.attr
import torch
from _timing import interleaved, print_table, ratio
from torch import Tensor, nn

from trimkit import Trim, create
from trimkit.attributions import Saliency

AIM = 1.2


def direct(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """The gradient's magnitude, by hand."""
    x = x.detach().requires_grad_()
    return torch.autograd.grad(model(x).gather(1, y[:, None]).sum(), x)[0].abs()


def compare(batch: int, rounds: int) -> None:
    """Print times and ratios for one size of batch."""
    torch.manual_seed(0)
    model, x, y = nn.Linear(8, 3), torch.randn(batch, 8), torch.randint(0, 3, (batch,))
    ours, trim, theirs = Saliency(), Trim(model, "identity", "saliency"), captum.attr.Saliency(model)
    bridged = create("attribution", "captum:Saliency")
    tracked = x.clone().requires_grad_()
    candidates = {
        "direct": lambda: direct(model, x, y),
        "trimkit, saliency(model, x)": lambda: ours(model, x, target=y),
        "trimkit, Trim(model)(x)": lambda: trim(x, y),
        "trimkit, captum:Saliency": lambda: bridged(model, x, target=y),
        "captum": lambda: theirs.attribute(tracked, target=y),
    }
    seconds = interleaved(candidates, rounds)
    print_table(f"saliency of Linear(8, 3), batch {batch}", seconds, "direct")
    print(f"trimkit / direct: {ratio(seconds, 'trimkit, saliency(model, x)', 'direct'):.2f} (aim ≤ {AIM} at 4096)")


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=51)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for batch in (32, 4096):
        compare(batch, arguments.rounds)


if __name__ == "__main__":
    main()
