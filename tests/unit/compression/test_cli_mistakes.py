"""What `python -m core compress` refuses, in one sentence and before there is a run."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import pytest

from core.checkpoints.store import load_checkpoint, save_checkpoint
from core.compression.steps import Cluster, FineTune, Float16, HuffmanCode, Int8, PruneChannels, PruneWeights
from core.jobs import RunStore
from tests.unit.compression import synthetic_results as synthetic
from tests.unit.compression.compressing import only_queued, save_small
from tests.unit.terminal import refused, run_main

PRUNE = json.dumps([{"step": "prune_weights", "amount": 0.6}])


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory, tiny_dataset_folder: Path) -> Path:
    return save_small(tmp_path_factory.mktemp("checkpoints") / "small", tiny_dataset_folder)


@pytest.mark.parametrize(
    ("steps", "text", "needed"),
    [
        ((PruneWeights(), Cluster(), HuffmanCode()), False, False),
        ((PruneChannels(), Float16()), False, False),
        ((PruneChannels(importance="taylor"),), False, True),
        ((FineTune(),), False, True),
        ((Int8(),), False, True),
        ((Int8(),), True, False),
    ],
)
def test_steps_that_need_the_data_are_known(steps: tuple[Any, ...], text: bool, needed: bool) -> None:
    assert synthetic.config(*steps, text=text).needs_data is needed


MISTAKES = [
    (("start", "--recipe", "half"), "--checkpoint"),
    (("start", "--checkpoint", "SMALL"), "--recipe"),
    (("start", "--checkpoint", "nothing", "--recipe", "half"), "no checkpoint named 'nothing'"),
    (("start", "--checkpoint", "SMALL", "--recipe", "half", "--threads", "0"), "threads=0"),
    (("start", "--checkpoint", "SMALL", "--recipe", "half", "--seed", "x"), "whole number"),
    (("start", "--checkpoint", "SMALL", "--recipe", "half", "--device", "tpu"), "device must be"),
    (("start", "--checkpoint", "SMALL", "--recipe", "half", "--name", " "), "name"),
    (("export", "example", "/nowhere/at/all.csv"), "in a folder that is there"),
    (("export", "example", "/tmp"), "must end in .csv or .json"),
    (("resume", "nothing"), "There is no run"),
    (("resume", "x", "--seed", "1"), "--seed"),
    (("show", "../x"), "run id"),
]
RECIPES = [
    ("pancakes", "no recipe 'pancakes'"),
    ("text_half", "no recipe 'text_half'"),
    ('[{"step": "int8"', "nor JSON"),
    ("[" * 100_000, "nor JSON"),
    ('{"step": "int8"}', "a list of steps"),
    ("[]", "a list of steps"),
    ('[{"step": "pancakes"}]', "no step 'pancakes'"),
    ('[{"step": "float16", "bits": 3}]', "no setting named bits"),
    ('[{"step": "prune_weights", "amount": 1.5}]', "amount"),
    ('[{"step": "prune_channels", "amount": NaN}]', ""),
    ('[{"step": "int8"}, {"step": "float16"}]', "must be the last step"),
    ('[{"step": "distill", "student": "char_lstm"}]', "learn different things"),
    ('[{"step": "distill", "student_config": {"x": 1}}]', "no setting named x"),
    ("@", "is not a file"),
    ("@/nowhere/recipe.json", "No such file"),
]


@pytest.mark.parametrize(("arguments", "words"), MISTAKES, ids=[" ".join(case[0])[:60] for case in MISTAKES])
def test_a_mistake_is_one_sentence(
    home: Path, small: Path, arguments: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert words in refused(capsys, "compress", *(str(small) if item == "SMALL" else item for item in arguments))


@pytest.mark.parametrize(("recipe", "words"), RECIPES, ids=[case[0][:60] for case in RECIPES])
def test_a_recipe_that_cannot_be_made_is_one_sentence(
    home: Path, small: Path, recipe: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert words in refused(capsys, "compress", "start", "--checkpoint", str(small), "--recipe", recipe)


def test_a_file_that_is_no_recipe_is_refused(
    home: Path, small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "recipe"
    for content, words in ((b"\xff\xfe", "holds no text"), (b" " * 200_000, "too large"), (b"{", "nor JSON")):
        path.write_bytes(content)
        assert words in refused(capsys, "compress", "start", "--checkpoint", str(small), "--recipe", f"@{path}")


def test_only_a_file_is_read_as_a_recipe(
    home: Path, small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A device would never end, and a pipe waits for its other end."""
    os.mkfifo(tmp_path / "pipe")
    for path in ("/dev/zero", str(tmp_path / "pipe"), str(tmp_path)):
        assert "is not a file" in refused(
            capsys, "compress", "start", "--checkpoint", str(small), "--recipe", f"@{path}"
        )


def test_data_that_are_gone_are_missed_before_the_start(
    home: Path, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reference = load_checkpoint(str(small))
    card = dataclasses.replace(
        reference.card, dataset=dataclasses.replace(reference.card.dataset, name=f"folder:{tmp_path}/gone")
    )
    save_checkpoint(tmp_path / "orphan", reference.model, card)
    asked = ("--checkpoint", str(tmp_path / "orphan"), "--recipe")
    for recipe in ("int8", "fastest", "smallest", "student"):
        assert "The recipe needs it, because Small network was trained on it" in refused(
            capsys, "compress", "start", *asked, recipe
        )
    with only_queued(monkeypatch):
        code, output, said = run_main(capsys, "compress", "start", *asked, PRUNE, "--detach")
        assert code == 0
        assert "Without it accuracy is not measured" in said
        assert RunStore().get(output.strip()).status == "queued"
    save_checkpoint(tmp_path / "orphan", reference.model, dataclasses.replace(card, dataset=dataclasses.replace(
        reference.card.dataset, name="cifar10")))  # fmt: skip
    assert "python -m core data fetch cifar10" in refused(capsys, "compress", "start", *asked, "int8")
