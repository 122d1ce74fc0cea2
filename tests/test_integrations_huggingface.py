"""The Trainer mixin: the task's loss plus the penalty, for pictures and tokens, whatever the accumulation."""

import warnings
from functools import partial

import pytest
import torch
from torch.nn.functional import cross_entropy

import trimkit
from trimkit.errors import DataError

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its own imports
    transformers = pytest.importorskip("transformers", exc_type=ImportError)
    pytest.importorskip("accelerate", exc_type=ImportError)

from trimkit.integrations.huggingface import TrimTrainerMixin

pytestmark = pytest.mark.filterwarnings("ignore")

GENERATOR = torch.Generator().manual_seed(0)
PICTURES = [{"pixel_values": torch.randn(1, 8, 8, generator=GENERATOR), "labels": i % 3} for i in range(16)]
TEXTS = [{"input_ids": torch.randint(3, 20, (6,), generator=GENERATOR), "labels": i % 3} for i in range(16)]
TINY = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16, "num_labels": 3}
STILL = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


class TrimTrainer(TrimTrainerMixin, transformers.Trainer):
    """What a user writes."""


def vit():
    torch.manual_seed(0)
    config = transformers.ViTConfig(image_size=8, patch_size=4, num_channels=1, **TINY, **STILL)
    return transformers.ViTForImageClassification(config)


def bert():
    torch.manual_seed(0)
    return transformers.BertForSequenceClassification(transformers.BertConfig(vocab_size=20, **TINY, **STILL))


def trainer(model, folder, data, trim="l1", transform="fft", batch=8, accumulate=1, steps=3, **options):
    arguments = transformers.TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=batch,
        gradient_accumulation_steps=accumulate,
        max_steps=steps,
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        max_grad_norm=0.0,
        disable_tqdm=True,
        train_sampling_strategy="sequential",
    )
    penalty = trimkit.TrimPenalty(trim, transform=transform, attribution="input_x_gradient")
    sgd = torch.optim.SGD(model.parameters(), 0.1)
    schedule = torch.optim.lr_scheduler.LambdaLR(sgd, lambda step: 1.0)
    return TrimTrainer(model, arguments, train_dataset=data, optimizers=(sgd, schedule), trim=penalty, **options)


def batch_of(samples):
    return {key: torch.stack([torch.as_tensor(sample[key]) for sample in samples]) for key in samples[0]}


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def logit(labels, output):
    return output.logits.gather(1, labels[:, None])[:, 0]


def by_hand(model, steps=3, weight=0.1):
    penalty = trimkit.TrimPenalty("l1", transform="fft", attribution="input_x_gradient")
    optimiser = torch.optim.SGD(model.parameters(), 0.1)
    for step in range(steps):
        batch = batch_of(PICTURES[8 * (step % 2) :][:8])
        logits, value = penalty(model, batch["pixel_values"], target=partial(logit, batch["labels"]))
        optimiser.zero_grad()
        (cross_entropy(logits.logits, batch["labels"]) + weight * value).backward()
        optimiser.step()
    return weights(model)


@pytest.mark.parametrize(("batch", "accumulate"), [(8, 1), (4, 2)])
def test_it_trains_as_the_penalty_in_a_loop_by_hand(tmp_path, batch, accumulate):
    model = vit()
    run = trainer(model, tmp_path, PICTURES, batch=batch, accumulate=accumulate, trim_weight=0.1)
    run.train()
    assert torch.allclose(weights(model), by_hand(vit()), atol=1e-5)
    assert not torch.allclose(weights(model), by_hand(vit(), weight=0.0), atol=1e-4)
    assert all(entry["trim"] > 0 for entry in run.state.log_history if "loss" in entry)


def test_evaluation_is_left_alone(tmp_path):
    model = vit()
    run = trainer(model, tmp_path, PICTURES, trim_weight=100.0)
    expected = cross_entropy(model.eval()(batch_of(PICTURES)["pixel_values"]).logits, batch_of(PICTURES)["labels"])
    assert abs(run.evaluate(PICTURES)["eval_loss"] - float(expected)) < 1e-5


def test_tokens_are_explained_by_their_embeddings(tmp_path):
    model, batch = bert(), batch_of(TEXTS)
    run = trainer(model, tmp_path, TEXTS, transform="identity", trim_input="inputs_embeds", trim_weight="0.5")
    loss, outputs = run.compute_loss(model.train(), dict(batch), return_outputs=True)
    table = model.get_input_embeddings()
    expected = run.trim.penalise(_FromEmbeddings(model), table(batch["input_ids"]).detach(), batch["labels"])
    assert torch.allclose(loss, outputs.loss + 0.5 * expected, atol=1e-6)
    run.train()
    assert run.state.log_history[0]["trim"] > 0


def test_paths_repeat_the_other_inputs(tmp_path):
    texts = [
        {**text, "attention_mask": torch.tensor([1] * (3 + i % 3) + [0] * (3 - i % 3))} for i, text in enumerate(TEXTS)
    ]
    run = trainer(bert(), tmp_path, texts, transform="identity", trim_input="inputs_embeds", steps=1)
    run.trim = trimkit.TrimPenalty("l1", attribution=("integrated_gradients", {"n_steps": 3, "memory": "graph"}))
    run.train()
    assert run.state.log_history[0]["trim"] > 0


def test_targets_can_be_chosen(tmp_path):
    model = vit().train()
    run = trainer(model, tmp_path, PICTURES, trim_target=1, trim_weight=lambda step: 2.0)
    loss = run.compute_loss(model, batch_of(PICTURES))
    plain = trainer(model, tmp_path, PICTURES, trim_weight=0.0).compute_loss(model, batch_of(PICTURES))
    assert torch.allclose(loss - plain, 2 * run.trim.last.values.mean(), atol=1e-5)


def test_an_input_that_is_not_there_is_named(tmp_path):
    run = trainer(vit(), tmp_path, PICTURES, trim_input="pixel_value")
    with pytest.raises(DataError, match=r"'pixel_value', which the batch does not have. Did you mean 'pixel_values'"):
        run.train()


class _FromEmbeddings(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model(inputs_embeds=x).logits
