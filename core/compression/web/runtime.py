"""ONNX Runtime for browsers, out of its npm package (MIT), fetched when a web page is first made."""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path

from core.common.errors import LabError
from core.common.paths import lab_home
from core.common.progress import Progress
from core.data import storage
from core.data.archives import Archive, read_members
from core.data.fetch import Mirror, obtain_archive
from core.data.registries import npm_archive_url

PACKAGE, VERSION = "onnxruntime-web", "1.30.0"
ARCHIVE = Archive(
    filename=f"{PACKAGE}-{VERSION}.tgz",
    size_bytes=33_106_585,
    sha256="d2228df7e4616bc3348bf504ee888f3bec43789a273f0a63f3e68d203ce3bf71",
)
MIRROR = Mirror(
    archive=ARCHIVE,
    name="npm",
    address=partial(npm_archive_url, PACKAGE, VERSION),
    by_hand=f"`npm pack {PACKAGE}@{VERSION}`",
)
FILES = {"ort.wasm.bundle.min.mjs": "ort.js", "ort-wasm-simd-threaded.wasm": "ort.wasm"}
"""Of the package -> what they are called beside the page."""
SHA256 = {
    "ort.js": "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
    "ort.wasm": "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
}
MAX_MEMBER_BYTES = 20_000_000
NEEDED_BYTES = 60_000_000


def folder() -> Path:
    return lab_home() / "data" / f"{PACKAGE}-{VERSION}"


def load_runtime(on_progress: Progress | None = None) -> dict[str, bytes]:
    """Its files by the names of FILES; fetched first where they are missing. Raises LabError with the ways out."""
    return storage.read_or_fetch(
        folder(), _read, partial(_fetch, on_progress), needed_bytes=NEEDED_BYTES, on_progress=on_progress
    )


def _read() -> dict[str, bytes] | None:
    found = {}
    for name, checksum in SHA256.items():
        try:
            found[name] = (folder() / name).read_bytes()
        except FileNotFoundError:
            return None
        if hashlib.sha256(found[name]).hexdigest() != checksum:
            return None
    return found


def _fetch(on_progress: Progress | None, temporary: Path) -> storage.Files:
    archive = obtain_archive(
        temporary, (MIRROR,), variable="LAB_ONNXRUNTIME_WEB", title="ONNX Runtime Web", on_progress=on_progress
    )
    members: dict[str, bytes] = read_members(
        archive,
        r"package/dist/(ort\.wasm\.bundle\.min\.mjs|ort-wasm-simd-threaded\.wasm)",
        lambda _, content: content,
        max_bytes=MAX_MEMBER_BYTES,
        on_progress=on_progress,
    )
    if set(members) != set(FILES):
        raise LabError(f"{archive.name} is not laid out as expected: remove it and try again.")
    return {FILES[name]: (content,) for name, content in members.items()}
