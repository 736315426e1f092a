"""`explain` as a person or a script meets it: an image, the list of methods, a report, one sentence for each mistake."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from core.attribution.evidence import measure
from core.attribution.evidence import report as report_module
from core.attribution.evidence.curves import control_curves, curves, verdict
from core.attribution.evidence.report import Report
from core.attribution.explainer import Explainer
from core.attribution.figures import overlay_png
from core.attribution.methods.registry import METHODS, get_method
from core.checkpoints.store import Card, load_checkpoint, save_checkpoint
from core.data import load_images
from core.data.decode import fit_to_model
from core.inference.images import normalise
from core.models import build_model
from tests.unit.terminal import refused, run_main

KEYS = {
    *("file", "checkpoint", "method", "settings", "target", "target_index", "predicted", "probability", "baseline"),
    *("seed", "scores", "controls", "verdict", "milliseconds", "output", "array", "inputs", "notes"),
}
NEEDED = ("--checkpoint", "simple_cnn")


def stored(folder: Path, data: Path, model: str = "simple_cnn", **settings: object) -> str:
    torch.manual_seed(0)
    config = {"classes": 3, **settings}
    card = Card(title="Small", model=model, model_config=config, dataset=load_images(f"folder:{data}").card)
    save_checkpoint(folder, build_model(model, config), card)
    return str(folder)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory, tiny_dataset_folder: Path) -> str:
    return stored(tmp_path_factory.mktemp("small"), tiny_dataset_folder, widths=[8, 8])


@pytest.fixture
def image(tiny_dataset_folder: Path) -> str:
    return str(tiny_dataset_folder / "test" / "cross" / "0001.png")


def test_a_image_for_scripts(
    small: str, image: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], lab_home: Path
) -> None:
    out, array = tmp_path / "map.png", tmp_path / "map.npy"
    asked = (
        "--method",
        "occlusion",
        "--set",
        "window=8",
        "--set",
        "stride=4",
        "--target",
        "square",
        "--baseline",
        "blur",
    )
    files = ("--output", str(out), "--array", str(array), "--opacity", "0.5", "--percentile", "90")
    code, output, said = run_main(
        capsys, "explain", "image", image, "--checkpoint", small, *asked, *files, "--seed", "3", "--json"
    )
    assert code == 0, said
    row = json.loads(output)
    assert set(row) == KEYS
    checkpoint = load_checkpoint(small)
    explainer, method = Explainer(checkpoint), get_method("occlusion", {"window": 8, "stride": 4})
    pixels = np.asarray(Image.open(image).convert("RGB"))
    made = explainer.attribute(method, pixels, 2, baseline="blur", seed=3)
    assert row["settings"] == {"window": 8, "stride": 4}
    assert (row["target"], row["target_index"], row["baseline"], row["seed"]) == ("square", 2, "blur", 3)
    probabilities = explainer.probabilities(explainer.inputs(pixels))[0]
    assert row["probability"] == pytest.approx(float(probabilities[2]), abs=1e-6)
    assert row["predicted"] == ("circle", "cross", "square")[int(probabilities.argmax())]
    own = curves(explainer, pixels, 2, {"map": made.magnitude}, seed=3)["map"]
    controls = control_curves(explainer, pixels, 2, seed=3)
    assert row["scores"]["score"] == pytest.approx(own.score)
    assert row["scores"]["insertion"] == pytest.approx(own.insertion.area)
    assert row["scores"]["completeness_gap"] is None
    assert 0 <= row["scores"]["infidelity"] <= 1
    assert {name: item["score"] for name, item in row["controls"].items()} == pytest.approx(
        {name: item.score for name, item in controls.items()}
    )
    assert row["verdict"] == verdict(own, controls).label
    assert row["milliseconds"] > 0
    assert (row["output"], row["array"], row["inputs"]) == (str(out), str(array), str(tmp_path / "map.input.npy"))
    raw, inputs = (np.load(row[name], allow_pickle=False) for name in ("array", "inputs"))
    assert raw.dtype == inputs.dtype == np.float32
    assert raw.shape == inputs.shape == (3, 32, 32)
    assert raw.flags.c_contiguous
    np.testing.assert_array_equal(raw, made.values)
    wanted = normalise(torch.from_numpy(pixels[None].copy()), checkpoint.card)[0].numpy()
    np.testing.assert_array_equal(inputs, wanted)
    drawn = overlay_png(made.pixels, pixels, signed=True, opacity=0.5, percentile=90)
    assert out.read_bytes() == drawn
    assert sorted(path.name for path in tmp_path.iterdir()) == ["map.input.npy", "map.npy", "map.png"]


def test_a_image_for_people(
    small: str, tiny_dataset_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], lab_home: Path
) -> None:
    large = tmp_path / "large.png"  # of another size, and with something to be told
    Image.open(tiny_dataset_folder / "test" / "circle" / "0000.png").resize((64, 64)).convert("RGBA").save(large)
    transparent = Image.open(large)
    transparent.putalpha(200)
    transparent.save(large)
    code, output, said = run_main(capsys, "explain", "image", str(large), "--checkpoint", small)
    assert code == 0, said
    lines = output.splitlines()
    assert lines[0].startswith(f"{large}: Integrated Gradients (steps=50, max_gap=0.01) for ")
    assert [line.split()[0] for line in lines[2:7]] == ["map", "Integrated", "a", "an", "a"]
    assert "On this image: " in output
    assert "completeness gap" in output
    assert "transparency on white" in said
    target = lines[0].rpartition(" ")[2]
    pixels = fit_to_model(np.asarray(Image.open(large).convert("RGB")), 32)
    assert pixels.shape == (32, 32, 3)
    code, output, _ = run_main(
        capsys, "explain", "image", str(large), "--checkpoint", small, "--target", target, "--json"
    )
    assert json.loads(output)["predicted"] == target, "what is explained is what is predicted, where nothing is asked"


def test_the_map_is_of_the_chosen_square(small: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (64, 128, 3), dtype=np.uint8)
    Image.fromarray(rgb).save(tmp_path / "whole.png")
    Image.fromarray(rgb[16:48, 64:96]).save(tmp_path / "cut.png")
    maps = []
    for name, square in (("whole", ("--square", "0.5,0.25,0.5")), ("cut", ())):
        array = tmp_path / f"{name}.npy"
        arguments = ("explain", "image", str(tmp_path / f"{name}.png"), "--checkpoint", small, "--method", "saliency")
        code, _, said = run_main(capsys, *arguments, *square, "--array", str(array))
        assert code == 0, said
        maps.append(np.load(array))
    assert np.array_equal(*maps)


def test_a_image_that_cannot_be_measured_has_a_map_without_scores(
    small: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], lab_home: Path
) -> None:
    Image.new("RGB", (32, 32), (200, 30, 30)).save(tmp_path / "red.png")
    arguments = ("explain", "image", str(tmp_path / "red.png"), "--checkpoint", small, "--method", "saliency")
    code, output, said = run_main(capsys, *arguments, "--json")
    assert code == 0, said
    row = json.loads(output)
    assert row["controls"] is row["verdict"] is row["scores"]["score"] is None
    assert "no map can be measured" in row["notes"][0]
    code, output, said = run_main(capsys, *arguments)
    assert code == 0
    assert "no map can be measured" in said
    words = refused(capsys, *arguments[:5], "--method", "occlusion", "--baseline", "blur")
    assert "no difference to explain" in words


def test_methods_are_listed(
    small: str, tmp_path: Path, tiny_dataset_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, output, _ = run_main(capsys, "explain", "methods", "--json")
    assert code == 0
    rows = {row["method"]: row for row in json.loads(output)}
    assert list(rows) == list(METHODS)
    assert rows["integrated_gradients"]["settings"] == {"steps": 50, "max_gap": 0.01}
    assert (rows["saliency"]["forward"], rows["saliency"]["backward"]) == (1, 1)
    assert "refusal" not in rows["lrp"]
    smooth = stored(tmp_path / "gelu", tiny_dataset_folder, "fast_resnet", widths=[8, 8, 8], activation="gelu")
    code, output, _ = run_main(capsys, "explain", "methods", "--checkpoint", smooth)
    assert code == 0
    assert f"guided_backprop cannot explain {smooth}: " in output
    assert f"saliency cannot explain {smooth}" not in output
    rows = {
        row["method"]: row
        for row in json.loads(run_main(capsys, "explain", "methods", "--checkpoint", smooth, "--json")[1])
    }
    assert "GELU" in rows["guided_backprop"]["refusal"]
    assert rows["saliency"]["refusal"] is None
    image = str(tiny_dataset_folder / "test" / "cross" / "0001.png")
    arguments = (
        "explain",
        "image",
        image,
        "--checkpoint",
        smooth,
        "--method",
        "guided_backprop",
        "--output",
        str(tmp_path / "m.png"),
    )
    assert rows["guided_backprop"]["refusal"] in refused(capsys, *arguments)
    assert not (tmp_path / "m.png").exists()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A report of two methods with few samples."""
    monkeypatch.setattr(report_module, "methods_for", lambda model: ("saliency", "guided_backprop"))
    monkeypatch.setattr(measure, "INFIDELITY_SAMPLES", 5)


def test_a_report(
    quick: None,
    small: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    lab_home: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out, work = tmp_path / "report.json", tmp_path / "work.jsonl"
    arguments = ("explain", "report", "--checkpoint", small, "--images", "3", "--seed", "2", "--work", str(work))
    code, output, said = run_main(capsys, *arguments, "--output", str(out))
    assert code == 0, said
    report = Report.from_dict(json.loads(out.read_text()))
    assert (len(report.images), report.config.seed, report.config.checkpoint) == (3, 2, small)
    lines = output.splitlines()
    assert lines[1].split()[:3] == ["method", "score", "other"]
    assert {line.split("  ")[0] for line in lines[2:7]} == {row.title for row in report.rows()}
    score = report.rows()[0].score
    assert score is not None
    assert f"{score.mean:+.3f} ({score.low:+.3f} to {score.high:+.3f})" in lines[2]
    assert "hardware: " in lines[-1]
    code, output, said = run_main(capsys, *arguments, "--json")
    assert code == 0, said
    values = json.loads(output)
    assert (values["images"], values["left_out"]) == (3, 0)
    assert [row["name"] for row in values["rows"]] == [row.name for row in report.rows()]
    assert values["rows"][0]["score"] == {"mean": score.mean, "low": score.low, "high": score.high, "n": 3}
    assert "another machine" in refused(capsys, *arguments, "--baseline", "black")
    monkeypatch.setattr(report_module.REPORTS, "shipped", tmp_path)
    (tmp_path / "fast_resnet.json").write_bytes(out.read_bytes())
    code, shown, _ = run_main(capsys, "explain", "show", "fast_resnet")
    assert code == 0
    assert shown.splitlines() == lines
    assert "but for fast_resnet" in refused(capsys, "explain", "show", "simple_cnn")


def test_what_a_report_needs(small: str, capsys: pytest.CaptureFixture[str], lab_home: Path) -> None:
    assert "python -m core data fetch cifar10" in refused(capsys, "explain", "report", *NEEDED)
    report = ("explain", "report", "--checkpoint", small)
    assert "from 2 to" in refused(capsys, *report, "--images", "1")
    for flags, words in ((("--images", "61"), "60 test images"), (("--images", "3", "--jobs", "0"), "from 1 to 64")):
        code, output, said = run_main(capsys, *report, *flags)
        assert (code, output) == (2, "")
        assert words in said.splitlines()[-1], "after how far the images were loaded"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("image", "IMAGE", "--checkpoint", "nothing"), "no checkpoint named 'nothing'"),
        (("image", "IMAGE", "--checkpoint", "char_rnn"), "knows no images"),
        (("methods", "--checkpoint", "char_rnn"), "knows no images"),
        (("report", "--checkpoint", "char_rnn"), "knows no images"),
        (("image", "IMAGE", *NEEDED, "--target", "lorry"), "choose one of airplane, automobile"),
        (("image", "IMAGE", *NEEDED, "--method", "astrology"), "saliency"),
        (("image", "IMAGE", *NEEDED, "--baseline", "pink"), "black"),
        (("image", "IMAGE", *NEEDED, "--set", "samples=3"), "steps"),
        (("image", "IMAGE", *NEEDED, "--set", "steps"), "KEY=VALUE"),
        (("image", "IMAGE", *NEEDED, "--set", "steps=many"), "from 2 to 2,000"),
        (("image", "IMAGE", *NEEDED, "--method", "smoothgrad", "--set", "noise=nan"), "from 0.001 to 2"),
        (("image", "IMAGE", *NEEDED, "--method", "grad_cam", "--set", "layer=7"), "one of"),
        (("image", "IMAGE", *NEEDED, "--seed", "-1"), "from 0 to"),
        (("image", "IMAGE", *NEEDED, "--output", "FOLDER/map.jpg"), "must end in .png"),
        (("image", "IMAGE", *NEEDED, "--output", "IMAGE"), "would be lost"),
        (("image", "IMAGE", *NEEDED, "--array", "FOLDER/map.npz"), "must end in .npy"),
        (("image", "IMAGE", *NEEDED, "--opacity", "1.5"), "from 0 to 1"),
        (("image", "IMAGE", *NEEDED, "--percentile", "nan"), "from 1 to 100"),
        (("image", "IMAGE", *NEEDED, "--device", "abacus"), "no device 'abacus'"),
        (("image", "FOLDER", *NEEDED), "is a folder"),
        (("image", "FOLDER/none.png", *NEEDED), "cannot be read"),
        (("report", *NEEDED, "--output", "FOLDER/report.csv"), "must end in .json"),
        (("report", *NEEDED, "--work", "FOLDER"), "not a file that can be written"),
    ],
)
def test_one_sentence_for_each_mistake(
    arguments: tuple[str, ...],
    words: str,
    image: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    lab_home: Path,
) -> None:
    given = [item.replace("IMAGE", image).replace("FOLDER", str(tmp_path)) for item in arguments]
    assert words in refused(capsys, "explain", *given)
    assert list(tmp_path.iterdir()) == []


def test_what_an_error_asks_for_is_taken(
    small: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], lab_home: Path
) -> None:
    """A chessboard of single pixels has no pieces along its colours; squares can be cut all the same."""
    board = tmp_path / "board.png"
    Image.fromarray((255 * (np.indices((32, 32)).sum(0) % 2)).astype(np.uint8)).save(board)
    few = ("--method", "feature_ablation", "--set", "cells=9")
    code, output, said = run_main(
        capsys, "explain", "image", str(board), "--checkpoint", small, *few, "--set", "superpixels=grid", "--json"
    )
    assert code == 0, said
    assert json.loads(output)["settings"]["superpixels"] == "grid"


def test_a_map_of_zeros_is_not_scored_by_lot(
    tiny_dataset_folder: Path, image: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], lab_home: Path
) -> None:
    folder = Path(stored(tmp_path / "blank", tiny_dataset_folder, widths=[8, 8]))
    checkpoint = load_checkpoint(str(folder))
    with torch.no_grad():
        checkpoint.model.head.weight.zero_()
    save_checkpoint(folder, checkpoint.model, checkpoint.card)
    code, output, said = run_main(
        capsys, "explain", "image", image, "--checkpoint", str(folder), "--method", "saliency", "--json"
    )
    assert code == 0, said
    row = json.loads(output)
    assert row["verdict"] is None
    assert row["scores"]["score"] is None
    assert row["notes"] == ["The map is zero everywhere: the method found nothing to say."]
