"""InfoGAN: each loss written out, what the information trains in each arrangement, phases, codes and refusals."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import distributions, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from trimkit_gan.infogan import InfoGAN
from trimkit_gan.views import view

import trimkit
from trimkit.errors import DataError, OptionError
from trimkit.methods import Batch

from .draws import generator
from .small_infogan import ARRANGEMENTS, make


def phase(method: InfoGAN, name: str):
    (found,) = [phase for phase in method.phases() if phase.name == name]
    return found


def total(method: InfoGAN, name: str, x: torch.Tensor) -> torch.Tensor:
    chosen = phase(method, name)
    terms = chosen.loss(Batch(x), generator(1), 0).terms
    assert set(terms) == set(chosen.weights)
    return sum(weight * terms[term].mean for term, weight in chosen.weights.items())


@pytest.mark.parametrize("recogniser", ARRANGEMENTS)
def test_each_loss_written_out(recogniser, images):
    method = make(recogniser=recogniser).double()
    x = images.x[:6].double()
    z = method.draw(x, generator(1))
    fake = method.generator(z)
    trunk = method.trunk if recogniser != "own" else method.q_trunk
    raw = method.q_head(trunk(fake))
    sigma = (0.5 * method.posterior(fake).log_variance).exp()
    category = -distributions.OneHotCategorical(logits=raw[:, :3]).log_prob(z[:, 4:7])
    continuous = -distributions.Normal(raw[:, 3:5], sigma).log_prob(z[:, 7:]).sum(1)
    real, made = (method.discriminator(method.trunk(images))[:, 0] for images in (x, fake))

    def cross_entropy(logits, label):
        return binary_cross_entropy_with_logits(logits, torch.full_like(logits, label), reduction="none")

    first = method.discriminate(Batch(x), generator(1), 0)
    torch.testing.assert_close(first.terms["discriminator"].values, cross_entropy(real, 1) + cross_entropy(made, 0))
    second = method.generate(Batch(x), generator(1), 0)
    torch.testing.assert_close(second.terms["generator"].values, cross_entropy(made, 1))
    for terms in [second.terms] + [first.terms] * (recogniser == "shared"):
        torch.testing.assert_close(terms["category"].values, category)
        torch.testing.assert_close(terms["continuous"].values, continuous)
    bounds = torch.stack([math.log(3) - category.mean(), 2 * math.log(2) - continuous.mean()])
    found = second.diagnostics["information"]
    torch.testing.assert_close(torch.stack([found[0], found[1:].sum()]), bounds)


@pytest.mark.parametrize("recogniser", ARRANGEMENTS)
def test_where_the_information_reaches(recogniser, images):
    """The gradient of −λ L_I, as the difference between the loss with λ and without, in each network of each phase."""
    reached = {}
    for name in ("discriminator", "generator"):
        gradients = []
        for weight in (1.0, 0.0):
            method = make(recogniser=recogniser, category_weight=weight, continuous_weight=weight).double()
            own = {id(parameter) for parameter in phase(method, name).parameters}
            total(method, name, images.x[:6].double()).backward()
            parts = {"G": method.generator, "trunk": method.trunk, "D": method.discriminator, "Q": method.q_head}
            parts |= {"Q trunk": method.q_trunk} if method.q_trunk is not None else {}
            gradients.append(
                {part: [p.grad for p in module.parameters() if id(p) in own] for part, module in parts.items()}
            )
        reached[name] = {
            part
            for part, with_information in gradients[0].items()
            if any(
                (0 if g is None else g).sub(0 if h is None else h).abs().max() > 1e-12
                for g, h in zip(with_information, gradients[1][part], strict=True)
                if g is not None
            )
        }
    expected = {
        "shared": {"discriminator": {"trunk", "Q"}, "generator": {"G"}},
        "head": {"discriminator": set(), "generator": {"G", "Q"}},
        "own": {"discriminator": set(), "generator": {"G", "Q", "Q trunk"}},
    }
    assert reached == expected[recogniser]


@pytest.mark.parametrize("recogniser", ARRANGEMENTS)
def test_every_parameter_is_trained_by_one_phase(recogniser):
    method = make(recogniser=recogniser)
    trained = [id(p) for phase in method.phases() for p in phase.parameters]
    assert len(trained) == len(set(trained))
    assert set(trained) == {id(p) for p in method.parameters()}


def test_a_phase_moves_its_own_networks_only(images):
    """Training with one phase left out leaves that phase's parameters as they were, bit for bit."""
    for kept, moved, still in (("discriminator", "trunk", "generator"), ("generator", "generator", "trunk")):
        method = make()
        before = copy.deepcopy(method)
        phases = [phase for phase in method.phases() if phase.name == kept]
        method.phases = lambda phases=phases: phases
        trimkit.train(method, images, steps=2, batch_size=16)
        same = {
            part: all(map(torch.equal, getattr(method, part).parameters(), getattr(before, part).parameters()))
            for part in (moved, still)
        }
        assert same == {moved: False, still: True}


def test_the_bound_is_at_most_the_entropy_and_reached_by_an_encoder_that_knows(images):
    """Q that reads the code off the image: E log Q + H = log 3; a Q that knows nothing: 0 nats."""
    method = make(categories=(3,), continuous=0).double()
    method.generator.forward = lambda z: z[:, 4:].repeat(1, 3).view(-1, 1, 3, 3)
    method.trunk.forward = lambda x: x.flatten(1)[:, :3]
    method.discriminator = nn.Linear(3, 1).double()
    batch = Batch(images.x.double())
    for scale, expected in ((50.0, math.log(3)), (0.0, 0.0)):
        method.q_head.forward = lambda features, scale=scale: scale * features
        found = float(method.generate(batch, generator(), 0).diagnostics["information"])
        assert found == pytest.approx(expected, abs=1e-9)
        assert found <= math.log(3) + 1e-12


@pytest.mark.parametrize("recogniser", ARRANGEMENTS)
def test_q_may_read_categories_off_images_with_noise(recogniser, images):
    """The noise is drawn after the codes, and reaches Q's categories alone: other terms are those without noise."""
    x = images.x[:6].double()
    plain, noisy = (make(recogniser=recogniser, recogniser_noise=sigma).double() for sigma in (0.0, 0.4))
    draw = generator(1)
    z = noisy.draw(x, draw)
    fake = noisy.generator(z)
    seen = fake + 0.4 * torch.randn(fake.shape, generator=draw, dtype=torch.float64)
    found = noisy.generate(Batch(x), generator(1), 0).terms
    expected = -noisy.posterior(seen).log_prob_per_code(z[:, 4:])
    torch.testing.assert_close(found["category"].values, expected[:, 0])
    clean = -noisy.posterior(fake).log_prob_per_code(z[:, 4:])
    torch.testing.assert_close(found["continuous"].values, clean[:, 1:].sum(1))
    reference = plain.generate(Batch(x), generator(1), 0).terms
    torch.testing.assert_close(found["generator"].values, reference["generator"].values)


@pytest.mark.parametrize("recogniser", ARRANGEMENTS)
def test_the_information_of_data_is_that_of_the_joint_distribution(recogniser, images):
    """I = Σ p(x, c) log p(x, c) / (p(x) p(c)), in the phase that trains Q, and at most log K."""
    method = make(recogniser=recogniser, data_weight=0.5).double()
    x = images.x[:7].double()
    joint = method.encode(x).mean[:, :3] / 7
    expected = (joint * (joint * 7 / joint.sum(0)).log()).sum()
    where = {"shared": "discriminator"}.get(recogniser, "generator")
    for chosen in method.phases():
        terms = chosen.loss(Batch(x), generator(1), 0).terms
        assert ("data_information" in terms) is (chosen.name == where)
        assert chosen.weights.get("data_information") == (0.5 if chosen.name == where else None)
        if chosen.name == where:
            torch.testing.assert_close(terms["data_information"].values, -expected)
            assert terms["data_information"].batch_statistic
            entropy = -(7 * joint * (7 * joint).log()).sum(1)  # without noise, Q is compared with itself
            torch.testing.assert_close(terms["data_consistency"].values, entropy)


def test_codes_that_name_the_samples_have_all_the_information():
    method = make(shape=(3,), categories=(3,), continuous=0, recogniser="own", data_weight=1.0).double()
    method.q_trunk, method.q_head = nn.Identity(), nn.Identity()
    x = 1e3 * torch.eye(3, dtype=torch.float64)
    known, nothing = (method.generate(Batch(rows), generator(), 0).terms for rows in (x, 0 * x))
    assert known["data_information"].mean.item() == pytest.approx(-math.log(3))
    assert known["data_consistency"].mean.item() == pytest.approx(0)
    assert nothing["data_information"].mean.item() == pytest.approx(0)
    assert nothing["data_consistency"].mean.item() == pytest.approx(math.log(3))


def test_the_consistency_moves_the_reading_of_noisy_data_towards_that_of_the_data(images):
    """The gradient is that of −Σ p log q(x′) with p fixed: by hand, from the same draw of noise."""
    options = {"recogniser": "own", "data_weight": 1.0, "recogniser_noise": 0.3, "recogniser_distortion": 0.5}
    method = make(**options).double()
    x = images.x[:6].double()
    found = method._terms_of_data(x, generator(3))["data_consistency"].values
    seen = view(x, 0.3, 0.5, generator(3))
    p, log_q = method.encode(x).mean[:, :3].detach(), method.encode(seen).mean[:, :3].log()
    expected = -(p * log_q).sum(1)
    torch.testing.assert_close(found, expected)
    weight = method.q_head[0].weight
    gradients = [torch.autograd.grad(values.sum(), weight)[0] for values in (found, expected)]
    torch.testing.assert_close(*gradients)


def test_training_makes_the_codes_readable(images):
    method = make(continuous=1, continuous_weight=1.0, learning_rate=5e-3, discriminator_learning_rate=2e-3)
    run = trimkit.train(method, images, steps=300, batch_size=20, log_every=300)
    category, continuous = run.results["train"]["information"]
    assert 0.9 * math.log(3) < category <= math.log(3)
    assert continuous > 0.3


def test_a_continuous_code_lives_where_noise_would_hide_it(images):
    """With noise of σ 1 on pixels in [0, 1], a Q that saw it could know .3 nats of the code at most.

    Nine pixels that the code moves together by 1 have a signal of variance 9/12: ½ log(1 + 9/12) = .28 nats.
    """
    options = {"continuous": 1, "continuous_weight": 1.0, "recogniser": "own", "recogniser_noise": 1.0}
    method = make(categories=(2,), learning_rate=5e-3, discriminator_learning_rate=2e-3, **options)
    before = method.generate(Batch(images.x), generator(), 0).diagnostics["information"][1]
    run = trimkit.train(method, images, steps=300, batch_size=20, log_every=300)
    assert before < 0 < 0.5 < run.results["train"]["information"][1]


def test_the_baseline_is_the_priors_mean():
    method = make()
    torch.testing.assert_close(method.baseline("c"), torch.tensor([[1 / 3, 1 / 3, 1 / 3, 0, 0]]))
    torch.testing.assert_close(method.baseline("z"), torch.cat([torch.zeros(1, 4), method.baseline("c")], dim=1))
    draws = method.draw(torch.empty(20000, 1), generator())
    torch.testing.assert_close(draws.mean(0, keepdim=True), method.baseline("z"), atol=0.03, rtol=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"noise_dim": 0}, "expected noise_dim ≥ 1, got 0"),
        ({"categories": (1,)}, "at least 2 values"),
        ({"categories": (), "continuous": 0}, "needs a code"),
        ({"recogniser": "trunk"}, "expected recogniser as one of"),
        ({"category_weight": -1.0}, "expected category_weight ≥ 0, got -1"),
        ({"continuous_weight": "strong"}, "expected a weight such as"),
        ({"recogniser_noise": -0.1}, "expected recogniser_noise ≥ 0, got -0.1"),
        ({"recogniser_distortion": -0.1}, "expected recogniser_distortion ≥ 0, got -0.1"),
        ({"recogniser_distortion": 0.5, "shape": (9,)}, r"for images \(C, H, W\), not \(9,\)"),
        ({"data_weight": -0.1}, "expected data_weight ≥ 0, got -0.1"),
        ({"data_weight": 1.0, "categories": ()}, "data_weight is for categorical codes"),
        ({"recogniser_noise": 0.5, "categories": ()}, "recogniser_noise is for categorical codes"),
        ({"output": "relu"}, "expected output as one of"),
        ({"learning_rate": 0.0}, "expected learning_rate > 0, got 0.0"),
        ({"discriminator_learning_rate": -1.0}, "expected discriminator_learning_rate > 0, got -1.0"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(OptionError, match=message):
        make(**options)


def test_data_outside_the_outputs_range_are_refused(images):
    with pytest.raises(DataError, match="'sigmoid' needs data in"):
        trimkit.train(make(), images.x * 3, steps=1)
    make(output="linear").check(images.x * 3)


def test_weights_may_be_schedules():
    weights = phase(make(category_weight="linear(0, 2, 100)"), "generator").weights
    assert [weights["category"](step) for step in (0, 50, 200)] == [0, 1, 2]


def test_by_name_with_options():
    method = trimkit.create("method", "infogan", shape=(1, 16, 16), categories=(10, 2), continuous=1)
    assert type(method) is InfoGAN
    assert method.options["categories"] == (10, 2)
    assert method.options["recogniser"] == "shared"
    assert method.codes.size == 13


def test_the_specification_says_what_the_method_is():
    from trimkit.registry import specification

    spec = specification("method", "infogan")
    assert spec.family == "gan"
    assert spec.reference
    c, z = make().latent_spaces()
    assert (c.can_encode, z.can_decode) == (True, True)
