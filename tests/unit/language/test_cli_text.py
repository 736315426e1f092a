"""The command line with language models: train, measure, look; and what may be wrong with a text. Writing: `generate`."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import pytest

from core.common.errors import LabError
from core.data import load_text
from core.training.cli import dataset_name
from core.training.recipes import get_recipe
from tests.tiny_text import play
from tests.unit.in_process import follow
from tests.unit.terminal import ROOT, answer, refused, run_main

UNSEEN = "Ωmega ✓ naïve"
"""Ends the text, in its validation part; three of its characters are in no other place."""


@pytest.fixture(scope="module")
def book(home: Path) -> Path:
    path = home / "my book.txt"
    path.write_text(play(20_000) + UNSEEN)
    return path


@pytest.fixture(scope="module")
def trained(home: Path, book: Path) -> dict[str, Any]:
    """What `train --json` printed for a network that learned a little of the book."""
    output, _ = follow(
        *("train", "--model", "char_rnn", "--recipe", "quick", "--dataset", os.path.relpath(book), "--epochs", "4"),
        *("--batch-size", "8", "--window", "32", "--eval-every", "2", "--seed", "3", "--json"),
        *("--model-config", "width=32", "--model-config", "embedding=16"),
    )
    values: dict[str, Any] = json.loads(output)
    return values


def test_a_text_file_is_trained_on_by_its_path_alone(trained: dict[str, Any], book: Path) -> None:
    assert trained["status"] == "finished"
    assert trained["config"]["dataset"] == f"text:{book}", "the worker has another working directory"
    assert trained["config"]["window"] == 32
    assert trained["config"]["lr"] == 2e-3, "what is not given is the recipe's"
    assert trained["checkpoint"] == trained["run_id"]


def test_a_language_model_is_measured_on_validation(
    trained: dict[str, Any], book: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = trained["run_id"]
    values = answer(capsys, "evaluate", "--checkpoint", run_id, "--json")
    assert (values["checkpoint"], values["dataset"], values["split"]) == (run_id, f"text:{book}", "validation")
    assert values["loss_nats"] == pytest.approx(trained["best_val_loss_nats"], rel=1e-4)
    assert values["bits_per_character"] == pytest.approx(values["loss_nats"] / math.log(2))
    size = 20_000 + len(UNSEEN) - int(0.9 * (20_000 + len(UNSEEN)))
    assert values["skipped"] == 3, "Ω, ✓ and ï"
    assert values["characters"] == size - 1 - 3
    assert 0.2 < values["accuracy"] < 1
    assert values["seconds"] > 0
    assert answer(capsys, "evaluate", "--checkpoint", run_id, "--split", "validation", "--json")
    code, output, _ = run_main(capsys, "evaluate", "--checkpoint", run_id)
    assert code == 0
    assert f"{values['bits_per_character']:.4f} bits per character" in output
    assert "not scored: 3" in output
    rows = answer(capsys, "checkpoints", "--json")
    assert {row["task"] for row in rows} == {"generation", "images", "text"}
    assert next(row["val_loss_nats"] for row in rows if row["name"] == run_id) == pytest.approx(values["loss_nats"])
    assert f"{values['loss_nats']:.4g}" in run_main(capsys, "checkpoints")[1]
    assert f"{values['loss_nats']:.3f} nats" in run_main(capsys, "runs")[1]
    assert "char_rnn (text)" in run_main(capsys, "models")[1]


def test_a_language_model_is_measured_on_a_text_of_ones_own(
    trained: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def measured(data: bytes) -> tuple[int, str, str]:
        path = tmp_path / "own.txt"
        path.write_bytes(data)
        return run_main(capsys, "evaluate", "--checkpoint", trained["run_id"], "--text", str(path), "--json")

    code, output, _ = measured(b"\xef\xbb\xbfANNA:\r\nThe r\xc3\xafver.\r\n")
    values = json.loads(output)
    assert code == 0
    assert (values["dataset"], values["split"]) == (f"text:{tmp_path / 'own.txt'}", "whole")
    assert values["characters"] + values["skipped"] == len("ANNA:\nThe river.\n") - 1
    assert values["skipped"] == 1
    assert json.loads(measured(b"abc")[1])["characters"] == 2
    for data, words in (
        (b"", "empty"),
        (b"a", "at least two"),
        ("一九四九年".encode(), "no character to score"),
        (b"caf\xe9 au lait", "is not UTF-8, and its encoding is not certain: add --encoding NAME"),
        (bytes(range(256)), "not plain text"),
        ("text".encode("utf-16"), "UTF-16"),
    ):
        code, output, said = measured(data)
        assert (code, output) == (2, "")
        assert words in said.splitlines()[-1]


def test_what_was_written_at_each_evaluation_can_be_read(
    trained: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = trained["run_id"]
    rows = answer(capsys, "runs", run_id, "--samples", "--json")
    assert [row["epoch"] for row in rows] == [2, 4]
    code, output, _ = run_main(capsys, "runs", run_id, "--samples")
    assert code == 0
    assert "--- epoch 2, step " in output
    assert all(row["text"] in output for row in rows)


LATIN = "Où est le café, là-bas ? ".encode("latin-1") * 200
BAD_TEXTS = {
    "binary.txt": ("not plain text", bytes(range(256)) * 20),
    "short.txt": ("has 3 characters", b"abc"),
    "empty.txt": ("empty", b""),
    "latin.txt": ("latin.txt looks like Windows-1252 or Latin-1 (Western Europe): add --encoding cp1252.", LATIN),
    "same.txt": ("repeats one character", b"a" * 5000),
    "missing.txt": ("missing.txt", None),
}


def test_what_cannot_be_trained_on_is_told_before_there_is_a_run(
    trained: dict[str, Any], tmp_path: Path, tiny_dataset_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = []
    for name, (words, data) in BAD_TEXTS.items():
        if data is not None:
            (tmp_path / name).write_bytes(data)
        cases += [
            (("--model", "char_lstm", "--dataset", f"{prefix}{tmp_path / name}"), words) for prefix in ("", "text:")
        ]
    cases += [
        (("--model", "char_lstm", "--dataset", "cifar10"), "learns text and CIFAR-10 holds images"),
        (("--model", "char_gpt", "--dataset", f"folder:{tiny_dataset_folder}"), "holds images"),
        (("--dataset", "tiny_shakespeare"), "learns images and Tiny Shakespeare holds text"),
        (("--model", "char_lstm", "--window", "0"), "window"),
        (("--model", "char_lstm", "--dataset", "text:"), "path"),
    ]
    for arguments, words in cases:
        assert words in refused(capsys, "train", *arguments)


def test_a_text_in_another_encoding_is_measured_and_kept_in_utf8(
    trained: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "latin.txt"
    path.write_bytes(LATIN.replace(b"?", b"?\r\n"))
    flags = ("--checkpoint", trained["run_id"], "--text", str(path))
    assert "add --encoding cp1252" in refused(capsys, "evaluate", *flags)
    code, output, said = run_main(capsys, "evaluate", *flags, "--encoding", "cp1252", "--json")
    assert code == 0
    assert "latin.txt: 200 carriage returns were removed." in said
    values = json.loads(output)
    assert values["characters"] + values["skipped"] == len(LATIN) + 200 - 1
    config = get_recipe("char_lstm", "quick")
    name = dataset_name(config.replace(dataset=f"text:{path}"), "cp1252")
    assert load_text(name).text == LATIN.decode("cp1252").replace("?", "?\n")
    assert "latin.txt" in load_text(name).card.title
    with pytest.raises(LabError, match="is for a text file"):
        dataset_name(config, "cp1252")


def test_flags_for_images_are_none_for_text(trained: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    named = ("--checkpoint", trained["run_id"])
    for arguments, words in (
        (("evaluate", *named, "--tta", "flip"), "leave --tta out"),
        (("evaluate", *named, "--split", "test"), "no test split"),
        (("evaluate", *named, "--split", "validation", "--text", "a.txt"), "leave --split out"),
        (("evaluate", *named, "--text", str(ROOT)), "is a folder"),
        (("evaluate", *named, "--text", "nul\0.txt"), "not a file name"),
        (("evaluate", "--checkpoint", "simple_cnn", "--text", "a.txt"), "leave --text and --encoding out"),
        (("evaluate", *named, "--encoding", "cp1252"), "give one with --text"),
        (("classify", "a.png", *named), "choose an image classifier"),
    ):
        assert words in refused(capsys, *arguments)


def test_a_text_that_became_another_one_is_noticed(
    trained: dict[str, Any], book: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = book.read_bytes()
    try:
        book.write_text("The validation part has moved. " + play(20_000))
        code, output, said = run_main(capsys, "evaluate", "--checkpoint", trained["run_id"])
        assert code == 0
        assert "has changed since" in said
        book.write_text("§" + play(20_000))
        code, output, said = run_main(capsys, "evaluate", "--checkpoint", trained["run_id"])
        assert (code, output) == (2, "")
        assert "no longer has the characters" in said
        book.unlink()
        assert "There is no text file" in refused(capsys, "evaluate", "--checkpoint", trained["run_id"])
    finally:
        book.write_bytes(before)
