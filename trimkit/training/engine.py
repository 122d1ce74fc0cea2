"""Where training runs: Lightning Fabric launches and places; this module is the only one that knows it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from trimkit.errors import TrainingError, TrimkitError
from trimkit.processes import Share, hash_to_seed, sharing
from trimkit.training import distributed
from trimkit.training.precision import FABRIC, mixed, resolved
from trimkit.training.settings import Settings


def derived_seed(seed: int, purpose: str, *position: int) -> int:
    """A 63-bit seed for one purpose at one position, so that a resumed run draws what an uninterrupted one would.

    Args:
        seed: of the run.
        purpose: "order", "phase vae", …
        *position: epoch, batch, …
    """
    return hash_to_seed("|".join([str(seed), purpose, *map(str, position)]))


def derived_generator(device: torch.device, seed: int, purpose: str, *position: int) -> torch.Generator:
    """A generator on a device, seeded by `derived_seed`."""
    return torch.Generator(device).manual_seed(derived_seed(seed, purpose, *position))


class RelayedError(TrainingError):
    """What the first process refused, or a process that is lost, as the others say it."""


class Engine:
    """A device for each process, and everything a training step does to it.

    Args:
        settings: of the run.
    Raises:
        TrainingError: there is no such device.

    Attributes:
        device: where tensors are.
        precision: see `Settings.precision`; what `Settings.fast` came to.
        rank: of this process, from 0.
        processes: that train together.
    """

    def __init__(self, settings: Settings) -> None:
        accelerator, _, index = _device(settings.device).partition(":")
        self.precision = resolved(settings, accelerator)
        self._timeout = settings.timeout_minutes
        self._fabric, self._mixed = _launched(accelerator, index, settings, FABRIC[self.precision])
        self._seed = settings.seed
        self.device: torch.device = self._fabric.device
        self.rank: int = self._fabric.global_rank
        self.processes: int = self._fabric.world_size
        self._arrivals = self._step = 0

    @property
    def leads(self) -> bool:
        """True in the one process that writes files and shows progress."""
        return self.rank == 0

    def place(self, value: Any) -> Any:
        """A module, tensor or collection of tensors, on the device and in the run's type; modules in place."""
        wide = self.precision == "64"
        if isinstance(value, nn.Module):
            return value.to(self.device).double() if wide else value.to(self.device)
        if isinstance(value, Tensor) and value.is_floating_point():
            value = value.double() if wide else value.float()
        return self._fabric.to_device(value)

    def align(self, module: nn.Module) -> None:
        """Give every process the parameters and buffers of the first."""
        if self.processes > 1:
            distributed.broadcast(module)

    def merge_buffers(self, module: nn.Module) -> None:
        """Give every process the mean of all processes' floating buffers."""
        if self.processes > 1:
            self._report_arrival()
            distributed.average_buffers(module)

    def means(self, numbers: Mapping[str, Any]) -> dict[str, Any]:
        """Means of numbers over processes."""
        return dict(numbers) if self.processes == 1 else distributed.average_numbers(numbers, self.device)

    def broadcast(self, value: Any) -> Any:
        """The first process's value, on all."""
        return self._fabric.broadcast(value) if self.processes > 1 else value

    def lead(self, work: Callable[[], Any]) -> Any:
        """What the first process makes, on all.

        Raises:
            TrimkitError: of the work; on the other processes a RelayedError.
        """
        if self.processes == 1:
            return work()
        value, error = None, None
        if self.leads:
            try:
                value = work()
            except TrimkitError as refusal:
                error = refusal
        value, message = self.broadcast((value, None if error is None else str(error)))
        if error is not None:
            raise error
        if message is not None:
            raise RelayedError(message)
        return value

    def largest(self, *numbers: int) -> list[int]:
        """The largest of each number over processes, so that all decide alike."""
        if self.processes == 1:
            return list(numbers)
        self._report_arrival()
        return distributed.largest(numbers, self.device)

    def report_step(self, step: int) -> None:
        """Let the other processes know which step this one is in, for `explain`."""
        self._step = step
        if self.processes > 1:
            self._report_arrival(0)

    def _report_arrival(self, messages: int = 1) -> None:
        """Let the other processes know, before each message, that this one has come so far."""
        self._arrivals += messages
        _store().set(f"trimkit arrival {self.rank}", f"{self._arrivals} {self._step}")

    def announce_end(self) -> None:
        """Let the other processes leave `await_end`."""
        if self.processes > 1:
            _store().set("trimkit end", "1")

    def await_end(self) -> None:
        """Wait for the first process as long as it lives, longer than any other message may take."""
        if self.processes > 1 and not self.leads:
            _store().wait(["trimkit end"], timedelta(days=100))

    def explain(self, error: Exception) -> Exception:
        """A fault of the messages between processes in words; any other error as it is."""
        text = str(error)
        lost = isinstance(error, dist.DistError) or "gloo" in text or "NCCL" in text
        if self.processes == 1 or isinstance(error, TrimkitError) or not lost:
            return error
        who = _behind(self.processes) or "a process has failed or stalled"
        return RelayedError(
            f"{who}; the others wait for at most {self._timeout:g} minutes (timeout_minutes): see what it says, and "
            "resume the run from its last checkpoint"
        )

    def abandon(self) -> None:
        """Leave the group, so that the other processes fail at once instead of waiting for this one."""
        if self.processes > 1 and dist.is_initialized():
            dist.destroy_process_group()

    def share(self, turn: int, turns: int, rows: int) -> AbstractContextManager[Share]:
        """Within, the rows at hand are this process's share of the batch's in this turn."""
        return sharing(Share(turn * self.processes + self.rank, turns * self.processes, rows, self.processes))

    def mixed(self, method: nn.Module) -> AbstractContextManager[Any]:
        """Within, the method's networks run in the precision asked for."""
        plugin = self._mixed
        return nullcontext() if plugin is None else mixed(method, plugin.forward_context, plugin.convert_output)

    def backward(self, loss: Tensor) -> None:
        """Gradients of this process's share of the batch, scaled up where the precision needs it."""
        self._fabric.backward(loss)

    def reduce_gradients(self, parameters: Sequence[nn.Parameter], optimiser: torch.optim.Optimizer) -> None:
        """The gradients of the whole batch on every process, not scaled any more.

        Called once a phase, after its last backward, so that what follows (finite check, clipping, step) is decided
        alike everywhere.
        """
        if self.processes > 1:
            self._report_arrival()
            distributed.reduce_gradients(parameters)
        if self._scaler is not None:
            self._scaler.unscale_(optimiser)

    def step(self, optimiser: torch.optim.Optimizer, *, finite: bool) -> bool:
        """Let the optimiser take its step, and the scale of float16 go down after gradients that are not finite.

        Returns:
            False where the scale went down instead of a step.
        Raises:
            FloatingPointError: even unscaled gradients are not finite.
        """
        if self._scaler is None:
            optimiser.step()
            return True
        before = self._scaler.get_scale()
        self._scaler.step(optimiser)
        self._scaler.update()
        if not finite and self._scaler.get_scale() < 1:
            raise FloatingPointError
        return self._scaler.get_scale() >= before

    @property
    def rescales(self) -> bool:
        """True where gradients that are not finite are the scale's fault at first: float16."""
        return self._scaler is not None

    def state(self) -> dict[str, Any]:
        """Of the scale of float16; empty without."""
        return {} if self._scaler is None else self._scaler.state_dict()

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        if self._scaler is not None:
            self._scaler.load_state_dict(dict(state))

    def generator(self, purpose: str, *position: int) -> torch.Generator:
        """A generator on the device for one purpose at one position of the run, the same on every process."""
        return derived_generator(self.device, self._seed, purpose, *position)

    @contextmanager
    def global_randomness(self, purpose: str, *position: int) -> Iterator[None]:
        """Seed torch's global stream for modules that draw from it (dropout), and give the caller's back afterwards.

        Each process has a stream of its own: what modules draw does not know which rows it is for.
        """
        own = (self.rank,) if self.processes > 1 else ()
        seed = derived_seed(self._seed, purpose, *position, *own)
        on_cuda = self.device.type == "cuda"
        with torch.random.fork_rng(devices=[self.device] if on_cuda else []):
            torch.default_generator.manual_seed(seed)  # torch.manual_seed queues calls for devices that are not there
            if on_cuda:
                torch.cuda.manual_seed(seed)
            yield

    @property
    def _scaler(self) -> Any:
        return None if self._mixed is None else self._mixed.scaler


def processes_of(settings: Settings) -> int:
    """How many processes will train together: known before any of them is started."""
    here, machines = _layout(settings.devices)
    return machines * (1 if ":" in settings.device else here)


def _device(name: str) -> str:
    """What "auto" means on this machine."""
    if name != "auto":
        return name
    return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"


def _store() -> Any:
    """The table of the process group, which works while messages between its processes do not."""
    return dist.distributed_c10d._get_default_store()


def _behind(processes: int) -> str:
    """Who came less far than others, in words; "" where nobody can tell."""
    try:
        reports = [_store().get(f"trimkit arrival {rank}").split() for rank in range(processes)]
        arrivals, steps = zip(*[map(int, words) for words in reports], strict=True)
    except (RuntimeError, ValueError):
        return ""
    late = [rank for rank in range(processes) if arrivals[rank] < max(arrivals)]
    return "; ".join(f"process {rank} has stalled or failed in step {steps[rank]}" for rank in late)


def _launched(accelerator: str, index: str, settings: Settings, precision: str) -> tuple[Any, Any]:
    """Fabric, and its plugin for 16 bits where there is one."""
    from lightning_fabric import Fabric
    from lightning_fabric.plugins import MixedPrecision
    from lightning_fabric.strategies.ddp import DDPStrategy

    here, machines = _layout(settings.devices)
    together = DDPStrategy(timeout=timedelta(minutes=settings.timeout_minutes))  # its launcher, never its wrapper
    plugin = MixedPrecision(precision, accelerator) if precision in ("bf16-mixed", "16-mixed") else None  # type: ignore[arg-type]
    try:
        fabric = Fabric(
            accelerator=accelerator,
            devices=[int(index)] if index else here,
            num_nodes=machines,
            strategy=together if here * machines > 1 else "auto",
            **({"precision": precision} if plugin is None else {"plugins": [plugin]}),  # type: ignore[arg-type]
        )
        fabric.launch()
    except Exception as error:
        raise TrainingError(
            f"cannot train on device {accelerator + (index and f':{index}')!r}: {' '.join(str(error).split())}; use "
            "auto, cpu, cuda, cuda:1 or mps, with no more devices than there are"
        ) from error
    return fabric, plugin


def _layout(devices: int) -> tuple[int, int]:
    """Processes on a machine, and machines: torchrun's and SLURM's, or as many as asked for on this one."""
    from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
    from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment

    if TorchElasticEnvironment.detect():
        here = int(os.environ["LOCAL_WORLD_SIZE"])
        return here, int(os.environ["WORLD_SIZE"]) // here
    if SLURMEnvironment.detect():
        machines = int(os.environ.get("SLURM_NNODES", "1"))
        return int(os.environ["SLURM_NTASKS"]) // machines, machines
    return devices, 1
