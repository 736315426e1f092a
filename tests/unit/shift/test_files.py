"""Files from elsewhere: emoji out of npm archives, CIFAR-10-C and CIFAR-10.1, all made here in the published formats."""

from __future__ import annotations

import dataclasses
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.checkpoints.store import load_checkpoint
from core.common.errors import LabError
from core.common.values import wilson
from core.data.archives import Archive
from core.data.fetch import incoming_folder
from core.inference.images import classify
from core.shift import emoji as emoji_module
from core.shift import official
from core.shift.catalogue import CORRUPTIONS
from core.shift.emoji import CLASSES, EXAMPLES, NAMES, VENDORS, Emoji, example_emoji, has_emoji, load_emoji
from core.shift.official import git_checksum, has_corrupted, load_corrupted, load_new_test, official_maker
from core.shift.renditions import RENDITIONS, Renditions, measure_renditions, rendered
from tests.tiny_cifar10 import pinned
from tests.unit.shift.conftest import small_data
from tests.unit.terminal import answer


def write_tar(path: Path, members: dict[str, bytes], mode: str) -> Path:
    with tarfile.open(path, mode) as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def png(rgba: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(rgba).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def packages(lab_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, np.ndarray]:
    """Both packages in the incoming folder: vendor -> (emoji, 64, 64, 4)."""
    random = np.random.default_rng(0)
    found, mirrors = {}, {}
    incoming_folder().mkdir(parents=True)
    for vendor in VENDORS:
        images = random.integers(0, 256, (len(NAMES), 64, 64, 4), dtype=np.uint8)
        listed = [{"name": name, "image": f"{place:04x}.png"} for place, (name, _) in enumerate(NAMES)]
        members = {"package/emoji.json": json.dumps([*listed, {"name": "GRINNING FACE", "image": "x.png"}]).encode()}
        members |= {f"package/img/{vendor}/64/{place:04x}.png": png(image) for place, image in enumerate(images)}
        members["package/img/../../evil.png"] = b"not opened"
        mirror = emoji_module.MIRRORS[vendor]
        path = write_tar(incoming_folder() / mirror.archive.filename, members, "w:gz")
        mirrors[vendor] = pinned(mirror, path)
        found[vendor] = images
    monkeypatch.setattr(emoji_module, "MIRRORS", mirrors)
    return found


def test_emoji_are_read_out_of_the_packages_once(packages: dict[str, np.ndarray]) -> None:
    assert not has_emoji()
    found = load_emoji()
    assert has_emoji()
    assert [(item.name, item.label, item.vendor) for item in found] == [
        (name, label, vendor) for vendor in VENDORS for name, label in NAMES
    ]
    assert all((item.rgba == packages["google"][place]).all() for place, item in enumerate(found[: len(NAMES)]))
    for mirror in emoji_module.MIRRORS.values():
        (incoming_folder() / mirror.archive.filename).unlink()
    assert len(load_emoji()) == len(found), "the archives are not needed again"


def test_another_package_is_refused(packages: dict[str, np.ndarray]) -> None:
    path = incoming_folder() / emoji_module.MIRRORS["google"].archive.filename
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(LabError, match="size or the checksum"):
        load_emoji()
    write_tar(path, {"package/emoji.json": b"[]"}, "w:gz")
    emoji_module.MIRRORS["google"] = pinned(emoji_module.MIRRORS["google"], path)
    with pytest.raises(LabError, match="not laid out as expected"):
        load_emoji()
    assert not has_emoji()


def test_a_drawing_lies_on_its_background() -> None:
    rgba = np.zeros((64, 64, 4), np.uint8)
    rgba[:32] = (200, 100, 0, 255)
    rgba[32:48] = (200, 100, 0, 51)  # a fifth of it
    found = Emoji(name="CAT", label="cat", vendor="google", rgba=rgba)
    for background, grey in (("white", 255), ("grey", 128)):
        on = found.on(grey)
        assert (on[0, 0] == (200, 100, 0)).all()
        assert (on[40, 0] == np.rint([40 + 0.8 * grey, 20 + 0.8 * grey, 0.8 * grey])).all()
        assert (on[-1, 0] == grey).all()
        assert rendered(found, background, 32).shape == (32, 32, 3)


def test_every_name_has_one_class() -> None:
    assert len({name for name, _ in NAMES}) == len(NAMES) == 52
    assert len(CLASSES) == 10


def test_the_drawings_that_ship_are_those_that_were_measured() -> None:
    """Simple CNN answers them as it answered the same drawings in the table that ships."""
    drawn = example_emoji()
    assert [(item.vendor, item.name, item.label) for item in drawn] == [
        (vendor, *example) for vendor in VENDORS for example in EXAMPLES
    ]
    table = {(item.vendor, item.background, item.name): item for item in RENDITIONS.load_shipped("simple_cnn").items}
    found = measure_renditions(load_checkpoint("simple_cnn"), drawn).items
    assert len(found) == 2 * len(drawn)
    for item in found:
        known = table[item.vendor, item.background, item.name]
        assert item.answer == known.answer
        assert item.probability == pytest.approx(known.probability, abs=2e-3)


def test_renditions_are_counted_by_emoji(
    packages: dict[str, np.ndarray], networks: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    checkpoint, emoji = load_checkpoint("first"), load_emoji()
    found = measure_renditions(checkpoint, emoji)
    assert (len(found.items), found.things) == (4 * 52, 52)
    item = found.items[60]
    assert (item.name, item.vendor, item.background) == (emoji[60].name, "twitter", "white")
    (alone,) = classify(checkpoint, rendered(emoji[60], "white", 32)[None], "none")
    assert (item.answer, item.flagged) == (alone.top[0][0], alone.likely_none_of_these)
    right = np.mean([item.answer == item.label for item in found.items])
    assert found.accuracy.mean == pytest.approx(right)
    assert (found.accuracy.low, found.accuracy.high) == pytest.approx(wilson(52 * right, 52))
    assert np.mean([figure.mean for figure in found.by("background").values()]) == pytest.approx(right)
    again = Renditions.from_dict(json.loads(json.dumps(found.to_dict())))
    assert again == found
    monkeypatch.setattr(RENDITIONS, "shipped", tmp_path)
    (tmp_path / "first.json").write_text(json.dumps(found.to_dict()))
    assert RENDITIONS.load_shipped("first") == found
    for damage in ({"items": []}, {"items": [dataclasses.asdict(item) | {"probability": 3}]}, {"format": 7}):
        with pytest.raises((LabError, ValueError)):
            Renditions.from_dict(found.to_dict() | damage)
    data = dataclasses.replace(checkpoint.card.image_data, classes=tuple("abcdefghij"))
    other = dataclasses.replace(checkpoint, card=dataclasses.replace(checkpoint.card, dataset=data))
    with pytest.raises(LabError, match="does not know airplane, automobile, bird"):
        measure_renditions(other, emoji)


@pytest.fixture
def corrupted(lab_home: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, np.ndarray]:
    """CIFAR-10-C of the 60 test images, in its archive."""
    data, random = small_data(), np.random.default_rng(0)
    arrays = {name: random.integers(0, 256, (300, 32, 32, 3), dtype=np.uint8) for name in CORRUPTIONS}
    arrays["labels"] = np.tile(data.test.labels, 5).astype(np.uint8)
    incoming_folder().mkdir(parents=True)
    members = {"CIFAR-10-C/README.txt": b"hello"} | {f"CIFAR-10-C/{name}.npy": npy(a) for name, a in arrays.items()}
    path = write_tar(incoming_folder() / official.TAR.archive.filename, members, "w")
    monkeypatch.setattr(official, "TAR", pinned(official.TAR, path))
    monkeypatch.setattr(official, "IMAGES", 60)
    monkeypatch.setattr(official, "SHAPE", (300, 32, 32, 3))
    monkeypatch.setattr(official, "NEEDED_BYTES", 10**7)
    return arrays


def test_the_official_files_are_unpacked_and_read_by_severity(
    corrupted: dict[str, np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    data = small_data()
    with pytest.raises(LabError, match="are not on this machine"):
        official_maker(data)
    assert answer(capsys, "shift", "official", "--json")["images"]["labels"] == 300
    assert has_corrupted()
    make = official_maker(data)
    numbers = np.array([0, 5, 59])
    assert (make("fog", 1, numbers) == corrupted["fog"][numbers]).all()
    assert (make("fog", 5, numbers) == corrupted["fog"][240 + numbers]).all()
    moved = dataclasses.replace(data, test=dataclasses.replace(data.test, labels=np.roll(data.test.labels, 1)))
    with pytest.raises(LabError, match="holds other images"):
        official_maker(moved)


@pytest.mark.parametrize("content", [b"", b"no array", npy(np.zeros((3, 3))), npy(np.array([{}], dtype=object))])
def test_a_damaged_array_is_fetched_again_and_never_unpickled(corrupted: dict[str, np.ndarray], content: bytes) -> None:
    load_corrupted()
    (official.corrupted_folder() / "fog.npy").write_bytes(content)
    assert (load_corrupted()["fog"] == corrupted["fog"]).all()


def test_an_archive_without_a_corruption_is_refused(corrupted: dict[str, np.ndarray]) -> None:
    path = incoming_folder() / official.TAR.archive.filename
    write_tar(path, {"CIFAR-10-C/fog.npy": npy(corrupted["fog"])}, "w")
    official.TAR = pinned(official.TAR, path)
    with pytest.raises(LabError, match="has no gaussian_noise"):
        load_corrupted()
    path.write_bytes(b"no tar at all")
    official.TAR = pinned(official.TAR, path)
    with pytest.raises(LabError, match="not laid out as expected"):
        load_corrupted()


def test_the_published_identities() -> None:
    """As Zenodo, TensorFlow Datasets, npm and the authors' repository give them."""
    archive = official.TAR.archive
    assert isinstance(archive, Archive)
    assert (archive.filename, archive.size_bytes) == ("CIFAR-10-C.tar", 2_918_471_680)
    assert official.SHAPE == (50_000, 32, 32, 3)
    assert git_checksum(b"hello\n") == "ce013625030ba8dba906f756967f9e9ca394464a"
    sizes = [size for _, _, size, _ in official.NEW_FILES.values()]
    assert sizes == [128 + 2000 * 32 * 32 * 3, 128 + 2000 * 4]


def test_new_test_images_are_taken_by_their_checksum(lab_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
    labels = (np.arange(20) % 10).astype(np.int32)
    contents = dict(zip(official.NEW_FILES, (npy(images), npy(labels)), strict=True))
    made = {
        name: (array.shape, str(array.dtype), len(contents[name]), git_checksum(contents[name]))
        for name, array in zip(official.NEW_FILES, (images, labels), strict=True)
    }
    monkeypatch.setattr(official, "NEW_FILES", made)
    incoming_folder().mkdir(parents=True)
    for name, content in contents.items():
        (incoming_folder() / name).write_bytes(content)
    found = load_new_test()
    assert (found.images == images).all()
    assert (found.labels == labels).all()
    assert official.has_new_test()
    first, second = made
    (incoming_folder() / first).write_bytes(contents[second])
    (official.new_test_folder() / first).write_bytes(b"damaged")
    with pytest.raises(LabError, match="another checksum"):
        load_new_test()
    monkeypatch.setattr(official, "open_url", lambda url: (_ for _ in ()).throw(official.Unreachable("no network")))
    (incoming_folder() / first).unlink()
    with pytest.raises(LabError, match=r"could not be downloaded from github\.com"):
        load_new_test()
