"""A checkpoint of the lab as the zip archive that Download gives, or as the weights with their card that Export does. Runs in
a separate process."""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
import zlib
from pathlib import Path
from typing import Any

from core.checkpoints.store import (
    CARD,
    MAX_CARD_BYTES,
    MAX_FEATURES_BYTES,
    MAX_ONNX_BYTES,
    MAX_WEIGHTS_BYTES,
    Card,
    read_card,
)
from core.common.errors import LabError
from core.common.values import read_json

CARD_KEY = "card"
"""In the metadata of exported weights."""
DAMAGED = (OSError, EOFError, ValueError, NotImplementedError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error)


def is_bundle(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return CARD in archive.namelist()
    except DAMAGED:
        return False


def unpack(path: Path, folder: Path) -> Card:
    """Write the card and the files that it names into a folder, and nothing else. Raises LabError."""
    try:
        with zipfile.ZipFile(path) as archive:
            _copy(archive, CARD, folder / CARD, MAX_CARD_BYTES)
            card = _card(folder)  # checks the names that it gives
            for name, most in (
                (card.weights_file, min(card.size_bytes, MAX_WEIGHTS_BYTES)),
                (card.onnx_file, min(card.onnx_bytes, MAX_ONNX_BYTES)),
                (card.features_file, MAX_FEATURES_BYTES),
            ):
                if name:
                    _copy(archive, name, folder / name, most)
    except LabError:
        raise
    except DAMAGED as error:
        raise LabError(
            "The archive is not a checkpoint of this lab that can be read: download it again, and give it as it is."
        ) from error
    return card


def card_in(path: Path) -> dict[str, Any]:
    """The card in the metadata of a safetensors file, not checked; empty where there is none. Raises LabError where it cannot be
    read."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            text = (file.metadata() or {}).get(CARD_KEY, "")
    except (SafetensorError, *DAMAGED):
        return {}
    try:
        found = read_json(text) if 0 < len(text) <= MAX_CARD_BYTES else text
    except ValueError:
        found = text
    if found and isinstance(found, str):
        raise LabError("The card in this file is damaged: export the weights again.")
    return found if isinstance(found, dict) and {"model", "dataset"} <= found.keys() else {}


def unpack_weights(path: Path, folder: Path) -> Card:
    """Write exported weights and their card into a folder. Raises LabError."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    name = f"weights-{digest[:16]}.safetensors"
    files = {
        "weights_file": name,
        "weights_sha256": digest,
        "size_bytes": path.stat().st_size,
        "storage": "float32",
        "onnx_file": "",
        "onnx_sha256": "",
        "onnx_bytes": 0,
        "features_file": "",
        "features_sha256": "",
    }
    (folder / CARD).write_text(json.dumps(card_in(path) | files))
    card = _card(folder)
    if card.has_one_file:
        raise LabError(
            "Its weights alone do not bring this network back: give the zip archive that Download makes of it."
        )
    shutil.copyfile(path, folder / name)
    return card


def _card(folder: Path) -> Card:
    """What it raises names no folder of this server."""
    try:
        return read_card(folder)
    except LabError as error:
        raise LabError(str(error).replace(str(folder / CARD), "of this file")) from error


def _copy(archive: zipfile.ZipFile, name: str, target: Path, most: int) -> None:
    """As many bytes as are there, counted: what the archive says of their number is not believed."""
    if name not in archive.namelist():
        raise LabError(f"{name} is missing in the archive: download the checkpoint again.")
    left = most
    with archive.open(name) as source, target.open("xb") as made:
        while part := source.read(min(1 << 20, left + 1)):
            left -= len(part)
            if left < 0:
                raise LabError(f"{name} in the archive is larger than {most / 1e6:,.0f} MB: it is not read.")
            made.write(part)
    if not target.stat().st_size:
        raise LabError(f"{name} in the archive is empty: download the checkpoint again.")
