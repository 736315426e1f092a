"""The command that a report gives trains with just these settings."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from core.app import main
from core.jobs import LocalEngine, RunStore
from core.models import full_config
from core.training.cli import command_of
from core.training.config import TrainConfig
from core.training.recipes import RECIPES, get_recipe


@pytest.mark.parametrize(
    ("model", "recipe", "changed"),
    [(model, recipe, {}) for model in RECIPES for recipe in RECIPES[model]]
    + [
        ("simple_cnn", "quick", {"epochs": 0.5, "model_config": {"widths": [8, 16]}, "seed": 7, "mixup": 0.2}),
        ("fast_resnet", "default", {"label_smoothing": 0.0}),
        ("char_lstm", "default", {"model_config": {}}),
        ("char_gpt", "quick", {"model_config": {"width": 96}}),
    ],
)
def test_it_starts_a_run_with_the_same_settings(
    model: str, recipe: str, changed: dict[str, Any], lab_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LocalEngine, "submit", lambda engine, run_id, **_: engine.store.get(run_id))
    config: TrainConfig = get_recipe(model, recipe).replace(**changed)
    words = shlex.split(command_of(config))
    assert words[:3] == ["python", "-m", "core"]
    main([*words[3:], "--detach"])  # it is written down, and never starts
    [found] = (run.config for run in RunStore().list())
    assert found.replace(model_config={}) == config.replace(model_config={})
    assert full_config(model, found.model_settings) == full_config(model, config.model_settings)


@pytest.mark.parametrize(
    ("flags", "model", "recipe"),
    [
        (["--init-from", "fast_resnet", "--train-on", "train+validation", "--recipe", "quick"], "fast_resnet", "quick"),
        (["--init-from", "efficientnet_lite0", "--recipe", "fine-tuning"], "efficientnet_lite0", "fine-tuning"),
        (["--init-from", "efficientnet_lite0"], "efficientnet_lite0", "default"),
        (["--init-from", "simple_cnn"], "simple_cnn", "longer"),
    ],
)
def test_a_run_from_a_checkpoint_has_its_model(
    flags: list[str], model: str, recipe: str, lab_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LocalEngine, "submit", lambda engine, run_id, **_: engine.store.get(run_id))
    main(["train", *flags, "--detach"])
    [found] = (run.config for run in RunStore().list())
    assert (found.model, found.recipe) == (model, recipe)


@pytest.mark.parametrize("start", ["efficientnet_lite0", "simple_cnn"])
@pytest.mark.parametrize("model", ["resnet18", "nothing"])
def test_another_model_than_the_checkpoint_is_refused_before_there_is_a_run(
    start: str, model: str, lab_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "--init-from", start, "--model", model, "--detach"]) == 2
    assert f"set model to {start}" in capsys.readouterr().err
    assert RunStore().list() == []
