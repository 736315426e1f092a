"""Writing: how a character is chosen, that a step is the model's own forward pass, and what is refused."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from core.checkpoints.store import Card, Checkpoint
from core.common.errors import LabError
from core.data.dataset import TextCard
from core.data.text import build, digest
from core.inference import decoding
from core.inference.decoding import RecurrentStepper, available_precision, stepper
from core.inference.generate import MAX_PROMPT, MAX_STREAMS, read_prompt, write, write_many
from core.inference.sampling import PRECISIONS, NoRepeatNgram, SamplingConfig, TokenSampler, distribution, softmax
from core.models import build_model
from core.training.config import TrainConfig
from core.training.session import TrainSession
from core.training.trainer import train
from tests.tiny_text import play
from tests.unit.builders import synthetic

VOCABULARY = "\n !,.ABCabcdefghijklmnopqrstuvwxyz"
V = len(VOCABULARY)
GREEDY = SamplingConfig(length=60, temperature=0)
RNN = {"width": 40, "embedding": 24, "layers": 2}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "rnn": ("char_rnn", RNN),
    "gru": ("char_gru", RNN | {"layers": 3}),
    "lstm": ("char_lstm", RNN | {"layers": 1}),
    "rnn-tied": ("char_rnn", RNN | {"embedding": 40, "tied": True}),
    "lstm-all": ("char_lstm", RNN | {"embedding": 40, "tied": True, "variational": True, "weight_drop": 0.4}),
    "gpt": ("char_gpt", {"width": 24, "layers": 2, "heads": 2, "context": 128}),
}
EVERY = pytest.mark.parametrize("name", MODELS)
RECURRENT = pytest.mark.parametrize("name", [name for name in MODELS if name != "gpt"])


DRAWN = [25, 743, 813, 126, 0, 45]


def checkpoint(name: str = "lstm", **changes: Any) -> Checkpoint:
    """With weights large enough that what was read decides what is likely."""
    kind, config = MODELS[name]
    config = config | {"vocabulary": V} | changes
    torch.manual_seed(1)
    model = build_model(kind, config).eval().requires_grad_(False)
    for key, parameter in model.named_parameters():
        if "layers" not in key:
            parameter.mul_(3.0 if kind != "char_gpt" else 5.0)
    data = TextCard(name="text:/x.txt", title="X", vocabulary=VOCABULARY)
    return Checkpoint("x", Card(title="Writer", model=kind, model_config=config, dataset=data), model)


def encoded(text: str) -> Tensor:
    return torch.tensor([VOCABULARY.index(each) for each in text])


def text_of(characters: Any) -> str:
    return "".join(each.character for each in characters)


def after(subject: Checkpoint, text: str) -> np.ndarray:
    """The model's probabilities of what follows a text, from one pass over all of it."""
    return subject.model(encoded(text)[None])[0][0, -1].double().softmax(0).numpy()


def settings(random: np.random.Generator) -> SamplingConfig:
    return SamplingConfig(
        temperature=float(random.choice([0, 5e-324, 1e-3, 0.3, 1, 2.5, 100])),
        top_k=int(random.choice([0, 1, 2, 7, 500])),
        top_p=float(random.choice([0, 1e-9, 0.1, 0.5, 0.9, 0.999999, 1])),
    )


def slowly(logits: np.ndarray, config: SamplingConfig, banned: set[int]) -> list[float]:
    """The distribution as one would write it down, a character at a time."""
    allowed = [index for index in range(len(logits)) if index not in banned] or list(range(len(logits)))
    ranked = sorted(allowed, key=lambda index: (-logits[index], index))
    if config.temperature == 0:
        ranked = ranked[:1]
    if config.top_k:
        ranked = ranked[: config.top_k]
    best = logits[ranked[0]]
    gaps = {index: min((best - logits[index]) / max(config.temperature, 1e-300), 1e4) for index in ranked}
    weights = {index: math.exp(-gap) for index, gap in gaps.items()}
    total = math.fsum(weights.values())
    kept: list[int] = []
    for index in ranked:
        if kept and config.top_p < 1 and math.fsum(weights[each] for each in kept) / total >= config.top_p:
            break
        kept.append(index)
    share = math.fsum(weights[index] for index in kept)
    return [weights[index] / share if index in kept else 0.0 for index in range(len(logits))]


@pytest.mark.filterwarnings("error")
def test_a_distribution_is_what_its_settings_say() -> None:
    random = np.random.default_rng(0)
    for _ in range(600):
        size = int(random.integers(2, 40))
        logits = (random.standard_normal(size) * random.choice([0.01, 1, 30])).astype(np.float32)
        if random.random() < 0.2:
            logits = np.round(logits)  # ties
        banned = {int(each) for each in random.integers(0, size, random.integers(0, size + 1))}
        config, before = settings(random), logits.copy()
        found = distribution(logits, config, banned)
        assert np.array_equal(logits, before)
        assert found.shape == (size,)
        assert (found >= 0).all()
        assert found.sum() == pytest.approx(1.0, abs=1e-12)
        if len(banned) < size:
            assert not found[list(banned)].any()
        assert found == pytest.approx(slowly(logits.astype(np.float64), config, banned), abs=1e-9)


def test_every_way_to_be_certain_is_argmax() -> None:
    random = np.random.default_rng(1)
    for _ in range(100):
        logits = random.standard_normal(20).astype(np.float32)
        best = np.eye(20)[logits.argmax()]
        for config in ({"temperature": 0}, {"top_k": 1}, {"top_p": 0}, {"temperature": 1e-9}, {"top_p": 1e-12}):
            assert np.array_equal(distribution(logits, SamplingConfig(**config)), best)
    draws = TokenSampler(0)
    assert all(draws.pick(best) == logits.argmax() for _ in range(50))


def test_temperature_one_without_cuts_is_the_softmax() -> None:
    logits = np.random.default_rng(2).standard_normal((5, 30)).astype(np.float32) * 40
    expected = torch.from_numpy(logits).double().softmax(1).numpy()
    assert np.allclose(softmax(logits), expected, atol=1e-15)
    assert np.allclose([distribution(row, SamplingConfig(temperature=1)) for row in logits], expected, atol=1e-15)


def test_top_p_keeps_the_fewest_that_reach_it() -> None:
    random = np.random.default_rng(3)
    for _ in range(300):
        logits = random.standard_normal(25) * 2
        share = float(random.random())
        own, cut = softmax(logits), distribution(logits, SamplingConfig(temperature=1, top_p=share))
        kept = cut > 0
        assert own[kept].sum() >= share - 1e-12
        assert own[kept].sum() - own[kept].min() < share + 1e-12
        assert own[kept].min() >= own[~kept].max(initial=0)
        assert np.allclose(cut[kept], own[kept] / own[kept].sum())


def test_no_sequence_is_written_twice_while_there_is_another_way() -> None:
    random = np.random.default_rng(4)
    for length, size in itertools.product((1, 2, 3, 5), (2, 3, 6)):
        repeats, draws, text, stuck = NoRepeatNgram(length), TokenSampler(length), [], 0
        config = SamplingConfig(temperature=0.1, no_repeat=length)
        for _ in range(120):
            banned = repeats.banned()
            tail = text[len(text) - length + 1 :] if length > 1 else []
            seen = {tuple(text[at : at + length]) for at in range(len(text) - length + 1)}
            assert banned == {token for token in range(size) if (*tail, token) in seen}
            token = draws.pick(distribution(random.standard_normal(size), config, banned))
            stuck += len(banned) == size
            assert token not in banned or len(banned) == size
            repeats.add(token)
            text.append(token)
        assert stuck > 0 or size**length > 100
    off = NoRepeatNgram(0)
    for token in (1, 1, 1):
        off.add(token)
        assert off.banned() == set()
    assert distribution(np.zeros(3), SamplingConfig(temperature=1), {0, 1, 2}).tolist() == pytest.approx([1 / 3] * 3)


def test_draws_follow_the_distribution() -> None:
    expected = np.array([0.4, 0.0, 0.25, 0.2, 0.1, 0.04, 0.01, 0.0])
    draws = TokenSampler(7)
    along = [draws.pick(expected) for _ in range(20_000)]
    across = [TokenSampler(7, stream).pick(expected) for stream in range(5000)]
    seeds = [TokenSampler(seed).pick(expected) for seed in range(5000)]
    possible = expected > 0
    for found in (along, across, seeds):
        counts = np.bincount(found, minlength=8)
        assert not counts[~possible].any()
        wanted = expected[possible] * len(found)
        assert ((counts[possible] - wanted) ** 2 / wanted).sum() < 20.5  # chi-square, 5 degrees: one in a thousand


def test_draws_are_the_same_everywhere_and_never_pick_what_cannot_be() -> None:
    even, draws = np.full(1000, 1e-3), TokenSampler(3, 2)
    assert [draws.pick(even) for _ in range(6)] == DRAWN
    short = np.array([0.0, 0.3, 0.0, 0.3, 0.0])  # sums to less than 1, as rounding may leave it
    assert {TokenSampler(seed).pick(short) for seed in range(60)} == {1, 3}


@EVERY
def test_greedy_writing_is_argmax_of_one_pass_over_everything(name: str) -> None:
    subject, prompt = checkpoint(name), "Abc, the cab."
    written = text_of(write(subject, prompt, GREEDY))
    logits = subject.model(encoded(prompt + written)[None])[0][0]
    assert written == "".join(VOCABULARY[token] for token in logits.argmax(1)[len(prompt) - 1 : -1])
    assert len(set(written)) > 3


@EVERY
def test_a_character_says_what_the_model_thought(name: str) -> None:
    subject, prompt = checkpoint(name), "the"
    config = SamplingConfig(length=40, temperature=1.3, top_k=9, top_p=0.95, no_repeat=4, seed=5)
    text, repeats = prompt, NoRepeatNgram(4)
    for each in write(subject, prompt, config):
        own = after(subject, text)
        token = VOCABULARY.index(each.character)
        assert each.probability == pytest.approx(own[token], abs=1e-4)
        assert each.surprise_bits == pytest.approx(-math.log2(each.probability))
        assert each.entropy_bits == pytest.approx(-sum(p * math.log2(p) for p in own if p > 0), abs=1e-3)
        best = sorted(own, reverse=True)[:5]
        assert [probability for _, probability in each.alternatives] == pytest.approx(best, abs=1e-4)
        assert all(own[VOCABULARY.index(other)] == pytest.approx(p, abs=1e-4) for other, p in each.alternatives)
        assert len({other for other, _ in each.alternatives}) == 5
        drawn_with = distribution(np.log(own), config, repeats.banned())[token]
        assert each.drawn_with == pytest.approx(drawn_with, abs=1e-3)
        assert each.drawn_with > 0
        repeats.add(token)
        text += each.character


@RECURRENT
def test_a_step_is_the_models_own(name: str) -> None:
    subject = checkpoint(name)
    text = torch.randint(0, V, (3, 60), generator=torch.Generator().manual_seed(2))
    prompt = torch.tensor([3, 1, 4])
    whole = subject.model(torch.cat([prompt.expand(3, 3), text], 1))[0]
    engine = stepper(subject.model)
    found = [engine.start(prompt, 3), *(engine.step(tokens) for tokens in text.T)]
    assert torch.allclose(torch.stack(found, 1), whole[:, 2:], atol=1e-4)
    again = [engine.start(prompt, 3), *(engine.step(tokens) for tokens in text.T)]  # nothing is left of the first text
    assert all(torch.equal(a, b) for a, b in zip(found, again))


@pytest.mark.parametrize("name", ["rnn", "gru", "lstm", "lstm-all"])
def test_eight_bits_are_close(name: str) -> None:
    subject = checkpoint(name, width=96, embedding=96)
    text = torch.randint(0, V, (4, 50), generator=torch.Generator().manual_seed(2))
    both = []
    for precision in ("float32", "int8"):
        engine = stepper(subject.model, precision)
        both.append(torch.stack([engine.start(text[0, :1], 4), *(engine.step(tokens) for tokens in text.T)], 1))
    exact, rough = both
    assert torch.equal(exact[:, 0], rough[:, 0])  # a prompt goes through the model itself
    assert not torch.equal(exact[:, 1], rough[:, 1])
    assert (exact - rough).std() < 0.1 * exact.std()
    assert (exact.argmax(2) == rough.argmax(2)).float().mean() > 0.9


def test_without_an_engine_eight_bits_are_written_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch as it is built for Apple silicon: it names no engine, and packing weights for one fails."""

    def fail(*_: Tensor) -> None:
        raise RuntimeError("Didn't find engine for operation quantized::linear_prepack NoQEngine")

    monkeypatch.setattr(type(torch.backends.quantized), "engine", "none")
    monkeypatch.setattr(decoding, "_int8", fail)
    subject = checkpoint("lstm", width=96, embedding=96)
    with pytest.raises(RuntimeError, match="NoQEngine"):
        RecurrentStepper(subject.model, int8=True).start(encoded("the"), 1)
    asked, usual = (
        [item.probability for item in write(subject, "the", SamplingConfig(length=20), precision=precision)]
        for precision in ("int8", "float32")
    )
    assert asked == usual
    assert available_precision("int8") == "float32"


def test_with_an_engine_eight_bits_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(torch.backends.quantized), "engine", "x86")
    assert [available_precision(precision) for precision in PRECISIONS] == list(PRECISIONS)


@pytest.mark.parametrize("reach", [2, 3, 16])
@pytest.mark.parametrize("prompt", ["a", "the cab, a", "the cab " * 5])
def test_a_transformer_writes_on_past_its_context(reach: int, prompt: str) -> None:
    subject = checkpoint("gpt", context=reach)
    seen = prompt[-reach:]
    config = SamplingConfig(length=3 * reach + 5, seed=1)
    for each in write(subject, prompt, config):
        if len(seen) > reach:
            seen = seen[-max(1, reach // 2) :]
        own = after(subject, seen)
        assert each.probability == pytest.approx(own[VOCABULARY.index(each.character)], abs=1e-4)
        seen += each.character
    engine = stepper(subject.model)
    engine.start(encoded(prompt), 4)
    rows = torch.randint(0, V, (2 * reach, 4), generator=torch.Generator().manual_seed(1))
    alone = [stepper(subject.model) for _ in range(4)]
    for one in alone:
        one.start(encoded(prompt), 1)
    for row in rows:
        together = engine.step(row)
        apart = torch.cat([one.step(row[index : index + 1]) for index, one in enumerate(alone)])
        assert torch.allclose(together, apart, atol=1e-4)


@EVERY
def test_the_seed_decides_and_the_first_stream_is_what_write_gives(name: str) -> None:
    subject = checkpoint(name)
    config = SamplingConfig(length=50, temperature=1, seed=3)
    text = text_of(write(subject, "ab", config))
    assert len(text) == 50
    assert text == text_of(write(subject, "ab", config))
    other = SamplingConfig(length=50, temperature=1, seed=4)
    assert text != text_of(write(subject, "ab", other))
    streams = [text_of(each) for each in zip(*write_many(subject, "ab", config, streams=5))]
    assert streams[0] == text
    assert len(set(streams)) == 5
    assert text_of(write(subject, "ab", other)) not in streams


@pytest.mark.parametrize("name", ["lstm", "gpt"])
def test_first_characters_of_many_streams_follow_the_model(name: str) -> None:
    subject = checkpoint(name)
    seeds = (SamplingConfig(length=1, temperature=1, seed=seed) for seed in range(12))
    rows = [each.character for one in seeds for each in next(write_many(subject, "ab", one, streams=MAX_STREAMS))]
    own = after(subject, "ab")
    wanted = own * len(rows)
    counts = np.array([rows.count(character) for character in VOCABULARY])
    common = wanted >= 5
    degrees = int(common.sum()) - 1
    assert degrees >= 4
    chi = ((counts[common] - wanted[common]) ** 2 / wanted[common]).sum()
    assert chi < degrees + 4 * math.sqrt(2 * degrees)


def test_no_repeat_ends_a_loop() -> None:
    subject = checkpoint("rnn")
    looping = text_of(write(subject, "the", SamplingConfig(length=300, temperature=0)))
    for length in (2, 4):
        config = SamplingConfig(length=300, temperature=0, no_repeat=length)
        text = text_of(write(subject, "the", config))
        pieces = [text[at : at + length] for at in range(len(text) - length + 1)]
        assert len(set(pieces)) == len(pieces)
        assert len({looping[at : at + length] for at in range(len(pieces))}) < len(pieces)


def test_an_empty_prompt_is_a_new_line() -> None:
    subject = checkpoint()
    assert text_of(write(subject, "", GREEDY)) == text_of(write(subject, "\n", GREEDY))
    assert text_of(write(subject, "\r\n", GREEDY)) == text_of(write(subject, "\n", GREEDY))
    data = TextCard(name="x", title="X", vocabulary="".join(chr(ord("a") + index) for index in range(V)))
    bare = Checkpoint("x", Card(title="T", model="char_lstm", model_config={}, dataset=data), subject.model)
    assert read_prompt(bare, "").text == "a"
    assert len(text_of(write(bare, "", GREEDY))) == 60


@pytest.mark.parametrize("name", ["lstm", "gpt"])
@pytest.mark.parametrize(
    "prompt", ["“Ça été”", "👩‍👩‍👧 中文 שלום", "\x00\x1b[31m\ud800", "\r\r\n", "\U0010ffff" * 300, "ß" * MAX_PROMPT]
)
def test_any_prompt_is_read_as_its_stand_ins(name: str, prompt: str) -> None:
    subject = checkpoint(name)
    config = SamplingConfig(length=5)
    reading = read_prompt(subject, prompt)
    assert set(reading.text) <= set(VOCABULARY)
    assert text_of(write(subject, prompt, config)) == text_of(write(subject, reading.text, config))


def test_what_cannot_be_written_is_one_sentence() -> None:
    lstm, gpt = checkpoint("lstm"), checkpoint("gpt")
    card = Card(title="Images", model="simple_cnn", model_config={}, dataset=synthetic(8, 8).card)
    images = Checkpoint("p", card, build_model("simple_cnn", {}).eval())
    for attempt, words in (
        (lambda: write(lstm, "x" * (MAX_PROMPT + 1)), "20,001 characters and at most 20,000 are read"),
        (lambda: write(images, "x"), "Images classifies images"),
        (lambda: write(gpt, "x", precision="int8"), "int8 is for recurrent models: choose an LSTM, GRU or RNN"),
        (lambda: write(lstm, "x", precision="int4" * 99), "precision='int4int4"),
        (lambda: write_many(lstm, "x", streams=0), f"ask for 1 to {MAX_STREAMS}"),
        (lambda: write_many(lstm, "x", streams=MAX_STREAMS + 1), "257 continuations are not possible"),
        (lambda: write(lstm, "x", SamplingConfig(temperature=101)), "temperature must be a number from 0 to 100"),
    ):
        with pytest.raises(LabError, match=rf"{words}.*\.$") as caught:
            next(attempt())
        assert len(str(caught.value)) < 160


@pytest.mark.parametrize("model", ["char_lstm", "char_gpt"])
def test_writing_in_the_middle_of_a_run_does_not_change_it(model: str) -> None:
    content = play(1500)
    data = build(content, name="x", title="X", source="", sha256=digest(content))
    size = {"width": 16, "layers": 2, "dropout": 0.3} | ({"heads": 2} if model == "char_gpt" else {"weight_drop": 0.3})
    config = TrainConfig(model=model, model_config=size, dataset="x", epochs=2, batch_size=4, window=32)
    ended = []
    for pauses in ((), (1, 6, 11)):
        session = TrainSession.start(config, data, "cpu")
        for index, _ in enumerate(train(session)):
            if index in pauses:
                subject = Checkpoint("x", session.card("x"), session.eval_model())
                precision = "int8" if index == 6 and model == "char_lstm" else "float32"
                assert len(text_of(write(subject, "", SamplingConfig(length=4), precision=precision))) == 4
        assert index > 11
        ended.append(session.model.state_dict())
    assert all(torch.equal(ended[0][key], ended[1][key]) for key in ended[0])
