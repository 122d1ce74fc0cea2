"""The plugin's parts keep the promises that trimkit asks of every plugin."""

from trimkit.testing import Example, conformance

SMALL = {"network": "mlp", "latent_dim": 3}
EXAMPLES = {
    "beta-tcvae": Example({**SMALL, "dataset_size": 40}),
    "factor-vae": Example({**SMALL, "discriminator_width": 16}),
}

test_promises = conformance("vae", examples=EXAMPLES)
