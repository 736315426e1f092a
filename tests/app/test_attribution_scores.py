"""Attribution / Scores, and the table that Explain opens with: a report of figures that were made up. Files of one map."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

import core.attribution.evidence.report
from core.attribution.evidence.controls import CONTROLS
from core.attribution.evidence.curves import control_curves, curves, verdict
from core.attribution.evidence.scores import ImageScores, Report, ReportConfig, build_report
from core.attribution.explainer import Explainer
from core.attribution.methods.registry import QUICK, get_method
from core.checkpoints.store import Card, find_checkpoint, load_checkpoint
from core.data.dataset import ImageCard
from core.data.decode import decode_image, fit_to_model
from core.jobs import RunStore
from pages.attribution.files import Measured, map_scores, npy_bytes
from pages.attribution.query import AttributionQuery
from pages.attribution.reports import over_many_images
from pages.attribution.scores import csv_row, headline
from pages.shared.image_view import look
from pages.shared.resources import forget_runs
from pages.shared.tables import csv_bytes
from pages.shared.upload_box import InputImage
from tests.app.conftest import HOSTILE, Open, chart, click, random_image, rerun, sources, texts
from tests.app.conftest import table as first_table

IMAGES = 12
LEVELS = {"saliency": 0.2, "grad_cam": 0.7, "integrated_gradients": 0.5, "random": 0.1, "edges": 0.3, "blob": 0.2}
"""Insertion of each; deletion is 0.1 throughout, so the score is 0.1 less."""
REFUSED = "LRP has no rule for operations outside of layers (add)."


@pytest.fixture(autouse=True)
def shipped_report(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, warm: None) -> Path:
    """Where reports ship; empty."""
    monkeypatch.setattr(core.attribution.evidence.report.REPORTS, "shipped", tmp_path / "reports")
    (tmp_path / "reports").mkdir()
    return tmp_path / "reports"


def made_up(card: Card, *, levels: dict[str, float] = LEVELS, title: str = "Tiny", problem: str = "") -> Report:
    assert isinstance(card.dataset, ImageCard)
    random = np.random.default_rng(0)
    config = ReportConfig(
        checkpoint="tiny",
        title=title,
        fingerprint=card.fingerprint,
        dataset="cifar10",
        classes=card.dataset.classes,
        requested=IMAGES,
        methods={name: {} for name in levels if name not in CONTROLS},
        refused={"lrp": REFUSED},
        made={"hardware": "two cores", "date": "2026-01-01", "seconds": "125"},
    )

    def scores(index: int) -> ImageScores:
        if problem and index == 0:
            return ImageScores(index=0, label=0, target=0, problem=problem)
        values = {
            name: {"insertion": float(level + random.normal(0, 0.01)), "deletion": 0.1, "infidelity": 0.4}
            | ({} if name in CONTROLS else {"milliseconds": 20.0 + index, "other": 0.05})
            for name, level in levels.items()
        }
        return ImageScores(index=index, label=index % 10, target=1, values=values)

    return build_report(config, [scores(index) for index in range(IMAGES)])


def ship(folder: Path, report: Report) -> Report:
    (folder / "tiny.json").write_text(json.dumps(report.to_dict()))
    return report


def opened(open_page: Open, view: str = "Scores") -> AppTest:
    return open_page("attribution", view=view)


def test_methods_stand_in_three_groups_and_the_table_has_the_figures(
    open_page: Open, shipped: Card, shipped_report: Path
) -> None:
    report = ship(shipped_report, made_up(shipped))
    at = opened(open_page)
    best = float(report.column("grad_cam", "score").mean())
    said = "2 of 3 methods beat every control; Grad-CAM scores highest"
    assert f"### On 12 test images, {said} (+{best:.2f})" in texts(at)
    groups = {trace["name"]: trace["y"] for trace in chart(at, 0)["data"]}
    assert groups.pop("control")
    assert groups == {
        "better than every control": ["Grad-CAM", "Integrated Gradients"],
        "worse than a control": ["Saliency"],
    }
    rows = first_table(at) | first_table(at, 1)
    names = [name.strip("*").replace("\N{NON-BREAKING HYPHEN}", "-") for name in rows["Method"]]
    assert names == [
        "Grad-CAM",
        "Integrated Gradients",
        "Saliency",
        "Random map",
        "Edge detector (Sobel)",
        "Blob in the centre",
    ]
    assert rows["Verdict"][:3] == ["✓ better than the controls", "✓ better than the controls", "✗ no better than edges"]
    assert set(rows["Verdict"][3:]) == {"*control*"}
    assert rows["Score"][0].startswith(f"+{best:.2f} (+")
    assert rows["Infidelity"] == ["0.40"] * 6
    assert rows["Another image's map"] == ["0.05"] * 3 + ["–"] * 3
    assert rows["Time"] == ["26 ms"] * 3 + ["–"] * 3
    assert rows["Sensitivity"] == ["–"] * 6
    drawn = {name for trace in chart(at, 0)["data"] for name in trace["y"]}
    assert drawn == set(names)


def test_how_it_was_made_is_said_and_what_was_left_out(open_page: Open, shipped: Card, shipped_report: Path) -> None:
    ship(shipped_report, made_up(shipped, problem="The image is the same as its baseline (blur)."))
    at = opened(open_page)
    said = texts(at)
    assert "On 11 test images" in said
    assert "1 more could not be measured: The image is the same as its baseline (blur)." in said
    assert f"LRP. {REFUSED}" in said.replace("*", "")
    assert "two cores, 2026-01-01, 2 min 5 s" in said
    asked = "saliency,grad_cam,integrated_gradients,lrp"
    command = f"python -m core explain report --images 12 --methods {asked} --seed 0 --checkpoint tiny"
    assert at.code[1].value == command
    values = made_up(shipped, levels=LEVELS | {"blob": 0.95}).to_dict()
    values["config"]["fingerprint"] = "0" * 64
    (shipped_report / "tiny.json").write_text(json.dumps(values))
    at = opened(open_page)
    assert "none of 3 methods beats every control" in texts(at)
    assert "The checkpoint has changed since this report was made" in at.warning[0].value


def test_without_a_report_a_form_starts_a_run_and_its_report_is_shown(
    open_page: Open, ten_classes: None, submitted: list[str], shipped: Card, shipped_report: Path
) -> None:
    at = opened(open_page)
    assert "The methods were not scored on this checkpoint yet" in texts(at)
    assert set(at.multiselect(key="report-methods").value) == set(QUICK), "a Simple CNN refuses none"
    at.multiselect(key="report-methods").set_value(["saliency", "grad_cam"])
    rerun(at.number_input(key="report-images").set_value(12))
    assert (at.query_params["score"], at.query_params["images"]) == ("saliency,grad_cam", "12")
    click(at, "start-scores")
    [run_id] = submitted
    config = RunStore().config(run_id)
    assert (config.checkpoint, config.methods, config.images) == ("tiny", ("saliency", "grad_cam"), 12)
    at = open_page("attribution", view="Scores", checkpoint="tiny", report=run_id)
    assert at.button(key="stop" if RunStore().get(run_id).active else "resume")
    folder = RunStore().folder(run_id)
    (folder / "report.json").write_text(json.dumps(made_up(shipped).to_dict()))
    values = json.loads((folder / "status.json").read_text())
    (folder / "status.json").write_text(json.dumps(values | {"status": "finished", "message": "Done."}))
    forget_runs()
    at = open_page("attribution", view="Scores", checkpoint="tiny", report=run_id)
    assert "2 of 3 methods beat every control" in texts(at)
    assert "12 images are few: a score is known to ±" in texts(at)
    assert over_many_images(find_checkpoint("tiny"), "grad_cam") == "Over 12 test images it beats every control."
    assert not over_many_images(find_checkpoint("tiny"), "lime")


@pytest.mark.parametrize("data", [b"", b"{}", b"[1, 2]", b'{"format": 1}'])
def test_a_damaged_report_is_one_sentence(open_page: Open, shipped: Card, shipped_report: Path, data: bytes) -> None:
    (shipped_report / "tiny.json").write_bytes(data)
    at = opened(open_page)
    assert len(at.error) == 1
    assert at.selectbox(key="checkpoint")


def test_what_a_report_says_is_no_markup(open_page: Open, shipped: Card, shipped_report: Path) -> None:
    ship(shipped_report, made_up(shipped, title=HOSTILE, problem=HOSTILE))
    at = opened(open_page)
    assert HOSTILE in texts(at)
    assert "![" not in sources(at)


def test_the_file_has_every_interval(shipped: Card) -> None:
    report = made_up(shipped)
    read_back = list(csv.DictReader(io.StringIO(csv_bytes(map(csv_row, report.rows())).decode())))
    assert [row["method"] for row in read_back][:3] == ["grad_cam", "integrated_gradients", "saliency"]
    score = report.column("grad_cam", "score")
    assert float(read_back[0]["score"]) == pytest.approx(score.mean())
    assert float(read_back[0]["score_low"]) < score.mean() < float(read_back[0]["score_high"])
    assert read_back[0]["score_n"] == str(IMAGES)
    assert read_back[3]["control"] == "True"


def test_files_say_all_that_was_measured(shipped: Card) -> None:
    pixels = fit_to_model(decode_image(random_image()).rgb)
    explainer = Explainer(load_checkpoint(find_checkpoint("tiny")))
    attribution = explainer.attribute(get_method("occlusion"), pixels, 3)
    asked = AttributionQuery(
        reference=find_checkpoint("tiny"),
        image=InputImage(data=random_image(), title="photo.png"),
        seen=look(random_image(), 32),
        probabilities=(0.1,) * 10,
        target=attribution.target,
        baseline="mean",
    )
    found = curves(explainer, pixels, attribution.target, {"map": attribution.magnitude})["map"]
    judged = verdict(found, control_curves(explainer, pixels, attribution.target))
    measured = Measured(curves=found, verdict=judged, infidelity=float("nan"), sensitivity=None)
    values = json.loads(json.dumps(map_scores(asked, attribution, measured), allow_nan=False))
    assert values["score"] == found.score
    assert values["settings"] == {"window": 4, "stride": 2}
    assert values["controls"] == judged.controls
    assert values["infidelity"] is None
    assert [row["insertion"] for row in values["curves"]] == found.insertion.probabilities.tolist()
    array = np.load(io.BytesIO(npy_bytes(attribution.values)))
    assert array.dtype == np.float32
    assert np.array_equal(array, attribution.values)


def test_methods_within_the_interval_of_the_best_are_named_with_it(shipped: Card) -> None:
    close = made_up(shipped, levels=LEVELS | {"integrated_gradients": LEVELS["grad_cam"] - 0.001})
    words = headline(close, close.rows())
    assert "scores highest" in words
    assert words.endswith((", Grad-CAM within its interval.", ", Integrated Gradients within its interval."))
    apart = made_up(shipped)
    assert "within its interval" not in headline(apart, apart.rows())
