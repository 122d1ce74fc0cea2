"""The same small run in PyTorch Lightning and with Hugging Face's Trainer, saved and resumed as their guides say."""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

STEPS, EVERY, BATCH, SAMPLES = 24, 2, 8, 64


def samples() -> tuple[Tensor, Tensor]:
    """x (64, 64) and y (64,), the same each time."""
    keys = torch.Generator().manual_seed(0)
    return torch.rand(SAMPLES, 64, generator=keys), torch.randint(3, (SAMPLES,), generator=keys)


def network() -> nn.Sequential:
    """A small classifier with dropout and batch normalisation, 0.3 million parameters."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Dropout(0.2), nn.Linear(512, 512),
                         nn.ReLU(), nn.Linear(512, 3))  # fmt: skip


def weights_hash(module: nn.Module) -> str:
    """sha256 of all weights and buffers."""
    content = b"".join(tensor.detach().numpy().tobytes() for tensor in module.state_dict().values())
    return hashlib.sha256(content).hexdigest()


def run_lightning(folder: Path) -> int:
    """Train, from the newest checkpoint where there is one; final weights' hash in weights.txt."""
    warnings.simplefilter("ignore")
    import lightning
    from lightning.pytorch.callbacks import ModelCheckpoint

    lightning.seed_everything(0, workers=True, verbose=False)

    class Classifier(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = network()

        def training_step(self, batch: Any, number: int) -> Tensor:
            return nn.functional.cross_entropy(self.network(batch[0]), batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.Adam(self.parameters(), 1e-3)

    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*samples()), BATCH, shuffle=True)
    saving = ModelCheckpoint(folder, every_n_train_steps=EVERY, save_top_k=-1)
    trainer = lightning.Trainer(
        max_steps=STEPS, callbacks=[saving], accelerator="cpu", devices=1, logger=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=folder,
    )  # fmt: skip
    model = Classifier()
    trainer.fit(model, loader, ckpt_path="last" if any(folder.glob("*.ckpt")) else None)
    (folder / "weights.txt").write_text(weights_hash(model))
    return 0


def run_huggingface(folder: Path) -> int:
    """Train, from the newest checkpoint where there is one; final weights' hash in weights.txt."""
    warnings.simplefilter("ignore")
    from transformers import Trainer, TrainingArguments

    class Classifier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network()

        def forward(self, x: Tensor, labels: Tensor) -> dict[str, Tensor]:
            logits = self.network(x)
            return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}

    rows = [{"x": x, "labels": y} for x, y in zip(*samples(), strict=True)]
    arguments = TrainingArguments(
        str(folder), max_steps=STEPS, save_steps=EVERY, save_total_limit=2, per_device_train_batch_size=BATCH,
        report_to=[], use_cpu=True, disable_tqdm=True, seed=0, logging_strategy="no",
    )  # fmt: skip
    model = Classifier()
    trainer = Trainer(model=model, args=arguments, train_dataset=rows)  # type: ignore[arg-type]
    trainer.train(resume_from_checkpoint=True if any(folder.glob("checkpoint-*")) else None)
    (folder / "weights.txt").write_text(weights_hash(model))
    return 0


PEERS = {"lightning": run_lightning, "huggingface": run_huggingface}
