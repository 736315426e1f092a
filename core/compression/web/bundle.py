"""The folder of a web page as a zip: the page, ONNX Runtime, the network and what the page must know of it."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

from core.checkpoints.store import Checkpoint
from core.common.progress import Progress
from core.compression.onnx.export import metadata
from core.compression.onnx.scripts.classify import KEYS
from core.compression.web.runtime import PACKAGE, VERSION, load_runtime

TEMPLATE = Path(__file__).parent / "template"
READ_ME = """\
This folder is a web page that classifies images with a network in the browser. No image leaves the browser.

Start it here:    python -m http.server 8000
and open          http://localhost:8000

Any static file server can host it. Opened as a file:// it does not work: browsers load no modules from there.
ort.js and ort.wasm are {package} {version} (MIT License, Microsoft).
"""
DATE = (1980, 1, 1, 0, 0, 0)
"""Of all files in the zip: the same network gives the same bytes."""


def web_page(checkpoint: Checkpoint, network: bytes, on_progress: Progress | None = None) -> bytes:
    """The zip. network: the checkpoint as ONNX. Raises LabError where the runtime cannot be fetched."""
    texts = metadata(checkpoint)
    about = {"title": texts["title"]} | {key: json.loads(texts[key]) for key in KEYS}
    files = {path.name: path.read_bytes() for path in sorted(TEMPLATE.iterdir()) if path.is_file()}
    files |= load_runtime(on_progress)
    files |= {"model.onnx": network, "model.json": json.dumps(about).encode()}
    files["README.txt"] = READ_ME.format(package=PACKAGE, version=VERSION).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, DATE)
            entry.external_attr = 0o644 << 16  # readable by a server that runs as somebody else
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()
