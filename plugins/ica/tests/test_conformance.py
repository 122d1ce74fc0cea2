"""The plugin's parts keep the promises that trimkit asks of every plugin."""

from trimkit.testing import Example, conformance

TWO_SEGMENTS = Example({"segments": 2, "latent_dim": 3}, sizes=[(6,)])

test_promises = conformance("ica", examples=dict.fromkeys(("ivae", "tcl", "icebeem"), TWO_SEGMENTS))
