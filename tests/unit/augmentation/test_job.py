"""A map is a run like any other: it stops, goes on with what is missing, and ends with the same figures."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from core.augmentation.config import MapConfig
from core.augmentation.effect import EffectMeter
from core.augmentation.kind import MAP
from core.augmentation.results import MAPS, read_map, transform_folder
from core.checkpoints.store import find_checkpoint, save_checkpoint
from core.common.errors import LabError
from core.data import DATASETS
from core.jobs import RunStore
from core.jobs.job import Job
from core.training.config import TrainConfig
from tests.unit.augmentation.orientation import oriented, toy
from tests.unit.in_process import check_other_data_are_refused, finish, follow
from tests.unit.terminal import answer, refused, run_main

SMALL = {"transforms": ("flip", "rotate", "flip_vertical"), "strengths": (0.4, 1.0), "images": 60, "train_images": 40}


@pytest.fixture
def parent(lab_home: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The toy on disk, with its dataset in CIFAR-10's place."""
    source = dataclasses.replace(DATASETS["cifar10"], load=lambda _: oriented(), is_ready=lambda: True)
    monkeypatch.setitem(DATASETS, "cifar10", source)
    save_checkpoint(lab_home / "runs" / "parent" / "best", toy().model, toy().card)
    return "parent"


def config(**values: object) -> MapConfig:
    card = find_checkpoint("parent").card
    return MapConfig(**SMALL | {"checkpoint": "parent", "fingerprint": card.fingerprint} | values)


def test_a_stopped_map_goes_on_and_is_the_same(parent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = RunStore()
    whole = finish(store, store.create(config(), kind=MAP.name))
    assert (whole.status, whole.parts_done, whole.step) == ("finished", 3, 4)
    assert "Vertical flip" in whole.message
    run_id = store.create(config(), kind=MAP.name)
    with monkeypatch.context() as patch:
        wanted = Job.stop_wanted

        def stop_in_the_second(job: Job) -> str:
            return "Stopped as asked" if job.value("step") == 2 else wanted(job)

        patch.setattr(Job, "stop_wanted", stop_in_the_second)
        run = finish(store, run_id)
    assert (run.status, run.parts_done) == ("stopped", 1)
    assert run.resumable
    kept = transform_folder(store.folder(run_id), "flip") / MAPS.part_file
    stamp = kept.stat().st_mtime_ns
    check_other_data_are_refused(store, run_id)
    run = finish(store, run_id)
    assert (run.status, run.parts_done, run.step) == ("finished", 3, 4)
    assert kept.stat().st_mtime_ns == stamp, "what was done is not done again"
    first, second = (read_map(store.folder(name), config()) for name in (whole.id, run_id))
    assert first.transforms == second.transforms
    meter = EffectMeter(toy(), oriented(), images=60, train_images=40)
    assert meter.measure("rotate:0.4", 4) == first.transforms[1].effects[0]


@pytest.mark.parametrize(
    ("values", "words"), [({"fingerprint": "x"}, "has changed"), ({"checkpoint": "gone"}, "no checkpoint")]
)
def test_what_cannot_be_made_fails_with_a_sentence(parent: str, values: dict[str, object], words: str) -> None:
    store = RunStore()
    run = finish(store, store.create(config(**values), kind=MAP.name))
    assert run.status == "failed"
    assert words in run.message


def test_a_run_of_another_kind_is_no_map(lab_home: Path) -> None:
    with pytest.raises(LabError, match="not a map"):
        read_map(lab_home, TrainConfig())


def test_the_command_line_makes_and_shows_a_map(parent: str, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ("--transforms", "flip,flip_vertical", "--images", "60", "--train-images", "40")
    output, _ = follow("augment", "start", "--checkpoint", parent, *flags)
    values = answer(capsys, "augment", "show", output.strip(), "--json")
    assert [item["transform"] for item in values["transforms"]] == ["flip", "flip_vertical"]
    assert "Vertical flip: accuracy on bright" in run_main(capsys, "augment", "show", output.strip())[1]
    found = answer(capsys, "augment", "measure", "flip_vertical", "--checkpoint", parent, *flags[2:], "--json")
    effect = EffectMeter(toy(), oriented(), images=60, train_images=40).measure("flip_vertical")
    assert found["affinity"] == effect.affinity
    assert found["added_loss"] == pytest.approx(effect.added_loss)
    assert "no transform named" in refused(capsys, "augment", "start", "--checkpoint", parent, "--transforms", "melt")


def test_the_command_line_says_code_and_mistakes(
    lab_home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run_main(capsys, "augment", "code", "flip@0.5 rotate:0.5@0.5")[1]
    assert "v2.RandomHorizontalFlip(p=0.5)," in code
    assert "degrees=45.0" in code
    assert len(answer(capsys, "augment", "transforms", "--json")) >= 15
    for text, words in (("", "no steps"), ("rotate:2", "from 0 to 1"), ("flip:1", "has no strength")):
        assert words in refused(capsys, "augment", "code", text)
    (tmp_path / "photo.png").write_bytes(photo_bytes())
    output = str(tmp_path / "draws.png")
    assert run_main(capsys, "augment", "image", str(tmp_path / "photo.png"), "hue:1", "--output", output)[0] == 0
    from PIL import Image

    assert Image.open(output).size == (8 * 32, 32)
    assert "cannot be read" in refused(capsys, "augment", "image", "/nowhere.png", "hue:1", "--output", output)


def photo_bytes() -> bytes:
    from tests.tiny import photo

    return photo("PNG")


def test_a_text_checkpoint_is_refused(lab_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (("measure", "flip"), ("start",)):
        said = refused(capsys, "augment", *command, "--checkpoint", "char_rnn")
        assert "image" in said or "text" in said


def test_what_ships_can_be_read() -> None:
    for name in MAPS.shipped_names():
        found = MAPS.load_shipped(name)
        assert found.config.fingerprint == find_checkpoint(name).card.fingerprint
        assert [item.transform for item in found.transforms] == list(found.config.transforms)
