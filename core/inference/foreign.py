"""Images that show none of a classifier's classes, to count how many of them pass without the none-of-these warning.

All of them are on every machine: they come with scikit-learn and scikit-image, or are computed. CIFAR-10 joins them where it
was fetched already. They are a sample of what a person may show, not all of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from core.data import cifar10
from core.data.dataset import ImageCard
from core.data.decode import model_input

A_KIND = 80
"""Images of each kind where the model sees at most 160 pixels: some 4 s of EfficientNet-Lite0 on two cores for six kinds."""
FEWEST = 20
SIDE = 160
SEED = 7
LEAST_CROP = 64
"""Side of the smallest crop of a photograph, pixels."""


@dataclass(frozen=True, slots=True)
class ForeignKind:
    name: str
    """For people, in the plural."""
    words: frozenset[str]
    """A dataset with one of these in a class name may show such images, so they are left out for it."""
    draw: Callable[[int, int, np.random.Generator], np.ndarray]
    """n, side, random generator: (n, side, side, 3) uint8."""


def foreign_images(card: ImageCard) -> Iterator[tuple[str, np.ndarray]]:
    """Kind for kind its name and (n, side, side, 3) uint8 images; always the same for a card. Kinds that may belong to one
    of the dataset's classes are left out."""
    side = card.image_size
    count = max(FEWEST, min(A_KIND, A_KIND * SIDE**2 // side**2))
    known = {word for label in card.classes for word in class_words(label)}
    for number, kind in enumerate(KINDS):
        if kind.words & known:
            continue
        # Whether CIFAR-10 is here may change; the rest never does, and every training and variant asks for it.
        images = (_draw.__wrapped__ if kind.draw is _cifar10 else _draw)(number, count, side)
        if len(images):
            yield kind.name, images


@lru_cache(maxsize=6)  # all kinds of one size: at most 40 MB
def _draw(number: int, count: int, side: int) -> np.ndarray:
    """(count, side, side, 3) uint8 of KINDS[number]."""
    return KINDS[number].draw(count, side, np.random.default_rng((SEED, number)))


def auroc(familiar: np.ndarray, foreign: np.ndarray) -> float:
    """0..1: how likely a foreign image (N,) has a higher score than a familiar one (M,); ties count half."""
    ordered = np.sort(familiar)
    below = np.searchsorted(ordered, foreign, "left") + np.searchsorted(ordered, foreign, "right")
    return float(below.mean() / (2 * len(ordered)))


def class_words(label: str) -> set[str]:
    """The words of a class name in lower case, each also without a plural s."""
    words = re.findall(r"[a-z]+|\d+", label.lower())
    return {form for word in words for form in (word, word.removesuffix("s"))}


def photo_crops(names: Sequence[str], n: int, side: int, random: np.random.Generator) -> np.ndarray:
    """(n, side, side, 3) uint8: random squares of photographs that come with scikit-image, each photo as often."""
    found = []
    for index in range(n):
        photo = _photo(names[index % len(names)])
        most = min(photo.shape[:2])
        size = int(random.integers(min(LEAST_CROP, most), most + 1))
        top, left = (int(random.integers(0, length - size + 1)) for length in photo.shape[:2])
        found.append(model_input(photo[top : top + size, left : left + size], side))
    return np.stack(found)


TEXTURES = ("brick.png", "grass.png", "gravel.png")
TEXT = ("page.png", "text.png")
SCIENCE = ("hubble_deep_field.jpg", "moon.png", "retina.jpg", "ihc.png", "cell.png")


def _textures(n: int, side: int, random: np.random.Generator) -> np.ndarray:
    return photo_crops(TEXTURES, n, side, random)


def _text(n: int, side: int, random: np.random.Generator) -> np.ndarray:
    return photo_crops(TEXT, n, side, random)


def _science(n: int, side: int, random: np.random.Generator) -> np.ndarray:
    return photo_crops(SCIENCE, n, side, random)


def _digits(n: int, side: int, random: np.random.Generator) -> np.ndarray:
    """Handwritten digits (Alpaydin & Kaynak 1998): half of them white on black, half black on white."""
    digits = _all_digits()
    chosen = digits[random.choice(len(digits), n, replace=n > len(digits))]
    chosen[::2] = 16 - chosen[::2]
    pixels = np.repeat((chosen * (255 / 16)).astype(np.uint8)[..., None], 3, axis=3)
    return np.stack([model_input(image, side) for image in pixels])


def _patterns(n: int, side: int, random: np.random.Generator) -> np.ndarray:
    drawn = (_noise, _clouds, _stripes, _checks, _plain)
    return np.stack([drawn[index % len(drawn)](side, random) for index in range(n)])


def _noise(side: int, random: np.random.Generator) -> np.ndarray:
    return random.integers(0, 256, (side, side, 3), dtype=np.uint8)


def _clouds(side: int, random: np.random.Generator) -> np.ndarray:
    """Blurred noise of full contrast."""
    from scipy.ndimage import gaussian_filter

    blurred = gaussian_filter(random.random((side, side, 3)), (side / 16, side / 16, 0))
    low, high = blurred.min((0, 1)), blurred.max((0, 1))
    return (255 * (blurred - low) / (high - low)).astype(np.uint8)


def _stripes(side: int, random: np.random.Generator) -> np.ndarray:
    """A grating between two colours, 2 to 8 periods wide."""
    rows, columns = np.mgrid[:side, :side] / side
    angle = random.uniform(0, np.pi)
    phase = 2 * np.pi * random.uniform(2, 8) * (rows * np.sin(angle) + columns * np.cos(angle))
    return _between(0.5 + 0.5 * np.sin(phase), random)


def _checks(side: int, random: np.random.Generator) -> np.ndarray:
    rows, columns = np.mgrid[:side, :side] * int(random.integers(2, 9)) // side
    return _between((rows + columns) % 2, random)


def _plain(side: int, random: np.random.Generator) -> np.ndarray:
    return _between(np.zeros((side, side)), random)


def _between(share: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """(H, W, 3) uint8 between two random colours. share: (H, W), 0..1."""
    first, second = random.uniform(0, 255, (2, 3))
    return (first + share[..., None] * (second - first)).astype(np.uint8)


def _cifar10(n: int, side: int, random: np.random.Generator) -> np.ndarray:
    images = cifar10.read_test_images()
    if images is None:
        return np.empty((0, side, side, 3), np.uint8)
    return np.stack([model_input(images[row], side) for row in random.choice(len(images), n, replace=False)])


@cache
def _all_digits() -> np.ndarray:
    """(1797, 8, 8) float64, 0..16: scikit-learn's `load_digits`, without the seconds that importing it takes."""
    table = np.loadtxt(_package("sklearn") / "datasets" / "data" / "digits.csv.gz", delimiter=",")
    return table[:, :-1].reshape(-1, 8, 8)  # the last column is the label


@cache
def _photo(name: str) -> np.ndarray:
    from PIL import Image

    with Image.open(_package("skimage") / "data" / name) as photo:
        return np.asarray(photo.convert("RGB"))


def _package(name: str) -> Path:
    """The folder of an installed package, which is not imported."""
    spec = find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


KINDS = (
    ForeignKind(
        "handwritten digits",
        _words("digit number numeral 0 1 2 3 4 5 6 7 8 9 zero one two three four five six seven eight nine"),
        _digits,
    ),
    ForeignKind("textures", _words("texture brick wall grass lawn gravel stone pebble rock ground floor"), _textures),
    ForeignKind("printed text", _words("text print page paper document letter book newspaper scan"), _text),
    ForeignKind(
        "scientific images",
        _words("space star galaxy sky moon planet eye retina cell tissue histology medical microscopy science"),
        _science,
    ),
    ForeignKind(
        "patterns",
        _words("pattern texture noise stripe striped check checkerboard plain blank empty background"),
        _patterns,
    ),
    ForeignKind(
        "CIFAR-10 images",
        _words(
            "airplane aeroplane plane aircraft jet automobile car vehicle bird cat kitten deer dog puppy frog toad horse pony "
            "ship boat truck lorry animal pet"
        ),
        _cifar10,
    ),
)
