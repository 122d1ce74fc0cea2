"""The Lightning callback: an unmodified module is penalised, in one process and in two, and given back."""

import warnings

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

import trimkit
from trimkit.errors import DataError, ModelError

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Lightning's own imports
    pl = pytest.importorskip("lightning.pytorch", exc_type=ImportError)

from trimkit.integrations.lightning import TrimCallback, first_two

pytestmark = pytest.mark.filterwarnings("ignore")

X = torch.randn(16, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
Y = torch.arange(16) % 3


class Counted(nn.Sequential):
    """Counts its forwards."""

    forwards = 0

    def forward(self, x):
        self.forwards += 1
        return super().forward(x)


class Plain(pl.LightningModule):
    """Knows nothing of penalties."""

    def __init__(self, returns="tensor"):
        super().__init__()
        torch.manual_seed(0)
        self.net = Counted(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3)).double()
        self.returns = returns

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, batch_idx):
        x, y = batch
        if self.returns is None and batch_idx == 1:
            return None
        loss = cross_entropy(self(x), y)
        return {"loss": loss, "more": 1} if self.returns == "mapping" else loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def penalty(name="l1", **options):
    return trimkit.TrimPenalty(name, transform="dct", attribution="input_x_gradient", **options)


def fit(module, *callbacks, batch=8, **options):
    settings = {"max_epochs": 2, "logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = pl.Trainer(
        **{**settings, "enable_model_summary": False, "accelerator": "cpu", "devices": 1, **options},
        callbacks=list(callbacks),
    )
    trainer.fit(module, DataLoader(TensorDataset(X, Y), batch))
    return trainer


def weights(module):
    return torch.cat([p.detach().flatten() for p in module.net.parameters()])


def by_hand(terms, batch=8, epochs=2):
    module = Plain()
    optimiser = torch.optim.SGD(module.parameters(), 0.1)
    for _ in range(epochs):
        for x, y in zip(X.split(batch), Y.split(batch), strict=True):
            loss = cross_entropy(module.net(x), y)
            for term, weight in terms:
                loss = loss + weight * term.penalise(module.net, x, y)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return weights(module)


@pytest.mark.parametrize("returns", ["tensor", "mapping"])
def test_it_trains_as_the_penalty_in_a_loop_by_hand_and_shares_the_forward(returns):
    module = Plain(returns)
    trainer = fit(module, TrimCallback(penalty(), 0.5))
    assert torch.allclose(weights(module), by_hand([(penalty(), 0.5)]), atol=1e-12)
    assert not torch.allclose(weights(module), by_hand([]), atol=1e-3)
    assert module.net.forwards == 4
    assert float(trainer.callback_metrics["trim"]) > 0


def test_several_penalties_add_up_and_the_module_is_given_back():
    module = Plain()
    callbacks = [TrimCallback(penalty(), 0.5), TrimCallback(penalty("entropy"), 0.3, module="net", name="entropy")]
    trainer = fit(module, *callbacks)
    assert torch.allclose(weights(module), by_hand([(penalty(), 0.5), (penalty("entropy"), 0.3)]), atol=1e-12)
    assert "training_step" not in module.__dict__
    assert module.forward.__func__ is Plain.forward
    assert set(trainer.callback_metrics) >= {"trim", "entropy"}


def test_a_step_that_calls_the_model_otherwise_costs_a_second_forward():
    class Indirect(Plain):
        def training_step(self, batch, batch_idx):
            return cross_entropy(self(batch[0] * 1.0), batch[1])

    module = Indirect()
    fit(module, TrimCallback(penalty(), 0.5))
    assert torch.allclose(weights(module), by_hand([(penalty(), 0.5)]), atol=1e-12)
    assert module.net.forwards == 8


def test_weights_can_be_scheduled_and_batches_skipped():
    module = Plain(returns=None)
    fit(module, TrimCallback(penalty(), lambda step: 0.0))
    plain = Plain(returns=None)
    fit(plain)
    assert torch.equal(weights(module), weights(plain))


def test_a_failing_fit_gives_the_module_back():
    module = Plain()
    with pytest.raises(DataError, match="expected batches"):
        fit(module, TrimCallback(penalty(), inputs=lambda batch: first_two({"x": batch})))
    assert "training_step" not in module.__dict__


def test_what_it_cannot_do_is_refused():
    manual = Plain()
    manual.automatic_optimization = False
    with pytest.raises(ModelError, match="optimises manually; call the penalty in training_step"):
        fit(manual, TrimCallback(penalty()))
    with pytest.raises(ModelError, match="no submodule 'nett'"):
        fit(Plain(), TrimCallback(penalty(), module="nett"))


def test_targets_are_classes_or_none():
    assert first_two((X, Y))[1] is Y
    assert first_two([X, X[:, 0], "more"])[1] is None


def test_two_processes_equal_one():
    module = Plain()
    fit(module, TrimCallback(penalty(), 0.5), batch=8, devices=2, strategy="ddp_fork", max_epochs=3)
    assert torch.allclose(weights(module), by_hand([(penalty(), 0.5)], batch=16, epochs=3), atol=1e-12)
    assert not torch.allclose(weights(module), by_hand([], batch=16, epochs=3), atol=1e-3)
