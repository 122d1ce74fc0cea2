"""What the contracts of parts promise, tried on every sparse autoencoder."""

from __future__ import annotations

from trimkit.testing import conformance

test_promises = conformance("sae")
