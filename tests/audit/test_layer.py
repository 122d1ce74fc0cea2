"""An audit of a layer: token ids and masks stay with their samples, the activation is what is explained."""

import pytest
import torch
from torch import nn

import trimkit
from trimkit.audit.layer import at_layer
from trimkit.errors import DataError, ModelError, OptionError

IDS = torch.randint(1, 20, (48, 6), generator=torch.Generator().manual_seed(0))
MASK = (torch.arange(6) < 3 + torch.arange(48)[:, None] % 4).long()
LABELS = torch.arange(48) % 3


class Reader(nn.Module):
    """Logits of the marked tokens' mean, from an embedding of four numbers."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embedding, self.body, self.head = nn.Embedding(20, 4), nn.Linear(4, 8), nn.Linear(8, 3)

    def forward(self, ids, mask=None):
        mask = torch.ones_like(ids) if mask is None else mask
        h = (self.body(self.embedding(ids)).tanh() * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        return self.head(h)


@pytest.mark.parametrize("mapping", [True, False])
def test_a_layer_of_token_ids_is_audited(mapping):
    model = Reader().eval()
    x = {"ids": IDS, "mask": MASK} if mapping else IDS
    report = trimkit.audit(model, (x, LABELS), at="embedding", samples=48)
    assert str(report.verdict("reconstruction").status) == "PASS"
    assert str(report.verdict("reproducibility").status) == "PASS"
    assert report.verdict("controls").n == 48


def test_each_sample_keeps_its_inputs():
    model = Reader().eval()
    rest, data, _, space = at_layer(model, ({"ids": IDS, "mask": MASK}, LABELS), None, "identity", "embedding", 7)
    assert torch.allclose(rest(data.x), model(IDS, MASK), atol=1e-6)
    changed = space.inverse(2 * space(data.x), data.shape) + space.residual(data.x, space(data.x))
    doubled = model.head((model.body(2 * model.embedding(IDS)).tanh() * MASK[..., None]).sum(1) / MASK.sum(1)[:, None])
    assert torch.allclose(rest(changed), doubled, atol=1e-6)
    assert torch.equal(space.own(data.x), model.embedding(IDS))


def test_scores_are_those_of_trim_at_the_layer():
    model = Reader().eval()
    rest, data, _, space = at_layer(model, ({"ids": IDS, "mask": MASK}, None), None, "dct", "body", 16)
    scores = trimkit.Trim(rest, space)(data.x, 1).scores
    expected = trimkit.Trim(model, "dct", at="body")({"ids": IDS, "mask": MASK}, 1).scores
    assert torch.allclose(scores, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("model", "x", "at", "kind"),
    [
        (lambda x: x, IDS, "body", ModelError),
        (Reader().eval(), IDS, "boddy", OptionError),
        (Reader().eval(), {"ids": IDS, "mask": None}, "body", DataError),
        (Reader().eval(), {"ids": IDS.float(), "mask": MASK}, "ids", DataError),
    ],
)
def test_what_is_no_layer_is_refused(model, x, at, kind):
    with pytest.raises(kind):
        trimkit.audit(model, x, at=at)


def test_the_command_takes_a_layer(tmp_path, monkeypatch, capsys):
    from trimkit.__main__ import main

    (tmp_path / "reader.py").write_text(
        "import torch\nfrom torch import nn\ndef make():\n    torch.manual_seed(0)\n"
        "    return nn.Sequential(nn.Embedding(20, 4), nn.Flatten(), nn.Linear(24, 3)).eval()\n"
    )
    torch.save({"x": IDS.float(), "y": LABELS}, tmp_path / "data.pt")
    monkeypatch.chdir(tmp_path)
    code = main(["audit", "--model", "reader.py:make", "--data", "data.pt", "--at", "0", "--samples", "30"])
    assert code in (0, 1, 3)
    assert "reconstruction" in capsys.readouterr().out


def test_an_output_of_a_model_without_labels_is_measured_as_it_is():
    """A price of a hundred thousand has a softmax of exactly 1, whatever is removed."""

    class Price(nn.Module):
        def forward(self, x):
            return torch.stack([x[:, :4].sum(1), 50 * x[:, 4:].sum(1), 0 * x[:, 0]], 1) * 1e5 + 2e5

    x = torch.randn(80, 16, generator=torch.Generator().manual_seed(0))
    verdicts = [trimkit.audit(Price().eval(), x, target=t).verdict("controls") for t in (0, lambda out: out[:, 0])]
    assert str(verdicts[0].status) == str(verdicts[1].status) == "PASS"
    assert verdicts[0].estimate.value == pytest.approx(verdicts[1].estimate.value, rel=1e-4)


def test_a_space_that_learns_from_data_is_fitted_to_the_layer():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(12, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3)).eval()
    pca = ("pca", {"components": 4})
    report = trimkit.audit(model, torch.randn(60, 12), at="1", transform=pca, samples=40, checks=["reconstruction"])
    assert (
        report.verdict("reconstruction").estimate.value < 1
    )  # most of the layer's spread is in four of eight components
