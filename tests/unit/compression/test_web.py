"""The web page as a zip: what is in it, and where its runtime comes from. That it answers is tested in tests/browser."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import zipfile

import pytest

from core.common.errors import LabError
from core.compression.web import runtime
from core.compression.web.bundle import web_page
from core.data.fetch import incoming_folder
from tests.unit.compression.compressible import network
from tests.unit.shift.test_files import pinned, write_tar

MEMBERS = {
    "package/dist/ort.wasm.bundle.min.mjs": b"export const env = {};",
    "package/dist/ort-wasm-simd-threaded.wasm": b"\0asm",
    "package/dist/ort-wasm-simd-threaded.jsep.wasm": b"not wanted",
    "package/dist/../../evil.js": b"not opened",
}


@pytest.fixture
def package(lab_home: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the incoming folder."""
    incoming_folder().mkdir(parents=True)
    path = write_tar(incoming_folder() / runtime.ARCHIVE.filename, MEMBERS, "w:gz")
    monkeypatch.setattr(runtime, "MIRROR", pinned(runtime.MIRROR, path))
    sums = {runtime.FILES[name.rpartition("/")[2]]: content for name, content in list(MEMBERS.items())[:2]}
    monkeypatch.setattr(
        runtime, "SHA256", {name: hashlib.sha256(content).hexdigest() for name, content in sums.items()}
    )


@pytest.mark.usefixtures("package")
def test_the_runtime_is_fetched_once_and_again_where_it_is_damaged() -> None:
    assert runtime.load_runtime() == {"ort.js": b"export const env = {};", "ort.wasm": b"\0asm"}
    assert sorted(path.name for path in runtime.folder().iterdir()) == ["ort.js", "ort.wasm"]
    (runtime.folder() / "ort.wasm").write_bytes(b"other")
    assert runtime.load_runtime()["ort.wasm"] == b"\0asm"
    (incoming_folder() / runtime.ARCHIVE.filename).unlink()
    assert runtime.load_runtime()["ort.wasm"] == b"\0asm", "the archive is not needed again"


@pytest.mark.usefixtures("package")
def test_another_package_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_tar(incoming_folder() / runtime.ARCHIVE.filename, {"package/dist/other.js": b""}, "w:gz")
    monkeypatch.setattr(runtime, "MIRROR", pinned(runtime.MIRROR, path))
    with pytest.raises(LabError, match="not laid out as expected"):
        runtime.load_runtime()
    assert not runtime.folder().exists()


@pytest.mark.usefixtures("package")
def test_the_page_needs_nothing_from_elsewhere_and_takes_no_text_for_markup() -> None:
    checkpoint = network("simple_cnn", widths=(4, 4))
    card = dataclasses.replace(checkpoint.card, title="<script>alert(1)</script>", tta="flip")
    data = web_page(dataclasses.replace(checkpoint, card=card), b"model")
    assert data == web_page(dataclasses.replace(checkpoint, card=card), b"model")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        files = {item.filename: archive.read(item) for item in archive.infolist()}
        assert all(item.external_attr >> 16 == 0o644 for item in archive.infolist())
    assert set(files) == {
        *("index.html", "app.js", "style.css", "ort.js", "ort.wasm", "model.onnx", "model.json", "README.txt"),
    }
    about = json.loads(files["model.json"])
    assert (about["title"], about["tta"], about["labels"]) == (card.title, "flip", list(card.image_data.classes))
    for name in ("index.html", "app.js", "style.css"):
        text = files[name].decode()
        assert "<script>alert" not in text
        assert "http" not in text.replace("http-equiv", "")
        assert "innerHTML" not in text
