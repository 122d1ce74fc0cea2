"""TRIM terms on samples that a method without encoder draws itself: a linear generator, whose scores are known."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

import trimkit
from trimkit.errors import OptionError, TrainingError, TransformError
from trimkit.methods import Batch, GeneratedTransform, LatentSpace, Method, Phase, StepResult, Term, standard_normal
from trimkit.training import TrimTerm
from trimkit.training.guidance import make_guidance


class Sampler(Method):
    """x = z · A, w = 2 z; what is wanted of it is a small square."""

    def __init__(self, shape: Sequence[int] = (6,), codes: bool = True) -> None:
        super().__init__(shape)
        self.codes = codes
        self.map = nn.Parameter(torch.randn(3, 6))

    def latent_spaces(self) -> Sequence[LatentSpace]:
        spaces = [LatentSpace(name, (3,), can_encode=False) for name in ("z", "w")]
        return [*spaces, LatentSpace("c", (1,), can_encode=False, can_decode=False)]

    def decode(self, z: Tensor, space: str | None = None) -> Tensor:
        return (z / 2 if space == "w" else z) @ self.map

    def baseline(self, space: str | None = None) -> Tensor | None:
        return torch.full((1, 3), 0.5) if space == "w" else None

    def phases(self) -> Sequence[Phase]:
        return [Phase("draw", [self.map], self.draw, {"size": 1.0}, trains_decoder=True, generates=True)]

    def draw(self, batch: Batch, generator: torch.Generator, step: int) -> StepResult:
        z = standard_normal(batch.x[:, :3], generator)
        codes = {"z": z, "w": 2 * z} if self.codes else {}
        return StepResult({"size": Term(self.decode(z).square().sum(1))}, codes=codes)


@pytest.fixture
def predictor():
    return nn.Linear(6, 2, bias=False)


@pytest.fixture
def x():
    return torch.rand(12, 6, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("space", "scale", "baseline"), [("z", 1.0, 0.0), ("w", 0.5, 0.5)])
def test_the_scores_are_those_of_the_generated_codes_from_the_methods_baseline(predictor, x, space, scale, baseline):
    method = Sampler()
    phases = method.phases()
    guidance = make_guidance(method, phases, predictor, "kl", [TrimTerm("l1", space, target=1)])
    result = phases[0].loss(Batch(x), torch.Generator().manual_seed(1), 0)
    terms = guidance.terms(Batch(x), None, torch.Generator(), result.codes)
    gradient = scale * predictor.weight[1] @ method.map.T
    expected = ((result.codes[space] - baseline) * gradient).abs().sum(1)
    assert list(terms) == [f"l1@{space}"]
    torch.testing.assert_close(terms[f"l1@{space}"].values, expected)


def test_the_predicted_class_is_that_of_the_sample(predictor, x):
    method = Sampler()
    guidance = make_guidance(method, method.phases(), predictor, "kl", [TrimTerm("l1", "z")])
    z = torch.randn(5, 3)
    values = guidance.terms(Batch(x[:5]), None, torch.Generator(), {"z": z})["l1@z"].values
    classes = predictor(method.decode(z)).argmax(1)
    expected = (z * (predictor.weight[classes] @ method.map.T)).abs().sum(1)
    torch.testing.assert_close(values, expected)


def test_the_term_reaches_what_made_the_codes(predictor, x):
    method = Sampler()
    guidance = make_guidance(method, method.phases(), predictor, "kl", [TrimTerm("l1", "z", target=0)])
    z = torch.randn(4, 3, requires_grad=True)
    term = guidance.terms(Batch(x[:4]), None, torch.Generator(), {"z": z})["l1@z"]
    found = torch.autograd.grad(term.values.sum(), [z, method.map])
    gradient = (predictor.weight[0] @ method.map.T).detach()
    torch.testing.assert_close(found[0], z.detach().sign() * gradient.abs())
    assert found[1].abs().sum() > 0


def test_it_trains_and_no_prediction_loss_joins(predictor, x):
    torch.manual_seed(0)
    method, twin = Sampler(), Sampler()
    twin.load_state_dict(method.state_dict())
    run = trimkit.train(method, x, predictor=predictor, trim=["l1@w:2.0"], steps=3, batch_size=6, log_every=1)
    trimkit.train(twin, x, steps=3, batch_size=6)
    assert {"size", "l1@w"} <= set(run.history[-1])
    assert "prediction" not in run.history[-1]
    assert not torch.equal(method.map, twin.map)
    with pytest.raises(OptionError, match="no term is named 'prediction'"):
        trimkit.train(method, x, predictor=predictor, trim=["l1@w"], weights={"prediction": 1.0}, steps=1)


def test_what_cannot_join_is_refused(predictor, x):
    options = {"predictor": predictor, "steps": 1}
    with pytest.raises(OptionError, match="draws its own samples, which have no original to compare predictions with"):
        trimkit.train(Sampler(), x, **options)
    with pytest.raises(OptionError, match="explains samples that the method draws, which have no label"):
        trimkit.train(Sampler(), x, trim=["l1@z"], target="label", **options)
    with pytest.raises(TransformError, match="the space 'c' of Sampler is no transform: its codes cannot be decoded"):
        trimkit.train(Sampler(), x, trim=["l1@c"], **options)
    with pytest.raises(TrainingError, match="phase 'draw' generates but returns no codes"):
        trimkit.train(Sampler(codes=False), x, trim=["l1@z"], **options)


def test_a_space_that_the_phase_generates_no_codes_of_is_named(predictor, x):
    method = Sampler()
    guidance = make_guidance(method, method.phases(), predictor, "kl", [TrimTerm("l1", "w")])
    with pytest.raises(OptionError, match=r"the phase generates no codes of the space 'w'. Known: z"):
        guidance.terms(Batch(x), None, torch.Generator(), {"z": x[:, :3]})


def test_a_generated_code_leaves_no_residual():
    method = Sampler()
    transform = GeneratedTransform(method, method.space("z"))
    transform.codes = torch.randn(4, 3)
    x = transform.inverse(transform.codes)
    assert torch.equal(transform(x), transform.codes)
    assert not transform.residual(x, transform.codes).any()
    assert transform.groups((6,)).names == ("z0", "z1", "z2")


def test_most_methods_have_no_baseline():
    assert Method.baseline(Sampler(), "z") is None
