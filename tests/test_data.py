import sys

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from sklearn.datasets import load_digits

import trimkit
from trimkit.data import Dataset, Samples, arrays, dataset_of, few, load
from trimkit.data.base import part_of
from trimkit.data.shortcut import SHORTCUT_BIN, digits_shortcut, planted_mask
from trimkit.errors import DataError, OptionError, TrimkitWarning, UnknownNameError
from trimkit.registry import available
from trimkit.registry.spelling import parse_spec

X = torch.rand(6, 1, 4, 4)
Y = torch.tensor([0, 1, 2, 0, 1, 2])
U = torch.arange(6.0)
UNBOUNDED = {"mixture", "nonstationary", "tcl", "imca", "patches"}
"""Datasets whose values lie outside [0, 1]."""

FACTORS = torch.tensor([[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]])


@pytest.mark.parametrize("name", sorted(set(available("datasets")) - {"activations", "folder"}))
@pytest.mark.parametrize("split", ["train", "test"])
def test_every_registered_dataset_is_what_its_spec_says(name, split):
    data, spec = load(name, split), available("datasets")[name]
    assert data.shape == spec.shape
    assert len(data.classes) == spec.classes
    assert data.split == split
    x = few(data.x)
    assert bool(((x >= 0) & (x <= 1)).all()) == (name not in UNBOUNDED)
    assert load(name, split).sha256 == data.sha256


def test_the_digits_are_scikit_learns_and_no_sample_is_in_both_splits():
    train, test = load("digits", "train"), load("digits", "test")
    assert (len(train), len(test)) == (1200, 597)
    both = torch.cat([train.x, test.x])
    assert len(torch.unique(both.flatten(1), dim=0)) == len(torch.unique(torch.tensor(load_digits().data), dim=0))
    assert sum(test.class_counts.values()) == 597
    assert float(both.mean()) == pytest.approx(load_digits().data.mean() / 16, rel=1e-3)


def test_the_shortcut_lies_at_one_bin_and_tells_the_label_in_training_alone():
    train, test = digits_shortcut("train"), digits_shortcut("test")
    for data, informative in ((train, True), (test, False)):
        plain = digits_shortcut(data.split, "none")
        added = torch.fft.rfft2(data.x - plain.x)
        away = added.clone()
        away[..., SHORTCUT_BIN[0], SHORTCUT_BIN[1]] = 0
        assert away.abs().max() < 1e-4
        height = added[:, 0, SHORTCUT_BIN[0], SHORTCUT_BIN[1]].real
        correlation = torch.corrcoef(torch.stack([height, data.y.float()]))[0, 1]
        assert (correlation > 0.999) == informative
        assert informative or abs(correlation) < 0.1
    assert planted_mask(16).sum() == 1


def test_taking_and_counting():
    data = dataset_of("mine", X, Y)
    assert len(data.take(4)) == 4
    assert len(data.take(99)) == 6
    assert data.take(4).y.tolist() == [0, 1, 2, 0]
    assert data.class_counts == {"0": 2, "1": 2, "2": 2}
    assert dataset_of("mine", X).class_counts == {}
    assert data.sha256 != dataset_of("mine", X).sha256
    with pytest.raises(DataError, match="≥ 1, got 0"):
        data.take(0)


def test_all_that_is_known_of_samples_is_kept_and_hashed():
    data = dataset_of("mine", X, Y, aux=U.double(), factors=FACTORS.double(), factor_names=["a", "b"])
    assert data.aux.dtype == torch.float32
    assert data.factors.dtype == torch.int64
    assert data.factor_sizes == (2, 3)
    part = data.select(torch.tensor([5, 1]))
    assert part.y.tolist() == [2, 1]
    assert part.aux.tolist() == [5, 1]
    assert part.factors.tolist() == [[1, 2], [0, 1]]
    assert part.factor_names == ("a", "b")
    assert data.take(2).factors.tolist() == [[0, 0], [0, 1]]
    assert data.take(2).factor_sizes == (1, 2)
    assert dataset_of("mine", X).factor_sizes == ()
    assert dataset_of("mine", X, factors=FACTORS).factor_names == ("factor 0", "factor 1")
    hashes = {
        given.sha256
        for given in (
            data,
            part,
            dataset_of("mine", X, Y),
            dataset_of("mine", X, Y, aux=U),
            dataset_of("mine", X, Y, aux=U + 1),
            dataset_of("mine", X, Y, factors=FACTORS, factor_names=["a", "b"]),
            dataset_of("mine", X, Y, factors=FACTORS, factor_names=["b", "a"]),
            dataset_of("mine", X, Y, factors=FACTORS.flip(0), factor_names=["a", "b"]),
        )
    }
    assert len(hashes) == 8
    with pytest.raises(DataError, match="is empty"):
        data.select(torch.tensor([], dtype=torch.int64))


def test_true_sources_are_kept_and_hashed_and_change_no_other_hash():
    sources = torch.randn(6, 3, dtype=torch.float64)
    data = dataset_of("mine", X, Y, sources=sources)
    assert torch.equal(data.sources, sources.float())
    assert torch.equal(data.select(torch.tensor([5, 1])).sources, sources[[5, 1]].float())
    assert torch.equal(data.take(2).sources, sources[:2].float())
    assert data.some(4).sources.shape == (4, 3)
    hashes = {d.sha256 for d in (data, dataset_of("mine", X, Y), dataset_of("mine", X, Y, sources=sources + 1))}
    assert len(hashes) == 3
    x, y, factors = torch.arange(24.0).reshape(6, 1, 2, 2), torch.arange(6) % 3, torch.arange(12).reshape(6, 2)
    before = "98504c9c16babd46797c8b1bbd47b8591daab1b81e9f225c38eaaaab94fc4b27"  # of versions that knew no sources
    assert dataset_of("mine", x, y, aux=torch.arange(6), factors=factors).sha256 == before


def test_integral_auxiliary_variables_are_int64():
    for dtype in (torch.int32, torch.uint8, torch.bool):
        assert dataset_of("mine", X, aux=Y.to(dtype)).aux.dtype == torch.int64
    assert dataset_of("mine", X, aux=U.half()).aux.dtype == torch.float32


@pytest.mark.parametrize("n", [10, 11, 99, 1000])
def test_a_tenth_of_each_group_is_for_testing(n):
    groups = torch.arange(n) % 3
    whole = dataset_of("mine", torch.arange(float(n))[:, None], split="all")
    train, test = (part_of(whole, split, groups).x[:, 0].long() for split in ("train", "test"))
    assert sorted([*train.tolist(), *test.tolist()]) == list(range(n))
    held = torch.bincount(groups[test], minlength=3)
    assert int(held.sum()) == n // 10
    assert ((held - torch.bincount(groups) / 10).abs() < 1).all()
    assert n < 99 or not torch.equal(train, train.sort().values)
    assert torch.equal(part_of(whole, "all", groups).x, whole.x)


def test_bytes_are_scaled_and_integral_labels_converted():
    data = dataset_of("mine", np.full((2, 3), 255, np.uint8), np.array([0.0, 1.0]))
    assert data.x.tolist() == [[1.0] * 3] * 2
    assert data.y.dtype == torch.int64


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".pt"])
def test_files_are_read(tmp_path, suffix):
    path = tmp_path / f"mine{suffix}"
    arrays = {"x_train": X[:4], "y_train": Y[:4], "x_test": X[4:], "y_test": Y[4:]}
    if suffix == ".npz":
        np.savez(path, **{name: value.numpy() for name, value in arrays.items()})
    elif suffix == ".pt":
        torch.save(arrays, path)
    else:
        save_file({name: value.contiguous() for name, value in arrays.items()}, path)
    assert torch.equal(load(str(path), "train").x, X[:4])
    assert load(str(path), "test").y.tolist() == [1, 2]
    assert load(str(path), "test").name == "mine"


def test_a_single_tensor_is_x_for_both_splits(tmp_path):
    torch.save(X, tmp_path / "x.pt")
    assert len(load(str(tmp_path / "x.pt"), "test")) == 6


def test_functions_of_the_user_are_called(tmp_path, monkeypatch):
    (tmp_path / "user_data_module.py").write_text(
        "import torch\n"
        "def both(split):\n    n = 3 if split == 'test' else 5\n    return torch.ones(n, 2), torch.zeros(n)\n"
        "def alone():\n    return torch.ones(4, 2)\n"
    )
    monkeypatch.chdir(tmp_path)
    assert len(load("user_data_module:both", "test")) == 3
    assert len(load("user_data_module:alone")) == 4


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: dataset_of("mine", X[:0]), "'mine' is empty"),
        (lambda: dataset_of("mine", torch.where(X > 0.5, torch.nan, X)), "of 6 samples hold NaN or infinity"),
        (lambda: dataset_of("mine", X, Y[:3]), r"int64 \(6,\), got torch.int64 \(3,\)"),
        (lambda: dataset_of("mine", X, Y - 1), "in 0 … 1, one for each class, got -1 … 1"),
        (lambda: dataset_of("mine", X, Y + 0.5j), "with imaginary parts"),
        (lambda: dataset_of("mine", X, torch.full((6, 2), -3)), "labels y from 0, or -100 where there is none, got -3"),
        (lambda: dataset_of("mine", X, Y * torch.inf), "class labels 0, 1, …, got torch.float32 with NaN or infinity"),
        (lambda: dataset_of("mine", X, Y * 10**12), "class labels 0, 1, … below 1048576, got 2000000000000"),
        (lambda: dataset_of("mine", X.to(torch.complex64)), "expected real x, got torch.complex64"),
        (lambda: dataset_of("mine", torch.ones(3)), r"got torch.float32 \(3,\)"),
        (lambda: dataset_of("mine", X, aux=U[:4]), r"aux \(6, \.\.\.\), got \(4,\)"),
        (lambda: dataset_of("mine", X, aux=torch.tensor(1.0)), r"aux \(6, \.\.\.\), got \(\)"),
        (lambda: dataset_of("mine", X, aux=U.log()), "aux of 1 of 6 samples holds NaN or infinity, the first is numb"),
        (lambda: dataset_of("mine", X, aux=U.cfloat()), "expected real aux, got torch.complex64"),
        (lambda: dataset_of("mine", X, sources=U), r"sources as float32 \(6, k\), k ≥ 1, got torch.float32 \(6,\)"),
        (lambda: dataset_of("mine", X, sources=U[:4, None]), r"float32 \(6, k\), k ≥ 1, got torch.float32 \(4, 1\)"),
        (lambda: dataset_of("mine", X, sources=X[:, 0, 0, :0]), r"k ≥ 1, got torch.float32 \(6, 0\)"),
        (lambda: Dataset("mine", X, sources=U.double()[:, None]), r"got torch.float64 \(6, 1\)"),
        (lambda: dataset_of("mine", X, sources=U[:, None].log()), "sources of 1 of 6 samples holds NaN or infinity"),
        (lambda: dataset_of("mine", X, factors=FACTORS[:4]), "factors of 6 samples, got those of 4"),
        (lambda: dataset_of("mine", X, factors=FACTORS - 1), "from 0, got -1"),
        (lambda: dataset_of("mine", X, factors=FACTORS + 0.5), "as integers from 0, got torch.float32 with fractions"),
        (
            lambda: dataset_of("mine", X, factors=torch.where(FACTORS > 0, torch.inf, 0.0)),
            "integers from 0, got torch.float32 with NaN or infinity",
        ),
        (lambda: dataset_of("mine", X, factors=FACTORS * 10**12), "factors below 1048576, got 2000000000000; number"),
        (lambda: dataset_of("mine", X, factors=FACTORS[:, 0]), r"integers \(N, K\), N and K ≥ 1, got torch.int64 \(6,"),
        (
            lambda: dataset_of("mine", X, factors=FACTORS, factor_names=["a"]),
            r"2 different names of factors, got \('a',",
        ),
        (lambda: dataset_of("mine", X, factors=FACTORS, factor_names=["a", "a"]), "2 different names"),
        (lambda: dataset_of("mine", X, factor_names=["a", "b"]), "factor_names without factors"),
        (lambda: Dataset("mine", X.half()), "expected x as float32 or float64"),
        (lambda: load("digits", "validation"), "'train' or 'test', got 'validation'"),
        (lambda: load("missing.npz"), "missing.npz does not exist"),
        (
            lambda: load("no_such_module:data"),
            "there is no module 'no_such_module', neither installed nor in the working",
        ),
        (lambda: load("os:getcwd"), "expected a Dataset, x, or \\(x, y\\) from the function, got str"),
        (lambda: load("os:sep"), "expected a function of yours"),
        (lambda: load(""), "expected the data: a dataset's name"),
        (lambda: digits_shortcut("train", "labels"), "'label', 'random' or 'none'"),
        (lambda: digits_shortcut("train", amplitude=0.5), "an amplitude in"),
    ],
)
def test_what_does_not_fit_says_what_would(make, says):
    with pytest.raises(DataError, match=says):
        make()


def test_measured_values_in_a_file_are_those_of_a_regression(tmp_path):
    for name, y in (("fractions", Y + 0.5), ("negative", -Y.float()), ("columns", torch.stack([Y, Y], 1).float())):
        torch.save({"x": X, "y": y}, tmp_path / f"{name}.pt")
        data = load(str(tmp_path / f"{name}.pt"))
        assert torch.equal(data.y, y)
        assert (data.classes, data.class_labels, data.class_counts) == ((), None, {})
    torch.save({"x": X, "y": torch.where(Y == 2, torch.inf, Y.float())}, tmp_path / "infinite.pt")
    with pytest.warns(TrimkitWarning, match="NaN or infinity, so it is left out"):
        assert load(str(tmp_path / "infinite.pt")).y is None
    torch.save({"x": X, "y": Y.float()}, tmp_path / "whole.pt")
    assert torch.equal(load(str(tmp_path / "whole.pt")).y, Y)


def test_folders_and_damaged_files_never_lead_to_pickle(tmp_path):
    with pytest.raises(DataError, match=r"no pictures in .*; expected \.png"):
        load(str(tmp_path))
    (tmp_path / "junk.npz").write_text("junk")
    with pytest.raises(DataError, match="without pickled objects") as caught:
        load(str(tmp_path / "junk.npz"))
    assert "allow_pickle" not in str(caught.value)


def test_pickled_arrays_and_wrong_files_are_refused(tmp_path):
    np.savez(tmp_path / "evil.npz", x=np.array([{"a": 1}], dtype=object))
    (tmp_path / "text.npz").write_text("not an archive")
    np.savez(tmp_path / "other.npz", z=np.ones(3))
    for name, says in (("evil", "without pickled objects"), ("text", "cannot read"), ("other", r"got \['z'\]")):
        with pytest.raises(DataError, match=says):
            load(str(tmp_path / f"{name}.npz"))


def test_an_unknown_name_offers_the_nearest():
    with pytest.raises(UnknownNameError, match="digits"):
        load("digit")
    assert trimkit.data.load("digits").name == "digits"


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".pt"])
@pytest.mark.parametrize("aux", ["u", "aux"])
def test_auxiliary_variables_and_factors_come_with_files(tmp_path, suffix, aux):
    path = tmp_path / f"mine{suffix}"
    arrays = {"x": X, "y": Y, aux: U, "factors": FACTORS, "sources": -U[:, None]}
    if suffix == ".npz":
        np.savez(path, factor_names=["a", "b"], **{name: value.numpy() for name, value in arrays.items()})
    elif suffix == ".pt":
        torch.save({"factor_names": ["a", "b"], **arrays}, path)
    else:
        save_file(arrays, path)
    data = load(str(path))
    assert torch.equal(data.aux, U)
    assert torch.equal(data.factors, FACTORS)
    assert torch.equal(data.sources, -U[:, None])
    assert data.factor_names == (("factor 0", "factor 1") if suffix == ".safetensors" else ("a", "b"))


def test_each_split_has_its_own_variables(tmp_path):
    known = {"x": X, "u": U, "factors": FACTORS, "sources": X[:, 0, 0]}
    splits = {"train": slice(4), "test": slice(4, 6)}
    arrays = {f"{key}_{split}": value[rows].numpy() for key, value in known.items() for split, rows in splits.items()}
    np.savez(tmp_path / "mine.npz", **arrays)
    test = load(str(tmp_path / "mine.npz"), "test")
    assert test.aux.tolist() == [4, 5]
    assert test.factors.tolist() == [[1, 1], [1, 2]]
    assert torch.equal(test.sources, X[4:, 0, 0])


def test_many_bytes_stay_bytes_until_they_are_asked_for(monkeypatch):
    values = torch.arange(24, dtype=torch.uint8).reshape(6, 4)
    eager = dataset_of("mine", values)
    monkeypatch.setattr(arrays, "MOST_FLOATS", 95)
    lazy = dataset_of("mine", values, Y)
    assert isinstance(lazy.x, Samples)
    assert torch.equal(lazy.x[:], eager.x)
    monkeypatch.setattr(arrays, "MOST_FLOATS", 96)
    assert isinstance(dataset_of("mine", values).x, torch.Tensor)


@pytest.fixture
def dsprites_file(tmp_path):
    """The layout of dSprites: a constant colour first, pickled metadata that must not be read."""

    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("the metadata was unpickled",))

    axes = [np.arange(n) for n in (1, 3, 2, 2, 2, 2)]
    classes = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 6).astype(np.int64)
    images = np.random.default_rng(0).integers(0, 2, (len(classes), 64, 64)).astype(np.uint8)
    values = classes.astype(np.float64)
    metadata = np.array({"latents_names": ("color",), "trap": Trap()}, dtype=object)
    path = tmp_path / "dsprites.npz"
    np.savez_compressed(path, metadata=metadata, imgs=images, latents_classes=classes, latents_values=values)
    return path, images, classes


def test_the_file_of_dsprites_is_known_by_its_arrays(dsprites_file):
    path, images, classes = dsprites_file
    data = load(str(path))
    assert data.shape == (1, 64, 64)
    assert data.factor_names == ("shape", "scale", "orientation", "x", "y")
    assert data.factor_sizes == (3, 2, 2, 2, 2)
    assert np.array_equal(data.factors.numpy(), classes[:, 1:])
    assert data.classes == ("square", "ellipse", "heart")
    assert np.array_equal(data.y.numpy(), classes[:, 1])
    assert isinstance(data.x, Samples)
    rows = torch.tensor([7, 0, 7])
    assert np.array_equal(data.x[rows].numpy(), images[rows.numpy()][:, None].astype(np.float32))
    test = load(str(path), "test")
    assert test.sha256 == data.sha256
    assert test.x._values.data_ptr() == data.x._values.data_ptr()  # 3 GB of the real file, once
    np.savez(path, imgs=1 - images, latents_classes=classes)
    assert np.array_equal(load(str(path)).x[0][0].numpy(), 1.0 - images[0])


def test_a_subset_and_other_layouts_of_dsprites(tmp_path, dsprites_file):
    _, images, classes = dsprites_file
    hearts = classes[:, 1] == 2
    np.savez(tmp_path / "hearts.npz", imgs=images[hearts] * 255, latents_classes=classes[hearts])
    data = load(str(tmp_path / "hearts.npz"))
    assert data.factor_names == ("scale", "orientation", "x", "y")
    assert data.y is None
    assert float(data.x[:].max()) == 1
    np.savez(tmp_path / "one.npz", imgs=images[:1], latents_classes=classes[:1])
    assert load(str(tmp_path / "one.npz")).factors is None
    np.savez(tmp_path / "four.npz", imgs=images, latents_classes=classes[:, 2:])
    assert load(str(tmp_path / "four.npz")).factor_names == ("factor 0", "factor 1", "factor 2", "factor 3")
    np.savez(tmp_path / "float.npz", imgs=images.astype(np.float32), latents_classes=classes)
    np.savez(tmp_path / "short.npz", imgs=images, latents_classes=classes[:-1])
    for name, says in (("float", "imgs uint8"), ("short", r"latents_classes \(48, K\), got \(47, 6\)")):
        with pytest.raises(DataError, match=says):
            load(str(tmp_path / f"{name}.npz"))


def test_options_follow_a_name(tmp_path, monkeypatch):
    assert load("digits-shortcut:amplitude=0.3").sha256 == digits_shortcut(amplitude=0.3).sha256
    assert load("digits:split=test").split == "test"
    assert load("digits-shortcut", "test", pattern="none").sha256 == digits_shortcut("test", "none").sha256
    (tmp_path / "user_options_module.py").write_text(
        "import torch\ndef rows(split, n=2):\n    return torch.ones(n + len(split), 2)\n"
    )
    monkeypatch.chdir(tmp_path)
    assert len(load("user_options_module:rows:n=3", "test")) == 7
    torch.save(X, tmp_path / "x.pt")
    for spec, says in (
        ("user_options_module:rows:m=3", r"rows\(split, n=2\): got an unexpected keyword argument 'm'"),
        ("digits:size=8", "no option 'size'"),
        ("x.pt:size=8", "takes no options, got size"),
        ("digits:size=8,", "expected name=value, got ''"),
    ):
        with pytest.raises(OptionError, match=says):
            load(spec)


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("a/b=c/file.npz", ("a/b=c/file.npz", {})),
        ("C:\\data\\x.npz", ("C:\\data\\x.npz", {})),
        ("a:sides=[1, 2],b=3", ("a", {"sides": [1, 2], "b": 3})),
        ("a:b:c=1e-3,d=yes,e=word,f=", ("a:b", {"c": 0.001, "d": True, "e": "word", "f": None})),
    ],
)
def test_what_is_name_and_what_is_option(text, means):
    assert parse_spec(text) == means


def test_an_option_that_is_no_yaml_is_named():
    with pytest.raises(OptionError, match="the value of 'b' cannot be read"):
        parse_spec("a:b=[1")


USER_DATA = """
import sys
import torch
def faces(split="train", n=4): return torch.rand(n, 3), torch.arange(n) % 2
def leaves(): sys.exit(0)
def fails(): return {}["x"]
"""


def test_functions_of_modules_and_of_files_are_data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_faces.py").write_text(USER_DATA)
    before = [*sys.path]
    for spec in ("own_faces:faces", "own_faces.py:faces", str(tmp_path / "own_faces.py:faces")):
        assert load(f"{spec}:n=6").x.shape == (6, 3)
        assert load(spec).classes == ("0", "1")
    assert sys.path == before


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("own_faces:leaves", "data 'own_faces:leaves' cannot be made: SystemExit: 0"),
        ("own_faces.py:fails", "data 'own_faces.py:fails' cannot be made: KeyError: 'x'"),
        ("own_faces:face", r"own_faces has no 'face'\. Did you mean 'faces'"),
        ("own_exit:f", "module 'own_exit' cannot be imported: SystemExit: 0"),
        ("own_error:f", "module 'own_error' cannot be imported: ValueError: at import"),
        ("own_words.py:f", "data file own_words.py cannot be run: SyntaxError"),
        ("gone.py:f", "data file gone.py does not exist"),
    ],
)
def test_faults_of_the_users_code_are_named(tmp_path, monkeypatch, name, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_faces.py").write_text(USER_DATA)
    (tmp_path / "own_exit.py").write_text("import sys\nsys.exit(0)\n")
    (tmp_path / "own_error.py").write_text("raise ValueError('at import')\n")
    (tmp_path / "own_words.py").write_text("def f(:\n")
    with pytest.raises(DataError, match=says):
        load(name)


def test_arrays_of_another_byte_order_and_files_of_x_alone_are_read(tmp_path):
    rows = np.random.default_rng(0).random((6, 4)).astype(np.float32)
    np.savez(tmp_path / "big.npz", x=rows.astype(">f4"), y=np.arange(6).astype(">i8"))
    np.save(tmp_path / "alone.npy", rows)
    np.savetxt(tmp_path / "alone.csv", rows, delimiter=",")
    for name in ("big.npz", "alone.npy", "alone.csv"):
        assert torch.equal(load(str(tmp_path / name)).x, torch.as_tensor(rows))
    assert load(str(tmp_path / "big.npz")).y.tolist() == [*range(6)]


def test_labels_in_words_are_refused_for_what_they_are(tmp_path):
    np.savez(tmp_path / "words.npz", x=np.ones((3, 2)), y=np.array(["cat", "dog", "bird"]))
    with pytest.raises(DataError, match="'y' holds text, expected numbers; number classes 0, 1"):
        load(str(tmp_path / "words.npz"))


def test_floating_pixels_up_to_255_are_noticed(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 1, 8, 8))
    np.savez(tmp_path / "floats.npz", x=pixels.astype(np.float32))
    with pytest.warns(TrimkitWarning, match="up to 2[0-9]+, as pixels in 0 … 255 do; .* divide by 255"):
        load(str(tmp_path / "floats.npz"))
    np.savez(tmp_path / "bytes.npz", x=pixels.astype(np.uint8))
    assert load(str(tmp_path / "bytes.npz")).x.max() <= 1
