"""Several explained inputs are a tree, each in a space of its own."""

import pytest
import torch
from torch import nn

import trimkit
from trimkit.errors import OptionError

torch.manual_seed(0)
IMAGE, TABLE = torch.randn(4, 1, 8, 8, dtype=torch.float64), torch.randn(4, 5, dtype=torch.float64)
IDS = torch.tensor([0, 1, 2, 1])
INPUTS = {"image": IMAGE, "table": TABLE, "ids": IDS}


class Branches(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.image, self.table, self.embedding = nn.Linear(64, 6), nn.Linear(5, 6), nn.Embedding(3, 6)
        self.head = nn.Linear(6, 3)
        self.double()

    def forward(self, image, table, ids):
        return self.head((self.image(image.flatten(1)) * self.table(table) + self.embedding(ids)).tanh())


def by_hand(model, transform, points=64):
    """Integrated gradients of the pair, by the midpoint rule in the data's own space, brought into the transform's."""
    total = [torch.zeros_like(IMAGE), torch.zeros_like(TABLE)]
    for k in range(points):
        share = (k + 0.5) / points
        pair = [(share * x).requires_grad_() for x in (IMAGE, TABLE)]
        gradients = torch.autograd.grad(model(*pair, IDS)[:, 1].sum(), pair)
        total = [t + g / points for t, g in zip(total, gradients, strict=True)]
    return transform(total[0]) * transform(IMAGE), total[1] * TABLE  # an orthonormal transform takes gradients along


@pytest.mark.parametrize("positional", [False, True])
def test_scores_are_a_tree_by_the_names_of_the_inputs(positional):
    model = Branches()
    names = [0, 1] if positional else ["image", "table"]
    trim = trimkit.Trim(model, {names[0]: "dct"}, at=names)
    result = trim(tuple(INPUTS.values()) if positional else INPUTS, 1)
    assert list(result.scores) == names
    right = by_hand(model, trimkit.create("transform", "dct"))
    for name, expected in zip(names, right, strict=True):
        assert torch.allclose(result.scores[name], expected, atol=1e-4)
    assert float(result.gap.abs().max()) < 1e-9
    assert [result.residual[name].shape for name in names] == [IMAGE.shape, TABLE.shape]


@pytest.mark.parametrize("attribution", ["captum:KernelShap", "feature_ablation", "captum:ShapleyValueSampling"])
def test_groups_bear_the_names_of_their_inputs(attribution):
    result = trimkit.Trim(Branches(), {"image": "fft"}, attribution, at=["image", "table"])(INPUTS, 1)
    assert result.scores["image"].shape == (4, 1, 8, 5)
    assert result.scores["table"].shape == (4, 5)
    penalty = trimkit.TrimPenalty(
        ("masked", {"mask": ["image: dc"]}), transform={"image": "fft"}, at=["image", "table"]
    )
    _, value = penalty(Branches(), INPUTS, target=1)
    dc = trimkit.Trim(Branches(), {"image": "fft"}, "input_x_gradient", at=["image", "table"])(INPUTS, 1).scores[
        "image"
    ]
    assert torch.allclose(value, dc[:, 0, 0, 0].square().mean())


def test_the_task_gets_the_plain_model_and_the_penalty_trains_both_branches():
    model = Branches()
    output, value = trimkit.TrimPenalty("l1", transform={"image": "dct"}, at=("image", "table"))(
        model, INPUTS, target=1
    )
    assert torch.allclose(output, model(**INPUTS), atol=1e-12)
    value.backward()
    assert all(float(branch.weight.grad.abs().max()) > 0 for branch in (model.image, model.table))


def test_a_number_type_of_its_own_is_kept():
    seen = []

    class Typed(nn.Module):
        def forward(self, left, right):
            seen.append((left.dtype, right.dtype))
            return (left.double() * right[:, :3]).sum(1, keepdim=True)

    scores = trimkit.Trim(Typed(), at=["left", "right"])({"left": TABLE[:, :3].float(), "right": TABLE}).scores
    assert set(seen) == {(torch.float32, torch.float64)}
    expected = TABLE[:, :3] ** 2 / 2
    assert torch.allclose(scores["left"].double(), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("transform", "at", "message"),
    [
        ({"image": "fft"}, "image", "with a list of them"),
        ({"sound": "fft"}, ["image", "table"], "transforms of some of them"),
        ("identity", ["image", "image"], "different inputs"),
        ("identity", ["image", "text"], "'text' is no input"),
    ],
)
def test_what_is_no_input_is_refused(transform, at, message):
    with pytest.raises(OptionError, match=message):
        trimkit.Trim(Branches(), transform, at=at)(INPUTS, 1)
