"""What this distribution adds to trimkit."""

from __future__ import annotations

from collections.abc import Iterator

from trimkit.hooks import MethodSpec, hookimpl

TRIMKIT_API = 1

_METHODS = (
    (
        "sae",
        "l1:L1SAE",
        "Sparse autoencoder of a layer: a dictionary of features whose L1 norm is penalised.",
        "Bricken et al. 2023, transformer-circuits.pub; Cunningham et al. 2023, arXiv:2309.08600",
    ),
    (
        "topk-sae",
        "topk:TopKSAE",
        "Sparse autoencoder in which the k largest features of each sample are active.",
        "Gao et al. 2024, arXiv:2406.04093",
    ),
    (
        "batch-topk-sae",
        "batch_topk:BatchTopKSAE",
        "Sparse autoencoder with k active features a sample on average: the largest of the whole batch.",
        "Bussmann et al. 2024, arXiv:2412.06410",
    ),
    (
        "jumprelu-sae",
        "jumprelu:JumpReLUSAE",
        "Sparse autoencoder with a learned threshold for each feature, and the L0 norm as penalty.",
        "Rajamanoharan et al. 2024, arXiv:2407.14435",
    ),
    (
        "matryoshka-sae",
        "matryoshka:MatryoshkaSAE",
        "Nested dictionaries, each of which must reconstruct alone: general features first.",
        "Bussmann et al. 2025, arXiv:2503.17547",
    ),
)
"""Name, target in this package, summary, reference."""


@hookimpl
def trimkit_methods() -> Iterator[MethodSpec]:
    """Sparse autoencoders."""
    for name, target, summary, reference in _METHODS:
        yield MethodSpec(name, f"trimkit_sae.{target}", summary, reference, family="sae")
