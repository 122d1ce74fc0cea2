"""What every method has, shown on principal components, whose every number is known."""

from __future__ import annotations

import math

import pytest
import torch

import trimkit
from trimkit.coefficients.groups import Groups
from trimkit.errors import DataError, OptionError, ShapeError, TrainingError, TransformError, UnknownNameError
from trimkit.methods import Delta, LatentSpace, Method, Phase


class PCA(Method):
    """The example of trimkit.methods.base."""

    def __init__(self, shape, components: int = 3) -> None:
        super().__init__(shape)
        self.components = components
        self.register_buffer("basis", torch.zeros(components, math.prod(shape)))

    def latent_spaces(self):
        return [LatentSpace("z", (self.components,))]

    def encode(self, x, aux=None, space=None):
        return Delta(x.flatten(1) @ self.basis.T)

    def decode(self, z, space=None):
        return (z @ self.basis).unflatten(1, self.shape)

    def fit(self, x, aux=None):
        self.basis.copy_(torch.linalg.svd(x.flatten(1), full_matrices=False).Vh[: self.components])


class Spaces(Method):
    """Only names and flags."""

    def __init__(self, *spaces: LatentSpace) -> None:
        super().__init__((2,))
        self._spaces = spaces

    def latent_spaces(self):
        return self._spaces


@pytest.fixture
def x():
    return torch.rand(20, 1, 2, 4, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def pca(x):
    method = PCA((1, 2, 4))
    method.fit(x)
    return method


def test_a_latent_space_explains_a_predictor(pca, x):
    torch.manual_seed(0)
    f = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(8, 6), torch.nn.Tanh(), torch.nn.Linear(6, 3))
    result = trimkit.Trim(f, transform=pca.as_transform("z"), attribution="integrated_gradients")(x, target=1)
    torch.testing.assert_close(result.output, f(x))
    rebuilt = pca.decode(result.coefficients) + result.residual
    torch.testing.assert_close(rebuilt, x)
    assert result.scores.shape == (20, 3)
    assert result.gap.abs().max() < 1e-5


def test_the_transform_has_one_group_a_unit(pca):
    transform = pca.as_transform()
    groups = transform.groups((1, 2, 4))
    assert groups.names == ("z0", "z1", "z2")
    assert groups.sums(torch.tensor([[1.0, 2.0, 3.0]])).tolist() == [[1.0, 2.0, 3.0]]
    assert not transform.exact


def test_the_transform_refuses_other_data(pca):
    with pytest.raises(ShapeError, match=r"data of shape \(1, 2, 4\) a sample, got \(1, 4, 4\)"):
        pca.as_transform("z")(torch.zeros(2, 1, 4, 4))


def test_units_of_a_layered_space_are_its_layers():
    groups = LatentSpace("w+", (2, 3)).groups
    assert groups.names == ("w+0", "w+1")
    assert groups.labels.tolist() == [[0, 0, 0], [1, 1, 1]]


def test_a_layout_names_the_groups():
    layout = Groups(("coarse", "fine"), torch.tensor([0, 0, 1]), "scale")
    assert LatentSpace("z", (3,), layout=layout).groups is layout


@pytest.mark.parametrize(
    ("flags", "fault"),
    [
        ({"can_encode": False}, "data cannot be encoded to it"),
        ({"can_decode": False, "reason": "sources are known up to a function of each"}, r"decoded \(sources are known"),
        ({"needs_aux": True}, "needs auxiliary variables"),
    ],
)
def test_spaces_that_are_no_transform_say_why(flags, fault):
    method = Spaces(LatentSpace("z", (2,), **flags))
    with pytest.raises(TransformError, match=f"space 'z' of Spaces is no transform: .*{fault}"):
        method.as_transform("z")


def test_spaces_by_name():
    method = Spaces(LatentSpace("z", (2,)), LatentSpace("w", (4,)))
    assert method.space().name == "z"
    assert method.space("w").shape == (4,)
    with pytest.raises(UnknownNameError, match=r"Spaces has no latent space 'v'\. Known: w, z"):
        method.space("v")


def test_options_are_the_constructors_arguments():
    assert PCA((8,), components=2).options == {"shape": (8,), "components": 2}


def test_an_argument_that_was_not_kept_is_named():
    class Forgetful(PCA):
        def __init__(self, shape, rate: float = 1.0) -> None:
            super().__init__(shape)

    with pytest.raises(OptionError, match=r"Forgetful must keep its argument 'rate' as self\.rate"):
        _ = Forgetful((8,)).options


@pytest.mark.parametrize("shape", [(), (0, 3)])
def test_a_shape_is_that_of_one_sample(shape):
    with pytest.raises(ShapeError, match="expected the shape of one sample"):
        PCA(shape)


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (torch.zeros(3, 7), ShapeError, r"made for floating data of shape \(8,\) a sample, got torch.float32 \(7,\)"),
        (torch.zeros(3, 8, dtype=torch.long), ShapeError, "floating data"),
        (torch.zeros(0, 8), DataError, "at least one sample"),
        (torch.full((3, 8), math.nan), DataError, "NaN or infinity"),
    ],
)
def test_data_that_do_not_fit_are_refused(x, error, message):
    with pytest.raises(error, match=message):
        PCA((8,)).check(x)


def test_what_a_method_lacks_is_refused_by_name():
    method = Spaces(LatentSpace("z", (2,)))
    with pytest.raises(TrainingError, match="Spaces has no encoder"):
        method.encode(torch.zeros(1, 2))
    with pytest.raises(TrainingError, match="Spaces has no decoder"):
        method.decode(torch.zeros(1, 2))
    with pytest.raises(TrainingError, match="no prior"):
        method.sample(3)
    with pytest.raises(TrainingError, match=r"no closed form: train it with trimkit.train"):
        method.fit(torch.zeros(1, 2))


def test_phases_are_checked_when_they_are_made():
    weight = torch.nn.Parameter(torch.zeros(1))
    with pytest.raises(OptionError, match="phase 'a': expected a whole interval ≥ 1, got 0"):
        Phase("a", [weight], lambda *_: None, {"loss": 1.0}, interval=0)  # type: ignore[arg-type,return-value]
    with pytest.raises(OptionError, match="phase 'a': expected parameters to train"):
        Phase("a", [], lambda *_: None, {"loss": 1.0})  # type: ignore[arg-type,return-value]


def test_adam_refuses_a_rate_that_is_not_positive():
    from trimkit.methods import adam

    with pytest.raises(OptionError, match="learning rate > 0, got 0"):
        adam(0.0)
    (group,) = adam(0.1, betas=(0.5, 0.9))([torch.nn.Parameter(torch.zeros(1))]).param_groups
    assert (group["lr"], group["betas"]) == (0.1, (0.5, 0.9))
