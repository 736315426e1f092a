"""A set of images is a run like any other: it stops, goes on with what is missing, and is a dataset at its end."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from core.checkpoints.store import find_checkpoint, load_checkpoint
from core.common.errors import LabError
from core.common.values import wilson
from core.data import load_images
from core.data.dataset import ImageDataset
from core.inference.generator import make_images
from core.jobs import RunStore
from core.jobs.job import Stopped
from core.jobs.store import LOG
from core.synthesis import job
from core.synthesis.cli import config_for
from core.synthesis.job import labels_of, read_set
from core.synthesis.kind import SYNTHESIS
from core.synthesis.path import slerp, trace_path
from core.synthesis.results import ImageSet, Rate
from tests.unit.in_process import check_other_data_are_refused, finish
from tests.unit.terminal import answer, refused


def test_a_set_that_was_stopped_has_the_images_of_one_that_was_not_and_is_a_dataset(
    parent: str, data: ImageDataset, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(job, "PART_IMAGES", 20)
    monkeypatch.setattr("core.synthesis.job.parts", lambda config: -(-config.images // 20))
    store, config = RunStore(), config_for(parent, images=50, guidance=1.0, steps=2, seed=3)
    run_id = store.create(config, "Set", kind=SYNTHESIS.name)
    usual, calls = make_images, []

    def cut(*arguments: object, **settings: object) -> np.ndarray:
        calls.append(settings["first"])
        if len(calls) == 2:
            raise Stopped("Stopped as asked")
        return usual(*arguments, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr(job, "make_images", cut)
    assert finish(store, run_id).status == "stopped"
    assert read_set(store.folder(run_id), config).headline == "20 of 50 images are made"
    check_other_data_are_refused(store, run_id)
    run = finish(store, run_id)
    assert run.status == "finished", (run.message, (store.folder(run_id) / LOG).read_text()[-1500:])
    assert calls == [0, 20, 20, 40]  # what was there was not made again

    checkpoint = load_checkpoint(find_checkpoint(parent))
    labels = labels_of(50, 10)
    whole = usual(checkpoint.model, checkpoint.card.pixel_data, labels, seed=3, steps=2, guidance=1.0)
    kept = load_images(f"generated:{run_id}")
    assert np.abs(kept.train.images.astype(int) - whole).max() <= 1
    assert np.array_equal(kept.train.labels, labels)
    assert np.array_equal(kept.test.images, data.test.images)

    found = read_set(store.folder(run_id), config)
    assert found.trained_on == 120
    assert found.floor is not None
    assert found.distance is not None
    assert found.distance > found.floor
    assert found.recognised is not None
    assert found.recognised.share < 0.35  # chance is a tenth
    assert not found.copies["pixels"].copies
    assert ImageSet.from_dict(found.to_dict()) == dataclasses.replace(found, made=found.made)
    shown = answer(capsys, "synthesize", "show", run_id, "--json")
    assert shown["distance"] == found.distance


def test_what_cannot_be_made_is_one_sentence(parent: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(LabError, match="choose a generator"):
        config_for("simple_cnn", images=20)
    for flags in (["--images", "3"], ["--steps", "0"], ["--guidance", "11"], ["--checkpoint", "nothing"]):
        refused(capsys, "synthesize", "start", *(() if "--checkpoint" in flags else ("--checkpoint", parent)), *flags)
    refused(capsys, "synthesize", "images", "unicorn", "--checkpoint", parent)
    refused(capsys, "classify", "x.png", "--checkpoint", parent)
    changed = RunStore()
    config = config_for(parent, images=20, steps=1).replace(fingerprint="0" * 12)
    run = finish(changed, changed.create(config, kind=SYNTHESIS.name))
    assert run.status == "failed"
    assert "has changed" in run.message


def test_images_as_files(parent: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ("--checkpoint", parent, "--count", "3", "--steps", "1", "--out", str(tmp_path), "--json")
    said = answer(capsys, "synthesize", "images", *flags)
    assert [Path(item["file"]).is_file() for item in said["images"]] == [True] * 3
    assert len({item["class"] for item in said["images"]}) == 3


def test_a_path_begins_with_its_noise_and_ends_with_its_image(parent: str) -> None:
    checkpoint = load_checkpoint(find_checkpoint(parent))
    card = checkpoint.card.pixel_data
    path = trace_path(checkpoint, 4, 2, 9, seed=0, steps=5, guidance=1.0)
    ends = [
        make_images(checkpoint.model, card, np.array([4]), seed=0, steps=5, guidance=1.0, first=noise)[0]
        for noise in (2, 9)
    ]
    for shown, wanted in ((path.frames[-1], ends[0]), (path.between[0], ends[0]), (path.between[-1], ends[1])):
        assert np.abs(shown.astype(int) - wanted).max() <= 1
    assert path.times == (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


def test_between_two_noises_the_length_stays() -> None:
    torch.manual_seed(0)
    first, last = torch.randn(1, 3, 32, 32), torch.randn(1, 3, 32, 32)
    lengths = [float(slerp(first, last, share).norm()) for share in (0, 0.25, 0.5, 1)]
    assert max(lengths) / min(lengths) < 1.03
    assert torch.allclose(slerp(first, last, 1.0), last, atol=1e-5)
    assert torch.equal(slerp(first, first, 0.5), first)


def test_a_rate_has_the_interval_of_wilson_and_a_damaged_file_is_refused() -> None:
    assert Rate(hits=3, images=40).interval == wilson(3, 40)
    with pytest.raises(ValueError, match="rate"):
        Rate.from_dict({"hits": 5, "images": 4})
