"""Labels of any task in other people's training loops: stand-ins that answer as transformers' models and Trainer do."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

import trimkit
from trimkit.errors import ShapeError
from trimkit.integrations.huggingface import TrimTrainerMixin, label_target
from trimkit.targets import IGNORED, NextTokens

SOURCE = torch.Generator().manual_seed(0)
IDS = torch.randint(1, 11, (4, 6), generator=SOURCE)
MASK = (torch.arange(6) < torch.tensor([6, 5, 4, 3])[:, None]).long()
TAGS = torch.randint(3, (4, 6), generator=SOURCE).masked_fill(MASK == 0, IGNORED)
MARKS = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0], [1.0, 1.0, 1.0], [0.0, 1.0, 0.0]])


class Text(nn.Module):
    """Loss and logits in a mapping, from ids or their embeddings."""

    def __init__(self, outputs):
        super().__init__()
        torch.manual_seed(0)
        self.embedding, self.body, self.head = nn.Embedding(11, 4), nn.Linear(4, 5), nn.Linear(5, outputs)

    def get_input_embeddings(self):
        return self.embedding

    def forward(self, input_ids=None, attention_mask=None, labels=None):
        h = self.body(self.embedding(input_ids)).tanh()
        logits = self.read(h, attention_mask)
        return {"loss": None if labels is None else self.loss(logits, labels), "logits": logits}

    def read(self, h, mask):
        return self.head(h)

    def loss(self, logits, labels):
        return cross_entropy(logits.flatten(0, 1), labels.flatten())


class TextForTokenClassification(Text):
    """Tags."""


class TextForCausalLM(Text):
    """Next tokens; the labels are shifted inside."""

    def loss(self, logits, labels):
        return cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())


class TextForSequenceClassification(Text):
    """Several labels of a text."""

    def read(self, h, mask):
        return self.head((h * mask[..., None]).sum(1) / mask.sum(1, keepdim=True))

    def loss(self, logits, labels):
        return binary_cross_entropy_with_logits(logits, labels)


class Trainer:
    """What the mixin asks of a Trainer."""

    def __init__(self, model):
        self.model = model
        self.state, self.args = SimpleNamespace(global_step=0), SimpleNamespace(gradient_accumulation_steps=1)
        self.accelerator = SimpleNamespace(unwrap_model=lambda model: model)
        self.model_accepts_loss_kwargs, self.compute_loss_func = False, None

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        outputs = model(**inputs)
        return (outputs["loss"], outputs) if return_outputs else outputs["loss"]


class TrimTrainer(TrimTrainerMixin, Trainer):
    """What a user writes."""


def trained(model, labels, **options):
    """The mixin's addition to the loss, and the model's own logits."""
    penalty = trimkit.TrimPenalty("l1", attribution="input_x_gradient")
    trainer = TrimTrainer(model, trim=penalty, trim_input="inputs_embeds", **options)
    batch = {"input_ids": IDS, "attention_mask": MASK, "labels": labels}
    loss, outputs = trainer.compute_loss(model.train(), batch, return_outputs=True)
    return loss - outputs["loss"], outputs["logits"]


def by_hand(model, number):
    """Σ |e · ∂f/∂e| of the embeddings e, without padding, where f is one number a text."""
    e = model.embedding(IDS).detach().requires_grad_()
    values = number(model.read(model.body(e).tanh(), MASK))
    (gradient,) = torch.autograd.grad(values.sum(), e)
    return (e * gradient * MASK[..., None]).abs().flatten(1).sum(1).mean()


def test_a_token_classifiers_tags_are_explained():
    model = TextForTokenClassification(3)
    added, logits = trained(model, TAGS)

    def number(z):
        return (z.gather(2, TAGS.clamp_min(0)[..., None])[..., 0] * (TAGS != IGNORED)).sum(1)

    assert torch.allclose(added, by_hand(model, number), rtol=1e-4)
    assert torch.equal(logits, model(IDS, MASK)["logits"])


def test_floating_labels_of_a_classifier_of_several_are_explained():
    model = TextForSequenceClassification(3)
    added, logits = trained(model, MARKS)
    assert torch.allclose(added, by_hand(model, lambda z: (z * MARKS).sum(1)), rtol=1e-4)
    assert torch.equal(logits, model(IDS, MASK)["logits"])


def test_a_causal_language_models_text_is_explained():
    model, labels = TextForCausalLM(11), IDS.masked_fill(MASK == 0, IGNORED)
    added, _ = trained(model, labels)

    def number(z):
        log_p = z.log_softmax(-1)[:, :-1].gather(2, labels[:, 1:].clamp_min(0)[..., None])[..., 0]
        return (log_p * (labels[:, 1:] != IGNORED)).sum(1)

    assert torch.allclose(added, by_hand(model, number), rtol=1e-4)


def test_a_regressions_only_output_is_explained_and_of_several_one_must_be_named():
    labels = torch.randn(4, 1, generator=SOURCE)
    added, _ = trained(TextForSequenceClassification(1), labels.sigmoid())
    assert torch.allclose(added, by_hand(TextForSequenceClassification(1), lambda z: z[:, 0]), rtol=1e-4)
    with pytest.raises(ShapeError, match="they are no choice of outputs; name one, target=0"):
        trained(TextForSequenceClassification(3), torch.rand(4, 3, generator=SOURCE))


@pytest.mark.parametrize(
    "how", [{"loss_type": "ForCausalLM"}, {"name": "GPT2LMHeadModel"}, {"name": "LlamaForCausalLM"}]
)
def test_a_causal_language_model_is_known_by_its_loss_or_name(how):
    model = type(how.get("name", "Wrapped"), (), {"loss_type": how.get("loss_type")})()
    assert label_target(model, IDS) == NextTokens(IDS)


def test_other_models_labels_stay_as_they_are():
    assert label_target(TextForTokenClassification(3), TAGS) is TAGS
    assert label_target(type("BertForMaskedLM", (), {"loss_type": "ForMaskedLM"})(), IDS) is IDS
    assert label_target(TextForCausalLM(3), None) is None
