"""Every part keeps the promises that trimkit asks of parts of its kind."""

from trimkit.testing import conformance

test_promises = conformance("trimkit_graph.plugin")
