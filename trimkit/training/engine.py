"""Where training runs: Lightning Fabric launches and places; this module is the only one that knows it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from trimkit.errors import TrainingError
from trimkit.training.randomness import derived_generator, derived_seed


class Engine:
    """One device, and everything a training step does to it.

    Args:
        device: "auto", "cpu", "cuda", "cuda:1", "mps".
        seed: of the run.
    Raises:
        TrainingError: there is no such device, or the process is one of several.

    Attributes:
        device: where tensors are.
    """

    def __init__(self, device: str = "auto", seed: int = 0) -> None:
        self._fabric = _fabric(device)
        self._seed = seed
        self.device: torch.device = self._fabric.device
        if self._fabric.world_size > 1:
            raise TrainingError(
                f"expected one process, got {self._fabric.world_size}: start training once, without torchrun or srun"
            )

    def place(self, value: Any) -> Any:
        """A module, tensor or collection of tensors, on the device; modules are moved in place."""
        return value.to(self.device) if isinstance(value, nn.Module) else self._fabric.to_device(value)

    def backward(self, loss: Tensor) -> None:
        """Gradients of this process's share of the batch."""
        self._fabric.backward(loss)

    def reduce_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """The gradients of the whole batch on every process; one process has them already.

        Called once a phase, between backward and the finite check, with the parameters in the same order everywhere:
        the place of the flat all-reduce.
        """

    def generator(self, purpose: str, *position: int) -> torch.Generator:
        """A generator on the device for one purpose at one position of the run."""
        return derived_generator(self.device, self._seed, purpose, *position)

    @contextmanager
    def global_randomness(self, purpose: str, *position: int) -> Iterator[None]:
        """Seed torch's global stream for modules that draw from it (dropout), and give the caller's back afterwards."""
        seed = derived_seed(self._seed, purpose, *position)
        on_cuda = self.device.type == "cuda"
        with torch.random.fork_rng(devices=[self.device] if on_cuda else []):
            torch.default_generator.manual_seed(seed)  # torch.manual_seed queues calls for devices that are not there
            if on_cuda:
                torch.cuda.manual_seed(seed)
            yield


def _fabric(device: str) -> Any:
    from lightning_fabric import Fabric

    accelerator, _, index = device.partition(":")
    try:
        fabric = Fabric(accelerator=accelerator, devices=[int(index)] if index else 1)
        fabric.launch()
    except Exception as error:
        raise TrainingError(
            f"cannot train on device {device!r}: {' '.join(str(error).split())}; use auto, cpu, cuda, cuda:1 or mps"
        ) from error
    return fabric
