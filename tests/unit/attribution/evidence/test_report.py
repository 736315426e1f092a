"""A report of all methods over many images: right by hand, the same from the same seed, gone on with, read and refused."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from core.attribution.evidence.curves import control_curves, curves
from core.attribution.evidence.measure import image_seed
from core.attribution.evidence.report import REPORTS, ImageScores, Report, make_report
from core.attribution.evidence.road import road
from core.attribution.evidence.scores import FIGURES
from core.attribution.evidence.stability import control_infidelity, cover_squares, infidelity, max_sensitivity
from core.attribution.explainer import Explainer
from core.attribution.method import Method
from core.attribution.methods.registry import QUICK, SLOW, get_method
from core.checkpoints.store import Card, CheckpointRef, find_checkpoint, load_checkpoint, save_checkpoint
from core.common.errors import LabError
from core.data import ImageDataset, Split
from core.models import build_model
from tests.unit.builders import synthetic
from tests.unit.terminal import ROOT

pytestmark = pytest.mark.slow

DATA = synthetic(train=8, held_out=12)
METHODS_HERE: tuple[Method, ...] = (
    get_method("saliency"),
    get_method("deeplift"),
    get_method("smoothgrad", {"samples": 2}),
    get_method("integrated_gradients", {"steps": 3}),
)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> CheckpointRef:
    torch.manual_seed(0)
    config = {"classes": 4, "widths": [8, 8]}
    card = Card(title="Small", model="simple_cnn", model_config=config, dataset=DATA.card)
    folder = tmp_path_factory.mktemp("small")
    save_checkpoint(folder, build_model("simple_cnn", config), card)
    return find_checkpoint(str(folder))


def make(reference: CheckpointRef, dataset: ImageDataset = DATA, **asked: Any) -> Iterator[ImageScores | Report]:
    given: dict[str, Any] = {"images": 4, "sensitivity_images": 1, "methods": METHODS_HERE} | asked
    return make_report(reference, dataset, **given)


def whole(made: Iterator[ImageScores | Report]) -> Report:
    *images, report = made
    assert isinstance(report, Report)
    assert all(isinstance(item, ImageScores) for item in images)
    return report


def timeless(report: Report) -> Any:
    """All but times and dates."""
    values = json.loads(json.dumps(report.to_dict()))
    for figures in values["values"].values():
        figures.pop("milliseconds", None)
    return values | {"config": values["config"] | {"made": None}}


@pytest.fixture(scope="module")
def report(reference: CheckpointRef) -> Report:
    return whole(make(reference))


def test_every_value_is_what_asking_for_it_gives(report: Report, reference: CheckpointRef) -> None:
    explainer = Explainer(load_checkpoint(reference))
    place, index = 0, report.images[0]
    pixels, seed = DATA.test.images[index], image_seed(0, index)
    target = int(explainer.logits(explainer.inputs(pixels)).argmax())
    beside = DATA.test.images[report.images[1]]
    beside_target = int(explainer.logits(explainer.inputs(beside)).argmax())
    assert report.targets[:2] == (target, beside_target)
    assert report.labels[place] == DATA.test.labels[index]
    covered = cover_squares(explainer, pixels, target, baseline=report.config.baseline, seed=seed)
    for method in METHODS_HERE:
        made = explainer.attribute(method, pixels, target, seed=seed)
        other = explainer.attribute(method, beside, beside_target, seed=image_seed(0, report.images[1]))
        maps = {"own": made.magnitude, "signed": made.pixels, "other": other.magnitude}
        areas = curves(explainer, pixels, target, maps, seed=seed)
        wanted = {
            "insertion": areas["own"].insertion.area,
            "deletion": areas["own"].deletion.area,
            "for_against": areas["signed"].score if method.name in ("deeplift", "integrated_gradients") else None,
            "other": areas["other"].score,
            "road": road(explainer, pixels, target, {"own": made.magnitude}, seed)["own"],
            "infidelity": infidelity(made, covered),
            "gap": made.gap,
            "sensitivity": max_sensitivity(explainer, method, pixels, target, samples=5, seed=seed),
        }
        for figure, value in wanted.items():
            found = report.column(method.name, figure)[place]
            assert math.isnan(found) if value is None else found == pytest.approx(value, rel=1e-4, abs=1e-6), (
                f"{method.name}: {figure}"
            )
        assert report.column(method.name, "milliseconds")[place] > 0
    controls = control_curves(explainer, pixels, target, seed=seed)
    errors = control_infidelity(pixels, covered, seed=seed)
    for name, item in controls.items():
        assert report.column(name, "score")[place] == pytest.approx(item.score, abs=2e-5)
        assert report.column(name, "infidelity")[place] == pytest.approx(errors[name], rel=1e-4)
        assert math.isnan(report.column(name, "milliseconds")[place])
    assert not np.isnan(report.column("saliency", "sensitivity")[:1]).any()
    assert np.isnan(report.column("saliency", "sensitivity")[1:]).all()


def test_another_seed_and_more_images(report: Report, reference: CheckpointRef) -> None:
    other = whole(make(reference, seed=1, methods=METHODS_HERE[:1]))
    assert other.images != report.images
    more = whole(make(reference, images=6, methods=METHODS_HERE[:1]))
    assert more.images[:4] == report.images, "a smaller report is the beginning of a larger one"
    assert len(set(more.images)) == 6


def test_several_processes_give_the_same(report: Report, reference: CheckpointRef) -> None:
    assert timeless(whole(make(reference, jobs=2))) == timeless(report)


def test_an_interrupted_report_goes_on(report: Report, reference: CheckpointRef, tmp_path: Path) -> None:
    work = tmp_path / "work.jsonl"
    begun = make(reference, work=work)
    first = list(itertools.islice(begun, 2))
    begun.close()  # type: ignore[attr-defined]
    assert [item.index for item in first if isinstance(item, ImageScores)] == list(report.images[:2])
    with work.open("a") as file:
        file.write('{"index": 3, "lab')  # as a crash leaves it
    *rest, again = make(reference, work=work)
    assert [item.index for item in rest if isinstance(item, ImageScores)] == list(report.images[2:])
    assert isinstance(again, Report)
    assert timeless(again) == timeless(report)
    assert again.column("saliency", "milliseconds")[0] == first[0].values["saliency"]["milliseconds"]  # type: ignore[union-attr]
    assert len(work.read_text().splitlines()) == 1 + 4
    assert list(make(reference, work=work)) == [again], "nothing is left to do"
    before = work.read_bytes()
    for other in ({"seed": 1}, {"images": 5}, {"baseline": "black"}):
        with pytest.raises(LabError, match="is not the work file of this report"):
            next(make(reference, work=work, **other))
    assert work.read_bytes() == before


def test_work_files_that_cannot_be(reference: CheckpointRef, tmp_path: Path) -> None:
    mine = tmp_path / "letter.txt"
    mine.write_text("Dear")
    for path, words in (
        (mine, "of something else"),
        (tmp_path, "not a file"),
        (tmp_path / "no" / "w", "cannot be used"),
    ):
        with pytest.raises(LabError, match=words):
            next(make(reference, work=path))
    assert mine.read_text() == "Dear"


def test_it_can_be_stopped_within_a_image(reference: CheckpointRef) -> None:
    shares: list[float] = []

    def watch(share: float) -> None:
        shares.append(share)
        if len(shares) == 4:
            raise KeyboardInterrupt

    threads = torch.get_num_threads()
    with pytest.raises(KeyboardInterrupt):
        list(make(reference, on_progress=watch))
    assert shares == sorted(shares)
    assert 0 < shares[-1] < 1 / 4
    assert torch.get_num_threads() == threads


def flat(count: int) -> ImageDataset:
    """The test split's first images without any content, which cannot be measured."""
    images = DATA.test.images.copy()
    images[:count] = 120
    return dataclasses.replace(DATA, test=Split(images=images, labels=DATA.test.labels))


def test_what_cannot_be_measured_is_left_out_and_counted(reference: CheckpointRef) -> None:
    found = whole(make(reference, flat(9), images=12, methods=METHODS_HERE[:1]))
    assert set(found.left_out) == set(range(9))
    assert all("the same as its baseline" in sentence for sentence in found.left_out.values())
    assert len(found.images) == 3
    assert found.rows()[0].score is not None
    assert found.rows()[0].score.n == 3
    assert Report.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    with pytest.raises(LabError, match="needs two images that can be measured"):
        list(make(reference, flat(12), methods=METHODS_HERE[:1]))


def test_refused_methods_are_told(tmp_path: Path) -> None:
    config = {"classes": 4, "widths": [8, 8, 8], "activation": "gelu"}
    card = Card(title="GELU", model="fast_resnet", model_config=config, dataset=DATA.card)
    save_checkpoint(tmp_path, build_model("fast_resnet", config), card)
    made = whole(
        make(find_checkpoint(str(tmp_path)), images=2, methods=[get_method(name) for name in ("saliency", "lrp")])
    )
    assert set(made.config.methods) == set(made.values) - {"random", "edges", "blob"} == {"saliency"}
    assert "GELU" in made.config.refused["lrp"]


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"images": 1}, "at least 2"),
        ({"images": 13}, "12 test images"),
        ({"jobs": 0}, "from 1 to 64"),
        ({"baseline": "pink"}, "no baseline 'pink'"),
    ],
)
def test_what_cannot_be_asked(reference: CheckpointRef, asked: dict[str, Any], words: str) -> None:
    with pytest.raises(LabError, match=words):
        next(make(reference, **asked))


def test_a_dataset_with_other_classes_is_refused(reference: CheckpointRef) -> None:
    other = dataclasses.replace(DATA, card=dataclasses.replace(DATA.card, classes=("x", "y", "z", "w")))
    with pytest.raises(LabError, match="no longer has the classes"):
        next(make(reference, other))


def test_a_report_survives_a_file(report: Report) -> None:
    text = json.dumps(report.to_dict())
    again = Report.from_dict(json.loads(text))
    assert again == report
    assert again.rows() == report.rows()
    cells = sum(len(column) for figures in report.values.values() for column in figures.values())
    assert len(text) < 12 * cells + 3000, "200 images of 14 methods stay below 400 kB"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("format",), 1),
        (("config", "removal"), ["pink"]),
        (("config", "removal"), 5),
        (("config",), 5),
        (("config", "surprise"), 1),
        (("config", "classes"), None),
        (("config", "methods"), {}),
        (("config", "methods", "saliency"), {"steps": 3}),
        (("config", "methods", "astrology"), {}),
        (("config", "baseline"), "pink"),
        (("config", "requested"), 5),
        (("config", "requested"), True),
        (("config", "refused"), {"saliency": "It is measured, too."}),
        (("config", "refused"), {"lime": 3}),
        (("config", "made", "date"), 3),
        (("images",), [0, 0, 1, 2]),
        (("images",), [0, 1]),
        (("images", 0), -1),
        (("images", 0), "0"),
        (("targets", 0), 4),
        (("values",), {}),
        (("values", "saliency"), None),
        (("values", "saliency", "insertion", 0), 1.5),
        (("values", "saliency", "insertion", 0), None),
        (("values", "edges", "insertion", 0), None),
        (("values", "saliency", "other", 0), -1.5),
        (("values", "saliency", "road", 0), 1.5),
        (("values", "saliency", "insertion", 0), "a"),
        (("values", "saliency", "insertion", 0), math.nan),
        (("values", "saliency", "insertion"), [0.1]),
        (("values", "saliency", "insertion"), [0.1] * 5),
        (("values", "saliency", "beauty"), [0.1] * 4),
        (("values", "edges"), {}),
        (("values", "integrated_gradients", "gap", 1), -0.5),
        (("values", "integrated_gradients", "gap", 1), 10**400),
        (("left_out",), {"7": "Too many."}),
        (("left_out",), []),
    ],
)
def test_what_is_damaged_is_one_sentence(report: Report, path: tuple[Any, ...], value: Any) -> None:
    values = json.loads(json.dumps(report.to_dict()))
    inner = values
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    with pytest.raises(LabError) as told:
        Report.from_dict(values)
    assert len(str(told.value).splitlines()) == 1
    assert str(told.value).endswith(".")


@pytest.mark.parametrize("values", [None, 5, [], {}, {"format": 1}])
def test_what_is_no_report(values: Any) -> None:
    with pytest.raises(LabError):
        Report.from_dict(values)


@pytest.mark.parametrize("name", REPORTS.shipped_names())
def test_what_ships_is_of_the_checkpoint_that_ships(name: str) -> None:
    found = REPORTS.load_shipped(name)
    assert found.config.fingerprint == find_checkpoint(name).card.fingerprint
    assert set(found.config.methods) | set(found.config.refused) == {*QUICK, *SLOW}
    assert len(found.images) == found.config.requested - len(found.left_out) == 200
    assert found.config.sensitivity_images == 20
    rows = {row.name: row for row in found.rows()}
    assert abs(rows["random"].score.mean) < 0.03, "a random map scores zero"
    assert (REPORTS.shipped / f"{name}.json").stat().st_size < 400_000
    assert all(row.score is not None for row in found.rows())
    assert set(FIGURES) >= set(found.values["saliency"])


def test_reading_a_report_imports_no_torch() -> None:
    code = "import sys, core.attribution.evidence.report as r; r.REPORTS.shipped_names(); print({*HEAVY} & set(sys.modules))"
    code = code.replace("HEAVY", repr(("torch", "captum", "sklearn", "skimage")))
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
