import numpy as np
import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from trimkit.data import load, pictures
from trimkit.data.pictures import Pictures
from trimkit.errors import DataError, OptionError

RNG = np.random.default_rng(0)


def draw(path, size=(6, 4), mode="RGB", **options):
    """A random picture of width and height ``size``; returns what was drawn, (H, W[, C]) uint8."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = RNG.integers(0, 256, (size[1], size[0], *{"L": (), "RGB": (3,)}[mode]), dtype=np.uint8)
    Image.fromarray(pixels).save(path, **options)
    return pixels


def planes(pixels):
    """(H, W, 3) bytes → (3, H, W) in [0, 1]."""
    return torch.from_numpy(pixels).permute(2, 0, 1).float() / 255


def test_a_flat_folder_is_unlabelled_and_in_the_order_of_its_names(tmp_path):
    pixels = {name: draw(tmp_path / name) for name in ("b.png", "a.bmp", "c.PNG")}
    (tmp_path / "notes.txt").write_text("not a picture")
    (tmp_path / ".hidden.png").write_text("not one either")
    data = load(str(tmp_path), "all")
    assert data.shape == (3, 4, 6)
    assert data.y is None
    assert data.name == tmp_path.name
    for row, name in enumerate(("a.bmp", "b.png", "c.PNG")):
        assert torch.equal(data.x[row], planes(pixels[name]))


@pytest.mark.parametrize("suffix", ["png", "jpg", "jpeg", "webp", "bmp"])
def test_all_formats_are_read(tmp_path, suffix):
    Image.new("RGB", (8, 8), (200, 100, 50)).save(tmp_path / f"one.{suffix}")
    colour = load(str(tmp_path), "all").x[0].mean((1, 2))
    assert colour.tolist() == pytest.approx([200 / 255, 100 / 255, 50 / 255], abs=0.02)


def test_sub_folders_are_classes_whatever_the_split(tmp_path):
    for label in ("cat", "ant", "dog"):
        for i in range(20):
            draw(tmp_path / label / f"{i}.png")
    train, test, both = (load(str(tmp_path), split) for split in ("train", "test", "all"))
    assert train.classes == test.classes == ("ant", "cat", "dog")
    assert len(train) + len(test) == len(both) == 60
    assert 0 < len(test) < 15
    assert both.class_counts == {"ant": 20, "cat": 20, "dog": 20}
    assert torch.equal(torch.cat([train.y, test.y]).sort().values, both.y.sort().values)
    seen = {row.numpy().tobytes() for row in train.x[:]}
    assert not seen & {row.numpy().tobytes() for row in test.x[:]}


def test_more_pictures_move_none_between_splits(tmp_path):
    for i in range(30):
        draw(tmp_path / f"{i}.png")
    before = {row.numpy().tobytes() for row in load(str(tmp_path), "test").x[:]}
    for i in range(30, 60):
        draw(tmp_path / f"{i}.png")
    assert before <= {row.numpy().tobytes() for row in load(str(tmp_path), "test").x[:]}


def test_train_and_test_are_taken_where_they_are(tmp_path):
    for split, label, n in (("train", "b", 2), ("train", "a", 3), ("test", "b", 1)):
        for i in range(n):
            draw(tmp_path / split / label / f"{i}.png")
    train, test = load(str(tmp_path), "train"), load(str(tmp_path), "test")
    assert (train.class_counts, test.class_counts) == ({"a": 3, "b": 2}, {"a": 0, "b": 1})
    assert len(load(str(tmp_path), "all")) == 6


def test_splits_agree_in_channels_and_size(tmp_path):
    draw(tmp_path / "train" / "a.png", mode="L")
    draw(tmp_path / "test" / "a.png")
    assert load(str(tmp_path), "train").shape == load(str(tmp_path), "test").shape == (3, 4, 6)
    draw(tmp_path / "test" / "a.png", (5, 4))
    with pytest.raises(DataError, match=r"train/a\.png is 6×4, .*test/a\.png is 5×4"):
        load(str(tmp_path), "train")


def test_a_size_covers_a_square_and_keeps_the_middle(tmp_path):
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, 16:44] = 255  # the middle third, and what a filter may see beside it
    Image.fromarray(wide).save(tmp_path / "a.png")
    Image.fromarray(wide.transpose(1, 0, 2)).save(tmp_path / "b.png")
    for data in (load(f"{tmp_path}:size=10,split=all"), load("folder", "all", path=str(tmp_path), size=10)):
        assert data.shape == (3, 10, 10)
        assert data.x[:].min() == 1
    assert load(f"folder:path={tmp_path},size=10,channels=1", "all").shape == (1, 10, 10)


def test_a_picture_is_turned_as_its_camera_says(tmp_path):
    exif = Image.Exif()
    exif[pictures.ORIENTATION] = 6  # to be turned by a quarter, clockwise
    pixels = draw(tmp_path / "a.png", exif=exif)
    upright = load(str(tmp_path), "all").x[0]
    assert torch.equal(upright, torch.rot90(planes(pixels), -1, (1, 2)))


def test_no_pixels_are_decoded_before_they_are_asked_for(tmp_path, monkeypatch):
    turned = Image.Exif()
    turned[pictures.ORIENTATION] = 6
    draw(tmp_path / "plain" / "a.png")
    draw(tmp_path / "turned" / "a.png", exif=turned)
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("the pixels were decoded"))
    monkeypatch.setattr(PngImageFile, "load", lambda self: pytest.fail("the pixels were decoded"))
    assert pictures._header(tmp_path / "plain" / "a.png") == ("RGB", (6, 4))
    assert pictures._header(tmp_path / "turned" / "a.png") == ("RGB", (4, 6))


def test_a_path_is_given_once(tmp_path):
    draw(tmp_path / "a.png")
    with pytest.raises(OptionError, match="its path is given already, got path=x"):
        load(f"{tmp_path}:path=x")


def test_grey_stays_grey_and_joins_colours(tmp_path):
    grey = draw(tmp_path / "grey" / "a.png", mode="L")
    assert torch.equal(load(str(tmp_path / "grey"), "all").x[0][0], torch.from_numpy(grey).float() / 255)
    draw(tmp_path / "grey" / "b.png")
    both = load(str(tmp_path / "grey"), "all")
    assert both.shape == (3, 4, 6)
    assert torch.equal(both.x[0], (torch.from_numpy(grey).float() / 255).expand(3, 4, 6))
    assert load(f"{tmp_path / 'grey'}:channels=1", "all").shape == (1, 4, 6)


def test_what_is_transparent_lies_on_white(tmp_path):
    pixels = np.zeros((2, 2, 4), np.uint8)
    pixels[0, 0] = (0, 0, 0, 255)
    pixels[0, 1] = (0, 0, 0, 51)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert load(str(tmp_path), "all").x[0][0].flatten().tolist() == pytest.approx([0, 0.8, 1, 1], abs=0.005)
    Image.fromarray(pixels).convert("LA").save(tmp_path / "a.png")
    assert load(str(tmp_path), "all").x[0].flatten().tolist() == pytest.approx([0, 0.8, 1, 1], abs=0.005)


def test_cmyk_and_palettes_become_rgb(tmp_path):
    Image.new("CMYK", (2, 2), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=95)
    Image.new("RGB", (2, 2), (255, 0, 0)).convert("P").save(tmp_path / "b.png")
    for picture in load(str(tmp_path), "all").x[:]:
        assert picture.mean((1, 2)).tolist() == pytest.approx([1, 0, 0], abs=0.05)


def test_pictures_are_kept_where_there_is_room(tmp_path, monkeypatch):
    pixels = draw(tmp_path / "a.png")
    kept = Pictures([tmp_path / "a.png"])
    monkeypatch.setattr(pictures, "MOST_BYTES", 71)
    fresh = Pictures([tmp_path / "a.png"])
    assert torch.equal(kept[0], fresh[0])
    kept[:].fill_(0)
    other = draw(tmp_path / "a.png")
    assert torch.equal(kept[0], planes(pixels))
    assert torch.equal(fresh[0], planes(other))


def test_the_hash_follows_names_and_options(tmp_path):
    draw(tmp_path / "a.bmp")
    draw(tmp_path / "b.bmp")
    first = load(str(tmp_path), "all").sha256
    assert load(str(tmp_path), "all").sha256 == first
    assert load(f"{tmp_path}:size=4", "all").sha256 != first
    (tmp_path / "b.bmp").rename(tmp_path / "c.bmp")
    assert load(str(tmp_path), "all").sha256 != first


def make_mixed_sizes(root):
    draw(root / "a.png")
    draw(root / "b.png", (4, 6))


def make_corrupt(root):
    (root / "a.png").write_bytes(b"not a picture")


def make_truncated(root):
    draw(root / "a.png", (40, 40))
    whole = (root / "a.png").read_bytes()
    (root / "a.png").write_bytes(whole[: len(whole) // 2])


def make_deep(root):
    draw(root / "train" / "cat" / "a.png")


def make_beside(root):
    draw(root / "a.png")
    draw(root / "cat" / "a.png")


def make_floats(root):
    Image.fromarray(np.zeros((4, 4), np.float32)).save(root / "a.tif")


def make_half_labelled(root):
    draw(root / "train" / "cat" / "a.png")
    draw(root / "test" / "a.png")


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda root: None, r"no pictures in .*; expected \.png, \.jpg"),
        (make_mixed_sizes, r"several sizes: .*a\.png is 6×4, .*b\.png is 4×6; give one .* size=64"),
        (make_corrupt, r"cannot read the picture .*a\.png"),
        (make_truncated, r"cannot read the picture .*a\.png.*truncated"),
        (make_deep, "train holds folders; expected pictures in"),
        (make_beside, "both beside and in its sub-folders"),
        (make_floats, r"a\.tif: expected 8 bits a channel, or 16 of grey, got mode F"),
        (make_half_labelled, "one of train/ and test/ has sub-folders of classes"),
    ],
)
def test_a_folder_that_cannot_be_used_is_refused_before_any_work(tmp_path, make, says):
    make(tmp_path)
    with pytest.raises(DataError, match=says):
        load(str(tmp_path), "all")


def test_pictures_that_were_not_looked_at_are_refused_when_they_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "LOOKED_AT", 1)
    files = [tmp_path / f"{name}.png" for name in ("a", "b", "c", "d")]
    draw(files[0], mode="L")
    draw(files[1], (4, 6), mode="L")
    draw(files[2])
    files[3].write_bytes(b"damaged")
    data = Pictures(files)
    assert data.shape == (4, 1, 4, 6)
    for row, says in (
        (1, r"b\.png is 4×6, other pictures are 6×4; give a size"),
        (2, r"c\.png has colours, but the pictures read before it are grey; give channels=1 or channels=3"),
        (3, r"cannot read the picture .*d\.png"),
    ):
        with pytest.raises(DataError, match=says):
            data[row]
    assert Pictures(files, channels=1)[2].shape == (1, 4, 6)


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"size": 0}, OptionError, "size ≥ 1, got 0"),
        ({"channels": 2}, OptionError, "channels 1, 3 or 4, got 2"),
        ({"split": "valid"}, DataError, "'train', 'test' or 'all', got 'valid'"),
        ({"split": "test"}, DataError, "no picture falls into split 'test'"),
        ({"path": "nowhere"}, DataError, "there is no folder nowhere"),
    ],
)
def test_options_that_do_not_fit(tmp_path, options, error, says):
    draw(tmp_path / "0.png")
    with pytest.raises(error, match=says):
        load("folder", **{"path": str(tmp_path), **options})


def test_a_folder_needs_its_path():
    with pytest.raises(OptionError, match="missing a required argument: 'path'"):
        load("folder")
