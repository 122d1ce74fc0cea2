"""``trimkit evaluate`` where the true sources are known, and of runs of ICA."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

import trimkit
from trimkit.cli import main
from trimkit.data import Dataset, load
from trimkit.errors import DataError
from trimkit.evaluation.independence import BASELINES, COMPARISONS, add_independence, training_data
from trimkit.evaluation.representation import Settings, evaluate_run, load_for_evaluation
from trimkit.hooks import MethodSpec
from trimkit.methods import Delta, LatentSpace, Method
from trimkit.metrics import independence

MEASURES = {"negentropy", "excess_kurtosis", "squared_correlation", "component_information"}
DATA = "nonstationary:segments=4,observations=300,dim=3"


class Unscaling(Method):
    """Knows each segment's scale: x divided by it, a closed form that needs the auxiliary variable to encode."""

    def __init__(self, shape: Sequence[int], segments: int = 4) -> None:
        super().__init__(shape)
        self.segments = segments
        self.register_buffer("scale", torch.ones(segments, *self.shape))
        self.seen: list[Tensor | None] = []

    def latent_spaces(self) -> Sequence[LatentSpace]:
        return [LatentSpace("z", self.shape, can_decode=False, needs_aux=True, reason="it is a test")]

    def encode(self, x: Tensor, aux: Tensor | None = None, space: str | None = None) -> Delta:
        self.seen.append(aux)
        return Delta(x / self.scale[aux])

    def fit(self, x: Tensor, aux: Tensor | None = None) -> None:
        self.scale.copy_(torch.stack([x[aux == segment].std(0) for segment in range(self.segments)]))


@pytest.fixture
def as_ica(monkeypatch):
    """The method as a plugin of the family "ica" would bring it."""
    spec = MethodSpec("unscaling", f"{__name__}:Unscaling", "It divides by the scale of a segment.", family="ica")
    monkeypatch.setattr("trimkit.evaluation.independence.available", lambda kind: {"unscaling": spec})
    monkeypatch.setattr("trimkit.evaluation.representation.record", lambda method: {"method": "unscaling"})


def evaluated(method: Method, data: Dataset, train: Dataset, settings: Settings):
    found = evaluate_run(Path("run"), method, data, settings)
    return found, add_independence(found, method, data, settings, train)


def test_codes_beside_every_baseline_of_the_same_rows(as_ica):
    train, test = load(DATA), load(DATA, "test")
    method = Unscaling(train.shape)
    method.fit(train.x, train.aux)
    before, found = evaluated(method, test, train, Settings(samples=80, seed=3))
    assert list(found.sources) == ["unscaling", *BASELINES.values()]
    assert all(list(results) == list(COMPARISONS) for results in found.sources.values())
    assert set(found.metrics) - set(before.metrics) == MEASURES
    assert all(aux is not None and aux.dtype == torch.int64 for aux in method.seen)
    given = sorted(torch.cat(method.seen[-1:]).tolist())
    assert len(given) == 80
    result = found.sources["unscaling"]["Pearson"]
    assert (result.protocol["samples"], result.protocol["seed"]) == (80, 3)
    plain = found.as_dict()["sources"]
    assert plain["FastICA"]["Spearman"]["value"] == found.sources["FastICA"]["Spearman"].value
    assert plain["random rotations of s"]["Pearson"]["parts"]["highest"] <= 1


def test_the_numbers_are_those_of_the_metrics_on_all_rows(as_ica):
    train, test = load(DATA), load(DATA, "test")
    method = Unscaling(train.shape)
    method.fit(train.x, train.aux)
    _, found = evaluated(method, test, train, Settings())
    codes = method.encode(test.x, test.aux).mean
    baselines = independence.mcc_baselines(test.x, test.sources, fitted_to=train.x, draws=0)
    for name, results in found.sources.items():
        if name == "unscaling":
            expected = independence.mean_correlation(codes, test.sources, draws=0).value
            with_magnitudes = independence.mean_correlation(codes, test.sources.abs(), kind="spearman", draws=0).value
            assert results["Spearman with |s|"].value == pytest.approx(with_magnitudes)
        else:
            expected = baselines[{label: key for key, label in BASELINES.items()}[name]].value
        assert results["Pearson"].value == pytest.approx(expected, abs=1e-6)
    assert found.metrics["negentropy"].value == pytest.approx(independence.negentropy(codes).mean())


def test_other_runs_on_other_data_stay_as_they_are(as_ica, monkeypatch):
    train, test = load(DATA), load(DATA, "test")
    method = Unscaling(train.shape)
    unknown = Dataset("unknown", test.x, aux=test.aux, split="test")
    before, found = evaluated(method, unknown, train, Settings())
    assert set(found.metrics) - set(before.metrics) == MEASURES  # ICA, without known sources
    assert (found.sources, found.notes) == ({}, before.notes)
    monkeypatch.setattr("trimkit.evaluation.independence.available", lambda kind: {})
    before, found = evaluated(method, unknown, train, Settings())
    assert found is before
    before, found = evaluated(method, test, train, Settings())
    assert found.metrics == before.metrics
    assert found.sources
    with pytest.raises(DataError, match="needs auxiliary variables, which 'nothing' does not have"):
        evaluated(method, Dataset("nothing", test.x), train, Settings())


def test_the_linear_baselines_are_fitted_to_the_training_split_where_there_is_one(tmp_path):
    test = load_for_evaluation(DATA)
    assert test.split == "test"
    assert training_data(DATA, test).sha256 == load(DATA).sha256
    train = load(DATA)
    assert training_data(DATA, train) is train
    torch.save({"x_test": test.x, "sources_test": test.sources}, tmp_path / "held.pt")
    held = load_for_evaluation(str(tmp_path / "held.pt"))
    assert training_data(str(tmp_path / "held.pt"), held) is held


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ica")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        data = "mixture:n=1000,dim=3,condition=3"
        vae = ["--steps", "3", "--log-every", "3", "--method.network", "mlp", "--method.latent_dim", "3"]
        assert main(["train", "beta-vae", "--data", data, "--out", "vae", *vae]) == 0
        assert main(["train", "fastica", "--data", data, "--out", "ica"]) == 0
    return folder


def test_fastica_beside_its_baselines_from_end_to_end(home, monkeypatch, capsys):
    monkeypatch.chdir(home)
    assert main(["evaluate", "ica"]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert err == ""
    assert lines[0].startswith("fastica on mixture (test): 100 of 100 samples")
    table = lines.index("mean correlation of codes with the true sources s, matched one to one")
    headings = lines[table + 1].replace("  ", "\t").split("\t")
    assert [heading.strip() for heading in headings if heading.strip()] == ["codes", *COMPARISONS]
    named = ["fastica", "x itself", "PCA", "FastICA", "random rotations of s"]
    assert [line.split("  ")[0] for line in lines[table + 2 : table + 7]] == named
    assert {"negentropy", "squared_correlation"} <= {line.partition(" ")[0] for line in lines[:table]}
    assert any("PCA and FastICA fitted to 900 samples (train)" in line for line in lines)
    found = json.loads((home / "ica" / "evaluation.json").read_text())
    assert found["sources"]["fastica"]["Pearson"]["value"] > 0.95
    assert found["sources"]["fastica"]["Pearson"]["value"] == pytest.approx(
        found["sources"]["FastICA"]["Pearson"]["value"], abs=1e-3
    )


def test_a_vae_has_the_correlations_and_not_the_measures_of_ica(home, monkeypatch, capsys):
    monkeypatch.chdir(home)
    assert main(["evaluate", "vae", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found["sources"]) == ["beta-vae", *BASELINES.values()]
    assert not MEASURES & set(found["metrics"])
    assert found["split"] == "test"
    assert any("are no evidence of nonlinear ICA" in note for note in found["notes"])


def test_data_without_sources_have_no_such_table(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    torch.save({"x": torch.randn(40, 3, generator=torch.Generator().manual_seed(0))}, "alone.pt")
    data = load("alone.pt")
    method = trimkit.create("method", "beta-vae", shape=data.shape, network="mlp", latent_dim=2)
    trimkit.train(method, data, folder=tmp_path / "run", steps=2)
    assert main(["evaluate", "run", "--data", "alone.pt"]) == 0
    assert "true sources" not in capsys.readouterr().out
    assert json.loads((tmp_path / "run" / "evaluation.json").read_text())["sources"] == {}
