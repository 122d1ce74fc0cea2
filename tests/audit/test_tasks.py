"""Tasks are told apart from outputs and labels, or asked for; and each is measured by what its outputs mean."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

import trimkit
from trimkit.audit.examine import as_dataset, examine, resolve_target
from trimkit.audit.exchange import schema
from trimkit.audit.task import TASKS, Task, decide_task
from trimkit.errors import DataError, ModelError, OptionError
from trimkit.targets import IGNORED, NextTokens, select

SOURCE = torch.Generator().manual_seed(0)
INTS = {
    "two": torch.tensor([0, 1, 1, 0]),
    "three": torch.tensor([0, 1, 2, 0]),
    "marks": torch.tensor([[0, 1, 1], [1, 1, 0], [0, 0, 0], [1, 1, 1]]),
    "one hot": torch.eye(3)[[0, 1, 2, 0]].long(),
    "map": torch.randint(3, (4, 5, 6), generator=SOURCE),
    "tags": torch.randint(3, (4, 5), generator=SOURCE),
}


@pytest.mark.parametrize(
    ("shape", "y", "name"),
    [
        ((4, 3), INTS["three"], "classification"),
        ((4, 3), INTS["three"].float(), "classification"),
        ((4, 3), INTS["three"][:, None], "classification"),
        ((4, 1), INTS["two"], "binary"),
        ((4, 1), INTS["two"].float()[:, None], "binary"),
        ((4, 1), INTS["three"], "regression"),
        ((4, 1), INTS["three"] + 0.5, "regression"),
        ((4, 3), INTS["marks"], "multilabel"),
        ((4, 3), INTS["marks"] * 2.5, "regression"),
        ((4, 3, 5, 6), INTS["map"], "segmentation"),
        ((4, 3, 5, 6), INTS["map"][:, None], "segmentation"),
        ((4, 3, 5, 6), torch.rand(4, 3, 5, 6), "regression"),
        ((4, 5, 3), INTS["tags"], "tagging"),
        ((4, 5, 3), torch.rand(4, 5, 3), "regression"),
        ((4, 1), None, "regression"),
        ((4, 3), None, "classification"),
    ],
)
def test_output_and_labels_tell_the_task(shape, y, name):
    task = decide_task(torch.randn(shape), y, "predicted")
    assert task.name == name
    assert "output" in task.how


@pytest.mark.parametrize(
    ("shape", "y", "names"),
    [
        ((4, 3), INTS["marks"].float(), ["multilabel", "regression"]),
        ((4, 3), INTS["one hot"], ["classification", "multilabel"]),
        ((4, 1, 5, 6), (INTS["map"][:, None] > 0).float(), ["regression", "segmentation"]),
    ],
)
def test_labels_of_several_tasks_are_asked_about_by_name(shape, y, names):
    with pytest.raises(DataError, match=f"none is assumed: say task='{names[0]}' or task='{names[1]}'"):
        decide_task(torch.randn(shape), y, "predicted")
    for name in names:
        assert decide_task(torch.randn(shape), y, "predicted", name) == Task(name, "as asked")


@pytest.mark.parametrize(
    ("shape", "names"),
    [((4, 3, 5, 6), ["segmentation", "regression"]), ((4, 5, 3), ["tagging", "language-modelling", "regression"])],
)
def test_outputs_of_several_tasks_are_asked_about_by_name(shape, names):
    with pytest.raises(ModelError, match="say " + " or ".join(f"task='{name}'" for name in names)):
        decide_task(torch.randn(shape), None, "predicted")


def test_labels_that_are_the_models_ids_are_those_of_a_language_model():
    ids, output = INTS["tags"], torch.randn(4, 5, 3)
    assert decide_task(output, ids.masked_fill(ids == 0, IGNORED), "label", ids=ids).name == "language-modelling"
    assert decide_task(output, 2 - ids, "label", ids=ids).name == "tagging"


def test_a_named_output_without_labels_is_measured_itself():
    assert decide_task(torch.randn(4, 3), None, 0).name == "regression"
    assert decide_task(torch.randn(4, 3, 5, 6), None, (0, 1, 2)).name == "regression"
    assert decide_task(torch.randn(4, 3), INTS["two"] + 0.5, 0).how.startswith("labels (N,) torch.float32 do not fit")
    assert decide_task(torch.randn(4, 1), None, len).name == "custom"


@pytest.mark.parametrize(
    ("shape", "y", "task", "kind", "says"),
    [
        ((4, 3), None, "segmentaton", OptionError, "Did you mean 'segmentation'"),
        ((4, 3), None, "segmentation", ModelError, r"takes class maps \(N, K, H, W\).*the model gives \(N, 3\)"),
        ((4, 3), INTS["three"], "multilabel", DataError, r"takes logits \(N, K ≥ 2\) with labels \(N, K\) of 0 and 1"),
        ((4, 3), INTS["three"], "binary", ModelError, "takes one logit"),
    ],
)
def test_a_task_that_does_not_fit_is_refused(shape, y, task, kind, says):
    with pytest.raises(kind, match=says):
        decide_task(torch.randn(shape), y, "predicted", task)


def test_a_regression_has_no_predicted_class():
    data = as_dataset((torch.randn(30, 4), torch.randn(30, 3)))
    for word in ("predicted", "label"):
        with pytest.raises(DataError, match=f"target '{word}' names a class, and a regression has none: name one of 3"):
            examine(nn.Linear(4, 3).eval(), data, word)
    assert examine(nn.Linear(4, 3).eval(), data, 2).task.name == "regression"


def test_an_audit_of_several_regression_outputs_measures_the_output_itself():
    class Prices(nn.Module):
        def forward(self, x):
            return torch.stack([x[:, :4].sum(1), 50 * x[:, 4:].sum(1)], 1) * 1e5

    x = torch.randn(80, 16, generator=SOURCE)
    y = Prices()(x) + torch.randn(80, 2, generator=SOURCE)
    model = Prices().eval()
    by_number = trimkit.audit(model, (x, y), target=0, samples=80)
    by_function = trimkit.audit(model, x, target=lambda o: o[:, 0], samples=80)
    for check in ("controls", "reliance"):
        verdicts = [report.verdict(check) for report in (by_number, by_function)]
        assert verdicts[0].estimate == verdicts[1].estimate
        assert verdicts[0].status == verdicts[1].status
    assert by_number.performance.measures[0].estimate.value > 0.999


@pytest.mark.parametrize(
    ("name", "output", "target", "expected"),
    [
        ("classification", torch.randn(4, 3, generator=SOURCE), INTS["three"], None),
        ("regression", torch.randn(4, 3, generator=SOURCE), 1, None),
        ("binary", torch.randn(4, 1, generator=SOURCE), None, None),
        ("multilabel", torch.randn(4, 3, generator=SOURCE), INTS["marks"].bool(), None),
        ("segmentation", torch.randn(4, 3, 5, 6, generator=SOURCE), INTS["map"], None),
        ("tagging", torch.randn(4, 5, 3, generator=SOURCE), INTS["tags"].masked_fill(INTS["tags"] == 0, IGNORED), None),
    ],
)
def test_a_change_is_that_of_the_mean_probability_of_what_is_explained(name, output, target, expected):
    from trimkit.audit.removal import measured_value

    found = measured_value(output, target, Task(name))
    if name == "classification":
        expected = output.softmax(1)[torch.arange(4), target]
    elif name == "regression":
        expected = output[:, 1]
    elif name == "binary":
        expected = output[:, 0].sigmoid()
    elif name == "multilabel":
        expected = (output.sigmoid() * target).sum(1) / target.sum(1).clamp_min(1)
    else:
        p = output.softmax(1).movedim(1, -1) if name == "segmentation" else output.softmax(2)
        rows = zip(p.reshape(4, -1, 3), target.reshape(4, -1), strict=True)
        means = [[q[k] for q, k in zip(some, classes, strict=True) if k != IGNORED] for some, classes in rows]
        expected = torch.stack([torch.stack(several).mean() if several else torch.tensor(0.0) for several in means])
    assert torch.allclose(found, expected)


def test_a_language_models_words_are_its_next_token_and_the_text():
    task, output = Task("language-modelling"), torch.randn(4, 5, 3, generator=SOURCE)
    padding = torch.arange(5) >= torch.tensor([5, 4, 3, 2])[:, None]
    last = select(output, resolve_target("predicted", output, None, task, padding))
    assert last.tolist() == [float(output[n, 4 - n].max()) for n in range(4)]
    assert select(output, resolve_target(1, output, None, task, padding)).tolist() == [
        float(output[n, 4 - n, 1]) for n in range(4)
    ]
    assert resolve_target("label", output, INTS["tags"], task) == NextTokens(INTS["tags"])
    p = output.softmax(2)
    expected = torch.stack([p[:, t].gather(1, INTS["tags"][:, t + 1 : t + 2])[:, 0] for t in range(4)]).mean(0)
    assert torch.allclose(task.probability(output, NextTokens(INTS["tags"])), expected)


def test_labels_that_are_predicted_have_positive_logits_or_the_largest_one():
    output = torch.tensor([[1.0, -1.0, 2.0], [-3.0, -1.0, -2.0]])
    target = resolve_target("predicted", output, None, Task("multilabel"))
    assert target.tolist() == [[True, False, True], [False, True, False]]
    assert select(output, target).tolist() == [3.0, -1.0]


class Words(nn.Module):
    """Next-token logits, in an object with logits."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embedding, self.body, self.head = nn.Embedding(9, 6), nn.GRU(6, 8, batch_first=True), nn.Linear(8, 9)

    def forward(self, input_ids, attention_mask=None):
        return {"logits": self.head(self.body(self.embedding(input_ids))[0])}


def maps():
    torch.manual_seed(0)
    model, x = nn.Conv2d(1, 3, 1).eval(), torch.randn(40, 1, 6, 6)
    return model, (x, (model(x) + torch.randn(40, 3, 6, 6)).argmax(1).detach()), {}


def tags():
    torch.manual_seed(0)
    model, x = nn.Linear(4, 3).eval(), torch.randn(40, 5, 4)
    return model, (x, model(x).argmax(2).masked_fill(torch.arange(5) == 4, IGNORED)), {}


def text():
    ids = torch.randint(9, (40, 6), generator=torch.Generator().manual_seed(0))
    mask = (torch.arange(6) < 4 + torch.arange(40)[:, None] % 3).long()
    data = ({"input_ids": ids, "attention_mask": mask}, ids.masked_fill(mask == 0, IGNORED))
    return Words().eval(), data, {"at": "embedding"}


def several():
    torch.manual_seed(0)
    model, x = nn.Linear(8, 3).eval(), torch.randn(40, 8)
    return model, (x, (model(x) > 0).long()), {}


@pytest.mark.parametrize(
    ("make", "name"),
    [(maps, "segmentation"), (tags, "tagging"), (text, "language-modelling"), (several, "multilabel")],
)
@pytest.mark.parametrize("target", ["predicted", "label", 1])
def test_every_task_is_audited_and_named_in_the_report(make, name, target):
    model, data, options = make()
    report = trimkit.audit(model, data, target=target, samples=40, **options)
    assert str(report.verdict("reproducibility").status) == "PASS"
    assert str(report.verdict("reconstruction").status) == "PASS"
    assert str(report.verdict("completeness").status) != "FAIL"
    found = json.loads(report.to_json())
    jsonschema = pytest.importorskip("jsonschema")
    assert list(jsonschema.Draft202012Validator(json.loads(schema())).iter_errors(found)) == []
    assert found["task"]["name"] == name == found["performance"]["task"]
    assert found["task"]["how"] in report.to_html().replace("&#39;", "'")
    assert found["performance"]["measures"][0]["estimate"]["value"] == report.performance.measures[0].estimate.value


def test_the_words_for_tasks_are_those_of_the_command(capsys):
    from trimkit.__main__ import main

    assert main(["audit", "--help"]) == 0
    shown = "".join(capsys.readouterr().out.split())  # the help is wrapped, also within a word
    assert all(name in shown for name in TASKS)
