"""The device that a command works on."""

from __future__ import annotations

import torch

from trimkit.errors import OptionError


def device_of(name: str) -> torch.device:
    """The device that ``--device`` names; auto is a GPU where there is one.

    Raises:
        OptionError: no such device here.
    """
    try:
        device = torch.device((torch.accelerator.current_accelerator(True) or "cpu") if name == "auto" else name)
        torch.empty(0, device=device)
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise OptionError(
            f"--device: expected auto, cpu, cuda, cuda:1 or mps, one that is here, got {name!r} ({reason})"
        ) from error
    return device
