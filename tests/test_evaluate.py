import pytest
import torch

import trimkit
from trimkit.data import dataset_of, load
from trimkit.data.toy import perfect_code
from trimkit.errors import OptionError

QUICK = {"samples": 200, "protocol": "quick"}


def test_an_encoder_that_knows_the_factors_beats_the_baselines():
    data = load("toy-factors", "all")
    coded = dataset_of("coded", perfect_code(data.factors).float(), split="all", factors=data.factors)
    evaluation = trimkit.evaluate(lambda x: x, coded, baselines=True, **QUICK)
    assert evaluation.metrics["factor_vae_score"].value > 0.95
    assert set(evaluation.baselines) == {"random", "pca", "ica"}
    assert evaluation.metrics["mutual_information_gap"].value > 0.5
    assert "run" not in evaluation.settings


def test_a_module_is_evaluated_in_evaluation_mode():
    net = torch.nn.Sequential(torch.nn.Linear(12, 3), torch.nn.Dropout())
    first, second = (trimkit.evaluate(net, "toy-factors", **QUICK) for _ in range(2))
    assert not net.training
    assert {k: v.value for k, v in first.metrics.items()} == {k: v.value for k, v in second.metrics.items()}


def test_a_method_and_its_run_are_the_same(tmp_path):
    data = load("toy-factors")
    method = trimkit.create("method", "beta-vae", shape=data.shape, network="mlp", latent_dim=2)
    trimkit.train(method, data, folder=tmp_path / "run", steps=2)
    of_folder = trimkit.evaluate(tmp_path / "run", "toy-factors", **QUICK)
    of_method = trimkit.evaluate(method, "toy-factors", **QUICK)
    assert of_folder.metrics["dci_disentanglement"].value == of_method.metrics["dci_disentanglement"].value
    assert of_folder.kl["total"] == pytest.approx(of_method.kl["total"])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"samples": 3}, "samples: expected at least 20, got 3"),
        ({"seed": -1}, "seed: expected a number ≥ 0, got -1"),
        ({"space": "z"}, "an encoder has one space"),
    ],
)
def test_options_out_of_range_are_refused(options, says):
    with pytest.raises(OptionError, match=says):
        trimkit.evaluate(lambda x: x, "toy-factors", **options)


def test_with_one_factor_what_is_1_for_every_code_is_not_applicable():
    noise = dataset_of("noise", torch.randn(300, 5), torch.arange(300) % 10, split="test")
    evaluation = trimkit.evaluate(lambda x: x, noise, baselines=True, **QUICK)
    for metrics in (evaluation.metrics, *evaluation.baselines.values()):
        assert not {"dci_disentanglement", "modularity"} & set(metrics)
        assert "dci_completeness" in metrics
    assert any(note.startswith("not applicable: dci_disentanglement and modularity") for note in evaluation.notes)
