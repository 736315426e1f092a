"""Reading text: stand-ins for unknown characters, and the loss of every character against direct computations."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from core.checkpoints.store import Card, Checkpoint
from core.common.errors import LabError
from core.data import encode
from core.data.dataset import UNKNOWN, TextCard
from core.data.normalize import normalize
from core.inference.text import SEGMENTS, WARM_UP, character_losses, evaluate_text, read, replacement_char
from core.models import build_model
from tests.unit.builders import synthetic

SHAKESPEARE = "\n !$&',-.3:;?ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
V = len(SHAKESPEARE)
LONG = SEGMENTS * 2 * WARM_UP
SPACE = SHAKESPEARE.index(" ")


def made(name: str, **config: Any) -> Any:
    """In eval mode and sure of itself, so that what was read before matters for what a character costs."""
    torch.manual_seed(1)
    model = build_model(name, {"vocabulary": V} | config).eval().requires_grad_(False)
    for key, parameter in model.named_parameters():
        if "layers" not in key:  # larger recurrent weights would make it chaotic
            parameter.mul_(6.0)
    return model


def checkpoint(name: str = "char_lstm", **config: Any) -> Checkpoint:
    config = config or {"width": 24, "embedding": 16, "layers": 2}
    card = Card(
        title="Verses",
        model=name,
        model_config=config | {"vocabulary": V},
        dataset=TextCard(name="tiny_shakespeare", title="T", vocabulary=SHAKESPEARE),
    )
    return Checkpoint("verses", card, made(name, **config))


def tokens(count: int, seed: int = 0, unknown: float = 0.0) -> Tensor:
    random = np.random.default_rng(seed)
    found = random.integers(0, V, count)
    found[random.random(count) < unknown] = UNKNOWN
    return torch.from_numpy(found)


def directly(model: Any, given: Tensor) -> tuple[Tensor, Tensor]:
    """Losses and hits of a model that reads everything in one pass."""
    log = model(given[None, :-1])[0][0].double().log_softmax(1)
    return -log.gather(1, given[1:, None])[:, 0], log.argmax(1) == given[1:]


@pytest.mark.parametrize("name", ["char_rnn", "char_gru", "char_lstm"])
@pytest.mark.parametrize("count", [2, 3, 255, 257, 258, 1500, LONG])
def test_a_recurrent_model_is_scored_in_one_go_up_to_a_length(name: str, count: int) -> None:
    model = made(name, width=16, embedding=8, layers=1)
    losses, right = character_losses(model, tokens(count), 0)
    expected, hits = directly(model, tokens(count))
    assert losses.shape == right.shape == (count - 1,)
    assert torch.allclose(losses.double(), expected, atol=1e-4)
    assert torch.equal(right, hits)


@pytest.mark.parametrize("count", [LONG + 1, LONG + 7, 20_001, 24_000])
def test_a_long_text_in_parts_costs_what_it_costs_in_one_go(count: int) -> None:
    model = made("char_lstm", width=24, embedding=16, layers=2)
    given = tokens(count)
    shares: list[float] = []
    losses, right = character_losses(model, given, 0, shares.append)
    expected, hits = directly(model, given)
    assert losses.shape == right.shape == (count - 1,)
    assert abs(float(losses.double().mean() - expected.mean())) < 1e-5
    # Elsewhere than at the beginning of a part too, and there only because each was warmed up.
    assert (losses.double() - expected).abs().max() < 1e-3
    assert (right != hits).sum() <= 2
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    length = -(-(count - 1) // SEGMENTS)
    cold, _ = directly(model, given[length : 2 * length + 1])
    assert (cold - expected[length : 2 * length]).abs().max() > 0.1


@pytest.mark.parametrize("reach", [2, 3, 8, 11])
def test_a_transformer_scores_every_character_once_with_half_a_context_before_it(reach: int) -> None:
    model = made("char_gpt", width=8, heads=2, layers=2, context=reach)
    half = reach // 2
    for count in sorted({2, 3, reach, reach + 1, reach + 2, 3 * reach + 1, 37 * half + reach + 1}):
        given = tokens(count)
        losses, right = character_losses(model, given, 0)
        assert losses.shape == right.shape == (count - 1,)
        for place in range(count - 1):  # the character read here is followed by the one that is scored
            window = 0 if place < reach else reach + (place - reach) // half * half - (reach - half)
            assert place - window < reach
            assert place < reach or place - window >= reach - half
            logits = model(given[window : place + 1][None])[0][0, -1].double()
            assert float(losses[place]) == pytest.approx(-float(logits.log_softmax(0)[given[place + 1]]), abs=1e-4)
            assert bool(right[place]) == (int(logits.argmax()) == int(given[place + 1]))


@pytest.mark.parametrize("name", ["char_lstm", "char_gpt"])
def test_what_training_never_saw_is_read_as_its_stand_in_and_not_scored(name: str) -> None:
    model = made(name, width=12, layers=1, **({"heads": 2, "context": 16} if name == "char_gpt" else {}))
    given = tokens(600, unknown=0.2)
    losses, right = character_losses(model, given, SPACE)
    filled, filled_right = character_losses(model, given.masked_fill(given == UNKNOWN, SPACE), SPACE)
    unknown = given[1:] == UNKNOWN
    assert 50 < int(unknown.sum()) < 200
    assert (losses[unknown] == 0).all()
    assert not right[unknown].any()
    assert torch.equal(losses[~unknown], filled[~unknown])
    assert torch.equal(right[~unknown], filled_right[~unknown])
    assert not torch.equal(losses, character_losses(model, given, SPACE + 1)[0])
    if name == "char_lstm":
        expected, _ = directly(model, given.masked_fill(given == UNKNOWN, SPACE))
        assert torch.allclose(losses[~unknown].double(), expected[~unknown], atol=1e-4)


@pytest.mark.parametrize("name", ["char_lstm", "char_gpt"])
def test_an_evaluation_is_the_mean_over_what_is_scored(name: str) -> None:
    subject = checkpoint(name, width=12, layers=1)
    given = tokens(500, unknown=0.1)
    given[0] = UNKNOWN
    losses, right = character_losses(subject.model, given, SPACE)
    result = evaluate_text(subject, given.numpy())
    scored = int((given[1:] != UNKNOWN).sum())
    assert result.characters == scored
    assert result.skipped == int((given == UNKNOWN).sum())
    assert result.characters + result.skipped == 500
    assert result.loss_nats == pytest.approx(float(losses.double().sum()) / scored)
    assert result.bits_per_character == pytest.approx(result.loss_nats / math.log(2))
    assert result.accuracy == pytest.approx(int(right.sum()) / scored)
    assert result.seconds > 0
    assert set(result.to_dict()) == {
        *("loss_nats", "bits_per_character", "accuracy", "characters", "skipped", "seconds"),
    }


@pytest.mark.parametrize("name", ["char_lstm", "char_gpt"])
@pytest.mark.parametrize("given", [[], [5], [UNKNOWN], [5, UNKNOWN], [UNKNOWN] * 40])
def test_a_text_without_a_character_to_score_is_refused(name: str, given: list[int]) -> None:
    subject = checkpoint(name, width=12, layers=1)
    with pytest.raises(LabError, match="^There is no character to score: give at least two that the model knows\\.$"):
        evaluate_text(subject, np.array(given, dtype=np.int64))
    losses, right = character_losses(subject.model, torch.tensor(given, dtype=torch.long), SPACE)
    assert losses.shape == right.shape == (max(0, len(given) - 1),)


def test_a_uniform_model_costs_the_logarithm_of_its_vocabulary() -> None:
    subject = checkpoint()
    subject.model.head.weight.zero_()
    subject.model.head.bias.zero_()
    assert evaluate_text(subject, np.array([UNKNOWN, 5])).characters == 1
    result = evaluate_text(subject, tokens(300).numpy())
    assert result.loss_nats == pytest.approx(math.log(V))
    assert result.bits_per_character == pytest.approx(math.log2(V))


def test_an_image_classifier_reads_no_text() -> None:
    card = Card(title="Images", model="simple_cnn", model_config={}, dataset=synthetic(8, 8).card)
    images = Checkpoint("p", card, build_model("simple_cnn", {}).eval())
    with pytest.raises(LabError, match="choose a language model"):
        evaluate_text(images, np.zeros(9, dtype=np.int64))


@pytest.mark.parametrize(
    ("character", "shown"),
    [
        *[(each, "'") for each in '‘’‚“”„"`«»‹›'],
        *[(each, "-") for each in "–—−‐‑―"],
        *zip("éÉñçŠåﬁﬀßøŒæ", "eEncSaffsoOa"),
        *zip("ＡａΑ…\t\u00a0\u3000", "Aa .   "),
        *[(each, " ") for each in "中שم😀\u200d\ufeff\u0301\x00\x1b\x7f\u202e\U0010ffff\ud800½@{"],
    ],
)
def test_a_stand_in_is_the_nearest_that_the_model_knows(character: str, shown: str) -> None:
    assert replacement_char(character, SHAKESPEARE) == shown


def test_a_stand_in_follows_the_vocabulary() -> None:
    assert replacement_char("“", "\"' ab") == '"'
    assert replacement_char("’", '" ab') == '"'
    assert replacement_char("É", "e ") == "e"
    assert replacement_char("A", "a ") == "a"
    assert replacement_char("ß", "S ") == "S"
    assert replacement_char("中", "xy") == "x"
    assert replacement_char("\n", "xy") == "x"
    newlines = read("a\r\nb\u2028c\n\r\n\r\rd", SHAKESPEARE)
    assert (newlines.text, newlines.replaced) == ("a\nb\nc\n\n\n\nd", ()), "each kind is one character"


HOSTILE = [
    "",
    "plain text",
    "“Curly” ‘quotes’ — and an ellipsis…",
    "Ça été très naïf, señor",
    "cafe\u0301",
    "👩‍👩‍👧‍👦 🇩🇪 ☃️",
    "中文字符",
    "שלום \u202eعالم",
    "\x00\x01\x1b[31m\x7f",
    "a\tb\u00a0c\u2028d",
    "\ud800 alone",
    "\U0010ffff" * 50,
    "".join(chr(code) for code in range(0x20, 0x3000)),
]


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("vocabulary", [SHAKESPEARE, "xyz", "中a"])
def test_every_character_is_read_as_one_and_none_is_dropped(text: str, vocabulary: str) -> None:
    reading = read(text, vocabulary)
    assert reading.given == normalize(text).text
    assert len(reading.text) == len(reading.tokens) == len(reading.given)
    assert reading.tokens.dtype == np.int64
    assert "".join(vocabulary[token] for token in reading.tokens) == reading.text
    replaced = dict(reading.replaced)
    assert len(replaced) == len(reading.replaced)
    assert list(replaced) == list(dict.fromkeys(each for each in reading.given if each not in vocabulary))
    assert reading.text == "".join(replaced.get(each, each) for each in reading.given)
    assert read(reading.text, vocabulary).replaced == ()
    assert np.array_equal(read(reading.text, vocabulary).tokens, encode(reading.text, vocabulary))


def test_a_prompt_in_decomposed_form_finds_its_letters() -> None:
    reading = read("cafe\u0301\u200b na\ufeff\r\n", "\n acéfn")
    assert (reading.text, reading.replaced) == ("café na\n", ())
    # A model of a text that was decomposed finds its own.
    assert read("café", "acef\u0301").text == "cafe\u0301"


@pytest.mark.parametrize(
    ("vocabulary", "text", "line_breaks"),
    [(SHAKESPEARE, "ROMEO:\nNo\n", 2), (SHAKESPEARE + "\\", "ROMEO:\\nNo\\n", 0), ("ab ", None, 0)],
)
def test_a_typed_line_break_is_one_where_no_backslash_is_known(
    vocabulary: str, text: str | None, line_breaks: int
) -> None:
    reading = read("ROMEO:\\nNo\\n", vocabulary)
    assert reading.line_breaks == line_breaks
    assert text is None or reading.text == text
    assert len(reading.given) == len(reading.text)
