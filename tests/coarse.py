"""A space that does not hold all of its data."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from trimkit.coefficients.groups import Groups
from trimkit.transforms.base import Transform


class Coarse(Transform):
    """Means of neighbours: what it loses is in the residual, which differs from sample to sample."""

    exact = False

    def forward(self, x):
        return F.avg_pool2d(x, 2)

    def inverse(self, s, size=None):
        return s.repeat_interleave(2, -1).repeat_interleave(2, -2)

    def groups(self, size):
        rows = torch.arange(size[-2] // 2)[:, None].expand(*size[:-2], size[-2] // 2, size[-1] // 2)
        return Groups(tuple(f"row {i}" for i in range(size[-2] // 2)), rows, "row")
