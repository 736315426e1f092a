"""Exact resume and what the seed decides, for images and for text."""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest
import torch

from core.common.errors import LabError
from core.data.dataset import Dataset
from core.training.results import EvalResult, StepResult
from core.training.trainer import train
from tests.unit.training import test_text_task as text
from tests.unit.training import test_trainer as images
from tests.unit.training.test_trainer import weights


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in (images, text) for name in kind.CONFIGS])
def test_a_resumed_run_is_the_same_run(kind: ModuleType, name: str, tmp_path: Path) -> None:
    """A run that saves its state after every step, and goes on in a new session again and again, is the same run."""
    start = partial(kind.session, kind.CONFIGS[name])
    whole = start()
    expected, final = list(train(whole)), weights(whole)
    evaluation = next(index for index, result in enumerate(expected) if isinstance(result, EvalResult))
    epoch_end = next(i for i, r in enumerate(expected) if isinstance(r, StepResult) and r.step == whole.steps_per_epoch)
    # Mid-epoch, just before and after an evaluation, at the end of an epoch, and at the end.
    cuts = sorted({0, 2, evaluation - 1, evaluation, epoch_end, len(expected) - 2})
    resumed, results, state = start(), [], tmp_path / "state.pt"
    for cut in (*cuts, len(expected) - 1):
        for result in train(resumed):
            results.append(result)
            if len(results) == len(expected):  # there is nothing to go on with
                break
            assert resumed.save_state(state)
            if len(results) == cut + 1:
                torch.manual_seed(999)  # whatever the new process drew before
                resumed = start()
                resumed.load_state(state)
                break
        assert results == expected[: cut + 1]
    assert all(torch.equal(a, b) for a, b in zip(weights(resumed), final, strict=True))


@pytest.mark.parametrize("kind", [images, text])
def test_the_same_seed_is_the_same_run_and_another_is_not(kind: ModuleType) -> None:
    one, same, other = (kind.session(kind.SMALL.replace(seed=seed, epochs=1)) for seed in (1, 1, 2))
    for run in (one, same, other):
        list(train(run))
    assert all(torch.equal(a, b) for a, b in zip(weights(one), weights(same), strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(weights(one), weights(other), strict=True))
    one.restart(2)
    list(train(one))
    assert all(torch.equal(a, b) for a, b in zip(weights(one), weights(other), strict=True))


def with_card(data: Dataset, **changes: object) -> Dataset:
    return dataclasses.replace(data, card=dataclasses.replace(data.card, **changes))


PLAY = text.DATA.text


@pytest.mark.parametrize(
    ("kind", "other"),
    [
        (images, with_card(images.DATA, sha256={"train_images": "0" * 64})),
        (images, with_card(images.DATA, classes=("a", "b", "d", "c"))),
        (text, with_card(text.DATA, sha256={})),
        (text, text.dataset(PLAY[:500] + PLAY[500:501].swapcase() + PLAY[501:])),
        (text, text.dataset(PLAY[:1000] + "Zürich" + PLAY[1006:])),
    ],
)
def test_a_run_does_not_go_on_with_other_data(kind: ModuleType, other: Dataset, tmp_path: Path) -> None:
    first = kind.session()
    next(train(first))
    first.save_state(tmp_path / "state.pt")
    with pytest.raises(LabError, match="^The data of .* have changed since .*, or start a new run\\.$"):
        kind.session(data=other).load_state(tmp_path / "state.pt")
    kind.session(data=dataclasses.replace(kind.DATA)).load_state(tmp_path / "state.pt")
    with pytest.raises(LabError, match="does not fit this run: start the run again"):
        kind.session(kind.OTHER_SHAPE).load_state(tmp_path / "state.pt")
