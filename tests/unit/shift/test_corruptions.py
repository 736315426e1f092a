"""Each corruption against a plain version for one image, out of scikit-image, SciPy and Pillow; and what all of them keep."""

from __future__ import annotations

import io
import math
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from skimage import color, filters, transform

from core.common.errors import LabError
from core.shift.catalogue import COMMON, CORRUPTIONS, SEVERITIES
from core.shift.corruptions import FUNCTIONS, corrupt
from core.shift.corruptions.blur import disk
from core.shift.corruptions.pixels import Draws
from core.shift.corruptions.weather import FROST_COLOURS, drops, edges, equalise, frost_textures

SEED = 3
NAMES = tuple(CORRUPTIONS)


def photos(n: int = 6, height: int = 32, width: int = 32) -> np.ndarray:
    """Smooth colours with edges, in uint8: about the statistics of photographs."""
    random = np.random.default_rng(7)
    field = ndimage.gaussian_filter(random.standard_normal((n, height, width, 3)), (0, 3, 3, 0))
    field = 128 + 45 * field / field.std() + 30 * np.sign(field[..., :1])
    return np.clip(field, 0, 255).astype(np.uint8)


PHOTOS = photos()


def draws_of(name: str, number: int) -> Draws:
    return Draws(SEED, name, [number])


def whole(values: np.ndarray) -> np.ndarray:
    """0..1 to whole levels, cut off."""
    return np.floor(np.clip(values, 0, 1) * 255 + 1e-3)


def blurred(image: np.ndarray, sigma: float) -> np.ndarray:
    return np.asarray(filters.gaussian(image, sigma=sigma, channel_axis=-1 if image.ndim == 3 else None))


def clipped_zoom(image: np.ndarray, factor: float) -> np.ndarray:
    side = image.shape[0]
    kept = math.ceil(side / factor)
    top = (side - kept) // 2
    crop = image[top : top + kept, top : top + kept]
    big = ndimage.zoom(crop, (factor, factor, 1)[: image.ndim], order=1)
    cut = (big.shape[0] - side) // 2
    return np.asarray(big[cut : cut + side, cut : cut + side])


def trail(image: np.ndarray, radius: float, sigma: float, angle: float) -> np.ndarray:
    """ImageMagick's motion blur, pixel by pixel."""
    width = 2 * math.ceil(radius) + 1
    kernel = np.array([math.exp(-(i * i) / (2 * sigma * sigma)) for i in range(width)])
    kernel /= kernel.sum()
    x, y = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    rows, columns = image.shape[:2]
    found = np.zeros_like(image)
    for r in range(rows):
        for c in range(columns):
            for i, weight in enumerate(kernel):
                at = (
                    min(max(r + math.ceil(i * y - 0.5), 0), rows - 1),
                    min(max(c + math.ceil(i * x - 0.5), 0), columns - 1),
                )
                found[r, c] += weight * image[at]
    return found


def gaussian_noise(x: np.ndarray, s: int, d: Draws) -> np.ndarray:
    return whole(x + [0.04, 0.06, 0.08, 0.09, 0.10][s] * d.normal(*x.shape)[0])


def shot_noise(x: np.ndarray, s: int, d: Draws) -> np.ndarray:
    c = [500, 250, 100, 75, 50][s]
    return whole(d.generators[0].poisson(np.float32(x) * c) / c)


def impulse_noise(x: np.ndarray, s: int, d: Draws) -> np.ndarray:
    c, u = [0.01, 0.02, 0.03, 0.05, 0.07][s], d.uniform(*x.shape)[0]
    return whole(np.where(u < c / 2, 0, np.where(u > 1 - c / 2, 1, x)))


def speckle_noise(x: np.ndarray, s: int, d: Draws) -> np.ndarray:
    return whole(x * (1 + [0.06, 0.1, 0.12, 0.16, 0.2][s] * d.normal(*x.shape)[0]))


def gaussian_blur(x: np.ndarray, s: int, d: Draws) -> np.ndarray:
    return whole(blurred(x, [0.4, 0.6, 0.7, 0.8, 1][s]))


def glass_blur(x: np.ndarray, s: int, d: Draws) -> np.ndarray:
    sigma, _, times = [(0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)][s]
    image = whole(blurred(x, sigma))
    for _ in range(times):
        moves = d.integers(-1, 1, 2, 30, 30)[0]
        for i, h in enumerate(range(31, 1, -1)):
            for j, w in enumerate(range(31, 1, -1)):
                dy, dx = moves[:, i, j]
                here, there = image[h, w], image[h + dy, w + dx]
                image[h, w], image[h + dy, w + dx] = there, here  # of views, as the published script: it only copies
    return whole(blurred(image / 255, sigma))


def defocus_blur(x: np.ndarray, s: int, d: Draws) -> np.ndarray:
    radius, soft = [(0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)][s]
    places = np.arange(-8, 9)
    kernel = (places[:, None] ** 2 + places**2 <= radius**2).astype(float)
    one = np.exp(-(np.arange(-1, 2) ** 2) / (2 * soft**2))
    kernel = ndimage.convolve(kernel / kernel.sum(), np.outer(one, one) / one.sum() ** 2, mode="constant")
    return whole(np.stack([ndimage.correlate(x[..., k], kernel, mode="mirror") for k in range(3)], -1))


def motion_blur(x: np.ndarray, s: int, d: Draws) -> np.ndarray:
    radius, sigma = [(6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)][s]
    return whole(trail(x, radius, sigma, float(90 * d.uniform()[0] - 45)))


def zoom_blur(x: np.ndarray, s: int, d: Draws) -> np.ndarray:
    factors = np.arange(1, [1.06, 1.11, 1.16, 1.21, 1.26][s], 0.01)
    return whole((x + sum(clipped_zoom(x, factor) for factor in factors)) / (len(factors) + 1))


def snow(x: np.ndarray, s: int, d: Draws) -> np.ndarray:
    c = [
        (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
        (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
        (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
        (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
        (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
    ][s]
    layer = clipped_zoom(c[0] + c[1] * d.normal(32, 32)[0].astype(float), c[2])
    layer[layer < c[3]] = 0
    layer = trail(whole(layer)[..., None] / 255, c[4], c[5], float(90 * d.uniform()[0] - 135))
    grey = (x @ [0.299, 0.587, 0.114])[..., None]
    x = c[6] * x + (1 - c[6]) * np.maximum(x, grey * 1.5 + 0.5)
    return whole(x + layer + np.rot90(layer, 2))


def frost(x: np.ndarray, s: int, d: Draws) -> np.ndarray:
    kept, strength = [(1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)][s]
    which, top, left = d.integers(0, 5)[0], d.integers(0, 160)[0], d.integers(0, 160)[0]
    texture = np.roll(frost_textures()[which], (-top, -left), (0, 1))[:32, :32]
    return whole(kept * x + strength * texture)


def plasma(side: int, decay: float, d: Draws) -> np.ndarray:
    """The diamond-square algorithm, a point at a time."""
    found, step, wibble = np.zeros((side, side)), side, 1.0
    while step >= 2:
        half, cells = step // 2, range(0, side, step)
        places = [
            [(half, half), ((0, 0), (step, 0), (0, step), (step, step))],
            [(0, half), ((-half, half), (half, half), (0, 0), (0, step))],
            [(half, 0), ((half, -half), (half, half), (0, 0), (step, 0))],
        ]
        for (down, right), around in places:
            drawn = wibble * (2 * d.uniform(len(cells), len(cells))[0] - 1)  # from -wibble to wibble
            noise = wibble * drawn
            for i, y in enumerate(cells):
                for j, x in enumerate(cells):
                    mean = np.mean([found[(y + a) % side, (x + b) % side] for a, b in around])
                    found[y + down, x + right] = mean + noise[i, j]
        step, wibble = half, wibble / decay
    found -= found.min()
    return found / found.max()


def fog(x: np.ndarray, s: int, d: Draws) -> np.ndarray:
    strength, decay = [(0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)][s]
    most = x.max()
    return whole((x + strength * plasma(32, decay, d)[..., None]) * most / (most + strength))


def in_hsv(x: np.ndarray, channel: int, factor: float, added: float) -> np.ndarray:
    hsv = color.rgb2hsv(x)
    hsv[..., channel] = np.clip(hsv[..., channel] * factor + added, 0, 1)
    return whole(color.hsv2rgb(hsv))


def brightness(x: np.ndarray, s: int, d: Draws) -> np.ndarray:
    return in_hsv(x, 2, 1, [0.05, 0.1, 0.15, 0.2, 0.3][s])


def saturate(x: np.ndarray, s: int, d: Draws) -> np.ndarray:
    return in_hsv(x, 1, *[(0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)][s])


def contrast(x: np.ndarray, s: int, d: Draws) -> np.ndarray:
    means = x.mean(axis=(0, 1))
    return whole((x - means) * [0.75, 0.5, 0.4, 0.3, 0.15][s] + means)


def elastic_transform(x: np.ndarray, s: int, d: Draws) -> np.ndarray:
    shift, sigma, corner = [(0, 0, 2.56), (1.6, 6.4, 2.24), (2.56, 1.92, 1.92), (3.2, 1.28, 1.6), (3.2, 0.96, 0.96)][s]
    before = np.array([[26, 26], [26, 6], [6, 6]], float)
    after = before + corner * (2 * d.uniform(3, 2)[0] - 1)
    back = transform.AffineTransform.from_estimate(after, before)
    rows, columns = np.mgrid[:32, :32]
    places = back(np.stack([columns.ravel(), rows.ravel()], 1))[:, ::-1].T.reshape(2, 32, 32)
    x = np.stack([ndimage.map_coordinates(x[..., k], places, order=1, mode="mirror") for k in range(3)], -1)
    noise = 2 * d.uniform(2, 32, 32)[0] - 1
    dy, dx = (shift * filters.gaussian(part, sigma, mode="reflect", truncate=3) for part in noise)
    places = np.array([rows + dy, columns + dx])
    return whole(np.stack([ndimage.map_coordinates(x[..., k], places, order=1, mode="reflect") for k in range(3)], -1))


def pixelate(x: np.ndarray, s: int, d: Draws) -> np.ndarray:
    side = int(32 * [0.95, 0.9, 0.85, 0.75, 0.65][s])
    image = Image.fromarray(whole(x).astype(np.uint8)).resize((side, side), Image.Resampling.BOX)
    return np.asarray(image.resize((32, 32), Image.Resampling.BOX), float)


def jpeg_compression(x: np.ndarray, s: int, d: Draws) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(whole(x).astype(np.uint8)).save(buffer, "JPEG", quality=[80, 65, 58, 50, 40][s])
    return np.asarray(Image.open(buffer), float)


def spatter(x: np.ndarray, s: int, d: Draws) -> np.ndarray:
    c = [
        (0.62, 0.1, 0.7, 0.7, 0.5),
        (0.65, 0.1, 0.8, 0.7, 0.5),
        (0.65, 0.3, 1, 0.69, 0.5),
        (0.65, 0.1, 0.7, 0.69, 0.6),
        (0.65, 0.1, 0.5, 0.68, 0.6),
    ][s]
    layer = blurred(c[0] + c[1] * d.normal(32, 32)[0], c[2])
    layer[layer < c[3]] = 0
    if s < 3:
        water = drops(whole(layer).astype(np.uint8)[None])[0]  # held to its parts below
        return whole(x + c[4] * (water / max(water.max(), 1e-9))[..., None] * np.array([175, 238, 238]) / 255)
    mud = blurred((layer > c[3]).astype(float), c[4])
    mud[mud < 0.8] = 0
    return whole(x * (1 - mud[..., None]) + mud[..., None] * np.array([63, 42, 20]) / 255)


ORACLES: dict[str, Callable[[np.ndarray, int, Draws], np.ndarray]] = {
    item.__name__: item
    for item in (
        *(
            gaussian_noise,
            shot_noise,
            impulse_noise,
            defocus_blur,
            glass_blur,
            motion_blur,
            zoom_blur,
            snow,
            frost,
            fog,
        ),
        *(brightness, contrast, elastic_transform, pixelate, jpeg_compression),
        *(speckle_noise, gaussian_blur, spatter, saturate),
    )
}


@pytest.mark.parametrize("name", NAMES)
def test_a_corruption_is_that_of_a_plain_version_for_one_image(name: str) -> None:
    few = (0, 4) if name in ("snow", "motion_blur", "fog", "glass_blur") else range(len(PHOTOS))
    for severity in SEVERITIES:
        found = corrupt(PHOTOS, name, severity, seed=SEED)
        for number in few:
            expected = ORACLES[name](PHOTOS[number] / 255, severity - 1, draws_of(name, number))
            off = np.abs(found[number] - expected)
            # The last digits of float32 move a value over the step between two levels, seldom.
            assert off.max() <= 1, (name, severity, number, off.max())
            assert (off > 0).mean() < 0.05, (name, severity, number, (off > 0).mean())


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_pixels_in_any_batch(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = PHOTOS.copy()
    found = corrupt(PHOTOS, name, 3, seed=SEED)
    assert (before == PHOTOS).all()
    assert (found.shape, found.dtype) == (PHOTOS.shape, np.uint8)
    assert (corrupt(PHOTOS, name, 3, seed=SEED) == found).all()
    assert (corrupt(PHOTOS[4:5], name, 3, seed=SEED, numbers=[4])[0] == found[4]).all()
    monkeypatch.setattr("core.shift.corruptions.AT_ONCE", 2 * PHOTOS[0].size)
    assert (corrupt(PHOTOS, name, 3, seed=SEED) == found).all()
    random = name not in (
        *("defocus_blur", "zoom_blur", "brightness", "contrast", "pixelate", "jpeg_compression"),
        *("gaussian_blur", "saturate"),
    )
    assert (corrupt(PHOTOS, name, 3, seed=SEED + 1) != found).any() == random


@pytest.mark.parametrize("name", NAMES)
def test_severity_0_changes_nothing_and_higher_ones_change_more(name: str) -> None:
    assert (corrupt(PHOTOS, name, 0) == PHOTOS).all()
    many = photos(60)
    changes = [np.abs(corrupt(many, name, severity).astype(int) - many).mean() for severity in SEVERITIES]
    assert min(changes) > 0
    # The constants of these are not in order: elastic trades far shifts for sharp ones, glass and spatter change kind, saturate
    # begins with less colour, frost darkens the image under it.
    if name not in ("elastic_transform", "glass_blur", "spatter", "saturate", "frost"):
        assert changes == sorted(changes)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("height", "width"), [(28, 28), (64, 64), (24, 40), (96, 33), (8, 8)])
def test_any_size_and_grey(name: str, height: int, width: int) -> None:
    colour = photos(2, height, width)
    for images in (colour, np.repeat(colour[..., :1], 3, axis=3), np.zeros_like(colour)):
        for severity in (1, 5):
            found = corrupt(images, name, severity)
            assert (found.shape, found.dtype) == (images.shape, np.uint8)
    changes = [np.abs(corrupt(colour, name, severity).astype(int) - colour).mean() for severity in (1, 5)]
    assert max(changes) > 0 or name == "spatter"  # a small image may get no drop


def test_lengths_grow_with_the_image() -> None:
    small = photos(8)
    big = np.repeat(np.repeat(small, 3, axis=1), 3, axis=2)
    for name in ("motion_blur", "gaussian_blur", "defocus_blur", "elastic_transform", "snow", "fog", "frost"):
        one, other = (np.abs(corrupt(x, name, 5).astype(int) - x).mean() for x in (small, big))
        assert other == pytest.approx(one, rel=0.5), name


def test_the_disk_of_a_lens() -> None:
    assert disk(1.5, 0.1).sum() == pytest.approx(1)
    kernel = disk(1.5, 0.1)
    middle = len(kernel) // 2
    assert kernel[middle - 1 : middle + 2, middle - 1 : middle + 2] == pytest.approx(np.full((3, 3), 1 / 9), abs=1e-6)


def test_the_parts_of_spatter() -> None:
    random = np.random.default_rng(0)
    layer = np.zeros((3, 32, 32), np.uint8)
    layer[0, 8:20, 10:24] = 200
    layer[1] = np.where(ndimage.gaussian_filter(random.standard_normal((32, 32)), 2) > 0.15, 200, 0)
    found = edges(layer)
    # Of a block, the line around it and nothing else: within a pixel of where the value jumps.
    jump = ndimage.binary_dilation(layer[0] > 0) & ~ndimage.binary_erosion(layer[0] > 0)
    assert found[0].sum() > 40
    assert not (found[0] & ~jump).any()
    assert not found[2].any()
    assert (drops(layer)[2] == 0).all()
    assert (edges(layer[1:2])[0] == found[1]).all()
    images = random.integers(0, 21, (3, 16, 16), dtype=np.uint8)
    images[2] = 7
    for image, even in zip(images, equalise(images), strict=True):
        values, counts = np.unique(image, return_counts=True)
        above = np.cumsum(counts) - counts[0]
        table = np.rint(above * 255 / max(image.size - counts[0], 1)) if len(values) > 1 else values
        assert (even == np.asarray(table)[np.searchsorted(values, image)]).all()


def test_frost_has_the_colours_that_it_says() -> None:
    for texture, (colour, spread) in zip(frost_textures(), FROST_COLOURS, strict=True):
        assert 255 * texture.mean(axis=(0, 1)) == pytest.approx(colour, abs=6)
        assert 255 * texture.std(axis=(0, 1)) == pytest.approx(spread, rel=0.25)


def test_the_fifteen_and_the_four() -> None:
    assert (len(CORRUPTIONS), len(COMMON)) == (19, 15)
    assert set(CORRUPTIONS) == set(FUNCTIONS)
    assert set(CORRUPTIONS) - set(COMMON) == {"speckle_noise", "gaussian_blur", "spatter", "saturate"}


@pytest.mark.parametrize(
    ("images", "name", "severity", "numbers", "words"),
    [
        (PHOTOS, "rain", 1, None, "There is no corruption named 'rain'"),
        (PHOTOS, "fog", 6, None, "severity=6"),
        (PHOTOS, "fog", -1, None, "severity=-1"),
        (PHOTOS, "fog", True, None, "severity=True"),
        (PHOTOS, "fog", 1.0, None, r"severity=1\.0"),
        (PHOTOS.astype(float), "fog", 1, None, "cannot be corrupted"),
        (PHOTOS[..., :1], "fog", 1, None, "cannot be corrupted"),
        (PHOTOS[:, :4], "fog", 1, None, "cannot be corrupted"),
        (PHOTOS, "fog", 1, [1], "1 numbers for 6 images"),
    ],
)
def test_what_cannot_be_corrupted_is_one_sentence(
    images: np.ndarray, name: str, severity: int, numbers: list[int] | None, words: str
) -> None:
    with pytest.raises(LabError, match=words):
        corrupt(images, name, severity, numbers=numbers)


def test_no_images_are_no_images() -> None:
    assert corrupt(PHOTOS[:0], "snow", 5).shape == (0, 32, 32, 3)
