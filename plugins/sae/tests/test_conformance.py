"""The plugin's parts keep the promises that trimkit asks of every plugin."""

from trimkit.testing import conformance

test_promises = conformance("sae")
