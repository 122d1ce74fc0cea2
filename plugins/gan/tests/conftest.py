"""Images of two brightnesses."""

from __future__ import annotations

import pytest
import torch

import trimkit

from .draws import generator


@pytest.fixture
def images():
    """40 images in [0, 1], dark or bright."""
    x = torch.rand(40, 1, 3, 3, generator=generator(5)) * 0.3
    y = torch.arange(40) % 2
    return trimkit.data.Dataset("brightness", x + 0.6 * y[:, None, None, None], y, classes=("dark", "bright"))
