"""Pictures have the size, order and content they should have."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from trimkit.methods import DiagonalGaussian, LatentSpace, Method, Phase, StepResult, Term, adam, standard_normal
from trimkit.training import train
from trimkit.training.pictures import (
    FRAMES,
    GAP,
    LABEL,
    STEPS,
    draw_cells,
    draw_grid,
    draw_kl,
    draw_sample,
    reconstruction_grid,
    sample_grid,
    save_film,
    save_traversal_film,
    traversal_grid,
    traverse,
)


def pixels(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture)


def test_a_grey_image_is_enlarged_without_smoothing():
    sample = torch.zeros(1, 16, 16)
    sample[0, 0, 0] = 1.0
    found = pixels(draw_sample(sample))
    assert found.shape == (64, 64, 3)
    assert (found[:4, :4] == 255).all()
    assert found.sum() == 4 * 4 * 3 * 255


def test_three_channels_are_colours_and_others_their_mean():
    colours = torch.zeros(3, 64, 64)
    colours[0] = 1.0
    assert pixels(draw_sample(colours))[0, 0].tolist() == [255, 0, 0]
    assert pixels(draw_sample(torch.stack([torch.ones(64, 64), torch.zeros(64, 64)])))[0, 0].tolist() == [128] * 3


def test_values_outside_the_range_are_cut():
    assert pixels(draw_sample(torch.full((1, 64, 64), 3.0))).min() == 255
    assert pixels(draw_sample(torch.full((1, 64, 64), -3.0))).max() == 0


@pytest.mark.parametrize("shape", [(6,), (1,), (2, 50)])
def test_signals_are_curves(shape):
    picture = draw_sample(torch.linspace(-1, 1, int(np.prod(shape))).reshape(shape))
    assert picture.size == (64, 64)
    assert (pixels(picture) == 0).any()


def test_a_rising_signal_rises():
    dark = pixels(draw_sample(torch.linspace(0, 1, 30)))[:, :, 0] < 128
    columns = [int(np.flatnonzero(dark[:, c]).mean()) for c in (5, 30, 58)]
    assert columns[0] > columns[1] > columns[2]


def test_a_grid_has_a_cell_a_sample_and_a_column_of_labels():
    picture = draw_grid([torch.zeros(4, 1, 16, 16)] * 3, ["a", "b", "c"])
    assert picture.size == (LABEL + 4 * (64 + GAP), 3 * (64 + GAP))
    assert pixels(picture)[10, LABEL + 10].tolist() == [0, 0, 0]


def test_originals_are_above_their_reconstructions():
    picture = pixels(reconstruction_grid(torch.zeros(2, 1, 64, 64), torch.ones(2, 1, 64, 64)))
    assert picture[32, LABEL + 32].tolist() == [0, 0, 0]
    assert picture[64 + GAP + 32, LABEL + 32].tolist() == [255, 255, 255]


class Bright(Method):
    """z0 is dead, z1 is the brightness of the image."""

    def __init__(self) -> None:
        super().__init__((1, 64, 64))

    def latent_spaces(self):
        return [LatentSpace("z", (2,))]

    def encode(self, x, aux=None, space=None):
        mean = torch.stack([torch.zeros(len(x)), x.mean((1, 2, 3))], 1)
        return DiagonalGaussian(mean, torch.full_like(mean, -10.0))

    def decode(self, z, space=None):
        return z[:, 1].view(-1, 1, 1, 1).expand(-1, 1, 64, 64)


def test_a_traversal_moves_one_latent_over_its_spread():
    x = torch.linspace(0.4, 0.6, 21).view(-1, 1, 1, 1).expand(-1, 1, 64, 64)
    picture = traversal_grid(Bright(), x, kl=[0.0, 3.0])
    assert picture.size == (LABEL + STEPS * (64 + GAP), 2 * (64 + GAP))
    centres = [LABEL + c * (64 + GAP) + 32 for c in range(STEPS)]
    rows = [[int(pixels(picture)[r * (64 + GAP) + 32, c, 0]) for c in centres] for r in (0, 1)]
    first_is_the_latent_with_more_kl, dead = rows
    assert first_is_the_latent_with_more_kl == sorted(first_is_the_latent_with_more_kl)
    assert first_is_the_latent_with_more_kl[0] < 100 < 155 < first_is_the_latent_with_more_kl[-1]
    assert len(set(dead)) == 1


def test_a_traversal_without_kl_keeps_the_order_and_the_limit():
    x = torch.rand(5, 1, 64, 64)
    picture = traversal_grid(Bright(), x, most=1)
    assert picture.size == (LABEL + STEPS * (64 + GAP), 64 + GAP)


def test_kl_bars(tmp_path):
    draw_kl([0.0, 1.0, 2.5], ["z0", "z1", "z2"], tmp_path / "kl.png")
    with Image.open(tmp_path / "kl.png") as picture:
        assert picture.size == (285, 300)


def frames(path) -> list[Image.Image]:
    with Image.open(path) as film:
        return [film.seek(i) or film.convert("RGB").copy() for i in range(film.n_frames)]


def test_a_film_shows_every_frame_and_repeats(tmp_path):
    shades = [Image.new("RGB", (8, 6), (shade, shade, shade)) for shade in (0, 100, 200)]
    save_film(shades, tmp_path / "a.gif")
    shown = frames(tmp_path / "a.gif")
    assert [frame.getpixel((0, 0))[0] for frame in shown] == pytest.approx([0, 100, 200], abs=2)
    with Image.open(tmp_path / "a.gif") as film:
        assert (film.info["loop"], film.info["duration"], film.size) == (0, 80, (8, 6))


def test_cells_are_in_reading_order_under_their_labels():
    samples = [torch.full((1, 64, 64), shade / 255) for shade in (50, 100, 150)]
    picture = draw_cells(samples, ["a", "b", "c"], columns=2)
    assert picture.size == (2 * 86 - 2, 2 * 82 - 2)
    centres = [(32, 48), (86 + 32, 48), (32, 82 + 48)]
    assert [picture.getpixel(centre)[0] for centre in centres] == [50, 100, 150]
    assert picture.getpixel((86 + 32, 82 + 48)) == (255, 255, 255)


def test_the_film_of_traversals_goes_there_and_back(toy, data, tmp_path):
    save_traversal_film(toy().eval(), data.x, tmp_path / "a.gif")
    shown = frames(tmp_path / "a.gif")
    assert len(shown) == 2 * FRAMES - 2
    assert shown[1].tobytes() == shown[-1].tobytes()
    assert shown[0].tobytes() != shown[FRAMES - 1].tobytes()


def test_a_traversal_moves_one_latent_at_a_time(toy, data):
    method = toy().eval()
    seen = []
    decode = method.decode
    method.decode = lambda z: (seen.append(z), decode(z))[1]
    found = traverse(method, data.x, kl=[0.1, 0.3, 0.2], steps=5)
    assert [label.split("\n")[1] for label in found.labels] == ["0.30 nats", "0.20 nats", "0.10 nats"]
    for codes, latent in zip(seen, (1, 2, 0), strict=True):
        moved = [d for d in range(3) if codes[:, d].unique().numel() > 1]
        assert moved == [latent]
        steps = codes[:, latent].diff()
        torch.testing.assert_close(steps, steps[:1].expand(4))


def test_pictures_in_training_show_the_averages_and_make_a_film(toy, data, tmp_path):
    options = {"batch_size": 8, "device": "cpu", "pictures_every": 2, "steps": 5}
    run = train(toy(), data, folder=tmp_path / "raw", **options)
    names = sorted(path.name for path in (run.folder / "pictures").iterdir())
    assert names == [f"step-0000000{n}-{kind}.png" for n in (2, 4) for kind in ("reconstructions", "traversals")]
    assert len(frames(run.folder / "training.gif")) == 2
    averaged = train(toy(), data, folder=tmp_path / "averaged", ema=0.999, **options)
    one, other = (
        Image.open(each.folder / "pictures" / "step-00000004-traversals.png").tobytes() for each in (run, averaged)
    )
    assert one != other


class Dim(Method):
    """No encoder; draws grey images, darker with every step, and noise by its generator."""

    def __init__(self, aux: bool = False) -> None:
        super().__init__((1, 16, 16))
        self.brightness = torch.nn.Parameter(torch.tensor(1.0))
        self.aux = aux

    def latent_spaces(self):
        return [LatentSpace("z", (2,), can_encode=False, needs_aux=self.aux)]

    def decode(self, z, space=None):
        return self.brightness * z[:, :1, None, None].sigmoid().expand(-1, 1, 16, 16)

    def sample(self, n, generator=None, aux=None):
        assert not self.training
        return self.decode(standard_normal(torch.empty(n, 2), generator))

    def phases(self):
        return [Phase("dim", [self.brightness], self.loss, {"light": 1.0}, adam(1e-2))]

    def loss(self, batch, generator, step):
        return StepResult({"light": Term(self.brightness.expand(len(batch)))})


class Silent(Dim):
    """Has no prior."""

    sample = Method.sample


def test_data_are_above_what_is_drawn():
    picture = pixels(sample_grid(torch.zeros(2, 1, 64, 64), torch.ones(5, 1, 64, 64)))
    assert picture.shape[:2] == (4 * (64 + GAP), LABEL + 2 * (64 + GAP))
    column = [int(picture[row * (64 + GAP) + 32, LABEL + 32, 0]) for row in range(4)]
    assert column == [0, 255, 255, 255]


def test_what_cannot_reconstruct_shows_the_same_draws_as_they_change(samples_of, tmp_path):
    data = samples_of((1, 16, 16))
    run = train(Dim(), data, folder=tmp_path / "run", batch_size=8, steps=40, pictures_every=20)
    assert [path.name for path in sorted((run.folder / "pictures").iterdir())] == [
        "step-00000020-samples.png",
        "step-00000040-samples.png",
    ]
    first, last = (pixels(Image.open(path))[64 + GAP :, LABEL:] for path in sorted((run.folder / "pictures").iterdir()))
    seen = (first > 20) & (first < 255)  # neither black nor the gaps between cells
    assert (last[seen] < first[seen]).all()  # darker everywhere: of the same codes
    assert len(frames(run.folder / "training.gif")) == 2
    assert (
        pixels(Image.open(run.folder / "samples.png")).tolist()
        == pixels(Image.open(run.folder / "pictures" / "step-00000040-samples.png")).tolist()
    )


@pytest.mark.parametrize("method", [Silent(), Dim(aux=True)], ids=["no prior", "auxiliary variables"])
def test_what_cannot_draw_shows_nothing(method, samples_of, tmp_path):
    run = train(method, samples_of((1, 16, 16)), folder=tmp_path / "run", batch_size=8, steps=1)
    assert not list(run.folder.glob("*.png"))


def test_pictures_change_nothing_about_the_training(toy, data, tmp_path):
    plain, shown = toy(), toy()
    train(plain, data, batch_size=8, steps=5, ema=0.9)
    train(shown, data, batch_size=8, steps=5, ema=0.9, folder=tmp_path / "run", pictures_every=1)
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), shown.parameters(), strict=True))
