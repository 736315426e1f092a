"""Decoded images of a folder, kept on disk, and what was seen of each while it was decoded.

Small ones are held in memory, larger ones in a memory-mapped file: a dataset may be larger than the memory.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from core.common.errors import LabError
from core.common.paths import lab_home
from core.common.progress import Meter, Progress
from core.data.dataset import Fit
from core.data.decode import MAX_BYTES, decode_image, model_input
from core.data.layout import ImageFile
from core.data.storage import readable_disk_errors, temporary_folder

VERSION = 3
"""Of the way pixels are made and kept; raise it when that changes."""
IN_MEMORY_BYTES = 512_000_000
"""Pixels of more than this are memory-mapped."""
KEPT_CACHES = 8
BLOCK = 256
"""Images between two looks at whether the work was stopped."""
HASH_SIDE = 8
FLAT = 8
"""Levels (of 255) between the darkest and the brightest value of each channel, at most, in an image of one colour."""
ARRAYS = ("readable", "digest", "perceptual_hash", "flat", "width", "height")
FREE_BYTES = 200_000_000
"""Left free on the disk."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Facts:
    """What was seen of N files, in their order."""

    readable: np.ndarray
    """(N,) bool."""
    digest: np.ndarray
    """(N, 16) uint8: of the file's bytes; zeros where it could not be opened."""
    perceptual_hash: np.ndarray
    """(N,) uint64, see `perceptual_hash`."""
    flat: np.ndarray
    """(N,) bool: one colour."""
    width: np.ndarray
    """(N,) int32, pixels in the file."""
    height: np.ndarray
    errors: dict[int, str]
    """Number of the file -> why it could not be read."""
    notes: dict[str, int]
    """What was converted on reading -> how many images."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class DecodedFiles:
    pixels: np.ndarray
    """(M, S, S, 3) uint8: the readable ones of the N files, in their order."""
    facts: Facts


def read_images(files: Sequence[ImageFile], size: int, fit: Fit, on_progress: Progress | None) -> DecodedFiles:
    """Decode files to squares of `size` pixels, or take them from the cache where nothing has changed since."""
    folder = cache_folder(cache_key(files, size, fit))
    found = _from_disk(folder, len(files), size)
    return found if found is not None else _decode(files, size, fit, folder, on_progress)


def cache_key(files: Sequence[ImageFile], size: int, fit: Fit) -> str:
    """Another text whenever a file was added, removed, touched or sorted otherwise."""
    digest = hashlib.sha256(f"{VERSION} {size} {fit}\n".encode())
    for file in files:
        digest.update(f"{file.path}\0{file.label}\0{file.size_bytes}\0{file.stamp}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def perceptual_hash(rgb: np.ndarray) -> int:
    """64 bits that stay nearly the same when an image (H, W, 3) uint8 is scaled, compressed or brightened: the signs of the
    64 lowest frequencies of its 32×32 grey version, against their median. Source: Zauner 2010 (pHash)."""
    from PIL import Image
    from scipy.fft import dctn

    small = Image.fromarray(rgb).convert("L").resize((4 * HASH_SIDE, 4 * HASH_SIDE), Image.Resampling.LANCZOS)
    low = dctn(np.asarray(small, dtype=np.float32))[:HASH_SIDE, :HASH_SIDE]
    return int.from_bytes(np.packbits(low > np.median(low)).tobytes(), "big")


def cache_folder(key: str) -> Path:
    return lab_home() / "data" / "folders" / key


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Image:
    pixels: np.ndarray
    digest: bytes
    perceptual_hash: int
    flat: bool
    size: tuple[int, int]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Failure:
    why: str
    digest: bytes
    """Of what was read; empty where the file could not be opened."""


def _read(file: ImageFile, size: int, fit: Fit) -> _Image | _Failure:
    try:
        with file.path.open("rb") as opened:
            data = opened.read(MAX_BYTES + 1)  # one byte more than is ever decoded is enough to be refused
    except OSError as error:
        return _Failure(f"it cannot be opened ({error.strerror})", b"")
    digest = hashlib.blake2b(data, digest_size=16).digest()
    try:
        decoded = decode_image(data)
    except LabError as error:
        return _Failure(str(error), digest)
    pixels = model_input(decoded.rgb, size, fit)
    spread = pixels.max(axis=(0, 1)).astype(int) - pixels.min(axis=(0, 1))
    # The size is in each note of a reduction; only the kind of note is counted.
    notes = tuple(note for note in decoded.notes if not note.startswith("reduced from"))
    return _Image(
        pixels=pixels,
        digest=digest,
        perceptual_hash=perceptual_hash(decoded.rgb),
        flat=bool(spread.max() <= FLAT),
        size=decoded.size,
        notes=notes,
    )


def _decode(
    files: Sequence[ImageFile], size: int, fit: Fit, folder: Path, on_progress: Progress | None
) -> DecodedFiles:
    shape = (len(files), size, size, 3)
    needed = int(np.prod(shape))
    mapped = needed > IN_MEMORY_BYTES
    temporary = _new_folder(folder, needed, required=mapped)
    try:
        if mapped and temporary is not None:
            pixels: np.ndarray = np.lib.format.open_memmap(temporary / "pixels.npy", "w+", np.uint8, shape)
        else:
            pixels = np.empty(shape, np.uint8)
        facts, complete = _fill(pixels, files, size, fit, on_progress)
        decoded = DecodedFiles(pixels=pixels[: int(facts.readable.sum())], facts=facts)
        # What could not be opened now may be opened the next time: such a result is of this moment only.
        if mapped:
            folder = folder if complete else folder.with_name(f"{folder.name[:40]}-{os.getpid()}")
        if temporary is None or not (complete or mapped):
            return decoded
        return _keep(decoded, temporary, folder, mapped)
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def _fill(
    pixels: np.ndarray, files: Sequence[ImageFile], size: int, fit: Fit, on_progress: Progress | None
) -> tuple[Facts, bool]:
    """Put the readable files' pixels into the first rows. Also says whether every file could be opened."""
    count = len(files)
    facts = Facts(
        readable=np.zeros(count, bool),
        digest=np.zeros((count, 16), np.uint8),
        perceptual_hash=np.zeros(count, np.uint64),
        flat=np.zeros(count, bool),
        width=np.zeros(count, np.int32),
        height=np.zeros(count, np.int32),
        errors={},
        notes={},
    )
    notes: Counter[str] = Counter()
    meter, done, kept, complete = Meter(on_progress, "decode", sum(file.size_bytes for file in files)), 0, 0, True
    remaining = iter(enumerate(files))
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        # In blocks, so that a callback that raises ends the work soon.
        while block := list(islice(remaining, BLOCK)):
            read = pool.map(_read, [file for _, file in block], [size] * len(block), [fit] * len(block))
            for (index, file), image in zip(block, read, strict=True):
                if isinstance(image, _Image):
                    pixels[kept] = image.pixels
                    kept += 1
                    facts.readable[index], facts.flat[index] = True, image.flat
                    facts.perceptual_hash[index] = image.perceptual_hash
                    facts.width[index], facts.height[index] = image.size
                    notes.update(image.notes)
                else:
                    facts.errors[index] = image.why
                    complete = complete and bool(image.digest)
                if image.digest:
                    facts.digest[index] = np.frombuffer(image.digest, np.uint8)
                done += file.size_bytes
                meter.update(done)
    facts.notes.update(notes)
    return facts, complete


def _keep(decoded: DecodedFiles, temporary: Path, folder: Path, mapped: bool) -> DecodedFiles:
    """Move the result to where it is found the next time. mapped: its pixels are in `temporary` already."""
    try:
        if mapped:
            decoded.pixels.flush()  # type: ignore[attr-defined]
        else:
            np.save(temporary / "pixels.npy", decoded.pixels)
        facts = decoded.facts
        np.savez(temporary / "facts.npz", **{name: getattr(facts, name) for name in ARRAYS})
        errors = {str(index): why for index, why in facts.errors.items()}
        (temporary / "facts.json").write_text(json.dumps({"errors": errors, "notes": facts.notes}))
        shutil.rmtree(folder, ignore_errors=True)
        try:
            os.replace(temporary, folder)
        except OSError:  # another process kept the same images just now
            if not folder.is_dir():
                raise
        _prune(folder.parent)
    except OSError:
        if not mapped:  # it only saves time: a full or read-only disk is no reason to fail
            return decoded
        with readable_disk_errors(folder):
            raise
    if not mapped:
        return decoded
    # None where another process replaces them at this moment: those that were decoded here are still open.
    return _from_disk(folder, len(decoded.facts.readable), decoded.pixels.shape[1]) or decoded


def _prune(home: Path) -> None:
    for old in home.glob("*.npz"):  # as an earlier version kept them
        old.unlink(missing_ok=True)
    kept = [path for path in home.iterdir() if path.is_dir() and not path.name.startswith(".")]
    for path in sorted(kept, key=lambda path: -path.stat().st_mtime)[KEPT_CACHES:]:
        shutil.rmtree(path, ignore_errors=True)


def _new_folder(folder: Path, needed: int, *, required: bool) -> Path | None:
    """A temporary folder beside where the images will be kept. Without `required` None where the disk has no room."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(folder.parent).free < needed + FREE_BYTES:
            if required:
                raise LabError(
                    f"The images take {needed / 1e9:.1f} GB at this size and {folder.parent} has less room: choose a smaller "
                    "image size, free some space, or set LAB_HOME to another disk."
                )
            return None
        return temporary_folder(folder.parent)
    except OSError:
        if not required:  # keeping them only saves time: a read-only disk is no reason to fail
            return None
        with readable_disk_errors(folder):
            raise
    return None


def _from_disk(folder: Path, count: int, size: int) -> DecodedFiles | None:
    try:
        words: dict[str, Any] = json.loads((folder / "facts.json").read_text())
        with np.load(folder / "facts.npz", allow_pickle=False) as arrays:  # a zip: reading checks its CRC
            facts = Facts(
                **{name: arrays[name] for name in ARRAYS},
                errors={int(index): str(why) for index, why in words["errors"].items()},
                notes=dict(words["notes"]),
            )
        mapped = (folder / "pixels.npy").stat().st_size > IN_MEMORY_BYTES
        # Copy on write: PyTorch wants memory that it could write to.
        pixels = np.load(folder / "pixels.npy", allow_pickle=False, mmap_mode="c" if mapped else None)
        kept = int(facts.readable.sum())
        os.utime(folder)
    except Exception:  # missing, damaged, not ours: decoding again is the answer to each
        return None
    fits = pixels.dtype == np.uint8 and pixels.shape[1:] == (size, size, 3) and facts.readable.shape == (count,)
    return DecodedFiles(pixels=pixels[:kept], facts=facts) if fits and len(pixels) >= kept else None
