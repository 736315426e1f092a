"""Writing that goes on from a text, is broken off, or meets damaged weights; and what hostile cards are refused for."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from core.checkpoints.store import read_card, save_checkpoint
from core.common.errors import LabError
from core.inference.generate import write
from core.inference.sampling import SamplingConfig
from core.language.hidden_state import untrained
from tests.unit.checkpoints.conftest import edit_card
from tests.unit.inference.test_generate import checkpoint, text_of


def test_what_goes_on_from_a_text_repeats_nothing_of_it() -> None:
    """Continuing is the same as having asked for all of it at once, for what may not be repeated."""
    model = checkpoint("gru")
    settings = SamplingConfig(length=120, temperature=0, no_repeat=4)
    whole = text_of(write(model, "The ", settings.replace(length=240)))
    first = text_of(write(model, "The ", settings))
    rest = text_of(write(model, "The " + first, settings, own=len(first)))
    assert first + rest == whole
    grams = [whole[start : start + 4] for start in range(len(whole) - 3)]
    assert len(grams) == len(set(grams))


def test_a_text_that_goes_on_draws_what_it_would_have_drawn() -> None:
    model = checkpoint("lstm")
    settings = SamplingConfig(length=50, temperature=1, seed=3)
    whole = text_of(write(model, "The ", settings.replace(length=100)))
    first = text_of(write(model, "The ", settings))
    assert first + text_of(write(model, "The " + first, settings, own=50)) == whole
    assert text_of(write(model, "a", settings, own=10**6)), "more was written than is read again"


def test_a_long_prompt_can_be_left_while_it_is_read() -> None:
    calls: list[float] = []

    def on_read(share: float) -> None:
        calls.append(share)
        if len(calls) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        next(write(checkpoint("gru"), "a" * 5000, SamplingConfig(length=1), on_read=on_read))
    assert calls == [0, 1 / 5]


def test_weights_that_are_no_numbers_are_told() -> None:
    broken = checkpoint("rnn")
    with torch.no_grad():
        next(broken.model.parameters()).fill_(float("nan"))
    with pytest.raises(LabError, match="are damaged"):
        next(write(broken, "a", SamplingConfig(length=1)))


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("vocabulary", "\ud800a", "half a character"),
        ("vocabulary", "aa", "different characters"),
        ("vocabulary", "", "different characters"),
        ("vocabulary", ["a", "b"], "different characters"),
        ("sha256", ["x"], "checksums"),
        ("split", 5, "text belongs"),
    ],
)
def test_a_hostile_text_card_is_refused_in_a_sentence(tmp_path: Path, field: str, value: object, sentence: str) -> None:
    good = checkpoint("rnn")
    save_checkpoint(tmp_path, good.model, good.card)
    edit_card(tmp_path, dataset=good.card.dataset.to_dict() | {field: value})
    with pytest.raises(LabError, match=sentence):
        read_card(tmp_path)


def test_an_untrained_network_is_counted_before_it_takes_memory() -> None:
    good = checkpoint("rnn")
    wide = dataclasses.replace(good.card, model_config=good.card.model_config | {"width": 4096, "layers": 8})
    with pytest.raises(LabError, match="would have"):
        untrained("lstm", dataclasses.replace(good, card=wide))
