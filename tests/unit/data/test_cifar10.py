"""CIFAR-10 out of both archives, placed by hand, and a cache that heals itself."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest

from core.common.errors import LabError
from core.data import DATASETS, ImageDataset, archives, cifar10, dataset_status, fetch, load_dataset, storage
from tests.tiny_cifar10 import TinyCifar10, python2_batch
from tests.unit.data.conftest import assert_cancelled, assert_nothing_stored, leftovers
from tests.unit.failures import failing, refusal


def all_training(dataset: ImageDataset) -> list[tuple[int, bytes]]:
    return sorted(
        (int(label), image.tobytes())
        for split in (dataset.train, dataset.validation)
        for image, label in zip(split.images, split.labels)
    )


def assert_planted(dataset: ImageDataset, tiny: TinyCifar10) -> None:
    planted = zip(tiny.arrays["train_labels"], tiny.arrays["train_images"])
    assert all_training(dataset) == sorted((int(label), image.tobytes()) for label, image in planted)
    assert np.array_equal(dataset.test.images, tiny.arrays["test_images"])
    assert np.array_equal(dataset.test.labels, tiny.arrays["test_labels"])


@pytest.mark.parametrize("which", ["python", "npm"])
def test_both_archives_give_the_planted_images(which: str, tiny: TinyCifar10, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_CIFAR10", str(getattr(tiny, f"{which}_path")))
    assert not cifar10.is_ready()
    stages: list[str] = []
    dataset = cifar10.load(lambda _, words: stages.append(words.split(" (")[0]))
    assert list(dict.fromkeys(stages)) == ["verify", "unpack", "write"]
    assert_planted(dataset, tiny)
    assert dataset.card.sizes == {"train": 90, "validation": 10, "test": 20}
    assert np.bincount(dataset.validation.labels).tolist() == [1] * 10
    assert dataset.train.labels.dtype == np.int64
    assert dataset.train.images.flags.c_contiguous
    assert dataset.train.images.flags.writeable, "a mapped file would be shared with the cache"
    assert cifar10.is_ready()
    monkeypatch.setattr(cifar10, "obtain_archive", None)
    again = cifar10.load()
    assert np.array_equal(dataset.train.images, again.train.images), "once stored, nothing is fetched again"
    assert np.array_equal(dataset.validation.labels, again.validation.labels)


def test_an_archive_in_the_incoming_folder_is_used(tiny: TinyCifar10) -> None:
    fetch.incoming_folder().mkdir(parents=True)
    shutil.copy(tiny.npm_path, fetch.incoming_folder())
    assert_planted(cifar10.load(), tiny)


@pytest.mark.parametrize("name", ["train_images", "test_labels"])
@pytest.mark.parametrize("damage", ["flipped byte", "truncated", "empty", "missing", "header"])
def test_a_damaged_cache_is_found_and_fetched_again(name: str, damage: str, placed: TinyCifar10) -> None:
    cifar10.load()
    path = cifar10.folder() / f"{name}.npy"
    good = path.read_bytes()
    bad = bytearray(good)
    if damage == "flipped byte":
        bad[-7] ^= 1
    elif damage == "header":
        bad[12] ^= 0x55
    path.write_bytes({"truncated": good[:-5], "empty": b""}.get(damage, bytes(bad)))
    if damage == "missing":
        path.unlink()
    assert_planted(cifar10.load(), placed)
    assert path.read_bytes() == good
    assert leftovers(cifar10.folder()) == []


@pytest.mark.parametrize("at", range(0, 128, 9))
def test_any_damage_to_a_header_is_found(at: int, placed: TinyCifar10) -> None:
    cifar10.load()
    path = cifar10.folder() / "test_labels.npy"
    bad = bytearray(path.read_bytes())
    bad[at] = 0xFF
    path.write_bytes(bad)
    assert_planted(cifar10.load(), placed)


def test_a_damaged_cache_without_network_says_both(placed: TinyCifar10, monkeypatch: pytest.MonkeyPatch) -> None:
    cifar10.load()
    monkeypatch.delenv("LAB_CIFAR10")
    (cifar10.folder() / "test_labels.npy").write_bytes(b"")
    with pytest.raises(LabError, match=r"is damaged, and cifar10 could not be downloaded"):
        cifar10.load()


@pytest.mark.parametrize("how", ["LAB_CIFAR10", "incoming"])
def test_a_wrong_archive_is_refused_before_it_is_opened(
    how: str, tiny: TinyCifar10, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = bytearray(tiny.python_path.read_bytes())
    wrong[len(wrong) // 2] ^= 1
    placed = (tmp_path if how == "LAB_CIFAR10" else fetch.incoming_folder()) / tiny.python_path.name
    placed.parent.mkdir(parents=True, exist_ok=True)
    placed.write_bytes(wrong)
    if how == "LAB_CIFAR10":
        monkeypatch.setenv("LAB_CIFAR10", str(placed))
    monkeypatch.setattr(cifar10, "read_members", None)
    with pytest.raises(LabError, match="the checksum of .* is not that of"):
        cifar10.load()
    assert_nothing_stored(cifar10.folder())
    monkeypatch.setenv("LAB_CIFAR10", "/nowhere/archive.tgz")
    with pytest.raises(LabError, match=r"LAB_CIFAR10 names /nowhere/archive\.tgz, which is not a file"):
        cifar10.load()


def test_an_archive_with_other_images_is_not_stored(
    placed: TinyCifar10, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The archive is the pinned one, yet its arrays are not: whatever the reason, nothing is kept."""
    monkeypatch.setitem(cifar10.ARRAYS, "test_labels", ((20,), "0" * 64))
    with pytest.raises(LabError, match="holds other images"):
        cifar10.load()
    assert_nothing_stored(cifar10.folder())


def test_a_cancelled_fetch_leaves_nothing(placed: TinyCifar10) -> None:
    for stage in ("verify", "unpack", "write"):
        assert_cancelled(cifar10.load, stage, cifar10.folder())
    assert_planted(cifar10.load(), placed)


def test_an_unusable_cache_folder_is_one_sentence(lab_home: Path, tiny: TinyCifar10) -> None:
    lab_home.mkdir()
    (lab_home / "data").write_text("a file where the folder should be")
    with refusal("LAB_HOME"):
        cifar10.load()
    assert not cifar10.is_ready()


@pytest.mark.parametrize("what", ["arrays", "data folder", "archive"])
def test_missing_permissions_are_one_sentence(what: str, placed: TinyCifar10, monkeypatch: pytest.MonkeyPatch) -> None:
    if what == "arrays":
        cifar10.load()

    target = {"arrays": (np, "load"), "data folder": (os, "access"), "archive": (Path, "stat")}[what]
    monkeypatch.setattr(*target, failing(errno.EACCES) if what != "data folder" else lambda *_: False)
    with pytest.raises(LabError, match="permissions"):
        cifar10.load()


def test_too_little_space_is_said_before_the_download(tiny: TinyCifar10, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(storage.shutil, "disk_usage", lambda _: usage(10**9, 9 * 10**8, 10**8))
    with pytest.raises(LabError, match="100 MB free and 400 MB are needed"):
        cifar10.load()


def test_a_disk_that_fills_up_is_one_sentence_and_leaves_nothing(
    placed: TinyCifar10, monkeypatch: pytest.MonkeyPatch
) -> None:
    """/dev/full refuses every byte, as a full disk does."""
    real_open = Path.open
    monkeypatch.setattr(Path, "open", lambda path, mode: real_open(Path("/dev/full") if mode == "wb" else path, mode))
    with pytest.raises(LabError, match="is full"):
        cifar10.load()
    assert_nothing_stored(cifar10.folder())


@pytest.mark.parametrize(("limit", "value"), [("MAX_MEMBERS", 3), ("MAX_MEMBER_BYTES", 100)])
def test_an_archive_that_would_unpack_to_too_much_is_refused(
    limit: str, value: int, placed: TinyCifar10, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives if limit == "MAX_MEMBERS" else cifar10, limit, value)
    with pytest.raises(LabError, match="not laid out as expected"):
        cifar10.load()
    assert leftovers(cifar10.folder()) == []


def test_batches_build_arrays_and_nothing_else() -> None:
    pixels = np.arange(2 * 3072, dtype=np.uint8).reshape(2, 3072)
    good = cifar10._read_member("data_batch_1", python2_batch(pixels, [3, 4]))
    assert np.array_equal(good["train_images"][1, 0, 5], pixels[1, [5, 1024 + 5, 2048 + 5]])
    with pytest.raises(cifar10.pickle.UnpicklingError, match=r"os\.system is not allowed"):
        cifar10._read_member("data_batch_1", b"cos\nsystem\n(U\x04true\x85R.")
    with pytest.raises(cifar10.pickle.UnpicklingError, match="not allowed"):
        cifar10._read_member("data_batch_1", b"cnumpy\nload\n.")


def test_the_registry_knows_cifar10_and_refuses_other_names() -> None:
    assert next(iter(DATASETS)) == "cifar10"
    status = dataset_status("cifar10")
    assert not status.ready
    assert status.size_bytes == 0
    assert "170 MB" in status.sentence
    for name in ("mnist", "", "../cifar10"):
        with pytest.raises(LabError, match="no dataset named"):
            load_dataset(name)


def test_importing_the_registry_loads_no_decoder_and_no_torch() -> None:
    code = "import sys, core.data; print([m for m in ('PIL', 'pooch', 'requests', 'torch', 'torchvision') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
