"""`measure` as a person or a script meets it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from core.compression.cli_measure import beside, row
from core.compression.results import Latency, Measurement
from core.data import load_images
from tests.tiny_text import write_text
from tests.unit.compression.compressible import stored
from tests.unit.compression.quick_measuring import ROW_FIELDS, quicken
from tests.unit.terminal import refused, run_main

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, lab_home: Path) -> None:
    quicken(monkeypatch)


@pytest.fixture
def pair(tmp_path: Path, tiny_dataset_folder: Path) -> tuple[str, str]:
    """Two networks for the same folder of images, the second of them smaller."""
    card = load_images(f"folder:{tiny_dataset_folder}").card
    return (
        stored(tmp_path / "large", dataset=card, classes=3, widths=[8, 8]),
        stored(tmp_path / "small", dataset=card, seed=1, classes=3, widths=[4, 8]),
    )


def test_rows_for_scripts(pair: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    code, output, said = run_main(capsys, "measure", *pair, "--json")
    assert code == 0, said
    one, two = json.loads(output)
    assert set(ROW_FIELDS) <= set(one)
    assert (one["name"], two["name"]) == pair
    assert one["stored_bytes"] == next(Path(pair[0]).glob("*.safetensors")).stat().st_size
    assert one["delta_points"] is None
    assert two["delta_points"] == pytest.approx(100 * (two["accuracy"] - one["accuracy"]))
    assert 0 <= two["p_value"] <= 1
    assert two["images"] == 60
    assert two["parameters"] < one["parameters"]
    assert set(two["latency_ms"]) == {"torch_b1", "torch_b64", "onnx_b1", "onnx_b64"}
    assert all(0 < found["p50"] <= found["p95"] for found in two["latency_ms"].values())
    assert "layers" not in two


def test_a_table_for_people(pair: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    code, output, _ = run_main(capsys, "measure", *pair, "--threads", "2")
    assert code == 0
    lines = {line.partition("  ")[0]: line for line in output.splitlines()}
    assert pair[0] in output.splitlines()[0]
    assert pair[1] in output.splitlines()[0]
    assert "x as fast" in lines["ONNX Runtime, batch 1 (ms)"]
    assert lines["threads"].split()[1:] == ["2", "2"]
    assert "60 answers differ" in lines["McNemar's p"]
    assert "1.50 MB" in lines["peak memory"]


def test_one_checkpoint_against_itself(pair: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    code, output, _ = run_main(capsys, "measure", pair[0], pair[0])
    assert code == 0
    assert f"{pair[0]} (again)" in output.splitlines()[0]
    assert "1.00 (0 of 60 answers differ)" in output


def test_without_the_dataset_it_measures_what_it_can(capsys: pytest.CaptureFixture[str], lab_home: Path) -> None:
    code, output, said = run_main(capsys, "measure", "simple_cnn", "simple_cnn", "--json")
    assert code == 0
    assert "python -m core data fetch cifar10" in said
    assert not (lab_home / "data").exists() or not any((lab_home / "data").rglob("*.npy")), "nothing was fetched"
    for values in json.loads(output):
        assert values["accuracy"] is values["p_value"] is None
        assert values["macs"] == 3_915_648
        assert values["size_bytes"]
        assert any("accuracy was not measured" in sentence for sentence in values["notes"])


def test_language_models(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from core.data import load_text

    card = load_text(f"text:{write_text(tmp_path, 20_000)}").card
    settings = {"vocabulary": len(card.vocabulary), "width": 24, "embedding": 8, "dropout": 0.0}
    names = [stored(tmp_path / f"w{layers}", "char_gru", card, layers=layers, **settings) for layers in (2, 1)]
    code, output, said = run_main(capsys, "measure", *names)
    assert code == 0, said
    assert "characters/s" in output
    assert "nats (" in output
    assert output.count("Times in ONNX Runtime and memory are not measured for language models") == 1
    assert "peak memory" not in output
    code, output, _ = run_main(capsys, "measure", *names, "--json")
    one, two = json.loads(output)
    assert two["delta_nats"] == pytest.approx(two["loss_nats"] - one["loss_nats"])
    assert two["characters_per_s"] > 0
    assert two["latency_ms"] == {}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("simple_cnn", "char_rnn"), "classifies images and Small RNN, Shakespeare writes text"),
        (("simple_cnn", "nothing"), "no checkpoint named 'nothing'"),
        (("simple_cnn", "fast_resnet", "--threads", "0"), "from 1 to 256"),
        (("simple_cnn",), "SECOND"),
    ],
)
def test_one_sentence_for_each_mistake(
    arguments: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert words in refused(capsys, "measure", *arguments)


def test_a_row_is_plain_and_says_what_is_missing() -> None:
    found = Measurement(
        id="1-x",
        title="x",
        parameters=3,
        latency_ms={"onnx_b1": Latency(p50=1.0, p95=2.0, original_p50=4.0, rounds=9)},
        accuracy_interval=(0.1, 0.2),
        stored_bytes=231_400,
        p_value=1e-5,
        disagreements=9,
        images=1000,
        notes=("A sentence.",),
    )
    values = row(found, "mine")
    assert json.loads(json.dumps(values)) == values
    assert values["name"] == "mine"
    assert values["latency_ms"] == {"onnx_b1": {"p50": 1.0, "p95": 2.0, "original_p50": 4.0, "rounds": 9}}
    assert values["accuracy"] is None
    assert values["notes"] == ["A sentence."]
    known = dataclasses.replace(found, id="original", accuracy=0.9433, p_value=None)
    lines = {line[""]: (line["A"], line["B"]) for line in beside([known, found], ["A", "B"])}
    assert lines["ONNX Runtime, batch 1 (ms)"] == ("1.00 (2.00)", "1.00 (2.00), 4.0x as fast")
    assert lines["weights file"] == ("231 kB", "231 kB")
    assert lines["accuracy (95%)"] == ("94.33% (10.0 to 20.0)", "–")
    assert lines["McNemar's p"] == ("–", "<0.001 (9 of 1,000 answers differ)")
    assert not {"loss", "what runs", "writes", "change (95%)"} & set(lines)
    assert np.isclose(found.latency_ms["onnx_b1"].speedup, 4)
