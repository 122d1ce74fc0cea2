import pytest
import torch

import trimkit
from trimkit.coefficients import tree
from trimkit.errors import OptionError, ShapeError, TransformError, UnknownNameError
from trimkit.transforms import DCT, FFT, PCA, ZCA, Color, Compose, Dictionary, FrequencyBands, Wavelet

RGB = torch.rand(6, 3, 8, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_it_applies_one_after_the_other():
    both = Compose(["color", ("wavelet", {"wavelet": "haar", "levels": 1})])
    expected = Wavelet("haar", 1)(Color()(RGB))
    for ours, theirs in zip(tree.leaves(both(RGB)), tree.leaves(expected), strict=True):
        assert torch.equal(ours, theirs)
    assert torch.allclose(both.inverse(both(RGB), (3, 8, 6)), RGB)
    assert both.groups((3, 8, 6)).names == Wavelet("haar", 1).groups((3, 8, 6)).names


def test_each_part_is_told_the_size_of_its_own_data():
    """The half spectrum of an odd length needs to be told it, and the bands before it change the shape."""
    x = RGB[:, :1, :, :5]
    both = Compose([FrequencyBands(bands=2), FFT()])
    assert both.sizes((1, 8, 5)) == [(1, 8, 5), (3, 1, 8, 5)]
    assert torch.allclose(both.inverse(both(x), (1, 8, 5)), x)
    assert both.size_of((1, 8, 5)) == (3, 1, 8, 3)
    assert torch.allclose(Compose([DCT(), Wavelet()]).inverse(Compose([DCT(), Wavelet()])(x)), x)


def test_parts_are_fitted_to_what_those_before_them_make():
    both = Compose(["color", "zca", ("pca", {"components": 2})]).fit(RGB)
    zca = ZCA().fit(Color()(RGB))
    pca = PCA(2).fit(zca(Color()(RGB)))
    assert torch.allclose(both(RGB), pca(zca(Color()(RGB))))
    assert both.inverse(both(RGB), (3, 8, 6)).shape == RGB.shape
    assert both.groups((3, 8, 6)).names == ("component 1", "component 2")
    again = Compose(["color", "zca", "pca"])
    again.load_state_dict(both.state_dict())
    assert torch.equal(again(RGB), both(RGB))


def test_it_is_exact_where_all_its_parts_are():
    assert Compose(["color", "dct"]).exact
    assert not Compose(["color", Dictionary(torch.ones(1, 4))]).exact
    assert Compose([Compose(["color", "dct"]), "wavelet"]).exact


def test_it_explains_a_model_by_its_name():
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(144, 4), torch.nn.Tanh()).double()
    result = trimkit.Trim(model, ("compose", {"of": ["color", ["wavelet", {"levels": 1}]]}))(RGB, target=0)
    assert result.gap.abs().max() < 1e-9
    assert len(result.scores) == 2


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: Compose([]), OptionError, "a list of transforms"),
        (lambda: Compose("color"), OptionError, "a list of transforms"),
        (lambda: Compose([3]), OptionError, "names or transforms, got int"),
        (lambda: Compose(["colour"]), UnknownNameError, "Did you mean 'color'"),
        (lambda: Compose(["wavelet", "dct"])(RGB), TransformError, "real data for DCT, got a tree of coefficients"),
        (lambda: Compose(["fft", "dct"])(RGB), TransformError, "real data for DCT, got complex coefficients"),
        (lambda: Compose(["wavelet", "dct"]).groups((3, 8, 6)), TransformError, "Wavelet may only be last"),
        (lambda: Compose(["color", "dct"])(RGB[:, :1]), ShapeError, r"\(N, 3, H, W\)"),
    ],
)
def test_what_does_not_fit_says_what_would(make, error, says):
    with pytest.raises(error, match=says):
        make()
