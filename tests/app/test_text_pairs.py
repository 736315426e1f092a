"""Text: which checkpoints its views take, what was copied, and two texts side by side."""

from __future__ import annotations

import dataclasses
import math
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from core.checkpoints.store import Card
from core.common.errors import LabError
from core.data import DATASETS, load_text
from core.data.dataset import TextCard
from pages.shared import tasks
from pages.text.generation_task import Writing
from pages.text.side_by_side_view import OPENING, better
from tests.app.conftest import HOSTILE, Open, click, read, rerun, sources, texts, wait_for, write_text_checkpoint
from tests.app.text_page import LENGTH, core_text, enter, finish, press, verse_data
from tests.tiny_text import play

pytestmark = pytest.mark.usefixtures("warm")


# Checkpoints


@pytest.mark.parametrize("view", ["Write", "Side by side", "Inside the RNN", "Why this one"])
def test_a_link_to_an_image_classifier_is_one_sentence(open_page: Open, scribe: Card, shipped: Card, view: str) -> None:
    at = open_page("text", view=view, checkpoint="tiny")
    assert [read(warning.value) for warning in at.warning] == [
        "Tiny classifies images and cannot write: choose a language model."
    ]
    assert "tiny" not in at.query_params.get("checkpoint", [])
    picker = next(box for box in at.selectbox if "heckpoint" in box.label)
    assert picker.value == "scribe"


def test_a_link_to_a_language_model_is_one_sentence_on_images(open_page: Open, scribe: Card, shipped: Card) -> None:
    at = open_page("images", checkpoint="scribe")
    assert [read(warning.value) for warning in at.warning] == [
        "Scribe writes text and knows no images: choose an image classifier."
    ]
    assert at.selectbox(key="checkpoint").value == "tiny"


def test_a_link_opens_with_its_checkpoint_in_every_view(open_page: Open, scribe: Card, lab_home: Path) -> None:
    write_text_checkpoint(lab_home / "none" / "other", seed=5, title="Other")
    for name in ("scribe", "other"):
        assert open_page("text", checkpoint=name).selectbox(key="checkpoint").value == name
        at = open_page("text", view="Side by side", checkpoint=name)
        assert at.selectbox(key="pair-first").value == name
        assert at.selectbox(key="pair-second").value != name


def test_what_a_card_says_is_no_markup(open_page: Open, lab_home: Path) -> None:
    folder = lab_home / "none" / "scribe"
    card = write_text_checkpoint(folder, title=HOSTILE)
    data = dataclasses.replace(card.dataset, title=HOSTILE, split=HOSTILE)
    (folder / "card.json").write_text(dataclasses.replace(card, dataset=data, notes=HOSTILE).to_json())
    at = enter(open_page("text"))
    press(at)
    assert HOSTILE in texts(at)
    assert "![" not in sources(at)
    at = open_page("text", view="Side by side")
    at.number_input(key="pair-length").set_value(5)
    press_both(at)
    assert HOSTILE in texts(at)
    assert "![" not in sources(at)


def test_damaged_weights_are_answered_in_one_sentence(open_page: Open, scribe: Card, lab_home: Path) -> None:
    (lab_home / "none" / "scribe" / scribe.weights_file).write_bytes(b"\x80\x04pickle")
    for view, key in (("Write", "write"), ("Side by side", "write-both")):
        at = open_page("text", view=view)
        click(at, key)
        assert "does not match the checksum" in read(at.error[0].value)


# Copied passages


def learned(lab_home: Path, *, inside: str = "") -> tuple[Path, Card]:
    """A text file, with something planted in its training part, and a checkpoint that says it was trained on it."""
    content = play(20_000)
    path = lab_home / "play.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content[:9_000] + inside + content[9_000:])
    return path, write_text_checkpoint(lab_home / "none" / "scribe", dataset=load_text(f"text:{path}").card)


def test_a_copied_passage_is_found_and_told(open_page: Open, scribe: Card, lab_home: Path) -> None:
    # An untrained model copies nothing, so its training text is made to hold what it is about to write.
    planted = core_text(lab_home, length=100)[10:70]
    learned(lab_home, inside=planted)
    assert core_text(lab_home, length=100)[10:70] == planted, "the same characters and weights, so the same text"
    at = enter(open_page("text"), length=100)
    writing = press(at)
    (start, length), *_ = verse_data(at)["passages"]
    assert (start <= 10, start + length >= 70) == (True, True)
    said = texts(at)
    assert f"The longest passage copied word for word from the training text has {length} characters" in said
    assert " ".join(writing.text[start : start + min(length, 60)].replace("\n", "↵").split()) in said
    assert f"{length}% of the text is in passages of 20 or more" in said


def test_a_text_of_its_own_is_said_to_be_its_own(open_page: Open, lab_home: Path) -> None:
    learned(lab_home)
    at = enter(open_page("text"))
    press(at)
    assert verse_data(at)["passages"] == []
    assert "Nothing of 20 characters or more is copied" in texts(at)


def test_where_the_training_text_is_not_here_it_is_offered_and_nothing_is_claimed(
    open_page: Open, scribe: Card
) -> None:
    at = enter(open_page("text"))
    press(at)
    assert any("Tiny Shakespeare is not on this machine yet" in info.value for info in at.info)
    assert at.button(key="fetch-write-copied").label.startswith("Fetch Tiny Shakespeare (")
    assert "Nothing of 20 characters" not in texts(at)


def test_where_the_training_text_has_changed_or_gone_nothing_is_claimed(open_page: Open, lab_home: Path) -> None:
    path, _ = learned(lab_home)
    path.write_text(play(20_000, seed=1))
    at = enter(open_page("text"))
    press(at)
    assert "has changed since the model was trained: copies cannot be told" in texts(at)
    assert "Nothing of 20 characters" not in texts(at)
    path.unlink()
    rerun(at)
    assert "Nothing of 20 characters" not in texts(at)
    assert verse_data(at)["text"]


def test_a_failed_fetch_is_one_quiet_line_where_it_was_asked_for(
    open_page: Open, scribe: Card, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(_: object) -> None:
        raise LabError("The *text* cannot be fetched: try later.")

    source = dataclasses.replace(DATASETS["tiny_shakespeare"], load=fetch)
    monkeypatch.setitem(DATASETS, "tiny_shakespeare", source)
    at = enter(open_page("text"))
    press(at)
    click(at, "fetch-write-copied")
    task = tasks.find("fetch-tiny_shakespeare")
    assert task
    wait_for(lambda: task.done)
    assert "The *text* cannot be fetched: try later." in [read(each.value) for each in rerun(at).caption]
    other = enter(open_page("text"))
    press(other)
    assert not at.error
    assert not other.error
    assert "cannot be fetched" not in texts(other)
    assert other.button(key="fetch-write-copied")


# Side by side


def card_of(title: str, loss: float | None, **dataset: object) -> Card:
    data = TextCard(
        **{"name": "plays", "title": "Plays", "vocabulary": "ab", "sizes": {"train": 9}, "sha256": {"text": "0" * 64}}
        | dataset
    )
    metrics = {} if loss is None else {"val_loss_nats": loss}
    return Card(title=title, model="char_rnn", model_config={}, dataset=data, metrics=metrics)


@pytest.mark.parametrize(
    ("one", "two", "said"),
    [
        (card_of("A", 1.4), card_of("B", 1.8), "A predicts Plays better: 2.02 bits per character, against 2.60 for B."),
        (card_of("A", 1.8), card_of("B", 1.4), "B predicts Plays better: 2.02 bits per character, against 2.60 for A."),
        (card_of("A", 1.4), card_of("B", 1.4001), "Both predict Plays equally well: 2.02 bits per character."),
        (card_of("A", 1.4), card_of("A", 1.4), "The same model is on both sides: only the temperature differs."),
        (
            card_of("A", 1.4),
            card_of("B", None),
            "One of the two was not measured, so nobody knows which predicts better.",
        ),
        (
            card_of("A", 1.4),
            card_of("B", 1.8, sha256={"text": "1" * 64}),
            "The two models learned from different texts, so their figures cannot be compared.",
        ),
    ],
)
def test_the_sentence_compares_what_the_cards_say(one: Card, two: Card, said: str) -> None:
    assert read(better(one, two)) == said


def test_it_opens_with_both_texts_and_the_small_rnn_second(open_page: Open, scribe: Card, lab_home: Path) -> None:
    for name in ("char_gpt", "char_rnn"):
        write_text_checkpoint(lab_home / "none" / name, seed=5, title=name, model=name)
    at = open_page("text", view="Side by side", checkpoint="scribe")
    assert at.selectbox(key="pair-second").value == "char_rnn"
    assert f"Both predict Tiny Shakespeare equally well: {2 / math.log(2):.2f} bits per character." in texts(at)
    for place, name in enumerate(("scribe", "char_rnn")):
        wait_for(lambda key=f"verse-{place}": not verse_data(rerun(at), key)["busy"])
        assert verse_data(at, f"verse-{place}")["text"] == core_text(lab_home, name=name, length=OPENING)
    assert (
        open_page("text", view="Side by side", checkpoint="char_rnn").selectbox(key="pair-second").value == "char_gpt"
    )


def press_both(at: AppTest) -> list[Writing]:
    click(at, "write-both")
    pair: list[Writing] = at.session_state["pair"]
    finish(*pair)
    rerun(at)
    return pair


def test_two_checkpoints_write_side_by_side(open_page: Open, scribe: Card, lab_home: Path) -> None:
    write_text_checkpoint(lab_home / "none" / "other", seed=5, title="Other", model="char_gpt")
    at = open_page("text", view="Side by side", checkpoint="scribe", second="other")
    at.number_input(key="pair-length").set_value(LENGTH)
    at.number_input(key="pair-seed").set_value(3)
    at.text_area(key="prompt").set_value("ANNA:\n")
    first, second = press_both(at)
    assert first.text == core_text(lab_home, "ANNA:\n", length=LENGTH, seed=3)
    assert second.text == core_text(lab_home, "ANNA:\n", "other", length=LENGTH, seed=3)
    assert [verse_data(at, f"verse-{place}")["text"] for place in (0, 1)] == [first.text, second.text]
    assert not verse_data(at, "verse-0")["branch"]
    said = texts(at)
    for title, writing in (("Scribe", first), ("Other", second)):
        assert f"**{title}**, temperature 0.8" in said
        assert f"{writing.bits_per_character:.2f} bits per character by the model's own count" in said
    assert "Nothing of 20 characters" not in said  # the training text is not here, so nobody knows


def test_one_checkpoint_at_two_temperatures(open_page: Open, scribe: Card, lab_home: Path) -> None:
    at = open_page("text", view="Side by side")
    assert at.selectbox(key="pair-first").value == at.selectbox(key="pair-second").value == "scribe"
    at.number_input(key="pair-length").set_value(LENGTH)
    at.slider(key="pair-first-temperature").set_value(0.0)
    at.slider(key="pair-second-temperature").set_value(1.5)
    first, second = press_both(at)
    assert first.text == core_text(lab_home, length=LENGTH, temperature=0.0)
    assert second.text == core_text(lab_home, length=LENGTH, temperature=1.5)
    at.slider(key="pair-second-temperature").set_value(0.0).run()
    first, second = press_both(at)
    assert first.text == second.text  # the same prompt and the same numbers


def test_both_texts_stop(open_page: Open, scribe: Card) -> None:
    at = open_page("text", view="Side by side")
    at.number_input(key="pair-length").set_value(20_000)
    click(at, "write-both")
    pair: list[Writing] = at.session_state["pair"]
    click(at, "stop-both")
    finish(*pair)
    assert all(len(writing.text) < 20_000 for writing in pair)
    at.run()
    assert "stop-both" not in [button.key for button in at.button]


def test_a_wrong_setting_of_the_pair_is_one_sentence(open_page: Open, scribe: Card) -> None:
    at = open_page("text", view="Side by side")
    for key, value in (("pair-length", 0), ("pair-seed", -1)):
        good = at.number_input(key=key).value
        at.number_input(key=key).set_value(value)
        click(at, "write-both")
        assert len(at.error) == 1
        assert "pair" not in at.session_state
        at.number_input(key=key).set_value(good)
    at.text_area(key="prompt").set_value("x" * 100_000)
    click(at, "write-both")
    assert "at most 20,000 are read" in read(at.error[0].value)


def test_a_fetch_for_both_sides_is_shown_and_stops(
    open_page: Open, scribe: Card, endless_fetch: Callable[[str], threading.Event]
) -> None:
    """Both were trained on one text, which is fetched once."""
    begun = endless_fetch("tiny_shakespeare")
    at = open_page("text", view="Side by side")
    at.number_input(key="pair-length").set_value(5)
    press_both(at)
    rerun(next(button for button in at.button if button.label.startswith("Fetch")).click())
    assert begun.wait(60)
    rerun(at)
    next(button for button in at.button if button.label == "Stop").click().run()
    task = tasks.find("fetch-tiny_shakespeare")
    assert task
    wait_for(lambda: task.done)
    assert task.stopped
