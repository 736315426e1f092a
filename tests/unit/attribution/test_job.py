"""Methods scored in a worker: stopped and gone on with, the report is that of one go; what cannot be is one sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from core.attribution import job as scores_job
from core.attribution.config import ScoresConfig
from core.attribution.evidence.cost import report_seconds
from core.attribution.evidence.report import Report, make_report
from core.attribution.explainer import Explainer
from core.attribution.kind import SCORES
from core.attribution.methods.registry import QUICK, get_method
from core.attribution.store import WORK, read_report
from core.checkpoints.store import Card, find_checkpoint, save_checkpoint
from core.common.errors import LabError
from core.data import load_images
from core.jobs import RunStore
from core.jobs.job import Stopped
from core.models import build_model
from core.training.config import TrainConfig
from tests.tiny import write_class_folders
from tests.unit.in_process import finish
from tests.unit.terminal import run_main

METHODS = ("saliency", "grad_cam")


@pytest.fixture
def network(tmp_path: Path) -> str:
    """An untrained network of an own folder's three classes."""
    data = load_images(f"folder:{write_class_folders(tmp_path / 'shapes', train=3, test=2)}")
    torch.manual_seed(0)
    config = {"classes": 3, "widths": [8, 8]}
    card = Card(title="Shapes", model="simple_cnn", model_config=config, dataset=data.card)
    save_checkpoint(tmp_path / "network", build_model("simple_cnn", config), card)
    return str(tmp_path / "network")


def create(store: RunStore, network: str, **settings: Any) -> str:
    card = find_checkpoint(network).card
    given: dict[str, Any] = {"methods": METHODS, "images": 4, "sensitivity_images": 1, "device": "cpu"} | settings
    config = ScoresConfig(checkpoint=network, model=card.model, dataset=card.dataset.name, **given)
    return store.create(config, kind=SCORES.name)


def timeless(report: Report | None) -> Any:
    assert report
    values = json.loads(json.dumps(report.to_dict()))
    for figures in values["values"].values():
        figures.pop("milliseconds", None)
    return values | {"config": values["config"] | {"made": None}}


def test_a_stopped_run_goes_on_and_ends_with_the_report_of_one_go(
    lab_home: Path, network: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store = RunStore(lab_home / "runs")
    run_id = create(store, network)
    show = scores_job.ScoresProgress.show

    def stop_after_two(self: scores_job.ScoresProgress, share: float) -> None:
        show(self, share)
        if share >= 0.5:
            raise Stopped("Stopped as asked")

    with monkeypatch.context() as patch:
        patch.setattr(scores_job.ScoresProgress, "show", stop_after_two)
        stopped = finish(store, run_id)
    assert (stopped.status, stopped.parts_done, stopped.parts) == ("stopped", 2, 4)
    assert stopped.resumable
    assert stopped.keeps_work
    assert read_report(store, run_id) is None
    kept = (store.folder(run_id) / WORK).read_bytes()
    ended = finish(store, run_id)
    assert (ended.status, ended.parts_done) == ("finished", 4), ended.message
    assert (store.folder(run_id) / WORK).read_bytes().startswith(kept), "no image is measured twice"
    card = find_checkpoint(network).card
    asked = [get_method(name) for name in METHODS]
    data = load_images(card.dataset.name)
    *_, whole = make_report(find_checkpoint(network), data, images=4, sensitivity_images=1, methods=asked)
    assert isinstance(whole, Report)
    assert timeless(read_report(store, run_id)) == timeless(whole)
    page, query = SCORES.page(ended)
    assert (page, query["report"], query["checkpoint"]) == ("attribution", run_id, network)
    code, output, _ = run_main(capsys, "explain", "show", run_id, "--json")
    assert code == 0
    assert json.loads(output)["images"] == 4


def test_what_cannot_be_scored_is_said(lab_home: Path, network: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = RunStore(lab_home / "runs")
    many = finish(store, create(store, network, images=50))
    assert many.status == "failed"
    assert "has 6 test images" in many.message
    with pytest.raises(LabError, match="no attribution method"):
        ScoresConfig(checkpoint="a", methods=("magic",))
    with pytest.raises(LabError, match="choose at least one"):
        ScoresConfig(checkpoint="a", methods=())
    monkeypatch.setattr(Explainer, "refusal", lambda self, method: "It has no ReLU.")
    none = finish(store, create(store, network))
    assert none.message == "No chosen method can explain this network: choose others. It has no ReLU."
    with pytest.raises(LabError, match="does not score methods"):
        read_report(store, store.create(TrainConfig()))


def test_the_estimate_grows_with_images_methods_and_the_network() -> None:
    quick = [get_method(name) for name in QUICK]
    one = {"forward_s": 0.001, "backward_s": 0.001}
    base = report_seconds(quick, 32, 50, 5, **one)
    assert report_seconds(quick, 32, 100, 5, **one) == pytest.approx(2 * base, rel=0.05)
    assert report_seconds(quick, 32, 50, 5, **one, processes=2) == pytest.approx(base / 2)
    assert report_seconds([*quick, get_method("occlusion")], 32, 50, 5, **one) > base + 50 * 0.2
    assert report_seconds(quick, 32, 50, 5, forward_s=0.01, backward_s=0.01) > 5 * base
