"""Who trains with a penalty: the same three steps by each trainer, against the loop that one writes by hand.

Prints a row a trainer: ✓ where the weights after three steps are those of the loop to the given tolerance, or why the
trainer is refused. A penalty on input × gradient needs the second derivative of the model, which is what trainers and
wrappers get wrong; so weights are compared, not losses. Rows of packages that are missing say so.

    python examples/trainers.py                                  # print the table
    python examples/trainers.py --write docs/howto/trainers.md   # put it below "What works" there
"""

from __future__ import annotations

import argparse
import logging
import re
import socket
import tempfile
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, TensorDataset

import trimkit
from trimkit.errors import ModelError

X = torch.randn(24, 12, generator=torch.Generator().manual_seed(1))
Y = torch.arange(24) % 3
BATCH, RATE, WEIGHT = 8, 0.1, 0.5


class Network(nn.Module):
    """Two layers, of which the first may be computed again in the backward pass; ``unused`` has no part in it."""

    def __init__(self, again: bool | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last, self.unused = nn.Linear(12, 16), nn.Linear(16, 3), nn.Linear(2, 2)
        self.again = again

    def forward(self, x: Tensor) -> Tensor:
        """(N, 12) → (N, 3)."""
        body = lambda x: torch.tanh(self.first(x))  # noqa: E731
        return self.last(body(x) if self.again is None else checkpoint(body, x, use_reentrant=self.again))


def penalty() -> trimkit.TrimPenalty:
    """L1 of input × gradient in frequencies."""
    return trimkit.TrimPenalty("l1", transform="fft", attribution="input_x_gradient")


def weights(model: nn.Module) -> Tensor:
    """All of them, but those that have no part."""
    return torch.cat([p.detach().flatten().float() for name, p in model.named_parameters() if "unused" not in name])


def by_hand() -> Tensor:
    """The loop with nothing of trimkit in it."""
    model = Network()
    optimiser = torch.optim.SGD(model.parameters(), RATE)
    for x, y in zip(X.split(BATCH), Y.split(BATCH), strict=True):
        s = torch.fft.rfft(x, norm="ortho").requires_grad_()
        logits = model(torch.fft.irfft(s, n=12, norm="ortho"))
        (gradient,) = torch.autograd.grad(logits.gather(1, y[:, None]).sum(), s, create_graph=True)
        optimiser.zero_grad()
        value = (gradient.conj() * s).real.abs().sum(1).mean()
        (cross_entropy(logits, y) + WEIGHT * value).backward()
        optimiser.step()
    return weights(model)


def loop(model: nn.Module, part: slice = slice(None), context: Callable[[], Any] = nullcontext) -> Tensor:
    """A loop of one's own around any model, on some rows of each batch."""
    optimiser, penalised = torch.optim.SGD(model.parameters(), RATE), penalty()
    for x, y in zip(X.split(BATCH), Y.split(BATCH), strict=True):
        with context():
            logits, value = penalised(model, x[part], target=y[part])
            loss = cross_entropy(logits, y[part]) + WEIGHT * value
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return weights(model)


def lightning() -> Tensor:
    """`TrimCallback` beside a module that knows nothing of it."""
    from lightning import pytorch as pl

    from trimkit.integrations.lightning import TrimCallback

    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = Network()

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x)

        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            return cross_entropy(self(batch[0]), batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), RATE)

    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    callback = TrimCallback(penalty(), WEIGHT)
    trainer = pl.Trainer(max_epochs=1, accelerator="cpu", callbacks=[callback], enable_model_summary=False, **quiet)
    module = Module()
    trainer.fit(module, DataLoader(TensorDataset(X, Y), BATCH))
    return weights(module)


def huggingface() -> Tensor:
    """`TrimTrainerMixin` before the Trainer of transformers."""
    import transformers

    from trimkit.integrations.huggingface import TrimTrainerMixin

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = Network()

        def forward(self, x: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
            logits = self.net(x)
            return {"logits": logits} if labels is None else {"loss": cross_entropy(logits, labels), "logits": logits}

    class Trainer(TrimTrainerMixin, transformers.Trainer):
        """What a user writes."""

    model = Model()
    optimiser = torch.optim.SGD(model.parameters(), RATE)
    constant = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1.0)
    with tempfile.TemporaryDirectory() as folder:
        arguments = transformers.TrainingArguments(
            output_dir=folder,
            num_train_epochs=1,
            per_device_train_batch_size=BATCH,
            max_grad_norm=0.0,
            save_strategy="no",
            report_to=[],
            use_cpu=True,
            disable_tqdm=True,
            train_sampling_strategy="sequential",
        )
        data: Any = [{"x": x, "labels": int(y)} for x, y in zip(X, Y, strict=True)]
        options: Any = {"trim": penalty(), "trim_weight": WEIGHT, "trim_input": "x"}
        Trainer(model, arguments, train_dataset=data, optimizers=(optimiser, constant), **options).train()
    return weights(model)


def accelerate() -> Tensor:
    """A loop of one's own, prepared by Accelerate."""
    from accelerate import Accelerator

    accelerator, model = Accelerator(cpu=True), Network()
    optimiser = torch.optim.SGD(model.parameters(), RATE)
    model, optimiser, loader = accelerator.prepare(model, optimiser, DataLoader(TensorDataset(X, Y), BATCH))
    penalised = penalty()
    for x, y in loader:
        logits, value = penalised(model, x, target=y)
        optimiser.zero_grad()
        accelerator.backward(cross_entropy(logits, y) + WEIGHT * value)
        optimiser.step()
    return weights(accelerator.unwrap_model(model))


def compiled() -> Tensor:
    """A compiled model, which the penalty calls as it was written."""
    return loop(torch.compile(Network()))  # type: ignore[arg-type]


def in_half_precision() -> Tensor:
    """The whole loss under autocast."""
    return loop(Network(), context=lambda: torch.autocast("cpu", torch.bfloat16))


def distributed(**options: Any) -> Tensor:
    """Two processes on gloo, each with every second row."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = mp.get_context("spawn")
    with context.Manager() as manager:
        results: Any = manager.dict()
        mp.spawn(_process, (port, options, results), nprocs=2)
        if "refused" in results:
            raise ModelError(results["refused"])
        if results[0] != results[1]:
            raise RuntimeError("the two processes ended with different weights")
        return torch.tensor(results[0])


def _process(rank: int, port: int, options: dict[str, Any], results: Any) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    try:
        results[rank] = loop(_wrapped(options), slice(rank, None, 2)).tolist()
    except trimkit.TrimkitError as error:
        results["refused"] = str(error)
    finally:
        dist.destroy_process_group()


def _wrapped(options: dict[str, Any]) -> nn.Module:
    model = Network()
    if options.get("sharded"):
        from torch.distributed.fsdp import fully_shard

        return fully_shard(model, mesh=dist.init_device_mesh("cpu", (2,)))
    if not options.get("find_unused_parameters"):
        del model.unused
    return DistributedDataParallel(model, **options)


EXACT, HALF = 1e-5, 0.05
TRAINERS: dict[str, tuple[Callable[[], Tensor], float]] = {
    "a loop of one's own": (lambda: loop(Network()), EXACT),
    "Lightning, `TrimCallback`": (lightning, EXACT),
    "Hugging Face Trainer, `TrimTrainerMixin`": (huggingface, EXACT),
    "Accelerate": (accelerate, EXACT),
    "DDP, 2 processes": (distributed, EXACT),
    "DDP, `find_unused_parameters=True`": (lambda: distributed(find_unused_parameters=True), EXACT),
    "DDP, `static_graph=True`": (lambda: distributed(static_graph=True), EXACT),
    "FSDP, 2 processes": (lambda: distributed(sharded=True), EXACT),
    "`torch.compile`": (compiled, EXACT),
    "gradient checkpointing, `use_reentrant=False`": (lambda: loop(Network(again=False)), EXACT),
    "gradient checkpointing, `use_reentrant=True`": (lambda: loop(Network(again=True)), EXACT),
    "autocast to bfloat16": (in_half_precision, HALF),
}


def verdict(trainer: Callable[[], Tensor], tolerance: float) -> str:
    """✓ and to which tolerance the weights are those of the loop by hand; or why not."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            reached = trainer()
    except ImportError as error:
        return f"not installed: {error.name}"
    except trimkit.TrimkitError as error:
        return f"refused: {_brief(error)}"
    except RuntimeError as error:
        return f"refused by torch: {_brief(error)}"
    expected = by_hand()
    moved = (expected - weights(Network())).norm()  # by three steps
    gap = float((reached - expected).norm() / moved)
    return f"✓ to {tolerance:g}" if gap <= tolerance else f"✗ off by {gap:.2g} of what three steps move"


def _brief(error: Exception) -> str:
    """The first sentence, without a list of what else."""
    return re.split(r"; |\. ", " ".join(str(error).split()))[0].rstrip(".")


HEADING = "## What works\n"
TABLE = """
What `python examples/trainers.py` prints, for one seed: three steps of gradient descent with a penalty in Fourier space
by each trainer, and how close its weights come to those of a loop without trimkit, as a share of what these steps move.

"""


def main() -> None:
    """Print the table, or write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    lines = ["| trainer | |", "|---|---|"]
    lines += [f"| {name} | {verdict(*trainer)} |" for name, trainer in TRAINERS.items()]
    if arguments.write:
        before = arguments.write.read_text().split(HEADING)[0].rstrip()
        arguments.write.write_text(f"{before}\n\n{HEADING}{TABLE}" + "\n".join(lines) + "\n")
    else:
        print("\n".join(lines))


if __name__ == "__main__":
    main()
