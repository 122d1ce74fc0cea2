"""``at=`` outside of Trim: the gradient check, the prediction loss, the Trainer mixin; padding has no scores."""

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import trimkit
from trimkit.errors import DataError, OptionError
from trimkit.integrations.huggingface import TrimTrainerMixin

torch.manual_seed(0)
IDS = torch.randint(1, 20, (4, 6))
MASK = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 0]])
LABELS = torch.tensor([0, 1, 2, 0])


class Reader(nn.Module):
    """Reads the last token that is no padding, as decoders with a classification head do."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embedding, self.mix = nn.Embedding(20, 8), nn.GRU(8, 8, batch_first=True)
        self.body, self.head = nn.Linear(8, 8), nn.Linear(8, 3)

    def get_input_embeddings(self):
        return self.embedding

    def forward(self, input_ids, attention_mask, labels=None):
        h = self.body(self.mix(self.embedding(input_ids))[0]).tanh()
        return {"logits": self.head(h[torch.arange(len(h)), attention_mask.sum(1) - 1])}


class Logits(nn.Module):
    def __init__(self):
        super().__init__()
        self.reader = Reader()

    def forward(self, input_ids, attention_mask):
        return self.reader(input_ids, attention_mask)["logits"]


INPUTS = {"input_ids": IDS, "attention_mask": MASK}


class Trainer:
    """As much of transformers' Trainer as the mixin asks for."""

    class accelerator:
        unwrap_model = staticmethod(lambda model: model)

    class state:
        global_step = 0

    class args:
        gradient_accumulation_steps = 1

    model_accepts_loss_kwargs, compute_loss_func = False, None

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        output = model(**inputs)
        loss = cross_entropy(output["logits"], inputs["labels"])
        return (loss, output) if return_outputs else loss


class TrimTrainer(TrimTrainerMixin, Trainer):
    pass


@pytest.mark.parametrize("attribution", ["input_x_gradient", ("integrated_gradients", {"n_steps": 4})])
@pytest.mark.parametrize("at", [None, "body"])
def test_the_trainer_explains_the_logits_that_it_trains(attribution, at):
    penalty = trimkit.TrimPenalty("l1", attribution=attribution, at=at)
    model = Reader().train()
    trainer = TrimTrainer(trim=penalty, trim_input="inputs_embeds", trim_weight=0.5)
    loss = trainer.compute_loss(model, {**INPUTS, "labels": LABELS})
    plain = Logits().train()
    logits, value = trimkit.TrimPenalty("l1", attribution=attribution, at=f"reader.{at or 'embedding'}")(
        plain, INPUTS, target=LABELS
    )
    expected = cross_entropy(logits, LABELS) + 0.5 * value
    assert torch.allclose(loss, expected, atol=1e-6)
    loss.backward()
    expected.backward()
    for ours, theirs in zip(model.parameters(), plain.reader.parameters(), strict=True):
        assert torch.allclose(ours.grad, theirs.grad, atol=1e-6)
    assert penalty.at == at


def test_the_trainer_names_an_input_that_is_missing():
    trainer = TrimTrainer(trim=trimkit.TrimPenalty("l1"), trim_input="attention_maks")
    with pytest.raises(DataError, match="Did you mean 'attention_mask'"):
        trainer.compute_loss(Reader().train(), {**INPUTS, "labels": LABELS})


@pytest.mark.parametrize("at", ["reader.embedding", "reader.body", "reader.mix[0]"])
@pytest.mark.parametrize("attribution", ["input_x_gradient", ("integrated_gradients", {"n_steps": 4})])
def test_a_layer_can_be_checked(attribution, at):
    check = trimkit.check_attribution(attribution, Logits(), INPUTS, at=at, target=LABELS)
    assert check.ok, check.message


def test_one_of_several_inputs_can_be_checked():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(5, 3)

        def forward(self, x, weight):
            return self.linear(x * weight).tanh()

    x = torch.randn(4, 5)
    assert trimkit.check_attribution("saliency", Two(), {"x": x, "weight": torch.rand(4, 5)}, at="x", target=0).ok
    assert trimkit.check_attribution("saliency", Two(), (x, torch.rand(4, 5)), at=0, target=0).ok


def test_a_gradient_that_a_layer_loses_is_found():
    class Cut(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(5, 5), nn.Linear(5, 3)

        def forward(self, x):
            h = self.first(x)
            return self.last(h * torch.sigmoid(h).detach())

    assert not trimkit.check_attribution("saliency", Cut(), torch.randn(4, 5), at="first", target=0).ok


def test_a_reconstructed_activation_is_judged_by_the_rest_of_the_predictor():
    model = Logits().eval()
    h = model.reader.embedding(IDS).detach()
    loss = trimkit.PredictionLoss(model, "kl", at="reader.embedding")
    assert float(loss(h, h, held=INPUTS)) < 1e-6
    noisy = (h + 0.3).requires_grad_()
    logits = model.reader.head  # the rest by hand, from the embedding on
    rest = model.reader.body(model.reader.mix(noisy)[0]).tanh()[torch.arange(4), MASK.sum(1) - 1]
    log_p, log_q = model(**INPUTS).log_softmax(1), logits(rest).log_softmax(1)
    expected = (log_p.exp() * (log_p - log_q)).sum(1).mean()
    value = loss(noisy, h, held=INPUTS)
    assert torch.allclose(value, expected, atol=1e-6)
    assert torch.allclose(*(torch.autograd.grad(v, noisy)[0] for v in (value, expected)), atol=1e-6)


@pytest.mark.parametrize("held", [{"weight": torch.rand(4, 5)}, (None, torch.rand(4, 5))])
def test_a_reconstructed_input_goes_beside_the_others(held):
    class Two(nn.Module):
        def forward(self, x, weight):
            return (x * weight)[:, :3]

    x, x_hat = torch.randn(4, 5), torch.randn(4, 5)
    weight = held["weight"] if isinstance(held, dict) else held[1]
    if isinstance(held, tuple):
        held = (x, weight)
    loss = trimkit.PredictionLoss(Two(), "mse", at="x" if isinstance(held, dict) else 0)
    assert torch.allclose(loss(x_hat, x, held=held), ((x_hat - x) * weight)[:, :3].square().mean())
    with pytest.raises(OptionError, match="go together"):
        loss(x_hat, x)


def test_padding_has_no_scores():
    class Unmasked(nn.Module):
        """A model that reads padding, as some do by mistake."""

        def __init__(self):
            super().__init__()
            self.embedding, self.head = nn.Embedding(20, 8), nn.Linear(8, 3)

        def forward(self, input_ids, attention_mask):
            return self.head(self.embedding(input_ids).tanh().mean(1))

    model = Unmasked()
    scores = trimkit.Trim(model, "identity", "input_x_gradient", at="embedding")(INPUTS, LABELS).scores
    assert torch.equal(scores.abs().sum(2) > 0, MASK.bool())
    _, value = trimkit.TrimPenalty("l1", at="embedding")(model, INPUTS, target=LABELS)
    assert torch.allclose(value, scores.abs().sum((1, 2)).mean())
