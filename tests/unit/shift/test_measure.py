"""A measurement is a run like any other: it stops, goes on with what is missing, and its figures are those of single images."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from core.checkpoints.store import Calibration, find_checkpoint, load_checkpoint
from core.common.errors import LabError
from core.data import DATASETS
from core.data.dataset import Split
from core.inference.evaluation import calibration_half, measure_calibration
from core.inference.images import answers_of, classify
from core.jobs import RunStore
from core.jobs.job import Stopped
from core.shift import job, measure
from core.shift.catalogue import CORRUPTIONS, RECOMPUTED, SEVERITIES
from core.shift.cli import new_config
from core.shift.corruptions import corrupt
from core.shift.image import contact_sheet
from core.shift.kind import SHIFT
from core.shift.measure import check_ten_classes, draw_images, maker, measure_part, measure_split
from core.shift.results import CLEAN, MEASUREMENTS, part_folder, read_measurement, unpack
from tests.unit.in_process import check_other_data_are_refused, finish
from tests.unit.shift.conftest import small_data, write_network
from tests.unit.terminal import answer, refused, run_main

FEW = ("impulse_noise", "contrast")


def test_a_stopped_measurement_goes_on_with_what_is_missing(
    networks: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = RunStore()
    config = new_config(networks, corruptions=FEW, images=40, seed=3)
    run_id = store.create(config, kind=SHIFT.name)
    calls: list[str] = []

    def stop_at_third(checkpoints: object, test: object, numbers: object, name: str, *rest: object) -> object:
        calls.append(name)
        if len(calls) == 3:
            raise Stopped("Stopped as asked")
        return measure_part(checkpoints, test, numbers, name, *rest)

    monkeypatch.setattr(job, "measure_part", stop_at_third)
    run = finish(store, run_id)
    assert (run.status, run.parts_done, run.parts) == ("stopped", 2, 3)
    assert run.resumable
    assert read_measurement(store.folder(run_id), store.config(run_id)).done == ("impulse_noise",)
    check_other_data_are_refused(store, run_id)
    run = finish(store, run_id)
    assert (run.status, run.parts_done) == ("finished", 3)
    assert calls == [CLEAN, *FEW, "contrast"], "what was done is not done again"
    found = read_measurement(store.folder(run_id), store.config(run_id))
    assert found.complete
    assert found.titles == ("Network 0", "Network 1")
    assert found.images == 40
    assert found.answer() in run.message
    assert SHIFT.page(run) == ("shift", {"view": "Measurements", "measurement": run_id})
    part_folder(store.folder(run_id), "contrast").joinpath("part.json").write_text("{}")
    assert read_measurement(store.folder(run_id), store.config(run_id)).done == ("impulse_noise",)

    # Each cell is what a plain loop over the images finds.
    data = small_data()
    numbers = draw_images(data, 40, 3)
    for place, name in enumerate(networks):
        checkpoint = load_checkpoint(find_checkpoint(name))
        images = np.stack(
            [corrupt(data.test.images[i][None], "impulse_noise", 4, seed=3, numbers=[int(i)])[0] for i in numbers]
        )
        answers = classify(checkpoint, images, "none")
        cell = found.cell(place, "impulse_noise", 4)
        labels = [data.card.classes[label] for label in data.test.labels[numbers]]
        assert unpack(cell.right).tolist() == [a.top[0][0] == label for a, label in zip(answers, labels, strict=True)]
        assert unpack(cell.flags).tolist() == [a.likely_none_of_these for a in answers]
        assert cell.confidence == pytest.approx(np.mean([a.top[0][1] for a in answers]), abs=1e-4)
    assert 0 < found.accuracy(0) < 1


def test_no_chunk_changes_a_figure(networks: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    data, checkpoint = small_data(), load_checkpoint("first")
    make, numbers = maker(data.test.images, 0), np.arange(30)
    whole = measure_part([checkpoint], data.test, numbers, "snow", make)
    monkeypatch.setattr(measure, "AT_ONCE", 7)
    shares: list[float] = []
    assert measure_part([checkpoint], data.test, numbers, "snow", make, shares.append) == whole
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1)


def test_test_images_that_calibrated_a_checkpoint_do_not_measure_its_calibration(networks: tuple[str, ...]) -> None:
    data, checkpoint = small_data(), load_checkpoint("first")
    calibration = Calibration(temperature=1.5, images=30, split="test")
    checkpoint = dataclasses.replace(checkpoint, card=dataclasses.replace(checkpoint.card, calibration=calibration))
    numbers = np.arange(10, 60)
    (cell,) = measure_part([checkpoint], data.test, numbers, CLEAN, maker(data.test.images, 0)).cells
    rest = numbers[~calibration_half(60)[numbers]]
    answers = answers_of(checkpoint, data.test.images[rest], "none")
    _, ece, _ = measure_calibration(answers, torch.from_numpy(data.test.labels[rest]), calibration)
    assert cell.ece == pytest.approx(ece, abs=1e-5)


def test_images_are_drawn_once_by_the_seed() -> None:
    data = small_data()
    first = draw_images(data, 20, 1)
    assert len(set(first.tolist())) == 20
    assert (np.sort(first) == first).all()
    assert (draw_images(data, 20, 1) == first).all()
    assert (draw_images(data, 20, 2) != first).any()
    assert (draw_images(data, 1000, 1) == np.arange(60)).all()


def test_bad_data_are_one_sentence(networks: tuple[str, ...], lab_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = small_data()
    empty = dataclasses.replace(data, test=Split(images=data.test.images[:0], labels=data.test.labels[:0]))
    with pytest.raises(LabError, match="has no test images"):
        draw_images(empty, 5, 0)
    lonely = dataclasses.replace(data, card=dataclasses.replace(data.card, classes=("cat",)))
    with pytest.raises(LabError, match="has one class"):
        draw_images(lonely, 5, 0)
    store = RunStore()
    other = dataclasses.replace(data, card=dataclasses.replace(data.card, classes=tuple("abcdefghij")))
    write_network(lab_home / "runs" / "third" / "best", 2, other)
    for names, words in ((("first", "third"), "know other images"), (("third",), "")):
        config = new_config(names, corruptions=("fog",), images=5)
        run = finish(store, store.create(config, kind=SHIFT.name))
        assert (run.status == "failed") == bool(words)
        assert words in run.message
    with pytest.raises(LabError, match="ten classes"):
        check_ten_classes(load_checkpoint("third"))
    changed = new_config(("first",), corruptions=("fog",), images=5).replace(fingerprints=("x",))
    assert "has changed" in finish(store, store.create(changed, kind=SHIFT.name)).message
    official = new_config(("first",), corruptions=("fog",), images=5, files="official")
    assert "are not on this machine" in finish(store, store.create(official, kind=SHIFT.name)).message
    monkeypatch.setitem(DATASETS, "cifar10", dataclasses.replace(DATASETS["cifar10"], load=lambda _: empty))
    gone = new_config(("first",), corruptions=("fog",), images=5)
    assert "has no test images" in finish(store, store.create(gone, kind=SHIFT.name)).message


def test_a_dataset_smaller_than_any_batch(networks: tuple[str, ...]) -> None:
    data, checkpoint = small_data(), load_checkpoint("first")
    part = measure_part([checkpoint], data.test, np.array([4]), "frost", maker(data.test.images, 0))
    assert [len(unpack(cell.right)) for cell in part.cells] == [1] * 5


def test_accuracy_on_other_images_of_the_same_classes(networks: tuple[str, ...]) -> None:
    data, checkpoint = small_data(), load_checkpoint("first")
    check_ten_classes(checkpoint)
    found = measure_split(checkpoint, data.validation)
    answers = classify(checkpoint, data.validation.images, "none")
    right = [a.top[0][0] == data.card.classes[k] for a, k in zip(answers, data.validation.labels, strict=True)]
    assert found.mean == pytest.approx(np.mean(right))
    assert found.low < found.mean < found.high


def test_one_image_through_all_of_them(networks: tuple[str, ...]) -> None:
    checkpoint, pixels = load_checkpoint("first"), small_data().test.images[7]
    sheet = contact_sheet(checkpoint, pixels, seed=2)
    assert list(sheet.rows) == list(CORRUPTIONS)
    assert {len(row) for row in sheet.rows.values()} == {5}
    for name in ("fog", "pixelate"):
        for item in sheet.rows[name]:
            assert (item.pixels == corrupt(pixels[None], name, item.severity, seed=2)[0]).all()
            (alone,) = classify(checkpoint, item.pixels[None], "none")
            assert (item.label, item.flips) == (alone.top[0][0], alone.top[0][0] != sheet.clean.label)
    first = [next((i.severity for i in row if i.label != sheet.clean.label), None) for row in sheet.rows.values()]
    assert [sheet.flips_at(name) for name in CORRUPTIONS] == first
    assert sheet.flipped == sum(item.flips for row in sheet.rows.values() for item in row)
    assert (f"in {sheet.flipped} of 95" in sheet.answer) or not sheet.flipped
    still = dataclasses.replace(
        sheet, rows={name: tuple(dataclasses.replace(i, flips=False) for i in row) for name, row in sheet.rows.items()}
    )
    assert "stays through all 95" in still.answer


def test_the_command_line(
    networks: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image

    store = RunStore()
    run_id = store.create(new_config(networks, corruptions=("contrast",), images=12), kind=SHIFT.name)
    finish(store, run_id)
    values = answer(capsys, "shift", "show", run_id, "--json")
    found = read_measurement(store.folder(run_id), store.config(run_id))
    assert values["checkpoints"][0]["accuracy"]["contrast"] == found.accuracies(0)[0].tolist()
    assert set(values["checkpoints"][1]["difference"]) == {"mean", "low", "high"}
    code, output, _ = run_main(capsys, "shift", "show", run_id)
    assert code == 0
    assert RECOMPUTED in output
    pixels = small_data().test.images[3]
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    values = answer(capsys, "shift", "image", str(tmp_path / "photo.png"), "--checkpoint", "first", "--json")
    assert len(values["rows"]) == 19
    code, _, _ = run_main(capsys, "shift", "corrupt", "fog", "--severity", "5", "--output", str(tmp_path / "fog.npy"))
    assert code == 0
    written = np.load(tmp_path / "fog.npy", allow_pickle=False)
    assert (written == corrupt(small_data().test.images, "fog", 5)).all()
    assert len(answer(capsys, "shift", "corruptions", "--json")) == 19
    for arguments, words in (
        (("corrupt", "rain", "-o", str(tmp_path / "x.npy")), "no corruption named"),
        (("corrupt", "fog", "--severity", "6", "-o", str(tmp_path / "x.npy")), "whole number from 1 to 5"),
        (("corrupt", "fog", "-o", str(tmp_path / "x.txt")), ".npy"),
        (("start", "--checkpoints", "nobody"), "no checkpoint named"),
        (("start", "--checkpoints", "first,first"), "each once"),
        (("start", "--checkpoints", "first", "--corruptions", "rain"), "no corruption named"),
        (("start", "--checkpoints", "first", "--images", "0"), "whole number from 1"),
        (("image", str(tmp_path / "nothing.png"), "--checkpoint", "first"), "cannot be read"),
    ):
        assert words in refused(capsys, "shift", *arguments)
    monkeypatch.setattr(MEASUREMENTS, "shipped", tmp_path)
    (tmp_path / "made.json").write_text(__import__("json").dumps(found.to_dict()))
    assert answer(capsys, "shift", "show", "made", "--json")["images"] == 12


def test_a_language_model_is_refused(lab_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (("start", "--checkpoints", "char_rnn"), ("renditions", "--checkpoint", "char_rnn")):
        assert "choose an image classifier" in refused(capsys, "shift", *arguments)


def test_every_severity_is_measured() -> None:
    assert SEVERITIES == (1, 2, 3, 4, 5)
