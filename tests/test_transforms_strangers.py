"""Every transform with what strangers bring: odd and short samples, other types and layouts, nothing, no numbers."""

import pytest
import torch

import trimkit
from trimkit.coefficients import tree
from trimkit.errors import ShapeError, TrimkitError
from trimkit.registry.builtin import TRANSFORMS

RING = torch.eye(9).roll(1, 0) + torch.eye(9).roll(-1, 0)
OPTIONS = {
    "adaptive_wavelet": {"wavelet": "db2", "lattice": True},
    "compose": {"of": ["dct", "fft"]},
    "dictionary": {"matrix": torch.randn(7, 3 * 7 * 9, generator=torch.Generator().manual_seed(0))},
    "each": {"of": "dct"},
    "graph_fourier": {"adjacency": RING},
    "mel": {"mels": 3, "n_fft": 16},
    "nmf": {"components": 2, "iterations": 9000},
    "pca": {"components": 2},
    "stft": {"n_fft": 8},
    "superpixels": {"count": 4},
}
SMALLEST = {
    "graph_fourier": lambda size: {"adjacency": torch.ones(size[-1], size[-1]) - torch.eye(size[-1])},
    "dictionary": lambda size: {"matrix": torch.eye(torch.Size(size).numel())},
    "nmf": lambda _: {"components": 1},
    "pca": lambda _: {"components": 1},
}
NAMES = [spec.name for spec in TRANSFORMS if spec.name != "latent"]
SIGNALS = ("cqt", "channels_x_bands", "mel", "stft", "wavelet_packet")


def ready(name, dtype=torch.float32):
    """A fitted transform, and data (5, 3, 7, 9), or (5, 3, 9) for those of signals."""
    size = (3, 9) if name in SIGNALS else (3, 7, 9)
    x = torch.rand(5, *size, dtype=dtype, generator=torch.Generator().manual_seed(0))
    transform = trimkit.create("transform", name, **OPTIONS.get(name, {}))
    transform.fit(x)
    return transform, x


def value_or_refusal(function):
    """What it returns, or the message of trimkit's error; any other error is one."""
    try:
        return function()
    except TrimkitError as refusal:
        return str(refusal)


def gap(one, other):
    return max(float((a - b).abs().max().detach()) for a, b in zip(tree.leaves(one), tree.leaves(other), strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_one_sample_other_strides_and_layouts_give_the_same(name):
    transform, x = ready(name)
    s = transform(x)
    assert gap(transform(x[1:2]), tree.map_leaves(lambda leaf: leaf[1:2], s)) < 1e-5
    assert gap(transform(torch.stack([x, x], -1)[..., 0]), s) < 1e-5
    assert gap(transform(x[:1].expand_as(x)), transform(x[:1].repeat(5, *[1] * (x.ndim - 1)))) < 1e-5
    if x.ndim == 4:
        assert gap(transform(x.to(memory_format=torch.channels_last)), s) < 1e-5
    back = transform.inverse(tree.map_leaves(lambda leaf: torch.stack([leaf, leaf], -1)[..., 0], s), x.shape[1:])
    assert gap(back, transform.inverse(s, x.shape[1:])) < 1e-5


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["meta", "nothing", "flat", "list"])
def test_what_holds_no_samples_is_refused_by_name(name, kind):
    transform, x = ready(name)
    given, message = {
        "meta": (x.to("meta"), "is on the device 'meta', which holds no numbers"),
        "nothing": (x[:0], r"expected \(N, ...\) with at least one sample and one feature, got \(0, 3"),
        "flat": (x[0, 0, 0].flatten(), r"one sample alone is x\[None\]"),
        "list": (x.tolist(), "expected a tensor .*got list; convert it with torch.as_tensor"),
    }[kind]
    with pytest.raises(ShapeError, match=message):
        transform(given)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.complex64, torch.long, torch.bool], ids=str)
def test_every_type_works_or_is_refused_by_name(name, dtype):
    transform, x = ready(name)
    back = value_or_refusal(lambda: transform.inverse(transform((5 * x).to(dtype)), x.shape[1:]))
    if isinstance(back, str):
        assert str(dtype) in back or (name == "compose" and dtype.is_complex and "got complex" in back)
    else:
        assert back.shape == x.shape


@pytest.mark.parametrize("name", NAMES)
def test_not_a_number_stays_in_its_sample_or_is_refused(name):
    transform, x = ready(name)
    s = transform(x)
    x[0].flatten()[4] = torch.nan
    dirty = value_or_refusal(lambda: transform(x))
    if name == "nmf":
        assert "expected finite data, got NaN" in dirty
    else:
        rest = (tree.map_leaves(lambda leaf: leaf[1:], part) for part in (dirty, s))
        assert gap(*rest) < 1e-5
        assert any(bool(leaf[0].abs().isnan().any()) for leaf in tree.leaves(dirty))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore:nmf. not converged")
@pytest.mark.parametrize("size", [(1,), (3,), (1, 2), (2, 3), (1, 1, 1), (3, 2, 3), (2, 2, 3, 2)], ids=str)
def test_the_smallest_samples_come_back_or_are_refused(name, size):
    options = OPTIONS.get(name, {}) | SMALLEST.get(name, lambda _: {})(size)
    x = torch.rand(6, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    transform = trimkit.create("transform", name, **options)
    made = value_or_refusal(lambda: (transform.fit(x)(x), transform.groups(size)))
    if isinstance(made, str):
        assert name.replace("_", "") in made.lower().replace("_", "") or name in ("each", "compose")
        return
    s, groups = made
    assert transform.inverse(s, size).shape == x.shape
    assert gap(transform.inverse(s, size) + transform.residual(x, s), x) < 1e-10
    if transform.exact:
        assert gap(transform.inverse(s, size), x) < 1e-5
    assert groups.sums(tree.map_leaves(torch.abs, s)).shape == (6, len(groups.names))


def test_an_explanation_of_data_without_numbers_is_refused():
    with pytest.raises(ShapeError, match="x is on the device 'meta'"):
        trimkit.Trim(torch.nn.Linear(8, 2, device="meta"), "fft")(torch.rand(2, 8, device="meta"), target=0)
