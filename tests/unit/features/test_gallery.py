"""A gallery is a run like any other: it stops, goes on with what is missing, and the command line prints the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.checkpoints.backbone import BACKBONES
from core.checkpoints.store import find_checkpoint, save_checkpoint
from core.common.errors import LabError
from core.data import DATASETS
from core.features import job
from core.features.config import GalleryConfig
from core.features.kind import GALLERY
from core.features.results import GALLERIES, Unit, find_units, read_gallery, unit_folder
from core.features.unit import study_unit, study_units
from core.jobs import RunStore
from core.jobs.job import Stopped
from tests.unit.features.planted import LAYER, RED, coloured, planted
from tests.unit.in_process import finish
from tests.unit.terminal import answer, refused


@pytest.fixture
def parent(lab_home: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A checkpoint on disk, whose dataset is there."""
    import dataclasses

    made, data = planted(), coloured()
    data = dataclasses.replace(data, card=dataclasses.replace(data.card, name="cifar10"))
    source = dataclasses.replace(DATASETS["cifar10"], load=lambda _: data, is_ready=lambda: True)
    monkeypatch.setitem(DATASETS, "cifar10", source)
    save_checkpoint(
        lab_home / "runs" / "parent" / "best", made.model, dataclasses.replace(made.card, dataset=data.card)
    )
    return "parent"


def config(**values: object) -> GalleryConfig:
    card = find_checkpoint("parent").card
    usual = {"checkpoint": "parent", "layer": LAYER, "channels": (0, 2, 5), "steps": 8, "fingerprint": card.fingerprint}
    return GalleryConfig(**usual | values)


def test_a_stopped_gallery_goes_on_and_pages_find_its_units(parent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = RunStore()
    run_id = store.create(config(), kind=GALLERY.name)
    calls: list[list[int]] = []

    def stop_at_two(checkpoint: Any, layer: str, channels: list[int], *args: Any, **options: Any) -> Iterator[Unit]:
        calls.append(channels)
        for place, unit in enumerate(study_units(checkpoint, layer, channels, *args, **options)):
            if (len(calls), place) == (1, 1):
                raise Stopped("Stopped as asked")
            yield unit

    monkeypatch.setattr(job, "study_units", stop_at_two)
    run = finish(store, run_id)
    assert (run.status, run.parts_done) == ("stopped", 1)
    assert run.resumable
    assert run.keeps_work
    kept = read_gallery(store.folder(run_id), store.config(run_id))
    assert [unit.channel for unit in kept.units] == [0]
    run = finish(store, run_id)
    assert (run.status, run.parts_done, run.step) == ("finished", 3, 300)
    assert calls == [[0, 2, 5], [2, 5]], "what was done is not done again"
    fingerprint = find_checkpoint("parent").card.fingerprint
    assert list(find_units(store, fingerprint, LAYER)) == [0, 2, 5]
    assert not find_units(store, fingerprint, "relu2")
    assert not find_units(store, "other", LAYER)
    unit_folder(store.folder(run_id), 2).joinpath("unit.json").write_text("{}")
    assert list(find_units(store, fingerprint, LAYER)) == [0, 5], "a damaged file is none"


@pytest.mark.parametrize(
    ("values", "words"),
    [({"layer": "conv9"}, "no layer"), ({"channels": (99,)}, "no channel 99"), ({"fingerprint": "x"}, "has changed")],
)
def test_what_cannot_be_made_fails_with_a_sentence(parent: str, values: dict[str, object], words: str) -> None:
    store = RunStore()
    run = finish(store, store.create(config(**values), kind=GALLERY.name))
    assert run.status == "failed"
    assert words in run.message


def test_channels_are_checked() -> None:
    for channels in ((), (1, 1), (-1,), tuple(range(5000))):
        with pytest.raises(LabError):
            GalleryConfig(channels=channels)


def test_the_command_line_prints_the_numbers_of_core(parent: str, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ("--checkpoint", parent, "--layer", LAYER, "--json")
    found = answer(capsys, "features", "unit", str(RED), "--steps", "8", "--ablate", *flags)
    expected = study_unit(planted(), LAYER, RED, coloured().test, steps=8)
    assert found["image"] == expected.image
    assert found["multiple"] == expected.multiple
    assert found["survival"] == expected.survival
    assert found["ablation"]["images"] == 300
    layer = answer(capsys, "features", "layer", *flags)
    assert [item["channel"] for item in layer["channels"]] == list(range(8))
    assert layer["dead"]
    names = [item["name"] for item in answer(capsys, "features", "layers", "--checkpoint", parent, "--json")]
    assert LAYER in names
    rules = answer(capsys, "features", "surrogate", "--checkpoint", parent, "--depth", "2", "--json")
    assert rules["agreement"]["n"] == 300
    assert "from 1 to 4" in refused(capsys, "features", "surrogate", "--checkpoint", parent, "--depth", "9")
    assert "no layer" in refused(capsys, "features", "unit", "--checkpoint", parent, "--layer", "conv9")
    assert "no channel 99" in refused(capsys, "features", "unit", "99", "--checkpoint", parent)
    assert "whole number" in refused(capsys, "features", "start", "--checkpoint", parent, "--channels", "a")


def test_what_ships_can_be_read() -> None:
    for name in GALLERIES.shipped_names():
        gallery = GALLERIES.load_shipped(name)
        if gallery.config.checkpoint not in BACKBONES:  # which does not ship
            assert gallery.config.fingerprint == find_checkpoint(gallery.config.checkpoint).card.fingerprint
        assert [unit.channel for unit in gallery.units] == list(gallery.config.channels)
