"""Attribution for text: held against Captum called directly, against covering by hand, and against planted networks."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch

from core.checkpoints.store import Checkpoint, load_checkpoint, save_checkpoint
from core.common.errors import LabError
from core.compression.methods.int8 import to_int8
from core.compression.steps import Int8
from core.data.dataset import ImageCard
from core.inference.generate import write
from core.inference.sampling import SamplingConfig
from core.language.attribution import (
    COUNTS,
    DRAWS,
    MAX_CHARACTERS,
    METHODS,
    Evidence,
    Replacement,
    evidence,
    explain_next,
    next_characters,
)
from tests.tiny_text import play
from tests.unit.language import small
from tests.unit.language.small import VOCABULARY, tokens

TEXT = play(60)
MODELS = ("char_rnn", "char_gru", "char_lstm", "char_gpt")


def checkpoint(model: str, **config: Any) -> Checkpoint:
    """At the start all characters are about as likely, whatever comes before: its weights are larger."""
    tiny = small.checkpoint(model, **config)
    for name, weights in tiny.model.named_parameters():
        if "weight_hh" not in name:  # those would make it chaotic
            weights.mul_(3)
    return tiny


def planted(lag: int) -> Checkpoint:
    """A char_rnn that is a shift register: what comes next depends on the character `lag` places before the end alone."""
    tiny = checkpoint("char_rnn", embedding=1, width=lag + 1, layers=1)
    model: Any = tiny.model
    with torch.no_grad():
        for weights in model.layers.parameters():
            weights.zero_()
        model.embed.weight[:, 0] = torch.linspace(-1, 1, len(VOCABULARY))
        model.layers[0].weight_ih_l0[0, 0] = 0.5
        for cell in range(lag):
            model.layers[0].weight_hh_l0[cell + 1, cell] = 1.5
        model.head.weight[:, :lag] = 0
        model.head.weight[:, lag] = torch.linspace(-20, 20, len(VOCABULARY))
    return tiny


def bits(tiny: Checkpoint, text: str) -> torch.Tensor:
    with torch.no_grad():
        return tiny.model(tokens(text))[0][0, -1].log_softmax(0) / math.log(2)


@pytest.mark.parametrize("model", MODELS)
def test_layer_integrated_gradients_are_captums(model: str) -> None:
    from captum.attr import LayerIntegratedGradients

    tiny = checkpoint(model)
    found = explain_next(tiny, TEXT, target="t", steps=30, baseline="e")

    def log_probability(given: torch.Tensor) -> torch.Tensor:
        return tiny.model(given)[0][:, -1].log_softmax(1)[:, VOCABULARY.index("t")]

    expected = LayerIntegratedGradients(log_probability, tiny.model.embed).attribute(
        tokens(TEXT), baselines=tokens("e" * len(TEXT)), n_steps=30
    )
    np.testing.assert_allclose(found.values, expected.sum(-1)[0].numpy() / math.log(2), atol=1e-4)
    assert found.values.dtype == np.float32
    assert found.probability == pytest.approx(2 ** float(bits(tiny, TEXT)[VOCABULARY.index("t")]), rel=1e-4)


@pytest.mark.parametrize("tied", [False, True])
def test_values_sum_to_the_rise(tied: bool) -> None:
    tiny = checkpoint("char_rnn", embedding=12, tied=tied)
    found = explain_next(tiny, TEXT, steps=300)
    best = VOCABULARY.index(found.target)
    rise = float(bits(tiny, TEXT)[best] - bits(tiny, " " * len(TEXT))[best])
    assert found.rise == pytest.approx(rise, abs=1e-4)
    assert abs(rise) > 0.1
    assert float(found.values.sum()) == pytest.approx(rise, rel=0.01)
    assert found.gap < 0.01
    rough = explain_next(tiny, TEXT, steps=2).gap
    assert rough > found.gap
    # A character that is the stand-in already has nothing to follow.
    assert not found.values[[index for index, character in enumerate(TEXT) if character == " "]].any()


@pytest.mark.parametrize("model", MODELS)
def test_occlusion_is_replacing_by_hand(model: str) -> None:
    tiny = checkpoint(model)
    found = explain_next(tiny, TEXT, target="t", method="occlusion")
    whole, target = bits(tiny, TEXT), VOCABULARY.index("t")
    expected = [
        float(whole[target] - bits(tiny, f"{TEXT[:place]} {TEXT[place + 1 :]}")[target]) for place in range(len(TEXT))
    ]
    np.testing.assert_allclose(found.values, expected, atol=1e-4)
    assert found.gap is None


def test_a_wider_window_gives_the_mean_over_its_places() -> None:
    tiny = checkpoint("char_gru")
    text, target = TEXT[:8], VOCABULARY.index("t")
    found = explain_next(tiny, text, target="t", method="occlusion", window=3, baseline="e")
    falls = [
        float(bits(tiny, text)[target] - bits(tiny, text[:place] + "eee" + text[place + 3 :])[target])
        for place in range(6)
    ]
    expected = [np.mean([falls[at] for at in range(6) if at <= place < at + 3]) for place in range(8)]
    np.testing.assert_allclose(found.values, expected, atol=1e-4)
    # One that is wider than the text replaces all of it.
    all_of_it = explain_next(tiny, text, target="t", method="occlusion", window=50, baseline="e")
    np.testing.assert_allclose(all_of_it.values, [all_of_it.rise] * 8, atol=1e-4)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("lag", [0, 4])
def test_a_planted_cause_is_found(method: str, lag: int) -> None:
    tiny = planted(lag)
    text = "the quick brown fox" + "jumped"
    found = explain_next(tiny, text, method=method)
    place = len(text) - 1 - lag
    assert found.values.argmax() == place
    assert abs(found.values[place]) > 0.1
    np.testing.assert_allclose(np.delete(found.values, place), 0, atol=1e-5)
    checked = evidence(tiny, found)
    assert [row.count for row in checked.rows] == [1, 3, 10]
    changed = text[:place] + " " + text[place + 1 :]
    left = 2 ** float(bits(tiny, changed)[VOCABULARY.index(found.target)])
    assert [row.largest for row in checked.rows] == pytest.approx([left] * 3, rel=1e-3)
    # The last k have it as soon as k is beyond the lag; so small a choice at random mostly has not.
    assert [row.last < 1.01 * left for row in checked.rows] == [count > lag for count in COUNTS]
    assert left < checked.rows[0].random < checked.probability
    if lag:
        assert checked.beaten >= 19
        assert checked.verdict.startswith("It holds")


def test_the_evidence_does_not_believe_wrong_values() -> None:
    tiny = planted(4)
    text = "the quick brown fox" + "jumped"
    found = explain_next(tiny, text)
    upside_down = dataclasses.replace(found, values=-found.values - np.linspace(0, 1e-3, len(text), dtype=np.float32))
    checked = evidence(tiny, upside_down)
    assert checked.beaten == 0
    assert checked.verdict.startswith(
        "Not convincing: replacing the characters with the largest values costs more than 0"
    )
    assert checked == evidence(tiny, upside_down)
    assert checked.rows != evidence(tiny, upside_down, seed=1).rows
    latest = dataclasses.replace(found, values=np.linspace(0, 1, len(text), dtype=np.float32))
    assert evidence(tiny, latest).same


@pytest.mark.parametrize(
    ("largest", "last", "beaten", "same", "words"),
    [
        (0.1, 0.4, DRAWS, False, "It holds"),
        (0.1, 0.4, 18, False, "Not convincing"),
        (0.1, 0.1, DRAWS, True, "The last characters matter most, as expected"),
        (0.1, 0.11, DRAWS, False, "as much probability"),
        (0.4, 0.1, DRAWS, False, "the last ones costs more probability"),
    ],
)
def test_verdicts(largest: float, last: float, beaten: int, same: bool, words: str) -> None:
    row = Replacement(count=1, largest=largest, random=0.6, last=last)
    assert words in Evidence(probability=0.7, rows=(row,), beaten=beaten, same=same).verdict


def test_only_what_is_no_stand_in_is_replaced() -> None:
    tiny = checkpoint("char_gru")
    short = evidence(tiny, explain_next(tiny, " a  "))
    assert not short.rows
    assert "too short" in short.verdict
    (row,) = evidence(tiny, explain_next(tiny, "ab   ")).rows
    best = VOCABULARY.index(explain_next(tiny, "ab   ").target)
    assert row.last == pytest.approx(2 ** float(bits(tiny, "a    ")[best]), rel=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_a_transformer_sees_its_context(method: str) -> None:
    tiny = checkpoint("char_gpt", context=16)
    found = explain_next(tiny, TEXT, method=method, target="t")
    assert (found.prompt.text, found.prompt.unseen) == (TEXT, len(TEXT) - 16)
    assert not found.values[:-16].any()
    np.testing.assert_array_equal(found.values[-16:], explain_next(tiny, TEXT[-16:], method=method, target="t").values)
    assert found.values[-16:].any()
    other = dataclasses.replace(found, prompt=dataclasses.replace(found.prompt, text="zzz" + TEXT[3:]))
    assert evidence(tiny, other) == evidence(tiny, found)


def test_long_and_strange_texts() -> None:
    tiny = checkpoint("char_rnn")
    text = "é" + "x" * (MAX_CHARACTERS + 4) + "Café\nnoir"
    found = next_characters(tiny, text)
    assert len(found.text) == MAX_CHARACTERS
    assert found.text.endswith("xCafe\nnoir")
    assert found.dropped == len(text) - MAX_CHARACTERS
    assert found.replaced == (("é", "e"),)
    assert found.unseen == 0
    # What it expects is what writing draws from.
    written = next(iter(write(tiny, found.text, SamplingConfig(length=1))))
    assert [character for character, _ in found.alternatives] == [character for character, _ in written.alternatives]
    np.testing.assert_allclose([p for _, p in found.alternatives], [p for _, p in written.alternatives], rtol=1e-4)
    assert explain_next(tiny, "ab").target == next_characters(tiny, "ab").alternatives[0][0]


def test_the_checkpoint_stays_as_it_is_and_work_can_be_stopped() -> None:
    tiny = checkpoint("char_lstm")
    before = {name: value.clone() for name, value in tiny.model.state_dict().items()}
    shares: list[float] = []
    for method in METHODS:
        with torch.no_grad():  # as a page may be in
            explain_next(tiny, TEXT, method=method, on_progress=shares.append)
    assert all(torch.equal(value, before[name]) for name, value in tiny.model.state_dict().items())
    assert not any(module._forward_hooks for module in tiny.model.modules())
    assert shares.count(1.0) == 2
    assert sorted(shares[: shares.index(1.0)]) == shares[: shares.index(1.0)]

    def stop(share: float) -> None:
        raise KeyError(share)

    with pytest.raises(KeyError):
        explain_next(tiny, TEXT, on_progress=stop)
    assert explain_next(tiny, TEXT).values.any()


def test_an_int8_checkpoint_is_its_float_twin(tmp_path: Any) -> None:
    tiny = checkpoint("char_gru")
    made = to_int8(tiny, None, Int8())
    save_checkpoint(tmp_path / "small", made.model, made.card)
    rounded = load_checkpoint(str(tmp_path / "small"))
    found = explain_next(rounded, TEXT, target="t", steps=200)
    assert found.gap < 0.01
    assert found.probability == pytest.approx(2 ** float(bits(rounded, TEXT)[VOCABULARY.index("t")]), rel=1e-4)


@pytest.mark.parametrize(
    ("text", "settings", "sentence"),
    [
        ("", {}, "There is no text to explain"),
        ("   ", {}, "is only ' ', which stands for nothing"),
        ("abc", {"method": "guess"}, "choose one of layer_integrated_gradients, occlusion"),
        ("abc", {"target": "é"}, "knows no character 'é'"),
        ("abc", {"target": "ab"}, "knows no character 'ab'"),
        ("abc", {"baseline": "%"}, "knows no character '%'"),
        ("abc", {"steps": 1}, "a whole number from 2 to 2,000"),
        ("abc", {"window": 0}, "a whole number from 1 to 50"),
    ],
)
def test_questions_that_have_no_answer(text: str, settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(LabError, match=sentence):
        explain_next(checkpoint("char_rnn"), text, **settings)


def test_what_is_no_language_model_and_what_is_damaged() -> None:
    tiny = checkpoint("char_rnn")
    images = ImageCard(name="x", title="X", classes=("a", "b"), mean=(0, 0, 0), std=(1, 1, 1))
    card = dataclasses.replace(tiny.card, model="simple_cnn", dataset=images)
    with pytest.raises(LabError, match="choose a language model"):
        explain_next(dataclasses.replace(tiny, card=card), "a text")
    with torch.no_grad():
        tiny.model.head.weight[0, 0] = math.nan
    with pytest.raises(LabError, match="Tiny are damaged"):
        explain_next(tiny, "a text")
