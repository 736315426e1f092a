"""Text / Write: what is written, what can be done with it, and what may be wrong with a prompt."""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from streamlit.testing.v1 import AppTest

from core.checkpoints.store import Card, save_checkpoint
from core.compression.methods.int8 import to_int8
from core.compression.steps import Int8
from core.inference.generate import Character, write
from core.inference.sampling import SamplingConfig
from core.inference.text import character_losses
from core.inference.text import read as read_text
from pages.shared.warmup import warmup
from pages.text.generation_task import Writing
from pages.text.text_stats import headline
from pages.text.view import OPENING
from tests.app.conftest import HOSTILE, Open, click, read, rerun, sources, texts, wait_for, write_text_checkpoint
from tests.app.text_page import LENGTH, core_text, enter, finish, loaded, pick, press, settled, verse_data

pytestmark = pytest.mark.usefixtures("warm")


# Writing


def test_write_gives_what_core_gives(open_page: Open, scribe: Card, lab_home: Path) -> None:
    at = open_page("text")
    at.segmented_control(key="write-pace").set_value("fast")
    writing = press(at)
    assert writing.text == core_text(lab_home)
    assert len(writing.text) == SamplingConfig().length
    assert verse_data(at) | {"prompt": "ROMEO:\n", "text": writing.text, "busy": False} == verse_data(at)
    assert "500 characters · " in texts(at)
    assert at.text_area(key="prompt").value == "ROMEO:\n"


def test_it_opens_with_a_text_of_the_chosen_checkpoint_that_nobody_can_stop(
    open_page: Open, scribe: Card, lab_home: Path
) -> None:
    write_text_checkpoint(lab_home / "none" / "other", seed=5, title="Other")
    for name, title in (("scribe", "Scribe"), ("other", "Other")):
        at = open_page("text", checkpoint=name)
        assert "stop-writing" not in [button.key for button in at.button]
        wait_for(lambda at=at: not verse_data(rerun(at))["busy"])
        assert f"#### {title} goes on from “ROMEO:”" in texts(at)
        assert verse_data(at)["text"] == core_text(lab_home, name=name, length=OPENING)
    rerun(at.selectbox(key="checkpoint").set_value("scribe"))
    wait_for(lambda: not verse_data(rerun(at))["busy"])
    first = core_text(lab_home, length=OPENING)
    assert verse_data(at)["text"] == first
    assert press(at, "continue").text == core_text(lab_home, length=2 * OPENING)
    assert press(at, "undo").text == first


def test_the_text_of_a_link_can_be_stopped(open_page: Open, scribe: Card) -> None:
    for view, key in (("Write", "stop-writing"), ("Side by side", "stop-both")):
        at = click(open_page("text", view=view, length="20000", seed="77"), key)
        found = [at.session_state["writing"]] if view == "Write" else at.session_state["pair"]
        for writing in found:
            wait_for(lambda writing=writing: writing.done)
            assert writing.stopped
            assert (writing.config.seed, len(writing.characters) < 20_000) == (77, True)


def test_the_first_text_waits_for_pytorch_and_the_form_does_not(open_page: Open, scribe: Card) -> None:
    warmup().ready.clear()
    at = open_page("text")
    assert "A first text then appears here" in texts(at)
    assert not at.get("bidi_component")
    assert not at.button(key="write").disabled
    warmup().ready.set()
    assert verse_data(rerun(at))


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("ROMEO:\n", "Scribe goes on from “ROMEO:”"),
        (" \n", "Scribe begins a text"),
        ("a\n" + "b" * 41, "Scribe goes on from “…" + "b" * 40 + "”"),
    ],
)
def test_the_headline_quotes_where_a_text_begins(scribe: Card, lab_home: Path, prompt: str, said: str) -> None:
    assert read(headline(Writing(loaded(lab_home), prompt, SamplingConfig(length=1)))) == said


def test_a_long_prompt_says_how_much_of_it_is_read(
    open_page: Open, scribe: Card, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = enter(open_page("text"))
    held = threading.Event()

    def slow(*_: object, on_read: Callable[[float], None], **__: object) -> Iterator[Character]:
        on_read(0.43)
        held.wait(60)
        yield from ()

    monkeypatch.setattr("pages.text.generation_task.write", slow)
    click(at, "write")
    writing: Writing = at.session_state["writing"]
    wait_for(lambda: writing.read_share)
    assert [bar.proto.text for bar in rerun(at).get("progress")] == ["Reading the prompt: 43%"]
    held.set()
    finish(writing)


def test_every_setting_reaches_the_text(open_page: Open, scribe: Card, lab_home: Path) -> None:
    at = enter(open_page("text"), prompt="ANNA:\nthe")
    settings = {"temperature": 1.3, "top_k": 7, "top_p": 0.9, "no_repeat": 3, "seed": 11}
    at.slider(key="write-temperature").set_value(settings["temperature"])
    for name in ("top_k", "top_p", "no_repeat", "seed"):
        at.number_input(key=f"write-{name}").set_value(settings[name])
    writing = press(at)
    assert writing.config == SamplingConfig(length=LENGTH, **settings)
    assert writing.text == core_text(lab_home, "ANNA:\nthe", length=LENGTH, **settings)


def test_an_empty_prompt_writes(open_page: Open, scribe: Card, lab_home: Path) -> None:
    at = enter(open_page("text"), prompt="")
    assert press(at).text == core_text(lab_home, "", length=LENGTH)
    assert not at.info or "reads them as others" not in texts(at)
    again = press(at, "continue")
    assert len(again.text) == 2 * LENGTH
    assert again.error is None


def test_bits_per_character_are_the_mean_surprise(open_page: Open, scribe: Card, lab_home: Path) -> None:
    at = enter(open_page("text"), length=100)
    at.slider(key="write-temperature").set_value(0.5)  # drawn with other probabilities than the model's own
    writing = press(at)
    prompt, checkpoint = "ROMEO:\n", loaded(lab_home)
    tokens = torch.from_numpy(read_text(prompt + writing.text, checkpoint.card.text_data.vocabulary).tokens)
    bits = float(character_losses(checkpoint.model, tokens, 0)[0][len(prompt) - 1 :].mean()) / math.log(2)
    assert writing.bits_per_character == pytest.approx(bits, rel=1e-4)
    assert f" {bits:.2f} bits per character by the model's own count" in texts(at)


def test_weights_in_8_bits_write_where_they_can(open_page: Open, scribe: Card, lab_home: Path) -> None:
    write_text_checkpoint(lab_home / "none" / "reader", model="char_gpt", title="Reader")
    at = enter(open_page("text", checkpoint="scribe"))
    at.toggle(key="write-int8").set_value(True)
    writing = press(at)
    assert (writing.precision, writing.error, len(writing.text)) == ("int8", None, LENGTH)
    at.selectbox(key="checkpoint").set_value("reader").run()
    writing = press(at)
    assert writing.text == ""
    assert "int8 is for recurrent models" in read(at.error[0].value)
    at.toggle(key="write-int8").set_value(False)
    assert press(at).text == core_text(lab_home, name="reader", length=LENGTH)
    assert not at.error


def test_a_checkpoint_in_8_bits_writes_in_them_unless_told_otherwise(
    open_page: Open, scribe: Card, lab_home: Path
) -> None:
    made = to_int8(loaded(lab_home), None, Int8())
    save_checkpoint(lab_home / "none" / "small", made.model, made.card)
    assert Writing(loaded(lab_home, "small"), "", SamplingConfig(length=1)).precision == "int8"
    at = enter(open_page("text", checkpoint="small"))
    assert at.toggle(key="write-int8-stored").value
    assert press(at).precision == "int8"
    at.toggle(key="write-int8-stored").set_value(False)
    writing = press(at)
    assert (writing.precision, writing.text) == ("float32", core_text(lab_home, name="small", length=LENGTH))
    assert press(at, "continue").precision == "float32"
    at.selectbox(key="checkpoint").set_value("scribe").run()
    assert not at.toggle(key="write-int8").value
    assert press(at).precision == "float32"


def test_stop_ends_a_long_text_and_keeps_what_is_there(open_page: Open, scribe: Card) -> None:
    at = enter(open_page("text"), length=20_000, pace="reading")
    click(at, "write")
    writing: Writing = at.session_state["writing"]
    assert verse_data(at)["busy"]
    assert verse_data(at)["options"] is None
    click(at, "stop-writing")
    settled(at)
    assert 0 < len(writing.text) < 20_000
    assert "stopped." in texts(at)
    assert verse_data(at) | {"text": writing.text, "busy": False} == verse_data(at)
    assert len(verse_data(at)["options"]) == len(writing.text)
    assert "stop-writing" not in [button.key for button in at.button]
    click(at, "write")
    first: Writing = at.session_state["writing"]
    assert press(enter(at)) is not first, "writing again stops what is being written"
    finish(first)
    assert len(first.text) < 20_000


# What can be done with a text


def test_continue_adds_and_keeps(open_page: Open, scribe: Card, lab_home: Path) -> None:
    at = enter(open_page("text"))
    first = press(at)
    more = press(at, "continue")
    assert more.text[:LENGTH] == first.text
    assert len(more.text) == 2 * LENGTH
    # It reads the prompt and the text, and draws with numbers that were not used yet.
    assert more.text == core_text(lab_home, length=2 * LENGTH), "stopping and going on is as good as not stopping"
    assert press(at, "continue").text[: 2 * LENGTH] == more.text
    assert at.number_input(key="write-seed").value == 0


def test_a_text_longer_than_a_prompt_may_be_goes_on(lab_home: Path, scribe: Card) -> None:
    character = next(write(loaded(lab_home), "", SamplingConfig(length=1)))
    for prompt in ("", "ROMEO:\n"):
        long = Writing(loaded(lab_home), prompt, SamplingConfig(length=5), before=[character] * 20_001)
        finish(long)
        assert long.error is None
        assert len(long.text) == 20_006


def test_another_one_takes_the_next_seed_and_the_form_shows_it(open_page: Open, scribe: Card, lab_home: Path) -> None:
    at = enter(open_page("text"))
    at.number_input(key="write-seed").set_value(4)
    first = press(at)
    for seed in (5, 6):
        writing = press(at, "reseed")
        assert at.number_input(key="write-seed").value == seed
        assert writing.text == core_text(lab_home, length=LENGTH, seed=seed) != first.text
    assert press(at).text == writing.text  # Write does what the form says
    at.number_input(key="write-seed").set_value(2**31 - 1)
    press(at)
    assert press(at, "reseed").config.seed == 0


def test_undo_brings_the_former_text_back(open_page: Open, scribe: Card) -> None:
    at = enter(open_page("text"))
    first = press(at)
    assert "undo" not in [button.key for button in at.button]
    second = press(at, "continue")
    press(at, "reseed")
    for before in (second, first):
        assert press(at, "undo") is before
        assert verse_data(at)["text"] == before.text
    assert "undo" not in [button.key for button in at.button]


def test_a_branch_keeps_what_stands_before_it(open_page: Open, scribe: Card, lab_home: Path) -> None:
    at = enter(open_page("text"))
    first = press(at)
    index = 7
    character = next(name for name, _ in first.characters[index].alternatives if name != first.text[index])
    branched = pick(at, index, character)
    assert branched.text[: index + 1] == first.text[:index] + character
    assert len(branched.text) == index + 1 + LENGTH
    prompt = "ROMEO:\n" + branched.text[: index + 1]
    assert branched.text[index + 1 :] == core_text(lab_home, prompt, own=index + 1, length=LENGTH)
    assert branched.characters[index].probability == dict(first.characters[index].alternatives)[character]
    assert press(at, "undo") is first


@pytest.mark.parametrize(
    ("index", "character"),
    [(-1, "e"), (LENGTH, "e"), (3, "ф"), (3, ""), ("3", "e"), (3, None), (3.5, "e"), (None, "e"), (10**30, "e")],
)
def test_a_branch_that_the_text_does_not_have_changes_nothing(
    open_page: Open, scribe: Card, index: object, character: object
) -> None:
    at = enter(open_page("text"))
    first = press(at)
    assert pick(at, index, character) is first
    assert not at.error


def test_a_text_survives_colour_a_visit_elsewhere_and_a_change_of_the_form(open_page: Open, scribe: Card) -> None:
    at = enter(open_page("text"), prompt="CLARA:\n")
    writing = press(at)
    assert verse_data(at)["colour"] is True
    at.toggle(key="write-colour").set_value(False).run()
    assert verse_data(at)["colour"] is False
    assert verse_data(at)["text"] == writing.text
    at.slider(key="write-temperature").set_value(1.0).run()
    at.switch_page("home/page.py").run()
    rerun(at.switch_page("text/page.py"))
    assert at.session_state["writing"] is writing
    assert verse_data(at) | {"text": writing.text, "prompt": "CLARA:\n", "colour": False} == verse_data(at)
    assert at.text_area(key="prompt").value == "CLARA:\n"
    assert at.slider(key="write-temperature").value == 1.0
    assert at.number_input(key="write-length").value == LENGTH


# Prompts and settings that may be wrong


@pytest.mark.parametrize(
    ("prompt", "told"),
    [
        ("café", ["“é” as “e”"]),
        ("AÑO €5", ["“Ñ” as “N”", "“€” as a space", "“5” as a space"]),
        ("a\x07b\u202ec\u00a0d", ["U+0007 as a space", "U+202E as a space", "U+00A0 as a space"]),
        ("a\tb", ["a tab as a space"]),
    ],
)
def test_unknown_characters_are_named_with_their_stand_in(
    open_page: Open, scribe: Card, lab_home: Path, prompt: str, told: list[str]
) -> None:
    at = enter(open_page("text"), prompt=prompt)
    writing = press(at)
    notes = [read(info.value) for info in at.info if "reads them as others" in info.value]
    assert len(notes) == 1
    for words in told:
        assert words in notes[0]
    assert writing.text == core_text(lab_home, prompt, length=LENGTH)
    assert verse_data(at)["prompt"] == prompt  # as it was typed


def test_many_unknown_characters_are_one_short_note(open_page: Open, scribe: Card) -> None:
    at = enter(open_page("text"), prompt="".join(map(chr, range(0x4E00, 0x4E00 + 300))))
    press(at)
    note = next(info.value for info in at.info if "reads them as others" in info.value)
    assert "and 288 more" in note
    assert len(note) < 500


def unescaped(at: AppTest) -> str:
    """The Markdown of the page without the characters that stand for themselves."""
    return re.sub(r"\\.", "", sources(at))


@pytest.mark.parametrize(
    "prompt", ["<img src=x onerror=alert(1)>", HOSTILE, "$\\frac{1}{2}$ **b** `c` :red[d]", "# one"]
)
def test_markup_in_a_prompt_is_text(open_page: Open, scribe: Card, prompt: str) -> None:
    at = enter(open_page("text"), prompt=prompt)
    before = unescaped(at)
    press(at)
    assert verse_data(at)["prompt"] == prompt
    said = unescaped(at)
    for part in (prompt, "<img", "](http", "**b**", ":red[d]"):
        assert said.count(part) == before.count(part)
    assert not any(element.proto.allow_html for element in at.markdown)


def test_a_prompt_that_is_too_long_is_one_sentence_and_nothing_is_lost(open_page: Open, scribe: Card) -> None:
    at = enter(open_page("text"))
    writing = press(at)
    long = "ANNA: " * 16_667
    at.text_area(key="prompt").set_value(long)
    click(at, "write")
    assert at.session_state["writing"] is writing
    assert len(at.error) == 1
    assert "at most 20,000 are read" in read(at.error[0].value)
    assert at.text_area(key="prompt").value == long
    assert verse_data(at)["text"] == writing.text
    at.text_area(key="prompt").set_value("ANNA:\n")
    assert press(at) is not writing
    assert not at.error


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("length", 20_001),
        ("seed", -1),
        ("top_p", 1.5),
    ],
)
def test_a_wrong_setting_is_one_sentence_and_nothing_is_written(
    open_page: Open, scribe: Card, name: str, value: float
) -> None:
    """An empty field cannot be given: Streamlit puts the value back that it began with."""
    at = open_page("text")
    good = at.number_input(key=f"write-{name}").value
    rerun(at.number_input(key=f"write-{name}").set_value(value))
    assert len(at.error) == 1
    assert "must be a" in at.error[0].value
    assert "\n" not in at.error[0].value
    assert at.button(key="write").disabled
    assert "writing" not in at.session_state
    at.number_input(key=f"write-{name}").set_value(good).run()
    assert not at.error
    assert not at.button(key="write").disabled
