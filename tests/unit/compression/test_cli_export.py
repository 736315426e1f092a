"""`export` as a person or a script meets it."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from core.checkpoints.store import Card, load_checkpoint, save_checkpoint
from core.compression.methods.int8 import to_int8
from core.compression.steps import Int8
from core.data import load_images
from core.inference.onnx_network import OnnxNetwork
from tests.unit.compression.compressible import SMALL_WRITERS, network, random_images, stored
from tests.unit.terminal import run_main

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def name(tmp_path_factory: pytest.TempPathFactory) -> str:
    return stored(tmp_path_factory.mktemp("export") / "net", widths=[4, 4])


def test_a_file_and_the_script_that_runs_it(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "net.onnx"
    target.write_text("what was there before")
    code, output, said = run_main(capsys, "export", "--checkpoint", name, "--output", str(target))
    assert code == 0, said
    assert f"{target}: {target.stat().st_size:,} bytes" in output
    assert "64 random images" in output
    assert "--script classify.py" in said
    assert OnnxNetwork(target.read_bytes()).metadata["checkpoint"] == "net", "without the folders above it"
    code, output, said = run_main(capsys, "export", "--checkpoint", name, "--output", str(target), "--snippet")
    assert code == 0
    assert "MODEL = 'net.onnx'" in output
    compile(output, "snippet", "exec")
    assert "bytes" in said
    assert os.listdir(tmp_path) == ["net.onnx"]
    script = tmp_path / "classify.py"
    asked = ("export", "--checkpoint", name, "--output", str(target), "--script", str(script))
    code, _, said = run_main(capsys, *asked)
    assert (code, script.read_text()) == (0, output), said


def test_it_is_compared_on_test_images(
    tmp_path: Path, tiny_dataset_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = load_images(f"folder:{tiny_dataset_folder}").card
    name = stored(tmp_path / "net", dataset=dataset, classes=3, widths=[4, 4])
    target = tmp_path / "net.onnx"
    code, output, said = run_main(capsys, "export", "--checkpoint", name, "--output", str(target), "--json")
    assert code == 0, said
    found = json.loads(output)
    assert found["compared"] == "60 test images"
    assert found["checkpoint"] == name
    assert found["format"] == "onnx"
    assert found["size_bytes"] == target.stat().st_size
    assert 0 <= found["largest_difference"] < 1e-4
    assert "net.onnx" in found["script"]


def test_an_int8_checkpoint_gives_its_own_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = to_int8(network("simple_cnn", widths=[4, 4]), random_images(32)[0], Int8(images=32))
    save_checkpoint(tmp_path / "int8", made.model, made.card, onnx=made.onnx)
    target = tmp_path / "net.onnx"
    code, _, said = run_main(capsys, "export", "--checkpoint", str(tmp_path / "int8"), "--output", str(target))
    assert code == 0, said
    inputs = np.random.default_rng(0).standard_normal((3, 3, 32, 32), dtype=np.float32)
    assert np.array_equal(OnnxNetwork(target.read_bytes()).logits(inputs), OnnxNetwork(made.onnx).logits(inputs))


def test_a_language_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = stored(tmp_path / "writer", "char_lstm", **SMALL_WRITERS["char_lstm"])
    target = tmp_path / "net.onnx"
    code, output, said = run_main(capsys, "export", "--checkpoint", name, "--output", str(target))
    assert code == 0, said
    assert "random characters" in output
    assert list(OnnxNetwork(target.read_bytes()).inputs) == ["tokens", "state_h", "state_c"]
    assert "float32" not in said


def test_a_language_model_in_8_bits_is_exported_in_float32_and_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = to_int8(network("char_gru", **SMALL_WRITERS["char_gru"]), None, Int8())
    save_checkpoint(tmp_path / "int8", made.model, made.card)
    target = tmp_path / "net.onnx"
    asked = ["export", "--checkpoint", str(tmp_path / "int8"), "--output", str(target)]
    code, output, said = run_main(capsys, *asked, "--json")
    assert code == 0, said
    assert "computes in float32" in said
    assert json.loads(output)["size_bytes"] > 4 * sum(value.numel() for value in made.model.parameters())
    code, _, said = run_main(capsys, *asked, "--format", "safetensors")
    assert (code, "computes" in said) == (0, False)


def test_weights_as_safetensors(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "net.safetensors"
    arguments = ["export", "--checkpoint", name, "--format", "safetensors", "--output", str(target)]
    code, output, said = run_main(capsys, *arguments, "--json")
    assert code == 0, said
    assert json.loads(output)["largest_difference"] == 0
    expected = load_checkpoint(name).model.state_dict()
    with safe_open(target, "pt") as file:
        assert set(file.keys()) == set(expected)
        assert all(file.get_tensor(key).equal(value) for key, value in expected.items())
        assert Card.from_json(file.metadata()["card"]).model == "simple_cnn"
    code, _, said = run_main(capsys, *arguments, "--snippet")
    assert (code, "no other file has a script" in said) == (2, True)


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("missing/net.onnx", "in a folder that is there"),
        ("/dev/null", "is a device or a pipe"),
    ],
)
def test_a_place_that_cannot_be_written_is_told_before_anything_is_done(
    output: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("")
    code, printed, said = run_main(capsys, "export", "--checkpoint", "no such one", "--output", output)
    assert (code, printed) == (2, "")
    assert words in said
    assert len(said.strip().splitlines()) == 1
    assert os.listdir() == ["file"]
    assert not Path("/dev/null").is_file()


def test_a_full_disk_leaves_what_was_there(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "net.onnx"
    target.write_text("what was there before")

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    code, printed, said = run_main(capsys, "export", "--checkpoint", name, "--output", str(target))
    assert (code, printed) == (1, "")
    assert "No space left on device" in said
    assert target.read_text() == "what was there before"
    assert os.listdir(tmp_path) == ["net.onnx"]


@pytest.mark.parametrize(("precision", "opset"), [("float32", 17), ("float16", 20)])
def test_precision_and_opset(
    precision: str, opset: int, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "net.onnx"
    asked = ("export", "--checkpoint", name, "--output", str(target), "--precision", precision, "--opset", str(opset))
    code, output, said = run_main(capsys, *asked, "--json")
    assert code == 0, said
    about = OnnxNetwork(target.read_bytes()).metadata
    assert (about["precision"], json.loads(about["opset"])) == (precision, opset)
    assert 0 < json.loads(output)["largest_difference"] < (1e-4 if precision == "float32" else 0.05)


def test_int8_is_made_on_the_way_out(
    tmp_path: Path, tiny_dataset_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = load_images(f"folder:{tiny_dataset_folder}").card
    name = stored(tmp_path / "net", dataset=dataset, classes=3, widths=[4, 4])
    target = tmp_path / "net.onnx"
    asked = ("export", "--checkpoint", name, "--output", str(target), "--precision", "int8", "--json")
    code, output, said = run_main(capsys, *asked)
    assert code == 0, said
    network = OnnxNetwork(target.read_bytes())
    assert network.metadata["precision"] == "int8"
    assert json.loads(network.metadata["threshold"]) is not None
    assert json.loads(network.metadata["compression"])["steps"][0]["step"] == "int8"
    assert "it names the same class as its original" in json.loads(output)["notes"][0]


def test_what_is_not_offered_is_said(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    writer = stored(tmp_path / "writer", "char_lstm", **SMALL_WRITERS["char_lstm"])
    asked = ("export", "--output", str(tmp_path / "net.onnx"), "--checkpoint")
    for arguments, words in (
        ((writer, "--precision", "int8"), "Language models cannot be exported in int8"),
        ((name, "--precision", "int8"), "int8 needs training images"),
        ((name, "--opset", "16"), "from 17 to 22"),
        ((name, "--precision", "int8", "--opset", "17"), "Files in int8 have opset 20"),
        ((name, "--format", "card", "--precision", "float16"), "has no choice of precision"),
        ((name, "--format", "pt2", "--opset", "17"), "has no choice of precision"),
        ((writer, "--format", "web"), "cannot be exported as web"),
        ((writer, "--format", "pt2"), "cannot be exported as pt2"),
        ((name, "--format", "card", "--snippet"), "no other file has a script"),
    ):
        code, _, said = run_main(capsys, *asked, *arguments)
        assert (code, words in said) == (2, True), said
    assert os.listdir(tmp_path) == ["writer"]


def test_a_model_card(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "card.md"
    code, output, said = run_main(capsys, "export", "--checkpoint", name, "--output", str(target), "--format", "card")
    assert code == 0, said
    assert "differs" not in output
    assert target.read_text().startswith("# Original\n")


def test_a_program_of_torch_export(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target, script = tmp_path / "net.pt2", tmp_path / "classify.py"
    asked = (
        "export",
        "--checkpoint",
        name,
        "--output",
        str(target),
        "--format",
        "pt2",
        "--script",
        str(script),
        "--json",
    )
    code, output, said = run_main(capsys, *asked)
    assert code == 0, said
    assert json.loads(output)["largest_difference"] < 1e-4
    assert "torch.export.load" in script.read_text()
    compile(script.read_text(), "script", "exec")
