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
    ((), "--checkpoint NAME is missing"),
    (("--recipe", "half"), "--checkpoint NAME is missing"),
    (("--checkpoint", "SMALL"), "--recipe PRESET is missing"),
    (("--checkpoint", "nothing", "--recipe", "half"), "no checkpoint named 'nothing'"),
    (("--checkpoint", "SMALL", "--recipe", "pancakes"), "no recipe 'pancakes'"),
    (("--checkpoint", "SMALL", "--recipe", "text_half"), "no recipe 'text_half'"),
    (("--checkpoint", "SMALL", "--recipe", '[{"step": "int8"'), "nor JSON"),
    (("--checkpoint", "SMALL", "--recipe", "[" * 100_000), "nor JSON"),
    (("--checkpoint", "SMALL", "--recipe", '{"step": "int8"}'), "a list of steps"),
    (("--checkpoint", "SMALL", "--recipe", "[]"), "a list of steps"),
    (("--checkpoint", "SMALL", "--recipe", '[{"step": "pancakes"}]'), "no step 'pancakes'"),
    (("--checkpoint", "SMALL", "--recipe", '[{"step": "float16", "bits": 3}]'), "no setting named bits"),
    *(
        (("--checkpoint", "SMALL", "--recipe", f'[{{"step": "{step}", "amount": {amount}}}]'), "above 0 and below 1")
        for step, amount in (
            *(("prune_weights", 0), ("prune_weights", 1), ("prune_weights", 1.5)),
            *(("prune_channels", 0), ("prune_channels", 1), ("prune_channels", "NaN")),
        )
    ),
    (("--checkpoint", "SMALL", "--recipe", '[{"step": "int8", "images": 1}]'), "from 16 to"),
    (("--checkpoint", "SMALL", "--recipe", '[{"step": "int8"}, {"step": "float16"}]'), "must be the last step"),
    (("--checkpoint", "SMALL", "--recipe", '[{"step": "distill", "student": "char_lstm"}]'), "learn different things"),
    (
        ("--checkpoint", "SMALL", "--recipe", '[{"step": "distill", "student_config": {"x": 1}}]'),
        "no setting named x",
    ),
    (("--checkpoint", "SMALL", "--recipe", "@"), "is not a file"),
    (("--checkpoint", "SMALL", "--recipe", "@/nowhere/recipe.json"), "No such file"),
    (("--checkpoint", "SMALL", "--recipe", "half", "--threads", "0"), "threads=0"),
    (("--checkpoint", "SMALL", "--recipe", "half", "--seed", "-1"), "seed=-1"),
    (("--checkpoint", "SMALL", "--recipe", "half", "--seed", "x"), "invalid int"),
    (("--checkpoint", "SMALL", "--recipe", "half", "--device", "tpu"), "device must be"),
    (("--checkpoint", "SMALL", "--recipe", "half", "--name", " "), "name"),
    (("--checkpoint", "SMALL", "--recipe", "half", "--export", "/nowhere/at/all.csv"), "--export"),
    (("--checkpoint", "SMALL", "--recipe", "half", "--export", "/tmp"), "must end in .csv or .json"),
    (("--checkpoint", "SMALL", "--recipe", "half", "--export", "x.csv", "--detach"), "--detach"),
    (("--resume", "nothing"), "There is no run"),
    (("--resume", "x", "--recipe", "half", "--seed", "1"), "leave --recipe, --seed out"),
    (("--show", "../x"), "run id"),
    (("--show", "x", "--recipe", "half"), "--show"),
    (("--show", "x", "--checkpoint", "y"), "not allowed with"),
    (("--list", "--recipe", "half"), "--list takes no flag"),
    (("--presets", "--detach"), "--presets takes no flag"),
    (("--bogus",), "unrecognized"),
]


@pytest.mark.parametrize(("arguments", "words"), MISTAKES, ids=[" ".join(case[0])[:60] for case in MISTAKES])
def test_a_mistake_is_one_sentence(
    home: Path, small: Path, arguments: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert words in refused(capsys, "compress", *(str(small) if item == "SMALL" else item for item in arguments))


def test_a_file_that_is_no_recipe_is_refused(
    home: Path, small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "recipe"
    for content, words in ((b"\xff\xfe", "holds no text"), (b" " * 200_000, "too large"), (b"{", "nor JSON")):
        path.write_bytes(content)
        assert words in refused(capsys, "compress", "--checkpoint", str(small), "--recipe", f"@{path}")


def test_only_a_file_is_read_as_a_recipe(
    home: Path, small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A device would never end, and a pipe waits for its other end."""
    os.mkfifo(tmp_path / "pipe")
    for path in ("/dev/zero", str(tmp_path / "pipe"), str(tmp_path)):
        assert "is not a file" in refused(capsys, "compress", "--checkpoint", str(small), "--recipe", f"@{path}")


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
            capsys, "compress", *asked, recipe
        )
    with only_queued(monkeypatch):
        code, output, said = run_main(capsys, "compress", *asked, PRUNE, "--detach")
        assert code == 0
        assert "Without it accuracy is not measured" in said
        assert RunStore().get(output.strip()).status == "queued"
    save_checkpoint(tmp_path / "orphan", reference.model, dataclasses.replace(card, dataset=dataclasses.replace(
        reference.card.dataset, name="cifar10")))  # fmt: skip
    assert "python -m core data cifar10 --fetch" in refused(capsys, "compress", *asked, "int8")
